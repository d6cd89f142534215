"""Coin client with readline(). It asks its person itself: the prompt of the server is the start of the next line."""

import socket
import sys

right = of = 0
with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as sock:
    reader = sock.makefile("r", errors="replace")
    try:
        while True:
            typed = input("H, T or Q: ").strip().upper()
            if typed not in ("H", "T", "Q"):
                continue
            sock.sendall((typed + "\n").encode())
            line = reader.readline()
            if not line:
                break
            print(line.rstrip())
            if typed == "Q":
                break
            of += 1
            if "right" in line:
                right += 1
    except (OSError, EOFError) as error:
        print("The connection is lost:", error)
print(f"You have guessed correctly {right} out of {of} times.")
