"""Hello client with makefile() and decorations."""

import socket
import sys

try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as sock:
        stream = sock.makefile("r", encoding="utf-8", errors="replace")
        line = stream.readline()
except OSError as e:
    print("Something went wrong:", e)
    sys.exit(0)
print("Message received:")
print("  >>", line)
