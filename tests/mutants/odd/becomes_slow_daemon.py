"""Daemon that listens only some time after its parents have ended: becomes_slow_daemon.py PORT"""

import os
import runpy
import time

if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(2)
        runpy.run_path(os.path.join(os.path.dirname(__file__), "..", "echo_server.py"))
