"""Published file servers: file_published_server.py DIR KIND [--sessions N].

None of them knows the checked form. Reports its address on stderr, serves N clients one after the
other, then exits. Each session prints the request on stdout.

  once      takes one recv for the name; sends blocks of 1024 bytes, then closes
  text      the same, but sends an error text if there is no such file
  c         a name ends at the first NUL, as in C
  lines     reads a line
  closes    reads the request and closes
  resets    reads the request and resets
  whole     reads a whole buffer of 256 bytes first
  nul       takes one recv; never answers a name that contains a NUL
"""

import argparse
import os
import socket
import struct
import sys


def receive(conn, kind):
    if kind == "lines":
        with conn.makefile("rb") as stream:
            return stream.readline()
    if kind == "whole":
        return conn.recv(256, socket.MSG_WAITALL)
    return conn.recv(1024)


def send(conn, path):
    with open(path, "rb") as file:
        while True:
            block = file.read(1024)
            if not block:
                return
            conn.sendall(block)


def serve(conn, folder, kind):
    request = receive(conn, kind)
    print(request, flush=True)
    if kind == "closes":
        return
    if kind == "resets":
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return
    if kind == "nul" and b"\0" in request:
        conn.recv(1)
        return
    name = request
    if kind == "c":
        name = request.split(b"\0")[0]
    if kind == "lines":
        name = request.rstrip(b"\n")
    try:
        send(conn, os.path.join(folder.encode(), name))
    except (OSError, ValueError):
        # Python raises ValueError for a NUL in a name.
        if kind == "text":
            conn.sendall(b"File not found")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("kind")
    parser.add_argument("--sessions", type=int, default=1)
    args = parser.parse_args()

    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", 0))
    listener.listen(5)
    print("listening on 127.0.0.1:%d" % listener.getsockname()[1], file=sys.stderr, flush=True)
    for _ in range(args.sessions):
        conn, _ = listener.accept()
        serve(conn, args.folder, args.kind)
        conn.close()


main()
