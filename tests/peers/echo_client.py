"""A student's client of echo: the class of the exercise in a script.

echo_client.py HOST PORT [--buffer N] [--header N] [--fault NAME], messages as lines on stdin (with \\n for a
line break in one), replies as lines on stdout.
"""

import argparse
import socket
import struct
import sys
import time


class BufferedTCPClient:
    def __init__(self, server_host, server_port, buffer_size, header, fault=""):
        self.buffer_size = buffer_size
        self.header = header
        self.fault = fault
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.sock.connect((server_host, server_port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send_message(self, message):
        payload = message.encode()
        order = "little" if self.fault == "little-endian" else "big"
        packed = len(payload).to_bytes(self.header, order) + payload
        if self.fault == "byte-by-byte":
            for i in range(len(packed)):
                self.sock.sendall(packed[i:i + 1])
                time.sleep(0.0005)
        else:
            self.sock.sendall(packed)

    def receive_exactly(self, count):
        data = b""
        while len(data) < count:
            piece = self.sock.recv(min(self.buffer_size, count - len(data)))
            if not piece:
                return None
            data += piece
        return data

    def receive_message(self):
        try:
            header = self.receive_exactly(self.header)
            if header is None:
                return "", False
            payload = self.receive_exactly(int.from_bytes(header, "big"))
            if payload is None:
                return "", False
            return payload.decode(), True
        except ConnectionError:
            return "", False

    def shutdown(self):
        self.sock.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--buffer", type=int, default=1024)
    parser.add_argument("--parallel", action="store_true", help="send all, then receive all")
    parser.add_argument("--fault", default="", choices=[
        "", "byte-by-byte", "cut", "not-utf8", "little-endian",
    ])
    parser.add_argument("--header", type=int, default=4, choices=[2, 4])
    args = parser.parse_args()
    messages = [line.rstrip("\n").replace("\\n", "\n") for line in sys.stdin]

    client = BufferedTCPClient(args.host, args.port, args.buffer, args.header, args.fault)
    if args.fault == "cut":
        client.sock.sendall(struct.pack("!I", 100) + b"only this")
        client.shutdown()
        return
    if args.fault == "not-utf8":
        client.sock.sendall(struct.pack("!I", 3) + b"a\xffb")
        print("received", client.receive_message()[1])
        return
    replies = []
    if args.parallel:
        for message in messages:
            client.send_message(message)
        replies = [client.receive_message() for _ in messages]
    else:
        for message in messages:
            client.send_message(message)
            replies.append(client.receive_message())
    for payload, ok in replies:
        print(payload if ok else "<not received>")
    client.shutdown()


main()
