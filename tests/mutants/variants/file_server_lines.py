"""File server that reads the name as a line, or up to the end of the stream.

wire: newline=yes
"""

import socket
import sys


def main(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", port))
        s.listen(3)
        while True:
            conn, _ = s.accept()
            with conn, conn.makefile("rwb") as stream:
                try:
                    name = stream.readline().strip().decode()
                    with open(name, "rb") as file:
                        while chunk := file.read(1024):
                            stream.write(chunk)
                    stream.flush()
                except (OSError, ValueError) as error:
                    print(error)


try:
    main(int(sys.argv[1]))
except KeyboardInterrupt:
    print("bye")
