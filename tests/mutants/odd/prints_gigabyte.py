"""Math server that prints a gigabyte before it listens: prints_gigabyte.py PORT"""

import os
import runpy

block = b"loading ... " * 5461 + b"done"
for number in range(2**30 // len(block)):
    rest = block
    while rest:
        rest = rest[os.write(1, rest):]
runpy.run_path(os.path.join(os.path.dirname(__file__), "..", "math_server.py"))
