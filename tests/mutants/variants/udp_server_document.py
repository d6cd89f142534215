# As the document has it: nothing is caught, and the socket takes messages for any address.
from socket import *
import sys

BUFFER_SIZE = 2048

udp_server_socket = socket(AF_INET, SOCK_DGRAM)
udp_server_socket.bind(('', int(sys.argv[1])))

while True:
    message, client = udp_server_socket.recvfrom(BUFFER_SIZE)
    udp_server_socket.sendto(message.decode()[10:].encode(), client)
