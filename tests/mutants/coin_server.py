"""Server of heads or tails: coin_server.py PORT"""

import random
import socket
import sys

PROMPT = "I will toss a coin, guess if it is a head (H) or tail (T) : "


def game(guess):
    if guess == "H" or guess == "T":
        if guess == random.choice(["H", "T"]):
            return "You are right!"
        return "Sorry, you are wrong."
    if guess == "Q":
        return "Thanks for playing the game. Bye!"
    return "Please enter head (H), tail (T) or Q to quit"


def play(conn):
    lines = conn.makefile("rb")
    correct = 0
    total = 0
    while True:
        conn.sendall(PROMPT.encode())
        line = lines.readline()
        if not line.endswith(b"\n"):
            print("The client has left.")
            break
        guess = line.decode(errors="replace").strip().upper()
        reply = game(guess)
        conn.sendall(reply.encode() + b"\n")
        if guess == "Q":
            break
        if guess == "H" or guess == "T":
            total += 1
        if reply == "You are right!":
            correct += 1
    print("You have guessed correctly", correct, "out of", total, "times.")


listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", int(sys.argv[1])))
listener.listen(5)
while True:
    conn, address = listener.accept()
    print("Connected to:", address)
    with conn:
        try:
            play(conn)
        except ConnectionError as error:
            print("connection lost:", error)
