"""Echo client with prompts and decorations. It ends with exit code 0 if the server leaves."""

import socket
import struct
import sys


def get(sock, n):
    buf = b""
    while len(buf) < n:
        got = sock.recv(n - len(buf))
        if not got:
            raise EOFError("server closed")
        buf += got
    return buf


print("=== Echo client ===")
sock = socket.socket()
sock.connect((sys.argv[1], int(sys.argv[2])))
print("Connected. An end of input stops the program.")
try:
    while True:
        try:
            text = input("> ")
        except EOFError:
            print()
            print("Bye")
            break
        raw = text.encode()
        sock.sendall(struct.pack(">L", len(raw)) + raw)
        (size,) = struct.unpack(">L", get(sock, 4))
        print("Server:", end=" ")
        print(get(sock, size).decode(errors="replace"))
except (OSError, EOFError) as problem:
    print("Stopped:", problem)
sock.close()
