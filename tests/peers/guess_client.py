"""A student's client of high or low: guess_client.py HOST PORT [--games N] [--fault NAME] [GUESS...].

Takes everything that ends with a newline for one message, as courses teach it, so it hangs when two
messages arrive in one recv. Bisects if no guesses are given. Each game is a connection.
"""

import argparse
import socket
import struct
import sys
import time

FAULTS = ["", "leave", "reset", "windows", "early", "long", "spin"]


def spin(conn):
    """Reads in a loop that does not check for the end of the stream. Limited to ten seconds."""
    print("spinning", flush=True)
    end = time.monotonic() + 10
    while time.monotonic() < end:
        conn.recv(1024)


def play(args):
    low, high, guesses = 1, 100, list(args.guesses)
    guess = None
    with socket.create_connection((args.host, args.port)) as conn:
        if args.fault == "early":
            conn.sendall("".join(f"{g}\n" for g in guesses).encode())
        while True:
            data = b""
            while b"\n" not in data:
                piece = conn.recv(1024)
                if not piece and args.fault == "spin":
                    spin(conn)
                if not piece:
                    sys.exit(f"the server left after {data!r}")
                data += piece
            received = data.decode().strip()
            if received == "LOW":
                if guess:
                    low = guess + 1
            elif received == "HIGH":
                if guess:
                    high = guess - 1
            elif received == "GUESS":
                if args.fault == "leave":
                    return "LEFT"
                if args.fault == "reset":
                    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return "LEFT"
                if args.fault == "long":
                    conn.sendall(b"5" * 100000)
                    return "LEFT"
                if args.fault == "early":
                    continue
                end = "\r\n" if args.fault == "windows" else "\n"
                if args.guesses:
                    text = guesses.pop(0)
                    guess = None
                else:
                    guess = (low + high) // 2
                    text = str(guess)
                conn.sendall((text + end).encode())
            elif received in ("WIN", "GAMEOVER") and args.fault != "spin":
                return received


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("guesses", nargs="*")
    parser.add_argument("--games", type=int, default=1)
    parser.add_argument("--fault", default="", choices=FAULTS)
    args = parser.parse_args()
    for _ in range(args.games):
        print(play(args))


main()
