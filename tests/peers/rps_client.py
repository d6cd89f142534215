"""A student's player 1 of rock, paper, scissors: rps_client.py HOST PORT CHOICE... [--fault NAME].

Takes one recv for the prompt, then reads the result up to a newline and sends it back.
"""

import argparse
import socket
import struct
import sys

FAULTS = ["", "number", "no-ack", "leave", "reset", "lower", "byte-by-byte"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("choices", nargs="*", default=["Paper", "Stone", "Scissor"])
    parser.add_argument("--fault", default="", choices=FAULTS)
    args = parser.parse_args()

    def send(conn, text):
        data = text.encode()
        step = 1 if args.fault == "byte-by-byte" else len(data)
        for i in range(0, len(data), step):
            conn.sendall(data[i:i + step])

    with socket.create_connection((args.host, args.port)) as conn:
        for choice in args.choices:
            prompt = conn.recv(1024).decode()
            if not prompt:
                sys.exit("the server left")
            if args.fault == "leave":
                return
            if args.fault == "reset":
                conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            if args.fault == "number":
                choice = "1"
            if args.fault == "lower":
                choice = choice.lower()
            send(conn, choice + "\n")
            data = b""
            while b"\n" not in data:
                piece = conn.recv(1024)
                if not piece:
                    sys.exit("the server left")
                data += piece
            print(data.decode().strip())
            send(conn, "thanks\n" if args.fault == "no-ack" else data.decode())


main()
