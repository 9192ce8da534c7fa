"""What can go wrong with the database, named for what the caller does next.

The driver's errors are translated here and nowhere else. PostgreSQL quotes values in its messages and details ("Key
(phone)=(…) already exists"), so they never come along: an error says the SQLSTATE, the names of constraint, table and
column, and what it means. PostgreSQL's sentence is kept where no value of ours can stand in it: for errors in the
statement's own text (class 42), since values travel apart from it; for a refused login; for a refused BEGIN.
"""

from __future__ import annotations

import re
from collections.abc import Mapping


class DatabaseError(Exception):
    """The database did not do what was asked."""

    do_now: str = ""
    """What the operator does: a sentence, with the command. Empty: nothing but wait."""

    def explained(self) -> str:
        """What happened and what to do."""
        return f"{self} {self.do_now}".rstrip()


class DatabaseUnavailable(DatabaseError):
    """Nothing was done: there is no connection, or it was lost before COMMIT was sent. May be tried again later."""


class LoginRefused(DatabaseUnavailable):
    """Nothing was done: the server, or a proxy before it, takes no login with the address that we have."""

    def __init__(self, message: str, *, sqlstate: str, do_now: str) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate
        self.do_now = do_now


class SessionUnusable(DatabaseUnavailable):
    """Nothing was done: this session could not begin the transaction. Another one may."""

    @classmethod
    def of(cls, fields: Mapping[str, str]) -> SessionUnusable:
        sqlstate = fields.get("C", "")
        return cls(f"Nothing was done: no transaction could be begun ({_readable(fields)}, SQLSTATE {sqlstate}).")


class CommitUnknown(DatabaseError):
    """COMMIT was sent and its answer never came: read to learn whether it happened, never repeat blindly."""


class Busy(DatabaseError):
    """A lock, a timeout, a deadlock or a serialization failure: rolled back, may be tried again at once."""


class ConstraintBroken(DatabaseError):
    """The data would have broken a rule of the schema: rolled back, trying again changes nothing."""

    def __init__(self, message: str, *, constraint: str, sqlstate: str) -> None:
        super().__init__(message)
        self.constraint = constraint
        self.sqlstate = sqlstate


class StatementFailed(DatabaseError):
    """The statement itself is wrong for this database (syntax, type, missing table or right): rolled back."""

    def __init__(self, message: str, *, sqlstate: str) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


class NotMigrated(StatementFailed):
    """The database does not have a table, column or function that this version needs: rolled back."""

    do_now = (
        "Run `make migrate` with the owner's DATABASE_URL; `python -m db.migrate --check` says what is missing or "
        "elsewhere."
    )


class NotAllowed(StatementFailed):
    """The user of DATABASE_URL lacks a right: rolled back."""

    do_now = "Run `python -m db.migrate --roles` with the owner's DATABASE_URL: docs/database.md."


BUSY = {
    "40001": "two transactions could not be put in an order (serialization failure)",
    "40P01": "two transactions waited for each other (deadlock)",
    "55P03": "a lock was not free in time (lock_timeout)",
    "57014": "the statement took too long or was cancelled (statement_timeout)",
}
UNAVAILABLE = {
    "25006": "the database is read-only (a standby, or a full disk)",
    "25P03": "the transaction stood still for too long and was ended (idle_in_transaction_session_timeout)",
    "25P04": "the transaction took too long and was ended (transaction_timeout)",
    "53100": "the server's disk is full",
    "53200": "the server has no memory left",
    "53300": "the server has no connection left",
    "57P01": "the server is being shut down",
    "57P02": "the server crashed and is restarting",
    "57P03": "the server is starting up or shutting down",
    "57P05": "the connection was idle for too long and was ended",
}
LOGIN = {
    "28000": (
        "the server refuses this user, or this user without TLS",
        "Correct the user in DATABASE_URL, and let it log in: docs/database.md.",
    ),
    "28P01": (
        "the server refuses the user's password",
        "Put the present password into DATABASE_URL (Netlify: Site configuration, Environment variables) and deploy.",
    ),
    "3D000": ("the server has no database of this name", "Correct the database's name in DATABASE_URL."),
    "42501": (
        "this user may not connect to this database",
        "Run `python -m db.migrate --roles` with the owner's DATABASE_URL: docs/database.md.",
    ),
    "53300": (
        "the server has no connection left",
        "Use the pooled address that your database's host offers, or allow more connections.",
    ),
    "57P03": ("the server is starting up or shutting down", ""),
}
OTHER_LOGIN = (
    "the login was refused",
    "See at your database's host whether it is paused, over its quota or renamed, and compare DATABASE_URL with it.",
)
NOT_MIGRATED = {"42P01", "42703", "42883", "42704", "3F000"}
COMMIT_UNKNOWN = {"08007", "40003"}
"""The server itself says that it does not know whether the transaction was committed."""
BEFORE_COMMIT = {"25P03"}
"""Ends a connection only while the server waits for the next statement: COMMIT came too late to be heard."""


