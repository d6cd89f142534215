"""Guess server that serves one client and ends. A result leaves together with the next GUESS."""

from random import *
from socket import *
from sys import argv

my_socket = socket()
my_socket.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
my_socket.bind(("127.0.0.1", int(argv[1])))
my_socket.listen()
num = randint(1, 100)
print("The number is", num)
new_socket, addr = my_socket.accept()
print("Connected to: " + str(addr))
counter = 5
message = "GUESS\n"
rest = b""
try:
    while True:
        new_socket.sendall(message.encode())
        if counter == 0 or message.startswith("WIN"):
            break
        while b"\n" not in rest:
            data = new_socket.recv(1024)
            if len(data) == 0:
                raise OSError("no more data")
            rest += data
        guess, rest = rest.split(b"\n", 1)
        print("Guess:", guess)
        counter -= 1
        try:
            number = int(guess.strip())
            if number == num:
                message = "WIN\n"
                continue
            message = "HIGH\n" if number > num else "LOW\n"
        except ValueError:
            message = "Please enter number 1 to 100\n"
        message += "GUESS\n" if counter else "GAMEOVER\n"
except OSError as error:
    print("Client lost:", error)
new_socket.close()
my_socket.close()
