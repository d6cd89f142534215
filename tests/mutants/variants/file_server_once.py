"""File server that reads the whole file, sends it to one client, and ends. It takes the name for complete after half a second."""

import socket
import sys
import time

server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind(("127.0.0.1", int(sys.argv[1])))
server.listen()
print("Waiting on port", sys.argv[1])
client, address = server.accept()
name = b""
client.settimeout(0.5)
while True:
    try:
        data = client.recv(1024)
    except socket.timeout:
        if name == b"":
            continue
        break
    except ConnectionError:
        sys.exit("client lost")
    if not data:
        break
    name += data
client.settimeout(None)
name = name.decode(errors="replace").strip()
print("Client wants", name)
try:
    content = open(name, "rb").read()
    client.sendall(content)
    print("Sent", len(content), "bytes at", time.ctime())
except (OSError, ValueError) as e:
    print("Cannot send:", e)
client.close()
server.close()
