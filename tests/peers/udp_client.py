"""A student's client of the datagram exercise.

udp_client.py HOST PORT [--buffer N] [--timeout SECONDS] [--fault NAME], messages as lines on stdin, replies as lines
on stdout. It sends a message once and waits for one datagram.
"""

import argparse
import socket
import sys


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--buffer", type=int, default=1024)
    parser.add_argument("--timeout", type=float, default=10)
    parser.add_argument("--fault", default="", choices=["", "not-utf8", "cut", "leaves", "length"])
    args = parser.parse_args()
    server = (args.host, args.port)

    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(args.timeout)
    for line in sys.stdin:
        message = line.rstrip("\n").encode()
        if args.fault == "not-utf8":
            message = b"\xff" + message
        if args.fault == "cut":
            # Counts bytes, so the last character is not whole.
            message = "é".encode()[:1]
        if args.fault == "length":
            message = len(message).to_bytes(4, "big") + message
        sock.sendto(message, server)
        if args.fault == "leaves":
            break
        try:
            reply, sender = sock.recvfrom(args.buffer)
        except TimeoutError:
            print("<lost>")
            continue
        assert sender == server, sender
        print(reply.decode())
    sock.close()


main()
