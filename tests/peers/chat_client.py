"""A student's client of chat: chat_client.py HOST PORT [--say LINE]... [--fault NAME].

Listens first, then says its lines in turn. Prints what it hears. Ends at a BYE of either side.
"""

import argparse
import re
import socket
import struct
import sys
import time

FAULTS = [
    "", "one-recv", "byte-by-byte", "crlf", "ahead", "leave", "half-close", "reset", "unterminated",
    "endless-line", "not-utf8", "spin",
]


def says_bye(line):
    return re.search(r"\bbye\b", line, re.IGNORECASE) is not None


def spin(sock):
    """What a loop without a look at the end does: reads nothing for ever. Ten seconds here."""
    print("spinning", flush=True)
    end = time.monotonic() + 10
    while time.monotonic() < end:
        sock.recv(1024)


class Peer:
    def __init__(self, sock, fault):
        self.sock = sock
        self.fault = fault
        self.data = b""

    def hear(self):
        """The next line, None at the end."""
        if self.fault == "one-recv":
            # What comes in one read is taken for a whole line.
            return self.sock.recv(1024).decode().rstrip("\n") or None
        while b"\n" not in self.data:
            piece = self.sock.recv(1024)
            if not piece and self.fault == "spin":
                spin(self.sock)
            if not piece:
                return None
            self.data += piece
        line, self.data = self.data.split(b"\n", 1)
        return line.decode()

    def say(self, line):
        data = line.encode() + (b"\r\n" if self.fault == "crlf" else b"\n")
        if self.fault == "byte-by-byte":
            for i in range(len(data)):
                self.sock.sendall(data[i:i + 1])
        else:
            self.sock.sendall(data)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--say", action="append", default=[])
    parser.add_argument("--fault", default="", choices=FAULTS)
    args = parser.parse_args()
    fault = args.fault

    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.connect((args.host, args.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer = Peer(sock, fault)
        if fault == "ahead":
            # Cannot wait: says everything at once, and listens then.
            for line in args.say:
                peer.say(line)
        for line in args.say + [None]:
            heard = peer.hear()
            if heard is None:
                sys.exit("the server left without a BYE")
            print(heard)
            if says_bye(heard) and fault != "spin":
                return
            if fault == "leave":
                return
            if fault == "half-close":
                sock.shutdown(socket.SHUT_WR)
                print(peer.hear(), file=sys.stderr)
                return
            if fault == "reset":
                # No linger: the close is a reset.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            if fault == "unterminated":
                sock.sendall(b"bye")
                return
            if fault == "not-utf8":
                sock.sendall(b"\xff\xfe\x1b[31m bye\n")
                return
            if fault == "endless-line":
                try:
                    for _ in range(1024):
                        sock.sendall(b"x" * 1024)
                except ConnectionError:
                    print("the server had enough", file=sys.stderr)
                return
            if line is None:
                sys.exit("nothing more to say")
            if fault != "ahead":
                peer.say(line)
            if says_bye(line):
                return


main()
