"""A student's server of heads or tails: coin_server.py [--sessions N] [--fault NAME].

Every toss is heads. Reports its address on stderr. Some of the faults are deliberate features of
published servers.
"""

import argparse
import socket
import struct
import sys
import time

FAULTS = [
    "", "wording", "glued", "no-colon", "broken-line", "windows", "byte-by-byte", "no-bye",
    "bare-bye", "banner", "close", "reset", "silent", "escape", "endless",
]


def game(guess):
    if guess in ("H", "T"):
        return "You are right!" if guess == "H" else "Sorry, you are wrong."
    if guess == "Q":
        return "Thanks for playing the game. Bye!"
    return "Please enter head (H), tail (T) or Q to quit"


def session(conn, fault):
    def send(text):
        data = text.encode()
        if fault == "byte-by-byte":
            for i in range(len(data)):
                conn.sendall(data[i:i + 1])
        else:
            conn.sendall(data)

    prompt = {
        "wording": "\n\nI will toss the coin: guess if it is head (H) or tail (T): ",
        "no-colon": "Head or tail? ",
        "escape": "\x1b[2JPick \u202e: ",
    }.get(fault, "I will toss a coin, guess if it is a head (H) or tail (T) : ")
    end = {"glued": "", "windows": "\r\n"}.get(fault, "\n")
    if fault == "banner":
        send("Welcome to the game!\nHave fun.\n")
    if fault == "endless":
        try:
            for _ in range(1024):
                conn.sendall(b"x" * 1024)
        except OSError:
            pass
        return
    send(prompt)
    rounds = 0
    data = b""
    while True:
        while b"\n" not in data:
            piece = conn.recv(1024)
            if not piece:
                print("the client left", file=sys.stderr)
                return
            data += piece
        line, data = data.split(b"\n", 1)
        guess = line.decode()
        rounds += 1
        if rounds == 2 and fault == "close":
            return
        if rounds == 2 and fault == "reset":
            conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        if rounds == 2 and fault == "silent":
            while conn.recv(1024):
                pass
            return
        reply = game(guess)
        if fault == "broken-line":
            reply = reply.replace("tail (T) or", "tail (T)             or")
        if guess == "Q":
            if fault != "no-bye":
                send(reply + ("" if fault == "bare-bye" else end))
            return
        # In one write, because a simple client expects one recv.
        if fault == "no-colon":
            send(reply + end)
            time.sleep(0.001)
            send(prompt)
        else:
            send(reply + end + prompt)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--sessions", type=int, default=1)
    parser.add_argument("--fault", default="", choices=FAULTS)
    args = parser.parse_args()
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(5)
        host, port = listener.getsockname()
        print(f"listening on {host}:{port}", file=sys.stderr)
        for _ in range(args.sessions):
            conn, _ = listener.accept()
            with conn:
                session(conn, args.fault)


main()
