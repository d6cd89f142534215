"""Program that ends at once with a traceback: traceback_at_once.py PORT"""

import socket

listener = socket.socket()
listener.bind("127.0.0.1", 12345)
listener.listen()
