"""Echo server with select(). A reply leaves byte by byte if it is short."""

import select
import socket
import sys


class Client:
    def __init__(self):
        self.inbox = b""
        self.outbox = b""


def work(client):
    """Moves complete messages from the inbox to the outbox."""
    while len(client.inbox) >= 4:
        size = int.from_bytes(client.inbox[:4], "big")
        if len(client.inbox) < 4 + size:
            return
        text = client.inbox[4:4 + size].decode()
        client.inbox = client.inbox[4 + size:]
        rest = text[10:].encode()
        client.outbox += len(rest).to_bytes(4, "big") + rest


listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
clients = {}
while True:
    writers = [sock for sock in clients if clients[sock].outbox]
    readable, writable, _ = select.select([listener, *clients], writers, [])
    for sock in readable:
        if sock is listener:
            new, _ = listener.accept()
            new.setblocking(False)
            clients[new] = Client()
            continue
        try:
            data = sock.recv(4096)
            if not data:
                raise EOFError
            clients[sock].inbox += data
            work(clients[sock])
        except (OSError, EOFError, UnicodeDecodeError):
            # What is ready still leaves.
            client = clients.pop(sock)
            try:
                sock.setblocking(True)
                sock.sendall(client.outbox)
            except OSError:
                pass
            sock.close()
    for sock in writable:
        if sock in clients:
            client = clients[sock]
            step = 1 if len(client.outbox) < 100 else 4096
            try:
                count = sock.send(client.outbox[:step])
                client.outbox = client.outbox[count:]
            except OSError:
                pass
