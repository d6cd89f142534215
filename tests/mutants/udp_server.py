"""Server of the datagrams: udp_server.py PORT"""

import socket
import sys


def reply_to(data):
    text = data.decode()
    return text[10:].encode()


server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", int(sys.argv[1])))
while True:
    data, address = server.recvfrom(4096)
    try:
        reply = reply_to(data)
    except UnicodeDecodeError as error:
        print("not UTF-8:", error)
        continue
    server.sendto(reply, address)
