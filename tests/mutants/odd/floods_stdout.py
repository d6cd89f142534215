"""Echo server that prints on stdout without an end: floods_stdout.py PORT"""

import os
import runpy
import threading


def flood():
    number = 0
    while True:
        number += 1
        os.write(1, b"debug: this is line %d of many\n" % number)


threading.Thread(target=flood, daemon=True).start()
runpy.run_path(os.path.join(os.path.dirname(__file__), "..", "echo_server.py"))
