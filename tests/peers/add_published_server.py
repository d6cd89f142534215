"""Published servers of add: add_published_server.py STYLE. Serves one client, then exits.

Reports its address and the client's name and number on stderr.
"""

import socket
import sys


def meet(name, number):
    print(f"met {name.strip()} with {int(number)}", file=sys.stderr)


def message(separator, end="", stays=True):
    """Takes one recv for the whole message and sends the answer at once. Waits until the client closes."""

    def session(conn):
        meet(*conn.recv(1024).decode().split(separator))
        conn.sendall(f"Bob{separator}7{end}".encode())
        if stays:
            conn.recv(1024)

    return session


def lines(reply, stays=False):
    """Reads lines. It waits for a client that sends no newline."""

    def session(conn):
        reader = conn.makefile(newline="\n")
        meet(reader.readline(), reader.readline())
        conn.sendall(reply.encode())
        if stays:
            conn.recv(1024)

    return session


def two_recvs(conn):
    meet(conn.recv(1024).decode(), conn.recv(1024).decode())
    conn.sendall(b"Bob\n7\n")


def refuses(reply, stays=False):
    def session(conn):
        conn.recv(1024)
        conn.sendall(reply.encode())
        if stays:
            conn.recv(1024)

    return session


STYLES = {
    "comma": message(","),
    "comma-space": message(", "),
    "colon": message(":", stays=False),
    "semicolon": message(";", end="\r\n"),
    "bar": message("|"),
    "space": message(" "),
    "lines-close": lines("Bob\n7"),
    "lines-silence": lines("Bob\n7", stays=True),
    "lines-answered-in-one": lines("Bob, 7"),
    "marked": lines("\ufeffBob\r\n7\r\n"),
    "two-recvs": two_recvs,
    "error": refuses("Error: bad format"),
    "error-line": refuses("Error: bad format\n"),
    "error-line-stays": refuses("Error: bad format\n", stays=True),
    "error-stays": refuses("Error: bad format", stays=True),
    "json": refuses('{"name": "Bob", "number": 7}\n'),
    "json-stays": refuses('{"name": "Bob", "number": 7}', stays=True),
    "swapped": refuses("7,Bob\n"),
    "glued": refuses("Bob7"),
    "no-number": refuses("Bob\nseven\n"),
    "largest": lines("Bob\n2147483647\n"),
    "smallest": lines("Bob\n-2147483648\n"),
    "too-large": lines("Bob\n2147483648\n"),
}


def main():
    session = STYLES[sys.argv[1]]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
        print(f"listening on {host}:{port}", file=sys.stderr)
        conn, _ = listener.accept()
        with conn:
            session(conn)


main()
