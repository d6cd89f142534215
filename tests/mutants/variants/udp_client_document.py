# As the document has it: it waits for each reply without a limit.
from socket import *
import sys

BUFFER_SIZE = 1024

udp_client_socket = socket(AF_INET, SOCK_DGRAM)
for line in sys.stdin:
    message = line.rstrip("\n")
    udp_client_socket.sendto(message.encode(), (sys.argv[1], int(sys.argv[2])))
    response, server = udp_client_socket.recvfrom(BUFFER_SIZE)
    print(response.decode())
udp_client_socket.close()
