"""A student's client of heads or tails: coin_client.py HOST PORT [ANSWER...] [--games N]
[--fault NAME].

Takes one recv for the prompt, as courses teach it, then reads until a newline. Hangs when a reply and
the next prompt arrive in one recv.
"""

import argparse
import socket
import struct
import sys

FAULTS = ["", "leave", "reset", "lower", "spaces", "byte-by-byte", "early", "long"]


def play(args):
    right = total = 0
    with socket.create_connection((args.host, args.port)) as conn:
        if args.fault == "early":
            conn.sendall("".join(f"{a}\n" for a in args.answers).encode())
        for answer in args.answers:
            prompt = conn.recv(1024).decode()
            if not prompt:
                sys.exit("the server left")
            print("asked:", prompt.strip())
            if args.fault == "leave":
                return
            if args.fault == "reset":
                conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            if args.fault == "long":
                conn.sendall(b"H" * 100000)
                return
            line = {"lower": answer.lower(), "spaces": f" {answer}\t\r"}.get(args.fault, answer)
            line = line.encode() + b"\n"
            if args.fault == "byte-by-byte":
                for i in range(len(line)):
                    conn.sendall(line[i:i + 1])
            elif args.fault != "early":
                conn.sendall(line)
            data = b""
            while b"\n" not in data:
                piece = conn.recv(1024)
                if not piece:
                    sys.exit("the server left")
                data += piece
            text = data.decode()
            print("reply:", text.strip())
            if answer in ("H", "T"):
                total += 1
                right += "right" in text
            if answer == "Q":
                break
    print(f"You have guessed correctly {right} out of {total} times.")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("answers", nargs="*", default=["H", "T", "x", "Q"])
    parser.add_argument("--games", type=int, default=1)
    parser.add_argument("--fault", default="", choices=FAULTS)
    args = parser.parse_args()
    for _ in range(args.games):
        play(args)


main()
