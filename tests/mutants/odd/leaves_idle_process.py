"""Program that leaves behind a process that does nothing: leaves_idle_process.py PORT"""

import os
import time

if os.fork() == 0:
    time.sleep(60)
