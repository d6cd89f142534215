"""Math server with the module socketserver. Operands of all 32 bits."""

import random
import socketserver
import sys


class Quiz(socketserver.StreamRequestHandler):
    def handle(self):
        try:
            self.play()
        except ConnectionError:
            pass

    def play(self):
        for i in range(random.randint(1, 20)):
            numbers = [random.getrandbits(32) for j in range(2)]
            question = bytearray(b"Q")
            for number in numbers:
                question += number.to_bytes(4, byteorder="big")
            self.wfile.write(question)
            answer = self.rfile.read(4)
            if answer != (sum(numbers) % 2**32).to_bytes(4, byteorder="big"):
                return
        self.wfile.write(b"Stop secr")


class Server(socketserver.TCPServer):
    allow_reuse_address = True


with Server(("127.0.0.1", int(sys.argv[1])), Quiz) as server:
    server.serve_forever()
