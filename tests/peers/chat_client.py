"""A student's client of chat: chat_client.py HOST PORT [--say LINE]... [--fault NAME].

Receives first, then sends its lines in turn. Prints the lines it receives. Ends at a BYE of either side.
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


def contains_bye(line):
    return re.search(r"\bbye\b", line, re.IGNORECASE) is not None


def spin(sock):
    """Reads in a loop that does not check for the end of the stream. Limited to ten seconds."""
    print("spinning", flush=True)
    end = time.monotonic() + 10
    while time.monotonic() < end:
        sock.recv(1024)


class Peer:
    def __init__(self, sock, fault):
        self.sock = sock
        self.fault = fault
        self.data = b""

    def receive(self):
        """Returns the next line, or None at the end."""
        if self.fault == "one-recv":
            # Takes one recv for a whole line.
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
            # Sends everything at once, and receives afterwards.
            for line in args.say:
                peer.say(line)
        for line in args.say + [None]:
            line_received = peer.receive()
            if line_received is None:
                sys.exit("the server left without a BYE")
            print(line_received)
            if contains_bye(line_received) and fault != "spin":
                return
            if fault == "leave":
                return
            if fault == "half-close":
                sock.shutdown(socket.SHUT_WR)
                print(peer.receive(), file=sys.stderr)
                return
            if fault == "reset":
                # A close with a linger time of 0 is a reset.
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
                    print("the server closed early", file=sys.stderr)
                return
            if line is None:
                sys.exit("no more lines to send")
            if fault != "ahead":
                peer.say(line)
            if contains_bye(line):
                return


main()
