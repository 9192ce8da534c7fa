"""`python -m ops` needs nothing that only Linux and macOS have: what Windows lacks is taken away.

The first two tests need no fixtures, so that they run on Windows itself: `pytest --noconftest`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMANDS = (
    "", "verify", "audit", "audit verify", "replay", "case", "review", "review list", "review pay", "inbox", "invoice",
    "receipts", "privacy", "privacy export", "privacy erase", "restore", "drill", "alerts", "letters", "letters show",
    "limits",
)  # fmt: skip
AS_ON_WINDOWS = """
import os, runpy, signal, socket, sys
for name in ("fcntl", "grp", "pwd", "pty", "resource", "termios", "tty"):
    sys.modules[name] = None
for module, names in (
    (socket, "AF_UNIX TCP_USER_TIMEOUT"), (signal, "SIGPIPE SIGHUP SIGKILL SIGQUIT SIGALRM alarm pthread_sigmask"),
    (os, "fork getuid geteuid getgid chown killpg setsid uname posix_fadvise O_CLOEXEC"),
):
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
runpy.run_module("ops", run_name="__main__", alter_sys=True)
"""


def ops(command: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """One command, with the output of an old code page, as Windows gives to whoever writes it into a file."""
    return subprocess.run(
        [sys.executable, "-c", AS_ON_WINDOWS, *command.split()],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0", **environment},
        capture_output=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_needs_nothing_of_posix(command: str) -> None:
    ran = ops(f"{command} --help")
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert ran.stdout.decode().startswith("usage: python -m ops")


def test_a_unix_socket_is_refused_with_what_to_do() -> None:
    ran = ops("verify", DATABASE_URL="postgresql://lipa@/lipa?host=/var/run/postgresql")
    assert ran.returncode == 2
    assert "name the database's host in DATABASE_URL" in ran.stderr.decode()


def test_the_books_are_read_over_tcp_and_shown_in_utf_8(functions_url: str) -> None:
    for command in ("verify", "alerts", "limits", "review list", "inbox list", "receipts missing", "case INV00042"):
        ran = ops(command, DATABASE_URL=functions_url)
        assert (ran.returncode, b"Traceback" in ran.stderr) in ((0, False), (1, False)), (command, ran.stderr)
        assert ran.stdout.decode() or ran.stderr.decode()
