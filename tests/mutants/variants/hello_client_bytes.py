"""Hello client that reads byte by byte up to the end of the stream."""

import socket
import sys


def main():
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.connect((sys.argv[1], int(sys.argv[2])))
    received = bytearray()
    try:
        while True:
            byte = sock.recv(1)
            if len(byte) == 0:
                break
            received += byte
    except ConnectionResetError:
        print("the server has reset the connection", file=sys.stderr)
        return 1
    finally:
        sock.close()
    print(received.decode("utf-8", "ignore"), end="")
    return 0


sys.exit(main())
