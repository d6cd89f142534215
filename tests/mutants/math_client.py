"""Client of the math quiz: math_client.py HOST PORT"""

import socket
import sys


def receive_exactly(sock, count):
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            sys.exit("the server closed the connection")
        data += piece
    return data


def main():
    host = sys.argv[1]
    port = int(sys.argv[2])
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.connect((host, port))
        while True:
            message = receive_exactly(sock, 9)
            tag = message[0:1]
            if tag == b"S":
                sys.stdout.buffer.write(message[1:9] + b"\n")
                break
            if tag != b"Q":
                sys.exit("unknown message: " + repr(message))
            a = int.from_bytes(message[1:5], "big")
            b = int.from_bytes(message[5:9], "big")
            total = (a + b) % 2**32
            sock.sendall(total.to_bytes(4, "big"))


try:
    main()
except ConnectionError as error:
    sys.exit("connection lost: " + str(error))
