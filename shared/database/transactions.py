"""Transactions over one connection that heals itself, with their settings and timeouts set on the server."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

from shared.database.errors import (
    CommitUnknown,
    DatabaseError,
    DatabaseUnavailable,
    SessionUnusable,
    StatementFailed,
)
from shared.database.url import ConnectionSettings, connection_settings

if TYPE_CHECKING:
    from shared.database.connection import Connection, Statement
    from shared.deadline import Deadline

Row: TypeAlias = dict[str, Any]
"""One row by column name. NUMERIC is Decimal, timestamptz an aware datetime in UTC, jsonb as json.loads reads it."""

SLACK_S = 1
"""How much longer than the server's own timeout we wait for its error message."""
FIRST_ANSWER_S = 1.5
"""How long a kept connection has to answer BEGIN, which waits for no lock."""
MOST_OF_THE_TIME = 0.9
"""Of the patience goes into one connection: a proxy may hold it until the database is awake."""


class Database:
    """One connection, opened at first use and kept. One transaction at a time; not for two threads at once."""

    def __init__(
        self,
        url: str | Callable[[], str],
        *,
        connect_timeout_s: float = 5,
        statement_timeout_s: float = 5,
        lock_timeout_s: float = 3,
        idle_timeout_s: float = 10,
    ) -> None:
        """Raises ValueError where the URL cannot be used. Timeouts of 0 mean none.

        A function as `url` is asked before each transaction: a host may rotate the password at any time. Where it
        gives another address than before, the connection is replaced; where it fails, the address before stays.
        """
        self._url = url
        self._settings = connection_settings(url if isinstance(url, str) else url())
        self._connect_timeout_s = connect_timeout_s
        self._first_answer_s = min(FIRST_ANSWER_S, connect_timeout_s / 2)
        self._read_timeout_s = statement_timeout_s + SLACK_S if statement_timeout_s else 3600
        self._timeouts_ms = {
            "statement_timeout": round(statement_timeout_s * 1000),
            "lock_timeout": round(lock_timeout_s * 1000),
            "idle_in_transaction_session_timeout": round(idle_timeout_s * 1000),
        }
        self._connection: Connection | None = None
        self._patient_until: Deadline | None = None
        self._open = False
        self._check: Callable[[Transaction], None] | None = None
        self._checked = False
        self._round_trips_before = 0

    def check_once(self, check: Callable[[Transaction], None]) -> None:
        """`check` begins each transaction until one is committed. What it raises, that transaction raises."""
        if not self._checked:
            self._check = check

    @contextmanager
    def patient(self, until: Deadline) -> Iterator[None]:
        """Within the block a new connection may take most of the time until then: a database may have to wake.

        It leaves time for one more connection. Trying again is the caller's.
        """
        self._patient_until = until
        try:
            yield
        finally:
            self._patient_until = None

    @contextmanager
    def transaction(self, *, snapshot: bool = False) -> Iterator[Transaction]:
        """Committed when the block ends, rolled back when it raises. `snapshot`: read-only, all as of one moment.

        BEGIN travels with the first statement, COMMIT with the statements that nobody waits for (`Transaction.later`).
        Raises DatabaseUnavailable, CommitUnknown, Busy, ConstraintBroken or StatementFailed; all but CommitUnknown mean
        that nothing of the block is stored.
        """
        if self._open:
            raise RuntimeError("a transaction of this Database is open already")
        self._open = True
        transaction = Transaction(self, snapshot=snapshot)
        try:
            try:
                if self._check is not None and not snapshot:
                    self._check(transaction)
                yield transaction
                transaction.commit()
                if self._check is not None and not snapshot:
                    self._check, self._checked = None, True
            except BaseException as failure:
                self._roll_back(failure)
                raise
        finally:
            self._open = False

    def rows(self, sql: str, /, **params: object) -> list[Row]:
        """A transaction of one statement, in one round trip. It must be harmless to repeat.

        If the answer to COMMIT is lost, the statement is sent once more.
        """
        try:
            return _rows(self._alone(sql, params))
        except CommitUnknown:
            pass
        return _rows(self._alone(sql, params))

    def row(self, sql: str, /, **params: object) -> Row | None:
        """The first of `rows`, or None."""
        found = self.rows(sql, **params)
        return found[0] if found else None

    def change(self, sql: str, /, **params: object) -> list[Row]:
        """A transaction of one statement, in one round trip: the rows it returns. Never repeated."""
        return _rows(self._alone(sql, params))

    def run(self, sql: str, /, **params: object) -> int:
        """A transaction of one statement, in one round trip: how many rows it changed. Never repeated."""
        return max(0, int(self._alone(sql, params).row_count))

    def _alone(self, sql: str, params: Mapping[str, object]) -> Any:
        with self.transaction() as tx:
            tx.later(sql, **params)
        return tx.answers[-2]  # the last one is COMMIT's

    def close(self) -> None:
        """Closes the connection; the next transaction opens another."""
        if self._connection is not None:
            self._round_trips_before += self._connection.round_trips
            self._connection.close()
            self._connection = None

    @property
    def settings(self) -> ConnectionSettings:
        """Where it connects, and how."""
        return self._settings

    @property
    def tls_version(self) -> str | None:
        """Of the open connection, like TLSv1.3; None: it is not encrypted, or not open."""
        return self._connection.tls_version if self._connection else None

    @property
    def has_own_session(self) -> bool:
        """Whether the server's process is the one that the login named: behind a pooler it is another."""
        return self._connection is not None and self._connection.session_is_ours

    @property
    def round_trips(self) -> int:
        """Exchanges with the server so far, without those of logging in."""
        return self._round_trips_before + (self._connection.round_trips if self._connection else 0)

    def begin(
        self, statements: Sequence[Statement], *, snapshot: bool, committing: bool
    ) -> tuple[Connection, list[Any]]:
        """For `Transaction`: BEGIN and its first statements.

        A kept connection that cannot begin, or is lost before COMMIT was sent, is replaced once: nothing of the
        transaction was stored.
        """
        self._follow_the_address()
        kept = self._connection
        if kept is not None:
            try:
                return kept, kept.begin(
                    statements, snapshot=snapshot, committing=committing, timeout_s=self._first_answer_s
                )
            except SessionUnusable:
                pass
            except DatabaseUnavailable:
                if committing or not kept.lost:
                    raise
            self.close()
        timeout_s = self._time_to_connect_s()
        connection = self._connected(timeout_s)
        return connection, connection.begin(statements, snapshot=snapshot, committing=committing, timeout_s=timeout_s)

    def _connected(self, timeout_s: float) -> Connection:
        from shared.database.connection import Connection

        self._connection = Connection(
            self._settings,
            connect_timeout_s=timeout_s,
            read_timeout_s=self._read_timeout_s,
            timeouts_ms=self._timeouts_ms,
        )
        return self._connection

    def _time_to_connect_s(self) -> float:
        wanted = self._settings.connect_timeout_s
        usual_s = min(self._connect_timeout_s, wanted) if wanted else self._connect_timeout_s
        if self._patient_until is None:
            return usual_s
        return max(usual_s, MOST_OF_THE_TIME * self._patient_until.remaining_s())

    def _follow_the_address(self) -> None:
        if isinstance(self._url, str):
            return
        try:
            settings = connection_settings(self._url())
        except Exception:  # whatever is wrong with it: the one before may still be good
            return
        if settings != self._settings:
            self._settings = settings
            self.close()

    def _roll_back(self, failure: BaseException) -> None:
        connection = self._connection
        if connection is None:
            return
        if isinstance(failure, DatabaseUnavailable):
            self.close()  # what is wrong may be wrong with this session alone: a standby now, a full disk
        elif not connection.idle:
            try:
                connection.roll_back()
            except DatabaseError:
                self.close()


