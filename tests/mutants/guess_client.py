"""Client of high or low: guess_client.py HOST PORT"""

import sys
from socket import *


def ask():
    guess = input("Enter guess (1-100): ").strip()
    while not guess.isdecimal():
        print("That is not a number.")
        guess = input("Enter guess (1-100): ").strip()
    return guess


s = socket()
try:
    s.connect((sys.argv[1], int(sys.argv[2])))
    data = b""
    while True:
        while b"\n" not in data:
            piece = s.recv(1024)
            if not piece:
                raise ConnectionError("closed by the server")
            data += piece
        line, data = data.split(b"\n", 1)
        received = line.decode(errors="replace").strip()
        if received == "LOW":
            print("Your guess is too low.")
        elif received == "HIGH":
            print("Your guess is too high.")
        elif received == "GUESS":
            guess = ask()
            s.sendall(guess.encode() + b"\n")
        elif received == "WIN":
            print("You win!")
            break
        elif received == "GAMEOVER":
            print("You ran out of tries! Game over.")
            break
        else:
            print(received)
except (ConnectionError, EOFError) as error:
    print("The game was stopped:", error)
    sys.exit(1)
s.close()
