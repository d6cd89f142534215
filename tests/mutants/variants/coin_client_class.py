"""Coin client as a class. The newline leaves in a write of its own."""

import socket
import sys


class CoinClient:
    def __init__(self, sock):
        self.sock = sock
        self.data = b""
        self.right = self.count = 0

    def more(self):
        piece = self.sock.recv(256)
        if not piece:
            raise EOFError("server closed the connection")
        self.data += piece

    def prompt(self):
        # The prompt ends with a colon and a space.
        while not self.data.endswith(b": "):
            self.more()
        text, self.data = self.data.decode("utf-8", "replace"), b""
        return text

    def line(self):
        while b"\n" not in self.data:
            self.more()
        line, _, self.data = self.data.partition(b"\n")
        return line.decode("utf-8", "replace").strip()

    def play(self):
        letter = ""
        while letter != "Q":
            print(self.prompt(), end="", flush=True)
            letter = sys.stdin.readline().strip().upper() or "Q"
            self.sock.sendall(letter.encode())
            self.sock.sendall(b"\n")
            answer = self.line()
            print(answer)
            if letter in ("H", "T"):
                self.count += 1
            if "right" in answer:
                self.right += 1


with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as sock:
    client = CoinClient(sock)
    try:
        client.play()
    except (EOFError, OSError) as error:
        print("***", error, "***", file=sys.stderr)
    print(f"You have guessed correctly {client.right} out of {client.count} times.")
