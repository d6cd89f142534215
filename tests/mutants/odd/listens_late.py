"""Echo server that listens after five seconds: listens_late.py PORT"""

import os
import runpy
import time

print("loading ...", flush=True)
time.sleep(5)
runpy.run_path(os.path.join(os.path.dirname(__file__), "..", "echo_server.py"))
