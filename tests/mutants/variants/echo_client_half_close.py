"""Echo client that shows what is typed and what arrives. At the end it closes its sending side and waits for the server's end."""

import socket
import sys

sock = socket.create_connection((sys.argv[1], int(sys.argv[2])))
stream = sock.makefile("rb")
is_closed = False
try:
    for line in sys.stdin:
        text = line.rstrip("\n")
        print("you typed", text)
        payload = text.encode()
        sock.sendall(len(payload).to_bytes(4, "big") + payload)
        header = stream.read(4)
        reply = stream.read(int.from_bytes(header, "big"))
        if len(header) < 4 or len(reply) < int.from_bytes(header, "big"):
            is_closed = True
            break
        print("reply to", repr(text), "is", reply.decode())
    if not is_closed:
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(1000):
            pass
except OSError as error:
    print("connection lost:", error)
    is_closed = True
sock.close()
sys.exit(1 if is_closed else 0)
