"""`python -m ops COMMAND`: the operator's commands. Most need DATABASE_URL; `--help` lists them.

Exit codes: 0 all is well · 1 the command was refused, or somebody has to act · 2 it could not run, and wrote nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import os
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn, TextIO

from ops import (
    alerts,
    audit,
    backup,
    book,
    case,
    close,
    doctor,
    drill,
    golive,
    inbox,
    invoices,
    letters,
    limits,
    links,
    privacy,
    receipts,
    reconcile,
    refund,
    replay,
    restore,
    review,
    rotation,
    sales,
    sent,
    verify,
    webhook,
)
from ops.answers import Answer, Table, harmless_line, print_document
from ops.backups import BackupFailed, UnusableBackup
from ops.session import NotPossible, Session, WrongUse
from shared.database import CommitUnknown, DatabaseError, DatabaseUnavailable, LoginRefused, NotMigrated
from shared.environment_variables import Misconfigured

SECTIONS: dict[str, tuple[Any, ...]] = {
    "A customer asks, or an order is due": (case, sales, sent, links, invoices),
    "Somebody has to decide": (alerts, review, refund, inbox),
    "Money that came another way, and the end of the month": (receipts, book, reconcile, close),
    "Are the books right?": (verify, audit, replay),
    "The worst day": (backup, drill, restore),
    "People and letters": (privacy, letters),
    "Setting up": (doctor, golive, limits, webhook, rotation),
}
"""Every module with commands, by what people come for."""
GROUPS = tuple(group for groups in SECTIONS.values() for group in groups)


FAILURES: tuple[tuple[type[Exception], str], ...] = (
    (NotPossible, "refused"),
    (reconcile.UnusableStatement, "unusable_statement"),
    (BackupFailed, "backup_failed"),
    (UnusableBackup, "unusable_backup"),
    (WrongUse, "wrong_use"),
    (Misconfigured, "misconfigured"),
    (NotMigrated, "not_migrated"),
    (LoginRefused, "login_refused"),
    (CommitUnknown, "commit_unknown"),
    (DatabaseUnavailable, "database_unavailable"),
    (DatabaseError, "database_failed"),
    (Exception, "internal"),
)
"""Each with its code in a document; the first that fits. All but a refusal exit with 2."""


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Runs one command; returns its exit code."""
    session, as_json = Session(environ), "--json" in arguments
    try:
        chosen = _parser().parse_args(arguments)
        as_json = chosen.json
        answer: Answer = chosen.run(session, chosen)
        code = answer.print(as_json=as_json)
        _warn_of_no_sweep(session)
        return code
    except Exception as failed:
        _print_failure(failed, as_json=as_json)
        return 1 if isinstance(failed, NotPossible) else 2
    finally:
        session.close()


class _Parser(argparse.ArgumentParser):
    """Takes `--json` in every place, and says what is wrong with options as everything else is said."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        about = "print one JSON document"
        self.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help=about)

    def error(self, message: str) -> NoReturn:
        raise WrongUse(f"{message}; see {self.prog} --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m ops", description="The operator's commands.")
    commands = parser.add_subparsers(metavar="COMMAND")
    shown: list[str | Table] = ["The operator's commands. `python -m ops COMMAND --help` says more of each."]
    for section, groups in SECTIONS.items():
        known = len(commands._choices_actions)
        for group in groups:
            group.add_commands(commands)
        shown += ["", section, _listed(commands._choices_actions[known:])]
    parser.set_defaults(json=False, run=lambda *_: Answer({"help": parser.format_help()}, shown))
    return parser


def _listed(commands: Sequence[argparse.Action]) -> Table:
    rows = [(f"  {command.dest:<16}", command.help or "") for command in commands]
    return Table(("", "~"), [(row, " ".join(row)) for row in rows])


def _print_failure(failed: Exception, *, as_json: bool) -> None:
    code = next(code for kind, code in FAILURES if isinstance(failed, kind))
    says, do_now, facts = str(failed), getattr(failed, "do_now", ""), getattr(failed, "facts", {})
    if code == "internal":
        traceback.print_exception(failed)
        says = f"{type(failed).__name__}: a mistake in Lipa itself; standard error shows where"
    if as_json:
        print_document({"error": {"code": code, "says": says, **({"do_now": do_now} if do_now else {}), **facts}})
    else:
        ends = "" if not do_now or says.endswith((".", "?", "!")) else "."
        print(harmless_line(f"ops: {says}{ends} {do_now}".rstrip()), file=sys.stderr)


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

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

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
