"""Server that sends files of its folder: file_server.py PORT"""

import socket
import sys


def receive_name(conn):
    """A name ends at a newline, at the end of the stream, or if nothing comes for a while."""
    conn.settimeout(0.3)
    name = b""
    while b"\n" not in name and len(name) < 1000:
        try:
            piece = conn.recv(1024)
        except TimeoutError:
            if name:
                break
            continue
        if not piece:
            break
        name += piece
    return name.split(b"\n")[0].decode().rstrip("\r")


def send_file(conn, name):
    with open(name, "rb") as file:
        conn.settimeout(30)
        block = file.read(1024)
        while block:
            conn.sendall(block)
            block = file.read(1024)


def serve(conn):
    name = receive_name(conn)
    print("asked for", repr(name))
    send_file(conn, name)
    conn.shutdown(socket.SHUT_WR)
    while conn.recv(1024):
        pass


listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", int(sys.argv[1])))
listener.listen(5)
while True:
    conn, address = listener.accept()
    with conn:
        try:
            serve(conn)
        except (OSError, ValueError) as error:
            print("not sent:", error)
