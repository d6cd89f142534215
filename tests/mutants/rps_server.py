"""Player 2 of scissor, paper, stone: rps_server.py PORT"""

import socket
import sys

CHOICES = {"1": "Scissor", "2": "Paper", "3": "Stone"}
PROMPT = "Enter (1) Scissor (2) Paper or (3) Stone: "


def judge(player1, player2):
    if player1 == player2:
        return "Draw"
    if (player1, player2) in [("Scissor", "Paper"), ("Paper", "Stone"), ("Stone", "Scissor")]:
        return "Player1 wins!"
    return "Player2 wins!"


def read_line(conn):
    data = b""
    while not data.endswith(b"\n"):
        piece = conn.recv(1)
        if not piece:
            raise ConnectionError("the client has left")
        data += piece
    return data.decode(errors="replace").strip()


def ask():
    typed = input("Player2: " + PROMPT).strip()
    while typed not in CHOICES:
        print("Please enter only 1, 2 or 3.")
        typed = input("Player2: " + PROMPT).strip()
    return CHOICES[typed]


def play(conn):
    for number in range(3):
        conn.sendall(PROMPT.encode())
        print("Waiting for player 1 ...")
        player1 = read_line(conn)
        if player1 not in CHOICES.values():
            raise ValueError("unknown choice " + repr(player1))
        player2 = ask()
        verdict = judge(player1, player2)
        print("Player1:", player1)
        print("Player2:", player2)
        print(verdict)
        result = verdict + "," + player1 + "," + player2
        conn.sendall(result.encode() + b"\n")
        if read_line(conn) != result:
            raise ValueError("player 1 has another result")


listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", int(sys.argv[1])))
listener.listen(1)
conn, address = listener.accept()
with conn:
    try:
        play(conn)
    except (ConnectionError, EOFError, ValueError) as error:
        print("The game was stopped:", error)
listener.close()
