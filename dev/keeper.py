"""Runs one program, and ends it with everything that it started as soon as the process that wanted it is gone.

    python dev/keeper.py PROGRAM ARGUMENT…

The caller holds the other end of our standard input. It closes when the caller closes it, ends, or is killed with -9.
Then the program is asked to end (SIGINT), and killed where that takes too long; whatever it leaves behind is ended too.
On Linux the program is also killed when this keeper is.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import psutil

GRACE_S = 20.0
LEFT_BEHIND_GRACE_S = 1.5
ENDED_WITHIN_S = GRACE_S + 20
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def keep(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """Starts a program under a keeper of its own, in a session of its own: Ctrl-C in the terminal is for the caller."""
    # `-I`: nothing in the environment or the folder leads Python elsewhere
    keeper = [sys.executable, "-I", __file__, *command]
    return subprocess.Popen(keeper, stdin=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, **options)


def ask_to_end(keeper: subprocess.Popen[bytes]) -> None:
    """Returns at once; `end` waits."""
    if keeper.stdin is not None:
        with contextlib.suppress(OSError):
            keeper.stdin.close()


def end(keeper: subprocess.Popen[bytes]) -> None:
    """Returns when the program and everything that it started are gone."""
    ask_to_end(keeper)
    try:
        keeper.wait(ENDED_WITHIN_S)
    except subprocess.TimeoutExpired:
        keeper.kill()
        keeper.wait()


def main() -> int:
    process_control(PR_SET_CHILD_SUBREAPER, 1)  # what the program leaves behind becomes our child
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda received, _: asked.append(received))
    child = subprocess.Popen(
        sys.argv[1:],
        stdin=subprocess.DEVNULL,
        preexec_fn=lambda: process_control(PR_SET_PDEATHSIG, signal.SIGKILL),  # noqa: PLW1509  # there are no threads
    )
    while child.poll() is None and not asked:
        caller_has_spoken, _, _ = select.select([0], [], [], 0.1)
        if caller_has_spoken and not os.read(0, 64):
            break
    if child.poll() is None:
        child.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(GRACE_S)
    if child.poll() is None:
        child.kill()
        child.wait()
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGKILL, signal.SIGKILL):
        left = left_behind()
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.send_signal(number)
        psutil.wait_procs(left, LEFT_BEHIND_GRACE_S)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def left_behind() -> list[psutil.Process]:
    """Everything below us, and where orphans do not become our children (macOS) also what is in our process group."""
    left: list[psutil.Process] = psutil.Process().children(recursive=True)
    if sys.platform != "linux":
        for process in psutil.process_iter():
            with contextlib.suppress(OSError):
                if os.getpgid(process.pid) == os.getpid() != process.pid:
                    left.append(process)
    return left


def process_control(option: int, value: int) -> None:
    """Linux's prctl; elsewhere nothing."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main())
