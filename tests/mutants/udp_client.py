"""Client of the datagrams: udp_client.py HOST PORT"""

import socket
import sys


def ask(sock, server, message):
    expected = message[10:].encode()
    for attempt in range(3):
        sock.sendto(message.encode(), server)
        try:
            while True:
                data, address = sock.recvfrom(4096)
                if address == server and data == expected:
                    return data.decode()
        except TimeoutError:
            continue
    sys.exit("no reply to: " + message)


def main():
    server = (sys.argv[1], int(sys.argv[2]))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.6)
        while True:
            try:
                message = input()
            except EOFError:
                break
            print(ask(sock, server, message))


main()
