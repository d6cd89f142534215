"""Hello server with a thread for each client. The greeting leaves in two writes with a pause."""

import socket
import sys
import threading
import time


def greet(client):
    try:
        client.sendall(b"Hello fr")
        time.sleep(0.1)
        client.sendall(b"om server\n")
    except OSError as e:
        print("client lost", e)
    client.close()


server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind(("127.0.0.1", int(sys.argv[1])))
server.listen(10)
while True:
    client, addr = server.accept()
    threading.Thread(target=greet, args=[client]).start()