def translated(fields: Mapping[str, str], *, committing: bool = False) -> DatabaseError:
    """The error for the fields of PostgreSQL's ErrorResponse (S, V, C, M, n, t, c, W, …)."""
    sqlstate = fields.get("C", "")
    ended = fields.get("V", fields.get("S", "")) in ("FATAL", "PANIC")
    if committing and (ended or sqlstate in COMMIT_UNKNOWN or sqlstate[:2] == "08") and sqlstate not in BEFORE_COMMIT:
        return CommitUnknown(f"The connection was ended while COMMIT was being answered (SQLSTATE {sqlstate}).")
    if sqlstate in BUSY:
        return Busy(f"Rolled back: {BUSY[sqlstate]} (SQLSTATE {sqlstate}).")
    if sqlstate in UNAVAILABLE or ended or sqlstate[:2] in ("08", "53", "57", "58", "XX"):
        other = "the server ended the connection" if ended else "the server failed"
        means = UNAVAILABLE.get(sqlstate, other)
        return DatabaseUnavailable(f"Nothing was done: {means} (SQLSTATE {sqlstate}).")
    where = _where(fields)
    if sqlstate[:2] == "23" or sqlstate == "P0001":
        return ConstraintBroken(
            f"Rolled back: a rule of the schema forbids it{where} (SQLSTATE {sqlstate}).",
            constraint=fields.get("n", ""),
            sqlstate=sqlstate,
        )
    said = f": {_readable(fields)}" if sqlstate[:2] in ("42", "3F") else ""
    kind = NotAllowed if sqlstate == "42501" else NotMigrated if sqlstate in NOT_MIGRATED else StatementFailed
    return kind(f"The statement failed{said}{where} (SQLSTATE {sqlstate}).", sqlstate=sqlstate)


def login_refused(fields: Mapping[str, str], password: str | None) -> LoginRefused:
    """The error for what the server answered in place of a login."""
    sqlstate = fields.get("C", "")
    means, do_now = LOGIN.get(sqlstate, OTHER_LOGIN)
    said = _readable(fields, without=password)
    return LoginRefused(f"Nothing was done: {means} ({said}, SQLSTATE {sqlstate}).", sqlstate=sqlstate, do_now=do_now)


def _readable(fields: Mapping[str, str], without: str | None = None) -> str:
    """PostgreSQL's sentence as a log line takes it: short, printable ASCII, no e-mail address, no long number."""
    said = fields.get("M", "")
    if without:
        said = said.replace(without, "*")
    return re.sub(r"[0-9]{7,}|@", "*", re.sub(r"[^ -~]+", " ", said)[:200])


def _where(fields: Mapping[str, str]) -> str:
    names = {"constraint": fields.get("n"), "table": fields.get("t"), "column": fields.get("c")}
    function = re.search(r"function (\w[\w.]*)\(", fields.get("W", ""))
    names["function"] = function.group(1) if function else None
    named = ", ".join(f"{kind} {name}" for kind, name in names.items() if name)
    return f": {named}" if named else ""
