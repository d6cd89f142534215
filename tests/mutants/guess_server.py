"""Server of high or low: guess_server.py PORT"""

import random
import sys
from socket import *


def game(num, guess):
    if not (guess.isascii() and guess.isdigit()):
        return "Please enter number 1 to 100"
    if int(guess) == num:
        return "WIN"
    if int(guess) > num:
        return "HIGH"
    return "LOW"


def read_line(conn):
    """Reads byte by byte up to the newline. Returns None at the end of the stream."""
    data = b""
    while not data.endswith(b"\n"):
        piece = conn.recv(1)
        if not piece or len(data) > 1000:
            return None
        data += piece
    return data.decode(errors="replace").strip()


def play(conn):
    num = random.randint(1, 100)
    counter = 5
    while counter > 0:
        conn.sendall(b"GUESS\n")
        guess = read_line(conn)
        if guess is None:
            print("The client has left.")
            return
        result = game(num, guess)
        conn.sendall(result.encode() + b"\n")
        if result == "WIN":
            return
        counter -= 1
    conn.sendall(b"GAMEOVER\n")


my_socket = socket()
my_socket.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
my_socket.bind(("127.0.0.1", int(sys.argv[1])))
my_socket.listen()
while True:
    conn, addr = my_socket.accept()
    print("Connected to:", addr)
    try:
        play(conn)
    except ConnectionError as error:
        print("connection lost:", error)
    conn.close()
