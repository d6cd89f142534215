"""Client that adds two numbers: add_client.py HOST PORT"""

import socket
import sys


def ask_number():
    while True:
        text = input("Enter an integer between 1 and 100: ")
        if text.isdecimal() and 1 <= int(text) <= 100:
            return int(text)
        print("That is not a number between 1 and 100.")


def read_all(sock):
    data = b""
    while True:
        piece = sock.recv(1024)
        if not piece:
            return data
        data += piece


def main():
    my_name = input("Enter your name: ")
    my_number = ask_number()
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.connect((sys.argv[1], int(sys.argv[2])))
        message = my_name + "\n" + str(my_number) + "\n"
        sock.sendall(message.encode())
        reply = read_all(sock)
    lines = reply.decode(errors="replace").split("\n")
    if len(lines) < 2 or not lines[1].strip().isdecimal():
        sys.exit("the server sent no name and number")
    server_name = lines[0]
    server_number = int(lines[1])
    print("Client:", my_name, "Server:", server_name)
    print("Numbers:", my_number, "and", server_number)
    print("Sum:", my_number + server_number)


try:
    main()
except ConnectionError as error:
    sys.exit("connection lost: " + str(error))
