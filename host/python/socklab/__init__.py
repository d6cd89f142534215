"""The program ``socklab``, as pip installs it.

This package only finds the program: ``python -m socklab`` runs it also where the folder of pip's programs is not on
PATH.
"""

# ``python -m`` looks in the current folder first, and a student's file there may have the name of any module. These two
# are loaded before. The others are imported when `__main__` has removed that folder.
import os
import sys

__all__ = ["find_program"]


def find_program():
    """Returns the path of the installed program. Raises FileNotFoundError with the places where it is not."""
    import sysconfig

    name = "socklab" + (sysconfig.get_config_var("EXE") or "")
    seen = []
    for folder in _folders(name):
        if folder and folder not in seen:
            path = os.path.join(folder, name)
            if os.path.isfile(path):
                return path
            seen.append(folder)
    raise FileNotFoundError("no {} in {}".format(name, ", ".join(seen)))


def _folders(name):
    """Yields the folders that may contain the program, that of this very package first."""
    import csv
    import glob
    import sysconfig

    packages = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    # With `pip install --target` the program is beside the package, and the record is wrong.
    yield os.path.join(packages, "bin")
    # The record of the installer is right for a virtual environment, for --user, --prefix and --root, and for the
    # folders of a distribution. It also holds if another environment's Python runs this package.
    for record in glob.glob(os.path.join(glob.escape(packages), "socklab-*.dist-info", "RECORD")):
        with open(record, encoding="utf-8", newline="") as lines:
            for row in csv.reader(lines):
                if row and os.path.basename(row[0]) == name:
                    yield os.path.normpath(os.path.join(packages, os.path.dirname(row[0])))
    # An editable installation has its record elsewhere, and a distribution may delete it.
    yield sysconfig.get_path("scripts")
    yield os.path.dirname(sys.executable or "")
    yield sysconfig.get_path("scripts", vars={"base": sys.base_prefix})
    for scheme in sysconfig.get_scheme_names():
        if scheme.endswith("_user") and scheme.startswith((os.name, "osx")):
            yield sysconfig.get_path("scripts", scheme)
