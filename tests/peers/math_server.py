"""A student's server of the math quiz: math_server.py [--rounds N] [--sessions N] [--fault NAME].

Reports its address on stderr, serves N clients one after the other, then exits. Faults happen at
the last question of a session.
"""

import argparse
import random
import socket
import struct
import sys
import time

FAULTS = [
    "", "tag", "close-first", "cut-in-question", "cut-in-secret", "close-after-answer", "reset",
    "silent", "glued", "byte-by-byte", "extra-bytes", "control-secret", "full-range",
    "newline", "stays", "little-endian",
]


def recv_exactly(conn, count):
    data = b""
    while len(data) < count:
        piece = conn.recv(count - len(data))
        if not piece:
            return None
        data += piece
    return data


def send(conn, data, fault):
    if fault == "byte-by-byte":
        for i in range(len(data)):
            conn.sendall(data[i:i + 1])
            time.sleep(0.001)
    else:
        conn.sendall(data)


def wait_for_end(conn):
    """Waits until the client closes."""
    while conn.recv(4096):
        pass


def session(conn, args):
    fault = args.fault
    if fault == "close-first":
        return
    secret = b"\x1b[31m\x07\x00\xff" if fault == "control-secret" else args.secret.encode()
    last = b"S" + secret
    for i in range(args.rounds):
        limit = 2**32 - 1 if fault == "full-range" else 2**30 - 1
        a, b = random.randint(0, limit), random.randint(0, limit)
        question = struct.pack("!cII", b"Q", a, b)
        if fault == "little-endian":
            a, b = random.randint(1, 100), random.randint(1, 100)
            question = struct.pack("<cII", b"Q", a, b)
        is_last = i == args.rounds - 1
        if is_last and fault == "tag":
            send(conn, b"Z" + question[1:], fault)
            wait_for_end(conn)
            return
        if is_last and fault == "cut-in-question":
            send(conn, question[:5], fault)
            return
        if is_last and fault == "silent":
            wait_for_end(conn)
            return
        if is_last and fault == "reset":
            conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        if is_last and fault == "glued":
            # The server does not wait for the answer.
            send(conn, question + last, fault)
            recv_exactly(conn, 4)
            return
        send(conn, question, fault)
        answer = recv_exactly(conn, 4)
        if answer is None:
            return
        if answer != ((a + b) % 2**32).to_bytes(4, "big"):
            print("wrong answer", file=sys.stderr)
            return
    if fault == "close-after-answer":
        return
    if fault == "cut-in-secret":
        last = last[:6]
    if fault == "extra-bytes":
        last += b"Q and more of it"
    if fault == "newline":
        last += b"\n"
    send(conn, last, fault)
    if fault == "stays":
        # The server forgets to close.
        wait_for_end(conn)
        time.sleep(60)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sessions", type=int, default=1)
    parser.add_argument("--secret", default="opensesm")
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
