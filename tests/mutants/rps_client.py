"""Player 1 of scissor, paper, stone: rps_client.py HOST PORT"""

import socket
import sys

CHOICES = {"1": "Scissor", "2": "Paper", "3": "Stone"}
buffer = b""


def read_until(sock, end):
    """Returns everything up to and including these bytes."""
    global buffer
    while end not in buffer:
        piece = sock.recv(1024)
        if not piece:
            raise ConnectionError("the server has left")
        buffer += piece
    at = buffer.index(end) + len(end)
    text, buffer = buffer[:at], buffer[at:]
    return text.decode(errors="replace")


def ask(prompt):
    typed = input(prompt).strip()
    while typed not in CHOICES:
        print("Please enter only 1, 2 or 3.")
        typed = input(prompt).strip()
    return CHOICES[typed]


def play(sock):
    for number in range(3):
        prompt = read_until(sock, b": ")
        choice = ask(prompt)
        sock.sendall(choice.encode() + b"\n")
        print("Waiting for player 2 ...")
        result = read_until(sock, b"\n").strip()
        verdict, player1, player2 = result.split(",")
        print("Player1:", player1)
        print("Player2:", player2)
        print(verdict)
        sock.sendall(result.encode() + b"\n")


with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
    try:
        sock.connect((sys.argv[1], int(sys.argv[2])))
        play(sock)
    except (ConnectionError, EOFError, ValueError) as error:
        print("The game was stopped:", error)
