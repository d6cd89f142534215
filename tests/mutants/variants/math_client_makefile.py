"""Math client with makefile() and struct. Ends with exit code 0 if the server leaves."""

import socket
import struct
import sys

sock = socket.create_connection((sys.argv[1], int(sys.argv[2])))
stream = sock.makefile("rwb")
try:
    while True:
        message = stream.read(9)
        if len(message) < 9:
            print("the server has left", file=sys.stderr)
            break
        if message[:1] == b"Q":
            a, b = struct.unpack("!II", message[1:])
            stream.write(struct.pack("!I", (a + b) & 0xFFFFFFFF))
            stream.flush()
        elif message[:1] == b"S":
            sys.stdout.buffer.write(message[1:] + b"\n")
            break
        else:
            print("this is not a message of the quiz", file=sys.stderr)
            break
except OSError as error:
    print("error:", error, file=sys.stderr)
sock.close()
