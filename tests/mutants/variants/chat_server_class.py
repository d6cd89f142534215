"""Chat server as a class with a buffer. A line leaves byte by byte."""

import re
import socket
import sys


class ChatServer:
    def __init__(self, port):
        self.server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.server.bind(("127.0.0.1", port))
        self.server.listen(1)
        self.buffer = bytearray()

    def is_over(self, text):
        words = re.split(r"\W+", text)
        return "BYE" in [word.upper() for word in words]

    def receive(self):
        while True:
            at = self.buffer.find(b"\n")
            if at >= 0:
                line = self.buffer[:at].decode(errors="replace")
                self.buffer = self.buffer[at + 1:]
                return line
            data = self.client.recv(100)
            if not data:
                raise ConnectionError("client closed")
            self.buffer += data

    def send(self, text):
        for byte in text.encode() + b"\n":
            self.client.send(bytes([byte]))

    def run(self):
        self.client, address = self.server.accept()
        print("###", address, "is here ###")
        while True:
            text = input("you: ")
            self.send(text)
            if self.is_over(text):
                return
            text = self.receive()
            print("client:", text)
            if self.is_over(text):
                return


chat = ChatServer(int(sys.argv[1]))
try:
    chat.run()
except (ConnectionError, EOFError) as error:
    print("### over:", error, "###")
