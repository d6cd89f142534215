"""Server of the math quiz: math_server.py PORT"""

import random
import socket
import sys

SECRET = b"opensesm"


def receive_exactly(conn, count):
    data = b""
    while len(data) < count:
        piece = conn.recv(count - len(data))
        if not piece:
            return None
        data += piece
    return data


def quiz(conn):
    for question in range(random.randint(3, 8)):
        a = random.randint(1000, 1000000000)
        b = random.randint(1000, 1000000000)
        conn.sendall(b"Q" + a.to_bytes(4, "big") + b.to_bytes(4, "big"))
        answer = receive_exactly(conn, 4)
        if answer is None:
            print("client closed")
            return
        if int.from_bytes(answer, "big") != a + b:
            print("wrong answer")
            return
    conn.sendall(b"S" + SECRET)


listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", int(sys.argv[1])))
listener.listen(5)
while True:
    conn, address = listener.accept()
    print("connected to", address)
    try:
        quiz(conn)
    except ConnectionError as error:
        print("connection lost:", error)
    conn.close()
