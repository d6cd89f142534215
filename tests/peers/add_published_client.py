"""Published clients of add: add_published_client.py HOST PORT STYLE.

Each sends a name and 42 in its own form, takes one recv for the whole answer and splits it in the same
form. All of them print the same line.
"""

import socket
import sys
import time


def split(separator):
    def parse(text):
        name, number = text.split(separator)
        return name, int(number)

    return parse


def one_recv(sock):
    return sock.recv(1024).decode()


def all_of_it(sock):
    text = ""
    while piece := sock.recv(1024).decode():
        text += piece
    return text


# What is sent (a number is a pause in seconds), how the answer is read and how it is parsed.
STYLES = {
    "comma": (["Ada,42"], one_recv, split(",")),
    "comma-newline": (["Ada,42\n"], lambda sock: sock.makefile().readline(), split(",")),
    "comma-space": (["Ada, 42"], one_recv, split(", ")),
    "colon": (["Ada:42"], one_recv, split(":")),
    "semicolon": (["Ada;42\r\n"], one_recv, split(";")),
    "bar": (["Ada|42"], one_recv, split("|")),
    "space": (["Ada 42"], one_recv, split(" ")),
    "tab": (["Ada\t42\n"], one_recv, str.split),
    # Line by line, as in the protocol document, without the last newline.
    "lines-half-close": (["Ada\n42", None], all_of_it, split("\n")),
    "lines-silence": (["Ada\n42"], one_recv, split("\n")),
    # Longer than the pause that ends a field.
    "name-then-number": (["Ada\n", 0.4, "42\n"], one_recv, str.splitlines),
    "name-then-bare-number": (["Ada\n", 0.4, "42"], one_recv, split("\n")),
    "comma-apart": (["Ada,", 0.4, "42"], one_recv, split(",")),
    "separator-later": (["Ada", 0.4, ": 42\n"], one_recv, split(": ")),
    # StreamWriter of .NET with its default encoding.
    "marked": (["\ufeffAda\r\n42\r\n"], one_recv, str.splitlines),
    "marked-comma": (["\ufeffAda,42"], one_recv, split(",")),
}


def main():
    _, host, port, style = sys.argv
    pieces, read, parse = STYLES[style]
    with socket.create_connection((host, int(port))) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            if piece is None:
                sock.shutdown(socket.SHUT_WR)
            elif isinstance(piece, float):
                time.sleep(piece)
            else:
                sock.sendall(piece.encode())
        name, number = parse(read(sock))
    print(f"{name} and {int(number)}: {42 + int(number)}")


main()
