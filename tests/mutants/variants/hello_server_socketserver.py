"""Hello server with the module socketserver."""

import sys
from socketserver import BaseRequestHandler, ThreadingTCPServer


class Greeter(BaseRequestHandler):
    def handle(self):
        try:
            self.request.sendall("Hello from server\n".encode("utf8"))
        except OSError as error:
            print(error)


ThreadingTCPServer.allow_reuse_address = True
ThreadingTCPServer.daemon_threads = True
ThreadingTCPServer(("127.0.0.1", int(sys.argv[1])), Greeter).serve_forever()
