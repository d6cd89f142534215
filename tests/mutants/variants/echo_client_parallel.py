"""Echo client that sends all messages first, in one write, and then reads all replies."""

import socket
import sys

messages = sys.stdin.read().split("\n")
if messages[-1] == "":
    messages.pop()
everything = b""
for message in messages:
    data = message.encode()
    everything += len(data).to_bytes(4, "big") + data
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as sock:
        sock.sendall(everything)
        stream = sock.makefile("rb")
        for message in messages:
            header = stream.read(4)
            if len(header) < 4:
                raise ConnectionError("closed")
            length = int.from_bytes(header, "big")
            reply = stream.read(length)
            if len(reply) < length:
                raise ConnectionError("closed")
            sys.stdout.buffer.write(reply + b"\n")
            sys.stdout.flush()
except ConnectionError as e:
    print("Oh no:", e)
    sys.exit(3)
