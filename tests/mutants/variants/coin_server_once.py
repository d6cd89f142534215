"""Coin server that serves one client and ends. A reply leaves together with the next prompt."""

from random import choice
from socket import *
from sys import argv

s = socket()
s.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
s.bind(("127.0.0.1", int(argv[1])))
s.listen()
print("Type Ctrl-C to stop.")
client, addr = s.accept()
print("Connected to: " + str(addr))
prompt = b"I will toss a coin, guess if it is a head (H) or tail (T) : "
c = n = 0
buffer = b""
try:
    client.sendall(prompt)
    while True:
        while b"\n" not in buffer:
            data = client.recv(1024)
            if not data:
                raise ConnectionError("client closed")
            buffer += data
        line, buffer = buffer.split(b"\n", 1)
        guess = line.decode("utf-8", "ignore").strip().upper()
        print("The client chose", guess)
        if guess == "Q":
            client.sendall(b"Thanks for playing the game. Bye!\n")
            break
        if guess in ["H", "T"]:
            n += 1
            if guess == choice(["H", "T"]):
                c += 1
                reply = b"You are right!\n"
            else:
                reply = b"Sorry, you are wrong.\n"
        else:
            reply = b"Please enter head (H), tail (T) or Q to quit\n"
        client.sendall(reply + prompt)
except OSError as e:
    print("Problem:", e)
print(f"You have guessed correctly {c} out of {n} times.")
client.close()
s.close()
