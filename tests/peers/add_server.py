"""A student's server of add: add_server.py [--name NAME] [--number N] [--sessions N] [--fault NAME].

Reports its address on stderr, serves N clients one after the other, then exits. It also exits after
a number that is out of range.
"""

import argparse
import socket
import struct
import sys
import time

FAULTS = [
    "", "glued", "byte-by-byte", "crlf", "one-recv", "unterminated", "leave", "close-after-name",
    "reset", "cut-in-name", "no-integer", "empty-integer", "out-of-range", "too-large",
    "control-name", "not-utf8", "endless-line", "extra-bytes", "silent",
]


def read_line(conn):
    line = b""
    while not line.endswith(b"\n"):
        piece = conn.recv(1)
        if not piece:
            return None
        line += piece
    return line.decode().strip()


def wait_for_end(conn):
    """Waits until the client closes."""
    try:
        while conn.recv(4096):
            pass
    except ConnectionError:
        pass


def session(conn, args):
    """Returns whether the server continues."""
    fault = args.fault
    if fault == "one-recv":
        # Takes one recv for the whole message.
        name, number, _ = conn.recv(1024).decode().split("\n")
    else:
        name, number = read_line(conn), read_line(conn)
    if number is None:
        return True
    if not 1 <= int(number) <= 100:
        print(f"{number} is out of range", file=sys.stderr)
        return False
    print(f"{name}: {number} + {args.number} = {int(number) + args.number}", file=sys.stderr)

    name, number, end = args.name.encode(), str(args.number).encode(), b"\n"
    if fault == "leave":
        return True
    if fault == "reset":
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return True
    if fault == "silent":
        wait_for_end(conn)
        return True
    if fault == "endless-line":
        try:
            for _ in range(1024):
                conn.sendall(b"x" * 1024)
        except ConnectionError:
            print("the client closed early", file=sys.stderr)
        return True
    if fault == "crlf":
        end = b"\r\n"
    if fault == "control-name":
        name = b"\x1b[31mred\x07 \xe2\x80\xae\xe2\x81\xa6 abc \xc2\x9b2J"
    if fault == "not-utf8":
        name = b"Ser\xff\xe4\xb8ver"
    number = {
        "no-integer": b"fifty-eight", "empty-integer": b"", "out-of-range": b"1000",
        "too-large": b"2147483648",
    }.get(fault, number)
    if fault == "cut-in-name":
        conn.sendall(name[:3])
        return True
    if fault == "glued":
        conn.sendall(name + end + number + end)
        return True
    if fault == "byte-by-byte":
        for byte in name + end + number + end:
            conn.sendall(bytes([byte]))
            time.sleep(0.0005)
        return True
    conn.sendall(name + end)
    if fault == "close-after-name":
        return True
    conn.sendall(number + (b"" if fault == "unterminated" else end))
    if fault == "extra-bytes":
        conn.sendall(b"and more of it\n")
    return True


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", default="Server of John Q. Smith")
    parser.add_argument("--number", type=int, default=58)
    parser.add_argument("--sessions", type=int, default=1)
    parser.add_argument("--fault", default="", choices=FAULTS)
    args = parser.parse_args()

    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(5)
        host, port = listener.getsockname()
        print(f"listening on {host}:{port}", file=sys.stderr)
        for _ in range(args.sessions):
            conn, _ = listener.accept()
            with conn:
                conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if not session(conn, args):
                    return


main()
