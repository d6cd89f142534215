"""Echo server that spins at the end of the stream, and serves no other client then: spins_at_end.py PORT"""

import socket
import struct
import sys

listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
conn, _ = listener.accept()
data = b""
while True:
    try:
        data += conn.recv(4096)
        while len(data) >= 4 and len(data) >= 4 + struct.unpack("!I", data[:4])[0]:
            end = 4 + struct.unpack("!I", data[:4])[0]
            reply = data[4:end].decode(errors="replace")[10:].encode()
            conn.sendall(struct.pack("!I", len(reply)) + reply)
            data = data[end:]
    except OSError:
        pass
