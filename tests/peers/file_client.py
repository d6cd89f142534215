"""A student's client of the file server: file_client.py HOST PORT NAME [--fault NAME].

Writes the file to stdout. It uses the plain form, in which the server's close is the end.
"""

import argparse
import socket
import sys
import time

FAULTS = ["", "bare", "bare-half-close", "crlf", "byte-by-byte", "small-recv", "leave"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("name")
    parser.add_argument("--fault", default="", choices=FAULTS)
    args = parser.parse_args()

    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.connect((args.host, args.port))
    if args.fault.startswith("bare"):
        sock.send(args.name.encode())
        if args.fault == "bare-half-close":
            sock.shutdown(socket.SHUT_WR)
    elif args.fault == "crlf":
        sock.send((args.name + "\r\n").encode())
    elif args.fault == "byte-by-byte":
        for char in args.name + "\n":
            sock.send(char.encode())
            time.sleep(0.001)
    else:
        sock.send((args.name + "\n").encode())

    size = 7 if args.fault == "small-recv" else 1024
    while True:
        try:
            data = sock.recv(size)
        except ConnectionResetError:
            sys.exit("the server refused")
        if not data:
            break
        sys.stdout.buffer.write(data)
        if args.fault == "leave":
            break
    sock.close()


main()
