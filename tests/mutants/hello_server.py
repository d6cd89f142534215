"""Server that greets every client: hello_server.py PORT"""

import sys
from socket import *

my_socket = socket()
my_socket.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
my_socket.bind(("127.0.0.1", int(sys.argv[1])))
my_socket.listen()
print("Press Ctrl-C to stop the server.")
while True:
    new_socket, addr = my_socket.accept()
    print("Connected to:", addr)
    try:
        new_socket.sendall(b"Hello from server\n")
    except ConnectionError as error:
        print("connection lost:", error)
    new_socket.close()
