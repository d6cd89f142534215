"""A student's server of hello: hello_server.py [--both] [--sessions N] [--fault NAME].

Reports its address on stderr, greets N clients one after the other, then exits.
"""

import argparse
import socket
import struct
import sys
import time

FAULTS = [
    "", "split", "byte-by-byte", "crlf", "extra-bytes", "unterminated", "close-first", "reset",
    "cut-by-reset", "control", "not-utf8", "endless-line", "silent",
]


def session(conn, args):
    fault = args.fault
    greeting, end = b"Hello from a student", b"\n"
    if fault == "close-first":
        return
    if fault in ("reset", "cut-by-reset"):
        if fault == "cut-by-reset":
            conn.sendall(greeting[:8])
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return
    if fault == "silent":
        conn.recv(1)
        return
    if fault == "endless-line":
        try:
            for _ in range(1024):
                conn.sendall(b"x" * 1024)
        except ConnectionError:
            print("the client closed early", file=sys.stderr)
        return
    if fault == "control":
        greeting = b"\x1b]0;owned\x07\x1b[2J \xe2\x80\xae\xe2\x81\xa6 Hello"
    if fault == "not-utf8":
        greeting = b"Hel\xff\xe4\xb8lo"
    end = {"unterminated": b"", "crlf": b"\r\n"}.get(fault, end)
    if fault == "split":
        conn.sendall(greeting[:8])
        time.sleep(0.1)
        conn.sendall(greeting[8:] + end)
    elif fault == "byte-by-byte":
        for byte in greeting + end:
            conn.sendall(bytes([byte]))
            time.sleep(0.0005)
    else:
        conn.sendall(greeting + end)
    if fault == "extra-bytes":
        conn.sendall(b"and more of it\n")
    if args.both:
        data = b""
        while b"\n" not in data:
            piece = conn.recv(1024)
            if not piece:
                print("closed without a greeting", file=sys.stderr)
                return
            data += piece
        print("greeted with", data, file=sys.stderr)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--both", action="store_true")
    parser.add_argument("--sessions", type=int, default=1)
    parser.add_argument("--fault", default="", choices=FAULTS)
    args = parser.parse_args()

    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(5)
        host, port = listener.getsockname()
        print(f"listening on {host}:{port}", file=sys.stderr)
        for _ in range(args.sessions):
            conn, _ = listener.accept()
            with conn:
                conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                session(conn, args)


main()
