import socketserver
import sys


class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        data, sock = self.request
        sock.sendto(data.decode()[10:].encode(), self.client_address)


with socketserver.UDPServer(("127.0.0.1", int(sys.argv[1])), Handler) as server:
    server.serve_forever()
