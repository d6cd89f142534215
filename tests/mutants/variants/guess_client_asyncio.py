"""Guess client with asyncio."""

import asyncio
import sys


async def play(host, port):
    reader, writer = await asyncio.open_connection(host, port)
    while True:
        line = await reader.readline()
        if not line.endswith(b"\n"):
            print("no answer from the server", file=sys.stderr)
            return 1
        match line.decode("utf-8", "replace").strip():
            case "GUESS":
                text = await asyncio.to_thread(input, "guess> ")
                while not text.strip().isdecimal():
                    text = await asyncio.to_thread(input, "a number> ")
                writer.write(f"{int(text)}\n".encode())
                await writer.drain()
            case "LOW":
                print("Your guess is too low.")
            case "HIGH":
                print("Your guess is too high.")
            case "WIN":
                print("You win!")
                break
            case "GAMEOVER":
                print("You ran out of tries! Game over.")
                break
            case other:
                print("server says:", other)
    writer.close()
    return 0


try:
    code = asyncio.run(play(sys.argv[1], int(sys.argv[2])))
except (ConnectionError, EOFError, ValueError) as error:
    print("stopped:", error, file=sys.stderr)
    code = 1
sys.exit(code)
