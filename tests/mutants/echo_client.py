"""Client of the length-prefixed echo: echo_client.py HOST PORT"""

import socket
import struct
import sys


def receive_exactly(sock, count):
    data = b""
    while len(data) < count:
        piece = sock.recv(min(1024, count - len(data)))
        if not piece:
            sys.exit("the server closed the connection")
        data += piece
    return data


def send_message(sock, message):
    payload = message.encode()
    sock.sendall(struct.pack("!I", len(payload)) + payload)


def receive_message(sock):
    header = receive_exactly(sock, 4)
    length = struct.unpack("!I", header)[0]
    payload = receive_exactly(sock, length)
    return payload.decode()


def main():
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.connect((sys.argv[1], int(sys.argv[2])))
        while True:
            try:
                message = input()
            except EOFError:
                break
            send_message(sock, message)
            print(receive_message(sock))


try:
    main()
except (ConnectionError, UnicodeDecodeError) as error:
    sys.exit("connection lost: " + str(error))
