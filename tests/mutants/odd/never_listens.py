"""Echo server that binds and then sleeps, and never listens: never_listens.py PORT"""

import socket
import sys
import time

listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", int(sys.argv[1])))
print("the server is ready", flush=True)
while True:
    time.sleep(3600)
