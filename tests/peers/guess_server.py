"""A student's server of high or low: guess_server.py [--sessions N] [--number N] [--fault NAME].

Reports its address on stderr.
"""

import argparse
import socket
import sys

FAULTS = ["", "glued", "noise", "windows", "byte-by-byte", "close", "bare-win", "silent", "endless"]


def session(conn, number, fault):
    def send(*lines):
        end = "\r\n" if fault == "windows" else "\n"
        data = "".join(line + end for line in lines).encode()
        if fault == "byte-by-byte":
            for i in range(len(data)):
                conn.sendall(data[i:i + 1])
        elif fault == "glued":
            conn.sendall(data)
        else:
            for line in data.splitlines(keepends=True):
                conn.sendall(line)

    if fault == "noise":
        send("Welcome!", "\x1b[2Jrules: none", "")
    if fault == "endless":
        try:
            for _ in range(1024):
                conn.sendall(b"x" * 1024)
        except OSError:
            pass
        return
    send("GUESS")
    left, data = 5, b""
    while left > 0:
        while b"\n" not in data:
            piece = conn.recv(1024)
            if not piece:
                print("the client left", file=sys.stderr)
                return
            data += piece
        line, data = data.split(b"\n", 1)
        if fault == "close":
            return
        if fault == "silent":
            while conn.recv(1024):
                pass
            return
        text = line.decode().strip()
        if text.isdigit() and int(text) == number:
            if fault == "bare-win":
                conn.sendall(b"WIN")
            else:
                send("WIN")
            return
        if not text.isdigit():
            reply = "Please enter number 1 to 100"
        else:
            reply = "HIGH" if int(text) > number else "LOW"
        left -= 1
        send(reply, "GUESS" if left else "GAMEOVER")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--sessions", type=int, default=1)
    parser.add_argument("--number", type=int, default=50)
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
                session(conn, args.number, args.fault)


main()
