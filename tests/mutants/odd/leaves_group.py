"""Echo server that leaves its process group for that of its parent: leaves_group.py PORT"""

import os
import runpy

os.setpgid(0, os.getpgid(os.getppid()))
runpy.run_path(os.path.join(os.path.dirname(__file__), "..", "echo_server.py"))
