"""Math server with a thread for each client. A question leaves in three writes."""

import os
import socket
import struct
import sys
import threading
from random import randrange


def recvall(conn, n):
    chunks = []
    while n > 0:
        chunk = conn.recv(n)
        if not chunk:
            raise EOFError("client went away")
        chunks.append(chunk)
        n -= len(chunk)
    return b"".join(chunks)


def handle(conn):
    try:
        with conn:
            for i in range(5):
                a, b = randrange(2**30), randrange(2**30)
                conn.sendall(b"Q")
                conn.sendall(struct.pack(">I", a))
                conn.sendall(struct.pack(">I", b))
                (answer,) = struct.unpack(">I", recvall(conn, 4))
                if answer != a + b:
                    return
            conn.sendall(b"S")
            conn.sendall(os.urandom(4).hex().encode())
    except (OSError, EOFError) as e:
        print(e)


with socket.socket() as server:
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("127.0.0.1", int(sys.argv[1])))
    server.listen()
    print("Math server is running. Press Ctrl-C to stop.")
    while True:
        conn, addr = server.accept()
        threading.Thread(target=handle, args=(conn,), daemon=True).start()
