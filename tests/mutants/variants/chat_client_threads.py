"""Chat client in which both sides may write at any time. It leaves when its person types a line after the end.

wire: turns=no
"""

import os
import re
import socket
import sys
import threading


def has_bye(line):
    return "BYE" in re.findall(r"\w+", line.upper())


def receive(sock, over):
    try:
        for line in sock.makefile("r", encoding="utf-8", errors="replace"):
            print("<", line, end="", flush=True)
            if has_bye(line):
                os._exit(0)
    except OSError as error:
        print("The connection is lost:", error)
    over.set()


def main():
    sock = socket.create_connection((sys.argv[1], int(sys.argv[2])))
    over = threading.Event()
    threading.Thread(target=receive, args=(sock, over), daemon=True).start()
    try:
        for line in sys.stdin:
            if over.is_set():
                break
            sock.sendall(line.encode())
            if has_bye(line):
                break
        else:
            over.wait()
    except OSError as error:
        print("The connection is lost:", error)
    sock.close()


main()
