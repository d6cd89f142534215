"""Chat server with readline(), which returns the text before the end of the stream as a line too. It serves one client."""

import re
import socket
import sys


def has_bye(line):
    return "BYE" in re.findall(r"\w+", line.upper())


with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listener:
    connection, _ = listener.accept()
with connection:
    reader = connection.makefile("r", encoding="utf-8", errors="replace")
    try:
        while True:
            typed = sys.stdin.readline()
            if not typed:
                break
            connection.sendall((typed.rstrip("\n") + "\n").encode())
            if has_bye(typed):
                break
            line = reader.readline()
            if not line:
                print("The client has left.")
                break
            print("Client:", line.rstrip("\r\n"))
            if has_bye(line):
                break
    except OSError as error:
        print("The connection is lost:", error)
