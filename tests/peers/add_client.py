"""A student's client of add: add_client.py HOST PORT NAME NUMBER [--fault NAME].

Prints both names, both numbers and the sum. Exits with 1 without an answer.
"""

import argparse
import socket
import struct
import sys
import time

FAULTS = [
    "", "glued", "byte-by-byte", "crlf", "one-recv", "unterminated", "leave", "reset", "no-integer",
    "control-name", "not-utf8", "endless-line", "silent",
]


def read_line(sock):
    line = b""
    while not line.endswith(b"\n"):
        piece = sock.recv(1)
        if not piece:
            # The answer to a message without the last newline has none either.
            break
        line += piece
    return line.decode().strip() or None


def introduce(sock, args):
    """Returns whether an answer is expected."""
    name, number, end = args.name.encode(), str(args.number).encode(), b"\n"
    fault = args.fault
    if fault == "crlf":
        end = b"\r\n"
    if fault == "control-name":
        name = b"\x1b[31mred\x07 \xe2\x80\xae\xe2\x81\xa6 abc \xc2\x9b2J"
    if fault == "not-utf8":
        name = b"Ad\xff\xe4\xb8a"
    if fault == "no-integer":
        number = b"forty-two"
    if fault == "endless-line":
        try:
            for _ in range(1024):
                sock.sendall(b"x" * 1024)
        except ConnectionError:
            print("the server closed early", file=sys.stderr)
        return True
    if fault == "silent":
        return True
    if fault == "glued":
        sock.sendall(name + end + number + end)
        return True
    if fault == "byte-by-byte":
        for byte in name + end + number + end:
            sock.sendall(bytes([byte]))
            time.sleep(0.0005)
        return True
    sock.sendall(name + end)
    if fault == "leave":
        return False
    if fault == "reset":
        # A close with a linger time of 0 is a reset.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False
    if fault == "unterminated":
        sock.sendall(number)
        sock.shutdown(socket.SHUT_WR)
        return True
    sock.sendall(number + end)
    return True


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("name")
    parser.add_argument("number", type=int)
    parser.add_argument("--fault", default="", choices=FAULTS)
    args = parser.parse_args()

    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.connect((args.host, args.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not introduce(sock, args):
            return
        try:
            if args.fault == "one-recv":
                # Takes one recv for the whole answer.
                name, number, _ = sock.recv(1024).decode().split("\n")
            else:
                name, number = read_line(sock), read_line(sock)
        except ConnectionError:
            sys.exit("reset without an answer")
    if number is None:
        sys.exit("closed without an answer")
    print(f"{args.name} and {name}")
    print(f"{args.number} + {number} = {args.number + int(number)}")


main()
