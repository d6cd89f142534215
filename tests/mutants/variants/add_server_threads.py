"""Add server with a thread for each client. The reply leaves in two writes, the lines read byte by byte."""

import os
import random
import socket
import sys
import threading

number = random.randrange(1, 101)
name = "Server of Bob Émile"


def get_line(conn):
    line = bytearray()
    while True:
        byte = conn.recv(1)
        if byte == b"":
            raise EOFError
        if byte == b"\n":
            return line.decode("utf-8", "ignore").rstrip("\r")
        line += byte


def handle(conn):
    try:
        client = get_line(conn)
        value = int(get_line(conn))
        if value not in range(1, 101):
            conn.close()
            os._exit(0)
        print(f"{client} and {name}: {value} + {number} = {value + number}")
        conn.sendall(f"{name}\n".encode())
        conn.sendall(f"{number}\n".encode())
    except (OSError, EOFError, ValueError) as error:
        print("bad client:", repr(error))
    finally:
        conn.close()


listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", int(sys.argv[1])))
listener.listen()
while True:
    conn, _ = listener.accept()
    threading.Thread(target=handle, args=(conn,)).start()
