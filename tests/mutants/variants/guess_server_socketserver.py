"""Guess server with the module socketserver and a thread for each client. A line leaves byte by byte."""

import random
import socketserver
import sys


class Player(socketserver.StreamRequestHandler):
    def say(self, text):
        for character in text + "\n":
            self.request.sendall(character.encode())

    def handle(self):
        number = random.randint(1, 100)
        try:
            for attempt in range(5):
                self.say("GUESS")
                line = self.rfile.readline(1025)
                if not line.endswith(b"\n"):
                    return
                text = line.decode(errors="replace").strip()
                if not text.isdecimal() or len(text) > 9:
                    self.say("Please enter number 1 to 100")
                elif int(text) < number:
                    self.say("LOW")
                elif int(text) > number:
                    self.say("HIGH")
                else:
                    self.say("WIN")
                    return
            self.say("GAMEOVER")
        except OSError as error:
            print(self.client_address, error)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


Server(("127.0.0.1", int(sys.argv[1])), Player).serve_forever()
