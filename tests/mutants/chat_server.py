"""Server of the chat, which writes first: chat_server.py PORT"""

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
        try:
            line = input("Input message: ")
        except EOFError:
            break
        sock.sendall(line.encode() + b"\n")
        if says_bye(line):
            break
        print("WAITING FOR CLIENT ...")
        line = read_line(sock)
        if line is None:
            print("The client has left.")
            break
        print("Client wrote:", line)
        if says_bye(line):
            break


listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", int(sys.argv[1])))
listener.listen()
sock, addr = listener.accept()
print("Connected to:", addr)
try:
    chat(sock)
except ConnectionError as error:
    print("connection lost:", error)
sock.close()
listener.close()
