# Sends all messages, then receives all replies.
import socket
import sys

server = (sys.argv[1], int(sys.argv[2]))
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
messages = [line.rstrip("\n") for line in sys.stdin]
for message in messages:
    sock.sendto(message.encode(), server)
for message in messages:
    print(sock.recvfrom(2048)[0].decode())
