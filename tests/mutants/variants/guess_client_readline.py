"""Guess client with readline(). It shows any line, and asks after each one that is not an answer."""

import socket
import sys

with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as sock:
    reader = sock.makefile("r", errors="replace")
    try:
        while True:
            line = reader.readline()
            if not line:
                break
            word = line.strip()
            if word == "LOW":
                print("too low")
            elif word == "HIGH":
                print("too high")
            elif word == "WIN":
                print("You win!")
                break
            elif word == "GAMEOVER":
                print("Game over.")
                break
            else:
                print(word)
                typed = sys.stdin.readline()
                if not typed:
                    break
                sock.sendall((typed.strip() + "\n").encode())
    except OSError as error:
        print("The connection is lost:", error)
