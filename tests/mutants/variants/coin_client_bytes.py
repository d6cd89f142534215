"""Coin client that reads byte by byte, and asks again until it has H, T or Q."""

import socket
import sys


def read(sock, last):
    text = b""
    while not text.endswith(last):
        byte = sock.recv(1)
        if byte == b"":
            print("\nConnection closed by the server")
            sys.exit(1)
        text += byte
    return text.decode("latin-1")


def main():
    sock = socket.socket()
    sock.connect((sys.argv[1], int(sys.argv[2])))
    n = 0
    c = 0
    while True:
        print("-" * 40)
        question = read(sock, b": ")
        answer = input(question)
        while answer.lower() not in ["h", "t", "q"]:
            answer = input("H, T or Q please: ")
        sock.sendall(f"{answer}\n".encode())
        reply = read(sock, b"\n").rstrip()
        print(reply)
        if answer.lower() == "q":
            break
        n = n + 1
        c = c + (reply == "You are right!")
    print("You have guessed correctly %d out of %d times." % (c, n))
    sock.close()


try:
    main()
except ConnectionError as error:
    print("\nConnection lost:", error)
    sys.exit(1)
except EOFError:
    print("\nNo more input")
