"""Program that exits at once with 0, and serves no client: exits_at_once.py PORT"""

import socket
import sys

listener = socket.socket()
print("server for port", sys.argv[1])
listener.close()
