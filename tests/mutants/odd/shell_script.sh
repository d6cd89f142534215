#!/bin/sh
# Starts the math server as a child, and waits for it: shell_script.sh PORT
echo "starting the server"
python3 "$(dirname "$0")/../math_server.py" "$1"
echo "the server has ended"
