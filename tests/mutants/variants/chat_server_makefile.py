"""Chat server with makefile(), which asks for the first line before a client is there."""

import re
import socket
import sys

listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=1)
print("Type your first message while you wait for a client.")
message = input("> ")
conn, address = listener.accept()
listener.close()
reader = conn.makefile("rb")
try:
    while True:
        conn.sendall((message + "\n").encode())
        if re.search("(?i)\\bbye\\b", message):
            break
        answer = reader.readline()
        if not answer.endswith(b"\n"):
            print("(client closed)")
            break
        answer = answer.decode("utf-8", "replace").strip()
        print(f"[{address[0]}:{address[1]}] {answer}")
        if re.search("(?i)\\bbye\\b", answer):
            break
        message = input("> ")
except EOFError:
    print("(no more input)")
except ConnectionError as e:
    print("(error:", e, ")")
conn.close()
