"""Server of the length-prefixed echo: echo_server.py PORT"""

import socket
import struct
import sys


def receive_exactly(conn, count):
    data = b""
    while len(data) < count:
        piece = conn.recv(min(1024, count - len(data)))
        if not piece:
            return None
        data += piece
    return data


def serve(conn):
    while True:
        header = receive_exactly(conn, 4)
        if header is None:
            return
        length = struct.unpack("!I", header)[0]
        payload = receive_exactly(conn, length)
        if payload is None:
            return
        text = payload.decode()
        reply = text[10:].encode()
        conn.sendall(struct.pack("!I", len(reply)) + reply)


listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", int(sys.argv[1])))
listener.listen(5)
while True:
    conn, address = listener.accept()
    with conn:
        try:
            serve(conn)
        except ConnectionError as error:
            print("connection lost:", error)
        except UnicodeDecodeError as error:
            print("not UTF-8:", error)
