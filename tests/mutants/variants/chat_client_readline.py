"""Chat client with readline(), which returns the text before the end of the stream as a line too."""

import re
import socket
import sys


def has_bye(line):
    return "BYE" in re.findall(r"\w+", line.upper())


with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as sock:
    reader = sock.makefile("r", encoding="utf-8", errors="replace")
    try:
        while True:
            line = reader.readline()
            if not line:
                print("The server has left.")
                break
            print("Server:", line.rstrip("\r\n"))
            if has_bye(line):
                break
            typed = sys.stdin.readline()
            if not typed:
                break
            sock.sendall((typed.rstrip("\n") + "\n").encode())
            if has_bye(typed):
                break
    except OSError as error:
        print("The connection is lost:", error)
