"""Rps client as a class, that reads byte by byte. The newline leaves in a write of its own."""

import socket
import sys


class Player1:
    choices = ["Scissor", "Paper", "Stone"]

    def __init__(self, host, port):
        self.sock = socket.create_connection((host, port))

    def read(self, end):
        text = bytearray()
        while not text.endswith(end):
            byte = self.sock.recv(1)
            if not byte:
                raise EOFError("The connection was closed.")
            text += byte
        return text.decode("utf-8", "replace")

    def send(self, text):
        self.sock.sendall(text.encode())
        self.sock.sendall(b"\n")

    def choose(self, prompt):
        while True:
            print(prompt, end="", flush=True)
            line = sys.stdin.readline()
            if not line:
                raise EOFError("No more input.")
            if line.strip() in ("1", "2", "3"):
                return self.choices[int(line) - 1]

    def round(self):
        self.send(self.choose(self.read(b": ")))
        result = self.read(b"\n").rstrip("\n")
        print("*", " | ".join(result.split(",")), "*")
        self.send(result)


try:
    player = Player1(sys.argv[1], int(sys.argv[2]))
    for i in (1, 2, 3):
        print("Round", i)
        player.round()
except (EOFError, OSError) as e:
    print(e, file=sys.stderr)
    sys.exit(1)
print("Thank you for playing!")
