"""Echo server that writes binary data to stderr without an end: floods_stderr.py PORT"""

import os
import runpy
import threading


def flood():
    while True:
        os.write(2, b"\x1b[31m\x00" + os.urandom(4000))


threading.Thread(target=flood, daemon=True).start()
runpy.run_path(os.path.join(os.path.dirname(__file__), "..", "echo_server.py"))
