"""Add client with makefile() and readline(). The name and the number leave in two writes."""

import socket
import sys

with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as sock:
    name = input("Who are you? ")
    number = input("Your number? ")
    while not (number.isdecimal() and 0 < int(number) < 101):
        print("1 to 100, please")
        number = input("Your number? ")
    try:
        sock.sendall((name + "\n").encode())
        sock.sendall((number + "\n").encode())
        stream = sock.makefile("r", encoding="utf-8", errors="replace")
        other_name = stream.readline()
        other_number = stream.readline()
    except ConnectionError:
        other_name = other_number = ""
    try:
        total = int(number) + int(other_number)
    except ValueError:
        print("Sorry, the server did not answer.")
        sys.exit(1)
    print("----------------------------")
    print("| client:", name, number)
    print("| server:", other_name.strip(), other_number.strip())
    print("| total: ", total)
    print("----------------------------")