class Transaction:
    """An open transaction. Parameters are `:name` in the SQL; one whose type is not clear needs CAST(:x AS type)."""

    def __init__(self, database: Database, *, snapshot: bool) -> None:
        self.answers: list[Any] = []
        """Of the last round trip: the driver's results."""
        self._database, self._snapshot = database, snapshot
        self._connection: Connection | None = None
        self._failed = False
        self._waiting: list[Statement] = []

    def later(self, sql: str, /, **params: object) -> None:
        """A statement whose answer nobody needs: it travels with the next one, or with COMMIT. Errors come up there."""
        self._waiting.append(_statement(sql, params))

    def rows(self, sql: str, /, **params: object) -> list[Row]:
        return _rows(self._execute(sql, params))

    def row(self, sql: str, /, **params: object) -> Row | None:
        """The first row, or None."""
        found = self.rows(sql, **params)
        return found[0] if found else None

    def run(self, sql: str, /, **params: object) -> int:
        """How many rows the statement inserted, changed, deleted or returned; 0 for one that counts none."""
        return max(0, int(self._execute(sql, params).row_count))

    def script(self, sql: str) -> None:
        """Any number of statements without parameters, as one query. It must not end the transaction."""
        connection = self._send()
        connection.script(sql)
        if not connection.in_transaction:
            raise StatementFailed("The script ended its transaction by itself.", sqlstate="")

    def copy_in(self, sql: str, rows: Iterable[bytes]) -> None:
        """`COPY … FROM stdin`, with rows in PostgreSQL's text form, in parts of any size."""
        connection, self._failed = self._send(), True
        connection.copy_in(sql, rows)
        self._failed = False

    def commit(self) -> None:
        """COMMIT, with all that waits; `Database.transaction` does it. Nothing where the transaction never began."""
        if self._failed:
            raise StatementFailed("Rolled back: a statement had failed, and the block went on.", sqlstate="25P02")
        if self._connection or self._waiting:
            self._send(committing=True)

    def _execute(self, sql: str, params: Mapping[str, object]) -> Any:
        self._waiting.append(_statement(sql, params))
        self._send()
        return self.answers[-1]

    def _send(self, *, committing: bool = False) -> Connection:
        """All that waits, in one round trip."""
        if self._failed:
            raise StatementFailed("Nothing was done: an earlier statement of this block had failed.", sqlstate="25P02")
        together, self._waiting = self._waiting, []
        self._failed = True  # until the answers are here
        if self._connection is None:
            self._connection, self.answers = self._database.begin(
                together, snapshot=self._snapshot, committing=committing
            )
        else:
            self.answers = self._connection.together(together, committing=committing)
        self._failed = False
        return self._connection


