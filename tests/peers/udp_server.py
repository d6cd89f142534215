"""A student's server of the datagram exercise: udp_server.py [--count N] [--buffer N] [--fault NAME].

Reports its address on stderr, answers N datagrams, then exits.
"""

import argparse
import socket
import sys

# Replies that are wrong.
WRONG = {
    "nothing-removed": lambda message: message,
    "ten-bytes": lambda message: message[10:],
    "eleven": lambda message: message.decode()[11:].encode(),
    "first-ten": lambda message: message.decode()[:10].encode(),
    "length": lambda message: len(message.decode()[10:]).to_bytes(4, "big") + message.decode()[10:].encode(),
    "newline": lambda message: message.decode()[10:].encode() + b"\n",
    "strip": lambda message: message.decode()[10:].strip().encode(),
    "short": lambda message: message.decode()[10:-2].encode(),
    "upper-case": lambda message: message.decode()[10:].upper().encode(),
    "empty": lambda message: b"",
    "long": lambda message: b"x" * 5000,
}
FAULTS = ["", "silent", "first-lost", "twice", "late", "other-port"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--buffer", type=int, default=1024)
    parser.add_argument("--fault", default="", choices=[*FAULTS, *WRONG])
    args = parser.parse_args()

    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    host, port = sock.getsockname()
    print(f"listening on {host}:{port}", file=sys.stderr, flush=True)

    held = None
    for number in range(args.count):
        message, client = sock.recvfrom(args.buffer)
        reply = WRONG[args.fault](message) if args.fault in WRONG else message.decode()[10:].encode()
        if args.fault == "silent" or (args.fault == "first-lost" and number == 0):
            continue
        if args.fault == "late":
            # Each reply leaves only after the next message has come.
            if held is not None:
                sock.sendto(held, client)
            held = reply
            continue
        (other if args.fault == "other-port" else sock).sendto(reply, client)
        if args.fault == "twice":
            sock.sendto(reply, client)
    sock.close()


main()
