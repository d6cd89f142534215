# A socket for each message.
import socket
import sys


def ask(message, server):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.sendto(message.encode("utf-8"), server)
        return sock.recvfrom(4096)[0].decode("utf-8")


for line in sys.stdin:
    print("reply:", ask(line[:-1] if line.endswith("\n") else line, (sys.argv[1], int(sys.argv[2]))))