def _rows(result: Any) -> list[Row]:
    names = [column["name"] for column in result.columns or ()]
    return [dict(zip(names, row, strict=True)) for row in result.rows or ()]


def _statement(sql: str, params: Mapping[str, object]) -> Statement:
    statement, names = numbered(sql)
    if params.keys() != set(names):
        odd = ", ".join(sorted(params.keys() ^ set(names)))
        raise TypeError(f"the statement's parameters and the arguments differ: {odd}")
    return statement, [params[name] for name in names]


NAMED_PARAMETER = re.compile(
    r"""
      \b[eE]'(?:[^'\\]|\\.|'')*'                  # E'text\n'
    | '(?:[^']|'')*'                              # 'text'
    | "(?:[^"]|"")*"                              # "identifier"
    | --[^\n]*                                    # a comment
    | /\*.*?\*/                                   # a longer one
    | (?P<quote>\$[A-Za-z_]*\$).*?(?P=quote)      # $$body$$
    | ::                                          # a cast
    | (?<![\w:]):(?P<name>[A-Za-z_][A-Za-z0-9_]*) # :name
    """,
    re.VERBOSE | re.DOTALL,
)


@lru_cache(maxsize=256)
def numbered(sql: str) -> tuple[str, tuple[str, ...]]:
    """The statement with $1, $2, … in place of `:name`, and the names in that order."""
    names: list[str] = []
    pieces, end = [], 0
    for found in NAMED_PARAMETER.finditer(sql):
        name = found["name"]
        if name is None:
            continue
        if name not in names:
            names.append(name)
        pieces += [sql[end : found.start()], f"${names.index(name) + 1}"]
        end = found.end()
    return "".join([*pieces, sql[end:]]), tuple(names)
