"""Echo client as the class of the document. Sends the length and the payload in two writes."""

import sys
from socket import *
from struct import pack, unpack


class BufferedTCPClient:
    def __init__(self, server_host, server_port, buffer_size):
        self.buffer_size = buffer_size
        self.sock = socket(AF_INET, SOCK_STREAM)
        self.sock.connect((server_host, server_port))

    def send_message(self, message):
        encoded = message.encode("utf-8")
        self.sock.sendall(pack("!I", len(encoded)))
        self.sock.sendall(encoded)

    def read(self, n):
        result = bytearray()
        while len(result) < n:
            part = self.sock.recv(min(self.buffer_size, n - len(result)))
            if len(part) == 0:
                return None
            result.extend(part)
        return bytes(result)

    def receive_message(self):
        try:
            header = self.read(4)
            if header is None:
                return "", False
            payload = self.read(unpack("!I", header)[0])
            if payload is None:
                return "", False
            return payload.decode("utf-8"), True
        except (ConnectionError, UnicodeDecodeError):
            return "", False

    def shutdown(self):
        self.sock.close()


client = BufferedTCPClient(sys.argv[1], int(sys.argv[2]), 16)
ok = True
for line in sys.stdin:
    try:
        client.send_message(line.rstrip("\n"))
    except ConnectionError:
        ok = False
        break
    reply, ok = client.receive_message()
    if not ok:
        break
    print(reply)
client.shutdown()
if not ok:
    print("the message was not received", file=sys.stderr)
    sys.exit(1)
