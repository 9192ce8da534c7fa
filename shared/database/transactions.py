"""Transactions over one connection that heals itself, with their timeouts set on the server."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

from shared.database.errors import (
    DatabaseError,
    DatabaseUnavailable,
    StatementFailed,
)
from shared.database.url import ConnectionSettings, connection_settings

if TYPE_CHECKING:
    from shared.database.connection import Connection

Row: TypeAlias = dict[str, Any]
"""One row by column name. NUMERIC is Decimal, timestamptz an aware datetime in UTC, jsonb as json.loads reads it."""

SLACK_S = 1
"""How much longer than the server's own timeout we wait for its word that it came to that."""
FIRST_ANSWER_S = 1.5
"""How long a reused connection has at most to answer BEGIN, which waits for no lock, before it is replaced."""


class Database:
    """One connection, opened at first use and kept. One transaction at a time; not for two threads at once."""

    def __init__(
        self,
        url: str,
        *,
        connect_timeout_s: float = 5,
        statement_timeout_s: float = 5,
        lock_timeout_s: float = 3,
        idle_timeout_s: float = 10,
    ) -> None:
        """Raises ValueError where the URL cannot be used. Timeouts of 0 mean none."""
        self._settings = connection_settings(url)
        wanted = self._settings.connect_timeout_s
        self._connect_timeout_s = min(connect_timeout_s, wanted) if wanted else connect_timeout_s
        self._read_timeout_s = statement_timeout_s + SLACK_S if statement_timeout_s else 3600
        self._begin = (
            "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL synchronous_commit = on;"
            f" SET LOCAL statement_timeout = {round(statement_timeout_s * 1000)};"
            f" SET LOCAL lock_timeout = {round(lock_timeout_s * 1000)};"
            f" SET LOCAL idle_in_transaction_session_timeout = {round(idle_timeout_s * 1000)};"
            " SET LOCAL TimeZone = 'UTC'"
        )
        self._connection: Connection | None = None
        self._open = False
        self._round_trips_before = 0

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Committed when the block ends, rolled back when it raises.

        Raises DatabaseUnavailable, CommitUnknown, Busy, ConstraintBroken or StatementFailed; all but CommitUnknown mean
        that nothing of the block is stored.
        """
        if self._open:
            raise RuntimeError("a transaction of this Database is open already")
        self._open = True
        try:
            connection = self._begun()
            try:
                yield Transaction(connection)
            except BaseException:
                self._roll_back(connection)
                raise
            self._commit(connection)
        finally:
            self._open = False

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
    def round_trips(self) -> int:
        """Exchanges with the server so far, without those of logging in."""
        return self._round_trips_before + (self._connection.round_trips if self._connection else 0)

    def _begun(self) -> Connection:
        kept = self._connection
        if kept is not None and kept.idle:
            try:
                kept.simple(self._begin, timeout_s=min(FIRST_ANSWER_S, self._connect_timeout_s / 2))
                return kept
            except DatabaseError:
                pass
        self.close()
        connection = self._connected()
        try:
            connection.simple(self._begin, timeout_s=self._connect_timeout_s)
        except DatabaseUnavailable:
            self.close()
            raise
        except DatabaseError as refused:
            self.close()
            failure = DatabaseUnavailable(f"Nothing was done: no transaction could be begun. {refused}")
        else:
            return connection
        raise failure

    def _connected(self) -> Connection:
        from shared.database.connection import Connection

        self._connection = Connection(
            self._settings, connect_timeout_s=self._connect_timeout_s, read_timeout_s=self._read_timeout_s
        )
        return self._connection

    def _commit(self, connection: Connection) -> None:
        if not connection.in_transaction:
            self._roll_back(connection)
            raise StatementFailed("Rolled back: a statement had failed, and the block went on.", sqlstate="25P02")
        try:
            connection.simple("COMMIT", committing=True)
        except DatabaseError:
            if not connection.idle:
                self.close()
            raise

    def _roll_back(self, connection: Connection) -> None:
        try:
            connection.simple("ROLLBACK")
        except DatabaseError:
            self.close()


class Transaction:
    """An open transaction. Parameters are `:name` in the SQL; one whose type is not clear needs CAST(:x AS type)."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def rows(self, sql: str, /, **params: object) -> list[Row]:
        result = self._execute(sql, params)
        names = [column["name"] for column in result.columns or ()]
        return [dict(zip(names, row, strict=True)) for row in result.rows or ()]

    def row(self, sql: str, /, **params: object) -> Row | None:
        """The first row, or None."""
        found = self.rows(sql, **params)
        return found[0] if found else None

    def run(self, sql: str, /, **params: object) -> int:
        """How many rows the statement inserted, changed, deleted or returned; 0 for one that counts none."""
        return max(0, int(self._execute(sql, params).row_count))

    def script(self, sql: str) -> None:
        """Any number of statements without parameters, as one query. It must not end the transaction."""
        self._connection.simple(sql)
        if not self._connection.in_transaction:
            raise StatementFailed("The script ended its transaction by itself.", sqlstate="")

    def _execute(self, sql: str, params: Mapping[str, object]) -> Any:
        statement, names = numbered(sql)
        if params.keys() != set(names):
            odd = ", ".join(sorted(params.keys() ^ set(names)))
            raise TypeError(f"the statement's parameters and the arguments differ: {odd}")
        if not names:
            return self._connection.simple(statement)
        return self._connection.statement(statement, [params[name] for name in names])


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

    def number(found: re.Match[str]) -> str:
        name = found["name"]
        if name is None:
            return found[0]
        if name not in names:
            names.append(name)
        return f"${names.index(name) + 1}"

    return NAMED_PARAMETER.sub(number, sql), tuple(names)
