"""Client of the chat, which writes second: chat_client.py HOST PORT"""

import re
import socket
import sys


def says_bye(line):
    return re.search(r"\bBYE\b", line.upper()) is not None


def read_line(sock):
    """Reads one line byte by byte. Returns None at the end of the stream."""
    data = b""
    while not data.endswith(b"\n"):
        piece = sock.recv(1)
        if not piece:
            return None
        data += piece
    return data.decode(errors="replace").rstrip("\r\n")


def chat(sock):
    while True:
        print("WAITING FOR SERVER ...")
        line = read_line(sock)
        if line is None:
            print("The server has left.")
            break
        print("Server wrote:", line)
        if says_bye(line):
            break
        try:
            line = input("Input message: ")
        except EOFError:
            break
        sock.sendall(line.encode() + b"\n")
        if says_bye(line):
            break


sock = socket.socket()
try:
    sock.connect((sys.argv[1], int(sys.argv[2])))
    chat(sock)
except ConnectionError as error:
    print("connection lost:", error)
sock.close()
