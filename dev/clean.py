"""`make clean`: removes what the commands made, the local database too; not while one of them is at work in it.

Standard library only, and in the syntax of Python 3.6: the virtual environment is among what goes.
"""

import fcntl
import json
import os
import shutil
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MADE = (".venv", "node_modules", ".lipa", ".netlify", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis")


def in_use(root: str) -> str:
    """Who works in `.lipa` now: whoever does holds a lock there. Empty where nobody does."""
    for folder, _, files in os.walk(os.path.join(root, ".lipa")):
        for name in files:
            if name != "lock" and not name.endswith(".lock"):
                continue
            try:
                with open(os.path.join(folder, name), "a+") as lock:
                    try:
                        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except OSError:
                        lock.seek(0)
                        return "{} is held{}".format(os.path.relpath(lock.name, root), holder(lock.read()))
            except OSError:
                continue  # it has just gone, or was made by another user
    return ""


def holder(text: str) -> str:
    """What a lock says about its process: its number, or a stack's JSON."""
    try:
        about = json.loads(text)
    except ValueError:
        return ""
    pid = about.get("pid") if isinstance(about, dict) else about
    return " by process {}".format(pid)


def remove(root: str) -> None:
    for name in MADE:
        path = os.path.join(root, name)
        if os.path.islink(path):
            os.remove(path)
        else:
            shutil.rmtree(path, ignore_errors=True)
    for folder, below, _ in os.walk(root):
        if "__pycache__" in below:
            below.remove("__pycache__")
            shutil.rmtree(os.path.join(folder, "__pycache__"), ignore_errors=True)


def main() -> int:
    busy = in_use(ROOT)
    if busy:
        sys.stderr.write(
            "Nothing was removed: one of Lipa's commands is at work here ({}).\n"
            "Stop it first (Ctrl-C where `make dev` runs), then run make clean again.\n".format(busy)
        )
        return 1
    remove(ROOT)
    return 0


if __name__ == "__main__":
    sys.exit(main())
