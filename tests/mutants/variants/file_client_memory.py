"""File client that keeps the whole file in memory, and sends the name with a newline. An empty file is a file."""

import socket
import sys

address, localname = sys.argv[1], sys.argv[2]
server, port, remotename = address.split(":")
try:
    s = socket.create_connection((server, int(port)))
    s.send(bytes(remotename + "\n", "utf-8"))
    chunks = []
    while True:
        chunk = s.recv(65536)
        if chunk == b"":
            break
        chunks.append(chunk)
        print(".", end="", flush=True)
    s.close()
    with open(localname, "wb") as f:
        f.write(b"".join(chunks))
    print()
    print("File", remotename, "saved as", localname)
except ConnectionError:
    print()
    print("The server has closed the connection. No file.")
