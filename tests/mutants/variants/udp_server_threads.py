import socketserver
import sys


class Handler(socketserver.DatagramRequestHandler):
    def handle(self):
        text = self.rfile.read().decode("utf-8", "surrogateescape")
        self.wfile.write(text[10:].encode("utf-8", "surrogateescape"))


class Server(socketserver.ThreadingUDPServer):
    daemon_threads = True


Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
