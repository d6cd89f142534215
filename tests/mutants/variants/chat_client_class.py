"""Chat client as a class with a buffer. The newline leaves in a write of its own."""

import re
import socket
import sys

BYE = re.compile(r"\bbye\b", re.IGNORECASE)


class Chat:
    def __init__(self, sock):
        self.sock = sock
        self.buffer = b""

    def receive(self):
        while b"\n" not in self.buffer:
            data = self.sock.recv(512)
            if not data:
                raise EOFError("The other side is gone.")
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.decode("utf-8", "replace")

    def send(self, text):
        self.sock.sendall(text.encode("utf-8"))
        self.sock.sendall(b"\n")

    def run(self):
        text = self.receive()
        print("Server:", text)
        while not BYE.search(text):
            text = input("Me: ")
            self.send(text)
            if BYE.search(text):
                break
            text = self.receive()
            print("Server:", text)


try:
    with socket.socket() as s:
        s.connect((sys.argv[1], int(sys.argv[2])))
        Chat(s).run()
except (OSError, EOFError) as e:
    print(e)
