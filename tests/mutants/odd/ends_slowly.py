"""Math server that answers one client, resets the next one, and ends two seconds later: ends_slowly.py PORT

A server for one client does the same on a loaded machine: its sockets are closed before the process has ended.
"""

import select
import socket
import sys
import time

listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
conn, _ = listener.accept()
stream = conn.makefile("rb")
try:
    right = True
    for number in range(3):
        conn.sendall(b"Q" + (1000 + number).to_bytes(4, "big") + (2000).to_bytes(4, "big"))
        right = right and stream.read(4) == (3000 + number).to_bytes(4, "big")
        if not right:
            break
    if right:
        conn.sendall(b"Sopensesm")
except ConnectionError as error:
    print("connection lost:", error)
stream.close()
conn.close()
select.select([listener], [], [])
listener.close()
time.sleep(2)
