"""A student's player 2 of rock, paper, scissors: rps_server.py [--sessions N] [--fault NAME].

Always chooses paper. Reports its address and the result on stderr.
"""

import argparse
import socket
import sys

FAULTS = [
    "", "win", "glued", "wording", "no-colon", "windows", "byte-by-byte", "banner", "wrong-verdict",
    "wrong-choice", "unknown-choice", "close", "silent", "escape",
]
BEATS = {("Scissor", "Paper"), ("Paper", "Stone"), ("Stone", "Scissor")}


def session(conn, fault):
    def send(text):
        data = text.encode()
        step = 1 if fault == "byte-by-byte" else len(data)
        for i in range(0, len(data), step):
            conn.sendall(data[i:i + step])

    data = b""

    def line():
        nonlocal data
        while b"\n" not in data:
            piece = conn.recv(1024)
            if not piece:
                raise EOFError
            data += piece
        text, data = data.split(b"\n", 1)
        return text.decode()

    prompt = {
        "wording": "Player1: Enter (1) Scissor, (2) Paper or (3) Stone : ",
        "no-colon": "Scissor, Paper or Stone? ",
        "escape": "\x1b[2JPick : ",
    }.get(fault, "Enter (1) Scissor (2) Paper or (3) Stone: ")
    end = {"windows": "\r\n", "glued": ""}.get(fault, "\n")
    wins = "win!" if fault == "win" else "wins!"
    if fault == "banner":
        send("Welcome, player 1\n")
    send(prompt)
    for game in range(3):
        theirs, ours = line(), "Paper"
        if fault == "close":
            return
        if fault == "silent":
            while conn.recv(1024):
                pass
            return
        if fault == "wrong-choice":
            theirs = "Scissor" if theirs != "Scissor" else "Stone"
        if theirs == ours:
            verdict = "Draw"
        elif (theirs, ours) in BEATS:
            verdict = f"Player1 {wins}"
        else:
            verdict = f"Player2 {wins}"
        if fault == "wrong-verdict":
            verdict = "Player2 wins!" if verdict != "Player2 wins!" else "Draw"
        if fault == "unknown-choice":
            ours = "Rock"
        result = f"{verdict},{theirs},{ours}"
        if fault == "banner":
            send("Player 2 is thinking\n")
        if fault == "glued" and game < 2:
            # The server does not wait for the acknowledgement.
            send(result + end + prompt)
        else:
            send(result + end)
        if line().strip() != result:
            print("not acknowledged", file=sys.stderr)
            return
        if fault != "glued" and game < 2:
            send(prompt)
    print("all acknowledged", file=sys.stderr)


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
                try:
                    session(conn, args.fault)
                except EOFError:
                    print("the client left", file=sys.stderr)


main()
