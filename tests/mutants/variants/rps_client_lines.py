"""Rps client that plays until the server closes."""

import sys
from socket import *

names = {"1": "Scissor", "2": "Paper", "3": "Stone"}
s = socket()
s.connect((sys.argv[1], int(sys.argv[2])))
data = ""
try:
    while True:
        new = s.recv(1024)
        if not new:
            break
        data = data + new.decode("latin-1")
        while "\n" in data:
            line, data = data.split("\n", 1)
            print("Result:", line)
            s.sendall(line.encode("latin-1") + b"\n")
        if data.rstrip(" ").endswith(":") and data.endswith(" "):
            answer = input(data)
            while answer not in names:
                answer = input("1, 2 or 3: ")
            data = ""
            s.sendall((names[answer] + "\n").encode())
except (OSError, EOFError) as error:
    print("Error:", error)
s.close()
