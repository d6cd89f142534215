"""Echo server that becomes a daemon, with two forks and a session of its own: becomes_daemon.py PORT"""

import os
import runpy

if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        runpy.run_path(os.path.join(os.path.dirname(__file__), "..", "echo_server.py"))
