"""Echo server that ignores SIGTERM, SIGINT and SIGHUP: ignores_sigterm.py PORT"""

import os
import runpy
import signal

for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
runpy.run_path(os.path.join(os.path.dirname(__file__), "..", "echo_server.py"))
