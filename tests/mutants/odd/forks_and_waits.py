"""Echo server that serves in a child process, for which the parent waits: forks_and_waits.py PORT"""

import os
import runpy

if os.fork() == 0:
    runpy.run_path(os.path.join(os.path.dirname(__file__), "..", "echo_server.py"))
else:
    os.wait()
