"""Client that fetches a file: file_client.py HOST:PORT:REMOTE LOCAL"""

import socket
import sys


def main():
    host, port, remote = sys.argv[1].split(":", 2)
    local = sys.argv[2]
    count = 0
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.connect((host, int(port)))
        sock.sendall(remote.encode())
        block = sock.recv(1024)
        if not block:
            sys.exit("the server sent nothing")
        with open(local, "wb") as file:
            while block:
                file.write(block)
                count += len(block)
                block = sock.recv(1024)
    print(count, "bytes received")


try:
    main()
except OSError as error:
    sys.exit("not fetched: " + str(error))
