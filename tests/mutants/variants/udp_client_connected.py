import socket
import sys

sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.connect((sys.argv[1], int(sys.argv[2])))
sock.settimeout(2)
try:
    for line in sys.stdin:
        sock.send(line.rstrip("\n").encode())
        print(sock.recv(65536).decode())
except TimeoutError:
    sys.exit("no reply")
except ConnectionRefusedError:
    sys.exit("no server there")
