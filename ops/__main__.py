"""`python -m ops COMMAND`: the operator's commands. Most need DATABASE_URL; `--help` lists them.

Exit codes: 0 all is well · 1 the command was refused, or somebody has to act · 2 it could not run.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TextIO

from ops import (
    alerts,
    audit,
    case,
    inbox,
    invoices,
    letters,
    limits,
    links,
    privacy,
    receipts,
    replay,
    review,
    rotation,
    sales,
    sent,
    verify,
    webhook,
)
from ops.session import NotPossible, Session, WrongUse
from shared.database import DatabaseError
from shared.environment_variables import Misconfigured

GROUPS = (
    verify,
    audit,
    replay,
    case,
    review,
    inbox,
    invoices,
    receipts,
    privacy,
    alerts,
    letters,
    limits,
    links,
    rotation,
    sales,
    sent,
    webhook,
)


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Runs one command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m ops", description="The operator's commands.")
    commands = parser.add_subparsers(metavar="COMMAND")
    for group in GROUPS:
        group.add_commands(commands)
    if not arguments:
        parser.print_help()
        return 2
    chosen = parser.parse_args(arguments)
    session = Session(environ)
    try:
        code: int = chosen.run(session, chosen)
        _warn_of_no_sweep(session)
        return code
    except NotPossible as refused:
        print(f"ops: {refused}", file=sys.stderr)
        return 1
    except DatabaseError as failed:
        print(f"ops: {failed.explained()}", file=sys.stderr)
        return 2
    except (Misconfigured, WrongUse) as failed:
        print(f"ops: {failed}", file=sys.stderr)
        return 2
    finally:
        session.close()


def _warn_of_no_sweep(session: Session) -> None:
    """An operator at work is one of the few who can notice."""
    with contextlib.suppress(DatabaseError):
        if session.has_database and (warning := alerts.no_sweep(session.database)) is not None:
            print(f"ops: {warning}", file=sys.stderr)


class _Output(io.TextIOBase):
    """Standard output that may close early, as in `… | head`: the rest is dropped, and the command goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with self._may_close():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._may_close():
            self._stream.flush()

    @contextlib.contextmanager
    def _may_close(self) -> Iterator[None]:
        try:
            yield
        except OSError as closed:
            if closed.errno not in (errno.EPIPE, errno.EINVAL):  # EINVAL is what Windows says
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8")  # type: ignore[union-attr]  # Windows would write its old code page into a file
    with contextlib.redirect_stdout(_Output(sys.stdout)):
        code = main(sys.argv[1:], os.environ)
        sys.stdout.flush()
    sys.exit(code)
