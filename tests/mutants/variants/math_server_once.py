"""Math server that prints everything, serves one client and ends."""

import random
from socket import *
from sys import argv

server = socket(AF_INET, SOCK_STREAM)
server.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
server.bind(("127.0.0.1", int(argv[1])))
server.listen(1)
print("*** waiting for a client ***")
client, addr = server.accept()
print("*** connected:", addr, "***")
right = True
try:
    for number in range(4):
        a = random.randint(0, 99999)
        b = random.randint(0, 99999)
        print("Question", number + 1, ":", a, "+", b)
        client.sendall(bytes("Q", "ascii") + a.to_bytes(4, "big") + b.to_bytes(4, "big"))
        answer = b""
        while len(answer) != 4:
            data = client.recv(4 - len(answer))
            if len(data) == 0:
                break
            answer += data
        if len(answer) != 4 or int.from_bytes(answer, "big") != a + b:
            print("wrong!")
            right = False
            break
    if right:
        client.sendall(b"S" + b"12345678")
        print("*** secret sent, goodbye ***")
except OSError as error:
    print("*** lost the client:", error, "***")
client.close()
server.close()
