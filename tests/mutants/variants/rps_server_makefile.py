"""Rps server with makefile(), that asks its own player before it sends the prompt."""

import socket
import sys

names = ["Scissor", "Paper", "Stone"]
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
conn, address = listener.accept()
listener.close()
print("Player 1 is", address)
stream = conn.makefile("rw", encoding="utf-8", errors="replace", newline="\n")
try:
    for i in range(3):
        mine = input(f"Round {i + 1}, your choice (1-3): ")
        while mine not in ("1", "2", "3"):
            mine = input("1, 2 or 3! ")
        player2 = int(mine) - 1
        stream.write("Enter (1) Scissor (2) Paper or (3) Stone: ")
        stream.flush()
        choice = stream.readline().strip()
        if choice not in names:
            print("Player 1 has sent", repr(choice))
            sys.exit(1)
        player1 = names.index(choice)
        verdict = ["Draw", "Player1 wins!", "Player2 wins!"][(player2 - player1) % 3]
        line = f"{verdict},{names[player1]},{names[player2]}"
        print(line)
        stream.write(line + "\n")
        stream.flush()
        if stream.readline().rstrip("\n") != line:
            print("Player 1 does not agree")
            break
except (OSError, EOFError) as error:
    print("Stopped:", error)
finally:
    try:
        stream.close()
    except OSError:
        pass
    conn.close()
