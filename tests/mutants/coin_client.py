"""Client of heads or tails: coin_client.py HOST PORT"""

import socket
import sys

buffer = b""


def read_until(sock, end):
    """Returns everything up to and including these bytes, or None at the end of the stream."""
    global buffer
    while end not in buffer:
        piece = sock.recv(1024)
        if not piece:
            return None
        buffer += piece
    at = buffer.index(end) + len(end)
    text, buffer = buffer[:at], buffer[at:]
    return text.decode(errors="replace")


def play(sock):
    correct = 0
    total = 0
    while True:
        prompt = read_until(sock, b": ")
        if prompt is None:
            print("The server has left.")
            break
        try:
            guess = input(prompt).strip().upper()
        except EOFError:
            guess = "Q"
        sock.sendall(guess.encode() + b"\n")
        reply = read_until(sock, b"\n")
        if reply is None:
            print("The server has left.")
            break
        print(reply)
        if guess == "Q":
            break
        if guess == "H" or guess == "T":
            total += 1
            if reply.startswith("You are right!"):
                correct += 1
    print("You have guessed correctly", correct, "out of", total, "times.")


with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
    try:
        sock.connect((sys.argv[1], int(sys.argv[2])))
        play(sock)
    except ConnectionError as error:
        print("connection lost:", error)
