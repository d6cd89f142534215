"""A student's server of echo: echo_server.py [--sessions N] [--buffer N] [--header N] [--fault NAME].

Reports its address on stderr, serves N clients one after the other, then exits. It does not read
while it writes a reply. Faults happen at the second message, those of WRONG at every message.
"""

import argparse
import socket
import struct
import sys
import time

FAULTS = [
    "", "close-first", "close-after-reply", "cut-in-header", "cut-in-payload", "reset", "silent",
    "too-long", "endless", "unasked", "byte-by-byte", "glued", "not-utf8",
]
# Replies that are wrong.
WRONG = {
    "nothing-removed": lambda text: text.encode(),
    "ten-bytes": lambda text: text.encode()[10:],
    "eleven": lambda text: text[11:].encode(),
    "upper-case": lambda text: text[10:].upper().encode(),
    "upper-case-only": lambda text: text.upper().encode(),
    "empty": lambda text: b"",
    "newline": lambda text: text[10:].encode() + b"\n",
}
# Framing that is wrong.
FRAMES = ["little-endian", "chars-counted", "short-header", "junk", "one-byte", "merged"]


class BufferedTCPServer:
    def __init__(self, bind_host, port, buffer_size, header, fault):
        self.buffer_size = buffer_size
        self.header = header
        self.fault = fault
        self.listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((bind_host, port))
        self.listener.listen(5)

    def start(self, sessions):
        for _ in range(sessions):
            conn, _ = self.listener.accept()
            with conn:
                conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                try:
                    self.serve(conn)
                except ConnectionError:
                    print("the client left", file=sys.stderr)

    def serve(self, conn):
        if self.fault == "close-first":
            return
        if self.fault == "unasked":
            # Waits until the client has sent something.
            self.receive_exactly(conn, 1)
            conn.sendall(struct.pack("!I", 0) * 1000)
            self.wait_for_end(conn)
            return
        if self.fault == "merged":
            # Takes one recv for one message.
            time.sleep(0.2)
            payload = conn.recv(4096)[4:]
            rest = payload.decode()[10:].encode()
            conn.sendall(struct.pack("!I", len(rest)) + rest)
            self.wait_for_end(conn)
            return
        held = b""
        count = 0
        while True:
            header = self.receive_exactly(conn, self.header)
            if header is None:
                return
            payload = self.receive_exactly(conn, int.from_bytes(header, "big"))
            if payload is None:
                return
            if self.fault in WRONG:
                rest = WRONG[self.fault](payload.decode())
            else:
                rest = payload.decode()[10:].encode()
            length = len(rest)
            if self.fault == "chars-counted":
                length = len(rest.decode())
            order = "little" if self.fault == "little-endian" else "big"
            size = 2 if self.fault == "short-header" else self.header
            reply = length.to_bytes(size, order) + rest
            if self.fault == "junk":
                reply += b"and more"
            if self.fault == "one-byte":
                reply += b"\n"
            count += 1
            if count == 2 and self.misbehaves(conn, reply):
                return
            if self.fault == "byte-by-byte":
                for i in range(len(reply)):
                    conn.sendall(reply[i:i + 1])
                    time.sleep(0.0005)
            elif self.fault == "glued":
                # Sends two replies in one write.
                held += reply
                if count % 2 == 0:
                    conn.sendall(held)
                    held = b""
            else:
                conn.sendall(reply)

    def misbehaves(self, conn, reply):
        """Returns whether the fault ends the session."""
        if self.fault == "close-after-reply":
            return True
        if self.fault == "cut-in-header":
            conn.sendall(reply[:3])
            return True
        if self.fault == "cut-in-payload":
            conn.sendall(reply[:6])
            return True
        if self.fault == "reset":
            conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return True
        if self.fault == "silent":
            self.wait_for_end(conn)
            return True
        if self.fault == "too-long":
            conn.sendall(struct.pack("!I", 5000) + b"x" * 5000)
            self.wait_for_end(conn)
            return True
        if self.fault == "endless":
            conn.sendall(struct.pack("!I", 2**32 - 1) + b"x" * 5000)
            self.wait_for_end(conn)
            return True
        if self.fault == "not-utf8":
            conn.sendall(struct.pack("!I", 4) + b"\xff\x1b[\xc3")
            self.wait_for_end(conn)
            return True
        return False

    def wait_for_end(self, conn):
        """Waits until the client closes."""
        while conn.recv(4096):
            pass

    def receive_exactly(self, conn, count):
        data = bytearray()
        while len(data) < count:
            piece = conn.recv(min(self.buffer_size, count - len(data)))
            if not piece:
                return None
            data += piece
        return bytes(data)

    def shutdown(self):
        self.listener.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--sessions", type=int, default=1)
    parser.add_argument("--buffer", type=int, default=1024)
    parser.add_argument("--header", type=int, default=4, choices=[2, 4])
    parser.add_argument("--fault", default="", choices=[*FAULTS, *WRONG, *FRAMES])
    args = parser.parse_args()

    server = BufferedTCPServer("127.0.0.1", 0, args.buffer, args.header, args.fault)
    host, port = server.listener.getsockname()
    print(f"listening on {host}:{port}", file=sys.stderr)
    server.start(args.sessions)
    server.shutdown()


main()
