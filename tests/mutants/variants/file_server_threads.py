"""File server with a thread for each client, that sends with socket.sendfile()."""

import os
import select
import socket
import sys
import threading


class Session(threading.Thread):
    def __init__(self, sock):
        super().__init__(daemon=True)
        self.sock = sock

    def read_name(self):
        name = self.sock.recv(512)
        # A name may arrive in pieces.
        while name and not name.endswith(b"\n"):
            ready, _, _ = select.select([self.sock], [], [], 0.4)
            if not ready:
                break
            more = self.sock.recv(512)
            if not more:
                break
            name += more
        return name.decode("utf-8").strip("\r\n\0")

    def run(self):
        try:
            name = self.read_name()
            if os.path.isfile(name):
                with open(name, "rb") as f:
                    self.sock.sendfile(f)
                self.sock.shutdown(socket.SHUT_WR)
                self.sock.settimeout(5)
                while self.sock.recv(512):
                    pass
            else:
                print("no such file:", repr(name))
        except (OSError, ValueError) as e:
            print(e)
        self.sock.close()


listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    sock, peer = listener.accept()
    Session(sock).start()
