"""A student's server of chat: chat_server.py [--sessions N] [--say LINE]... [--fault NAME].

Reports its address on stderr. Sends first, then in turn. Prints the lines it receives. A session ends
at a BYE of either side.
"""

import argparse
import re
import socket
import struct
import sys

FAULTS = [
    "", "one-recv", "byte-by-byte", "crlf", "ahead", "leave", "reset", "unterminated", "endless-line",
    "not-utf8", "control", "extra-bytes", "silent",
]


def contains_bye(line):
    return re.search(r"\bbye\b", line, re.IGNORECASE) is not None


def serve(conn, lines, fault):
    held = b""
    if fault == "ahead":
        # Everything in one write.
        conn.sendall("".join(line + "\n" for line in lines).encode())
    for line in lines:
        if fault == "unterminated":
            conn.sendall(b"bye")
            return
        if fault == "endless-line":
            for _ in range(1024):
                conn.sendall(b"x" * 1024)
            return
        if fault == "not-utf8":
            conn.sendall(b"\xff\xfe bye\n")
            return
        if fault == "control":
            line = "\x1b[2J\u202e\x07 " + line
        data = line.encode() + (b"\r\n" if fault == "crlf" else b"\n")
        if fault == "byte-by-byte":
            for i in range(len(data)):
                conn.sendall(data[i:i + 1])
        elif fault != "ahead":
            conn.sendall(data)
        if contains_bye(line):
            if fault == "extra-bytes":
                conn.sendall(b"and another thing\n")
            return
        if fault == "silent":
            while conn.recv(1024):
                pass
            return
        if fault == "one-recv":
            # Takes one recv for a whole line.
            line_received = conn.recv(1024).decode().rstrip("\n")
        else:
            while b"\n" not in held:
                piece = conn.recv(1024)
                if not piece:
                    print("the client left without a BYE")
                    return
                held += piece
            line_received, held = held.split(b"\n", 1)
            line_received = line_received.decode()
        print(line_received)
        if contains_bye(line_received):
            return
        if fault == "leave":
            return
        if fault == "reset":
            # A close with a linger time of 0 is a reset.
            conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
    print("no more lines to send")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--sessions", type=int, default=1)
    parser.add_argument("--say", action="append", default=[])
    parser.add_argument("--fault", default="", choices=FAULTS)
    args = parser.parse_args()

    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen(5)
    host, port = listener.getsockname()
    print(f"listening on {host}:{port}", file=sys.stderr)
    for _ in range(args.sessions):
        conn, _ = listener.accept()
        with conn:
            conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                serve(conn, args.say, args.fault)
            except ConnectionError:
                print("the client left", file=sys.stderr)
    listener.close()


main()
