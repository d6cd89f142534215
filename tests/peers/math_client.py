"""A student's client of the math quiz: math_client.py HOST PORT [--fault NAME].

Prints the secret. Exits with 1 if the server closes before it.
"""

import argparse
import socket
import struct
import sys
import time


def answer_of(question, fault):
    a = int.from_bytes(question[1:5], "big")
    b = int.from_bytes(question[5:9], "big")
    total = a + b
    if fault == "wrap":
        total %= 2**32
    if fault == "signed":
        a, b = struct.unpack("!ii", question[1:9])
        total = (a + b + 2**31) % 2**32 - 2**31
        return total.to_bytes(4, "big", signed=True)
    if fault == "wrong":
        total += 1
    if fault == "little-endian":
        return total.to_bytes(4, "little")
    if fault == "decimal":
        return str(total).encode()
    if fault == "decimal-line":
        return f"{total}\n".encode()
    # Fails for a sum of more than 32 bits, as many student programs do.
    return total.to_bytes(4, "big")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--fault", default="", choices=[
        "", "wrap", "signed", "wrong", "byte-by-byte", "leave", "cut", "reset",
        "little-endian", "decimal", "decimal-line",
    ])
    args = parser.parse_args()

    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.connect((args.host, args.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        data = b""
        while True:
            piece = sock.recv(4096)
            if not piece:
                sys.exit("closed without a secret")
            data += piece
            while len(data) >= 9:
                message, data = data[:9], data[9:]
                if message[0:1] == b"S":
                    print(message[1:].decode())
                    return
                if args.fault == "leave":
                    return
                if args.fault == "reset":
                    # A close with a linger time of 0 is a reset.
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return
                answer = answer_of(message, args.fault)
                if args.fault == "cut":
                    sock.sendall(answer[:3])
                    return
                if args.fault == "byte-by-byte":
                    for i in range(4):
                        sock.sendall(answer[i:i + 1])
                        time.sleep(0.002)
                else:
                    sock.sendall(answer)


main()
