"""Coin server with a thread for each client. The newline of a reply leaves in a write of its own."""

import random
import socket
import sys
import threading


def game(sock, peer):
    score, rounds = 0, 0
    stream = sock.makefile("r", encoding="utf-8", errors="replace", newline="\n")
    try:
        while True:
            sock.sendall("I will toss a coin, guess if it is ".encode())
            sock.sendall("a head (H) or tail (T) : ".encode())
            line = stream.readline()
            if not line:
                break
            coin = random.choice("HT")
            match line.strip().upper():
                case "Q":
                    sock.sendall(b"Thanks for playing the game. Bye!\n")
                    break
                case "H" | "T" as letter:
                    rounds += 1
                    score += letter == coin
                    text = "You are right!" if letter == coin else "Sorry, you are wrong."
                case _:
                    text = "Please enter head (H), tail (T) or Q to quit"
            sock.sendall(text.encode())
            sock.sendall(b"\n")
    except OSError as e:
        print(peer, e)
    finally:
        stream.close()
        sock.close()
        print(f"{peer}: You have guessed correctly {score} out of {rounds} times.")


listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    threading.Thread(target=game, args=listener.accept()).start()
