"""Math client as a class with a buffer. Sends an answer byte by byte."""

import socket
import sys


class MathClient:
    def __init__(self, host, port):
        self.sock = socket.socket()
        self.sock.connect((host, port))
        self.buffer = bytearray()

    def next_message(self):
        while len(self.buffer) < 9:
            data = self.sock.recv(4096)
            if data == b"":
                raise ConnectionError("closed by the server")
            self.buffer.extend(data)
        message = bytes(self.buffer[:9])
        del self.buffer[:9]
        return message

    def answer(self, message):
        number1 = (message[1] << 24) + (message[2] << 16) + (message[3] << 8) + message[4]
        number2 = (message[5] << 24) + (message[6] << 16) + (message[7] << 8) + message[8]
        result = number1 + number2
        for shift in (24, 16, 8, 0):
            self.sock.send(bytes([(result >> shift) & 255]))

    def run(self):
        message = self.next_message()
        while message[0] == ord("Q"):
            self.answer(message)
            message = self.next_message()
        if message[0] != ord("S"):
            raise ConnectionError("unknown type of message")
        return message[1:]


try:
    client = MathClient(sys.argv[1], int(sys.argv[2]))
    secret = client.run()
    sys.stdout.buffer.write(secret)
    sys.stdout.buffer.write(b"\n")
    client.sock.close()
except ConnectionError as e:
    sys.stderr.write(f"{e}\n")
    sys.exit(2)
