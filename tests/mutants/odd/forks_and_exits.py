"""Echo server that serves in a child process, while the parent exits with 0: forks_and_exits.py PORT"""

import os
import runpy

if os.fork() == 0:
    runpy.run_path(os.path.join(os.path.dirname(__file__), "..", "echo_server.py"))
