"""Math server that computes for 150 ms before it sends the secret: computes.py PORT

It uses the first of the processors that it may use. If others compute there too, it takes longer.
"""

import os
import socket
import sys
import time

os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    conn, _ = listener.accept()
    stream = conn.makefile("rb")
    right = True
    for number in range(3):
        conn.sendall(b"Q" + (1000 + number).to_bytes(4, "big") + (2000).to_bytes(4, "big"))
        right = right and stream.read(4) == (3000 + number).to_bytes(4, "big")
    start = time.process_time()
    while time.process_time() < start + 0.15:
        pass
    if right:
        conn.sendall(b"Sopensesm")
    stream.close()
    conn.close()
