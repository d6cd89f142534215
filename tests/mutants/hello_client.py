"""Client that shows a greeting: hello_client.py HOST PORT"""

import sys
from socket import *

my_socket = socket()
try:
    my_socket.connect((sys.argv[1], int(sys.argv[2])))
    data = b""
    while b"\n" not in data:
        piece = my_socket.recv(1024)
        if not piece:
            break
        data += piece
except ConnectionError as error:
    sys.exit("connection lost: " + str(error))
if not data:
    sys.exit("the server sent no greeting")
print(data.decode(errors="replace").strip())
my_socket.close()
