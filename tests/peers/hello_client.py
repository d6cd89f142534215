"""A student's client of hello: hello_client.py HOST PORT [--both] [--fault NAME].

Prints the greeting. With --both it greets too.
"""

import argparse
import socket
import struct
import sys
import time

FAULTS = [
    "", "one-recv", "byte-by-byte", "crlf", "unterminated", "unterminated-waits", "leave", "reset", "control", "not-utf8",
    "endless-line", "silent",
]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--both", action="store_true")
    parser.add_argument("--fault", default="", choices=FAULTS)
    args = parser.parse_args()
    fault = args.fault

    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.connect((args.host, args.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        data = b""
        if fault == "one-recv":
            # Takes one recv for the whole greeting.
            data = sock.recv(1024)
        else:
            while b"\n" not in data:
                piece = sock.recv(1024)
                if not piece:
                    sys.exit("closed without a greeting")
                data += piece
        print(data.decode().strip())
        if not args.both or fault == "leave":
            return
        greeting, end = b"Hello from a student", b"\n"
        if fault == "reset":
            # A close with a linger time of 0 is a reset.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        if fault == "silent":
            try:
                sock.recv(1)
            except ConnectionError:
                pass
            return
        if fault == "endless-line":
            try:
                for _ in range(1024):
                    sock.sendall(b"x" * 1024)
            except ConnectionError:
                print("the server closed early", file=sys.stderr)
            return
        if fault == "control":
            greeting = b"\x1b]0;owned\x07\x1b[2J \xe2\x80\xae\xe2\x81\xa6 Hello"
        if fault == "not-utf8":
            greeting = b"Hel\xff\xe4\xb8lo"
        end = {"unterminated": b"", "unterminated-waits": b"", "crlf": b"\r\n"}.get(fault, end)
        if fault == "byte-by-byte":
            for byte in greeting + end:
                sock.sendall(bytes([byte]))
                time.sleep(0.0005)
        else:
            sock.sendall(greeting + end)
        if fault == "unterminated-waits" and sock.recv(1024):
            sys.exit("the server sent more than its greeting")


main()
