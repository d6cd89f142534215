"""Add client that sends name and number in one message with a comma, and reads the reply in this form."""

import socket
import sys

name = input("Name: ").strip()
number = 0
while number < 1 or number > 100:
    try:
        number = int(input("Number (1-100): "))
    except ValueError:
        print("Not a number!")
try:
    sock = socket.create_connection((sys.argv[1], int(sys.argv[2])))
    sock.sendall(f"{name},{number}\n".encode("utf-8"))
    reply = b""
    while b"\n" not in reply:
        data = sock.recv(64)
        if not data:
            break
        reply += data
    sock.close()
except OSError as e:
    print("Network error:", e)
    sys.exit(1)
server_name, comma, server_number = reply.decode("utf-8", "replace").strip().rpartition(",")
if not comma or not server_number.strip().isdigit():
    print("The server's reply was not understood:", reply)
    sys.exit(1)
print(f"{name} sent {number}")
print(f"{server_name} sent {int(server_number)}")
print(f"{number} + {int(server_number)} = {number + int(server_number)}")
