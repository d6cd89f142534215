"""Rps server that sends a result in pieces."""

import socket
import sys

KEYS = {"1": "Scissor", "2": "Paper", "3": "Stone"}
WINS = {"Scissor": "Paper", "Paper": "Stone", "Stone": "Scissor"}


class Game:
    def __init__(self, conn):
        self.conn = conn
        self.buffer = b""

    def line(self):
        while True:
            line, newline, rest = self.buffer.partition(b"\n")
            if newline:
                self.buffer = rest
                return line.decode("utf-8", "replace").strip()
            data = self.conn.recv(1024)
            if not data:
                raise EOFError("player 1 is gone")
            self.buffer += data

    def own_choice(self):
        key = ""
        while key not in KEYS:
            key = input("Enter (1) Scissor (2) Paper or (3) Stone: ")
        return KEYS[key]

    def play(self):
        for i in range(3):
            for part in ("Enter (1) Scissor ", "(2) Paper ", "or (3) Stone: "):
                self.conn.sendall(part.encode())
            first = self.line()
            if first not in WINS:
                print("not a choice:", first)
                return
            second = self.own_choice()
            if first == second:
                verdict = "Draw"
            else:
                verdict = "Player1 wins!" if WINS[first] == second else "Player2 wins!"
            for part in (verdict, ",", first, ",", second, "\n"):
                self.conn.send(part.encode())
            print(">>>", verdict, first, second)
            acknowledgement = self.line()
            print("<<<", acknowledgement)


with socket.socket() as listener:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", int(sys.argv[1])))
    listener.listen()
    conn, _ = listener.accept()
    with conn:
        try:
            Game(conn).play()
        except (OSError, EOFError) as e:
            print(e)
