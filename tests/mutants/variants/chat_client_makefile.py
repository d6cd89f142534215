"""Chat client with makefile(). An exit code of 1 if the server leaves without a BYE."""

import socket
import string
import sys


def bye(text):
    for mark in string.punctuation:
        text = text.replace(mark, " ")
    return "bye" in text.lower().split()


with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as sock:
    stream = sock.makefile("rw", encoding="utf-8", errors="replace", newline="\n")
    try:
        while True:
            text = stream.readline()
            if not text.endswith("\n"):
                sys.exit("the server hung up")
            print("<-", text, end="")
            if bye(text):
                break
            text = sys.stdin.readline()
            if not text:
                break
            text = text.rstrip("\n")
            stream.write(text)
            stream.write("\n")
            stream.flush()
            if bye(text):
                break
    except (BrokenPipeError, ConnectionResetError):
        sys.exit("the server hung up hard")
print("Chat ended.")
