"""Runs the program: ``python -m socklab math client``."""

import os
import sys

from socklab import find_program

if __name__ == "__main__" and sys.path and not getattr(sys.flags, "safe_path", False):
    # The current folder: see __init__.py.
    del sys.path[0]

import signal  # noqa: E402


def main():
    try:
        program = find_program()
    except FileNotFoundError as error:
        print(
            "socklab: program not found: {}; install it again: {} -m pip install --force-reinstall socklab".format(
                error, sys.executable or "python"
            ),
            file=sys.stderr,
        )
        # As a shell does.
        return 127
    command = [program] + sys.argv[1:]
    try:
        if os.name == "nt":
            return _wait(command)
        # Python ignores these signals, and a program inherits that.
        for name in ("SIGPIPE", "SIGXFSZ"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), signal.SIG_DFL)
        os.execv(program, command)
    except OSError as error:
        print("socklab: cannot run {}: {}".format(program, error.strerror), file=sys.stderr)
        return 126


def _wait(command):
    """Runs the program as a child, because an exec on Windows returns to the shell at once."""
    import subprocess

    # The console sends Ctrl-C and Ctrl-Break to both. Only the program acts on them. A function rather than SIG_IGN,
    # which a child may inherit.
    for name in ("SIGINT", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: None)
    code = subprocess.call(command)
    # An NTSTATUS such as 0xC000013A is unsigned here, and sys.exit takes a signed number.
    return code - (1 << 32) if code >= 1 << 31 else code


if __name__ == "__main__":
    sys.exit(main())
