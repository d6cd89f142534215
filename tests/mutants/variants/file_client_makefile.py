"""File client with makefile() and shutil. Half-closes after the name."""

import shutil
import socket
import sys

host, port, name = sys.argv[1].split(":")
with socket.socket() as sock:
    try:
        sock.connect((host, int(port)))
        sock.sendall(name.encode())
        sock.shutdown(socket.SHUT_WR)
        with sock.makefile("rb") as source, open(sys.argv[2], "wb") as target:
            shutil.copyfileobj(source, target)
    except OSError as e:
        print(f"{name}: {e}", file=sys.stderr)
        sys.exit(1)
