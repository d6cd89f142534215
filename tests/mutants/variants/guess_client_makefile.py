"""Guess client with makefile() and a table of texts. The newline leaves in a write of its own."""

import socket
import sys

TEXTS = {
    "LOW": "Your guess is too low.",
    "HIGH": "Your guess is too high.",
    "WIN": "*** You win! ***",
    "GAMEOVER": "You ran out of tries! Game over.",
}


def main():
    sock = socket.create_connection((sys.argv[1], int(sys.argv[2])))
    with sock, sock.makefile("r", errors="replace") as lines:
        for line in lines:
            word = line.strip()
            if word == "GUESS":
                number = None
                while number is None:
                    try:
                        number = int(input("Your guess: "))
                    except ValueError:
                        print("An integer, please.")
                sock.sendall(str(number).encode())
                sock.sendall(b"\n")
            else:
                print(TEXTS.get(word, word))
            if word == "WIN" or word == "GAMEOVER":
                return
    print("The server closed the connection.")


try:
    main()
except (OSError, EOFError) as e:
    print("Sorry:", e)
