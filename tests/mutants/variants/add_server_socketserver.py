"""Add server with the module socketserver."""

import random
import socketserver
import sys


class Handler(socketserver.StreamRequestHandler):
    stop = False

    def handle(self):
        try:
            name = self.rfile.readline(1025).decode("utf-8", "replace").strip()
            number = int(self.rfile.readline(100))
            if not 1 <= number <= 100:
                Handler.stop = True
                return
            mine = self.server.number
            print("client name:", name)
            print("server name:", self.server.name)
            print("client number:", number)
            print("server number:", mine)
            print("sum:", number + mine)
            self.wfile.write(bytes(f"{self.server.name}\n{mine}\n", "utf-8"))
        except (ConnectionError, ValueError):
            print("nothing useful from", self.client_address)


class Server(socketserver.TCPServer):
    allow_reuse_address = True
    name = "The Adder"
    number = random.randint(1, 100)


with Server(("127.0.0.1", int(sys.argv[1])), Handler) as server:
    while not Handler.stop:
        server.handle_request()
