"""A student's file server: file_server.py DIR [--sessions N] [--fault NAME].

Reports its address on stderr, serves N clients one after the other, then exits. It takes one recv
for the name, sends blocks of 1024 bytes and closes. It knows only the plain form.
"""

import argparse
import os
import socket
import struct
import sys
import time

FAULTS = ["", "byte-by-byte", "reset", "silent", "text-error", "slow"]


def serve(conn, folder, fault):
    request = conn.recv(1024)
    name = request.decode().rstrip("\r\n")
    try:
        with open(os.path.join(folder, name), "rb") as file:
            if fault == "silent":
                while conn.recv(1024):
                    pass
                return
            sent = 0
            while True:
                block = file.read(1024)
                if not block:
                    break
                if fault == "byte-by-byte":
                    for i in range(len(block)):
                        conn.sendall(block[i:i + 1])
                else:
                    conn.sendall(block)
                sent += len(block)
                if fault == "slow":
                    time.sleep(0.001)
                if fault == "reset" and sent >= 2048:
                    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return
    except (OSError, ValueError) as error:
        # Python raises ValueError for a NUL in a name.
        if fault == "text-error":
            conn.sendall(b"Error: " + str(error).encode())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--sessions", type=int, default=1)
    parser.add_argument("--fault", default="", choices=FAULTS)
    args = parser.parse_args()

    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", 0))
    listener.listen(5)
    print("listening on 127.0.0.1:%d" % listener.getsockname()[1], file=sys.stderr, flush=True)
    for _ in range(args.sessions):
        conn, _ = listener.accept()
        serve(conn, args.folder, args.fault)
        conn.close()


main()
