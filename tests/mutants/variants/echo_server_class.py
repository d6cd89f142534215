"""Echo server as the class of the document. Sends the length and the payload in two writes."""

import sys
from socket import *
from struct import pack, unpack


class BufferedTCPServer:
    def __init__(self, bind_host, bind_port, buffer_size):
        self.keep_running = True
        self.buffer_size = buffer_size
        self.server = socket(AF_INET, SOCK_STREAM)
        self.server.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
        self.server.bind((bind_host, bind_port))
        self.server.listen(1)

    def read(self, n):
        data = bytearray()
        while len(data) < n:
            part = self.client.recv(min(self.buffer_size, n - len(data)))
            if not part:
                raise EOFError
            data += part
        return data

    def start(self):
        while self.keep_running:
            self.client, addr = self.server.accept()
            try:
                while self.keep_running:
                    length = unpack("!I", self.read(4))[0]
                    message = self.read(length).decode()
                    answer = message[10:].encode()
                    self.client.sendall(pack("!I", len(answer)))
                    self.client.sendall(answer)
            except EOFError:
                print("client closed:", addr)
            except OSError as e:
                print("client lost:", e)
            except UnicodeDecodeError:
                print("garbage from", addr)
            self.client.close()

    def shutdown(self):
        self.server.close()


server = BufferedTCPServer("127.0.0.1", int(sys.argv[1]), 32)
try:
    server.start()
finally:
    server.shutdown()
