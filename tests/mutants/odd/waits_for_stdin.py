"""Math server that waits for a line on stdin before it listens: waits_for_stdin.py PORT

It starts at the end of stdin too.
"""

import os
import runpy

try:
    input("Press Enter to start the server")
except EOFError:
    pass
runpy.run_path(os.path.join(os.path.dirname(__file__), "..", "math_server.py"))
