"""Runs one program and ends it, with all it started, as soon as whoever asked for it is gone.

    python dev/keeper.py PROGRAM ARGUMENT…

The caller holds the other end of our standard input. When that closes (because the caller closed it, stopped, or was
killed with -9), the program is asked to end (SIGINT) and, after a grace, made to (SIGKILL). Whatever it leaves behind
is ended too: on Linux also what it started in sessions of its own, because orphans come to us; elsewhere what stayed in
our session. On Linux the program also ends when we are killed ourselves. Standard library only.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

GRACE_S = 6.0
LEFTOVERS_GRACE_S = 1.5

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def process_control(option: int, value: int) -> None:
    """Linux's prctl; elsewhere nothing."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def process_table() -> list[tuple[int, int, int]]:
    """(pid, parent, process group) of everything that runs."""
    if sys.platform != "linux":
        table = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,pgid="], stdout=subprocess.PIPE, text=True, check=False)
        rows = (line.split() for line in table.stdout.splitlines())
        return [(int(pid), int(parent), int(group)) for pid, parent, group in rows]
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{entry}/stat", "rb") as stat:
                fields = stat.read().rpartition(b")")[2].split()  # after the name, which may hold anything
                found.append((int(entry), int(fields[1]), int(fields[2])))
    return found


def descendants() -> set[int]:
    """All processes below us, and those of our session's first group."""
    me, group = os.getpid(), os.getpgid(0)
    table = process_table()
    below = {me}
    while more := {pid for pid, parent, its_group in table if parent in below or its_group == group} - below:
        below |= more
    return {pid for pid in below - {me} if exists(pid)}


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def signal_all(pids: set[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(OSError):
            os.kill(pid, number)


def reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def end_leftovers() -> None:
    """End whatever the program left behind: first asked, then made to."""
    give_up = time.monotonic() + LEFTOVERS_GRACE_S
    asked: set[int] = set()
    while left := descendants():
        signal_all(left - asked, signal.SIGTERM)
        asked |= left
        if time.monotonic() > give_up:
            signal_all(left, signal.SIGKILL)
        time.sleep(0.05)
        reap()
        if time.monotonic() > give_up + 5:
            return


def main() -> int:
    process_control(PR_SET_CHILD_SUBREAPER, 1)
    stopping = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(name, lambda *_: stopping.set())

    child = subprocess.Popen(
        sys.argv[1:],
        stdin=subprocess.DEVNULL,
        preexec_fn=lambda: process_control(PR_SET_PDEATHSIG, signal.SIGKILL),  # noqa: PLW1509 — no threads yet
    )

    def wait_for_the_caller_to_go() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 64):
                pass
        stopping.set()

    threading.Thread(target=wait_for_the_caller_to_go, daemon=True).start()

    asked_at: float | None = None
    while True:
        pid, status = os.waitpid(child.pid, os.WNOHANG)
        if pid:
            child.returncode = os.waitstatus_to_exitcode(status)
            break
        if stopping.is_set() and asked_at is None:
            asked_at = time.monotonic()
            child.send_signal(signal.SIGINT)
        if asked_at is not None and time.monotonic() - asked_at > GRACE_S:
            child.send_signal(signal.SIGKILL)
        if asked_at is None:
            stopping.wait(0.1)
        else:
            time.sleep(0.02)
    end_leftovers()
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


if __name__ == "__main__":
    sys.exit(main())
