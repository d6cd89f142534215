"""Server that adds two numbers: add_server.py PORT"""

import random
import socket
import sys

MY_NAME = "Server of Ann Student"
MY_NUMBER = random.randint(1, 100)


def read_line(stream):
    line = stream.readline(2000)
    if not line.endswith(b"\n"):
        return None
    return line.decode(errors="replace").strip()


def serve(conn):
    """Returns False if the server must stop."""
    stream = conn.makefile("rb")
    client_name = read_line(stream)
    text = read_line(stream)
    try:
        client_number = int(text)
    except (TypeError, ValueError):
        print("the client sent no number")
        return True
    if client_number < 1 or client_number > 100:
        print("number out of range, stopping")
        return False
    print("Client:", client_name, "Server:", MY_NAME)
    print("Numbers:", client_number, "and", MY_NUMBER)
    print("Sum:", client_number + MY_NUMBER)
    reply = MY_NAME + "\n" + str(MY_NUMBER) + "\n"
    conn.sendall(reply.encode())
    return True


listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", int(sys.argv[1])))
listener.listen(5)
running = True
while running:
    conn, address = listener.accept()
    with conn:
        try:
            running = serve(conn)
        except ConnectionError as error:
            print("connection lost:", error)
listener.close()
