"""Add server that expects one line NAME,NUMBER and replies in this form.

wire: separator=,
"""

import random
import socket
import sys

s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", int(sys.argv[1])))
s.listen(1)
mine = random.randint(1, 100)
while True:
    c, a = s.accept()
    try:
        data = b""
        while b"\n" not in data:
            more = c.recv(1024)
            if not more:
                break
            data += more
        name, number = data.decode().rsplit(",", 1)
        number = int(number)
        if number < 1 or number > 100:
            c.close()
            break
        print("names:", name, "/ Server Carla")
        print("numbers:", number, "/", mine, "sum:", number + mine)
        c.sendall(("Server Carla," + str(mine) + "\n").encode())
    except (OSError, ValueError) as e:
        print("problem:", e)
    c.close()
s.close()
