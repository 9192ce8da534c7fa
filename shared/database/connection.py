"""One session of the server's: what begins each transaction in it, its round trips, and what their failures mean.

Any number of statements travel together, in one round trip with one Sync (the extended protocol's pipelining); pg8000
makes three round trips for one statement.

A pooler in transaction mode hands on a session with what others have set in it; a database and a role have settings of
their own. So nothing of a session is taken for granted: BEGIN says all that a statement's meaning depends on. That ends
with the transaction; only `idle_session_timeout` stays, and only in a session that belongs to nobody else.

Importing this module imports pg8000, which is slow: `shared.database` does so at the first connection.
"""

from __future__ import annotations

import selectors
import ssl
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias

from pg8000.converters import PY_TYPES, TIMESTAMPTZ, timestamptz_in
from pg8000.core import (
    BIND,
    COMMAND_COMPLETE,
    DESCRIBE,
    EMPTY_QUERY_RESPONSE,
    EXECUTE_MSG,
    FLUSH_MSG,
    IDLE,
    IN_TRANSACTION,
    NULL_BYTE,
    PARAMETER_STATUS,
    PARSE,
    PORTAL,
    QUERY,
    READY_FOR_QUERY,
    SYNC_MSG,
    Context,
    H_pack,
    _create_message,
    _read,
    ci_unpack,
    i_pack,
    make_params,
)
from pg8000.exceptions import DatabaseError as ServerError

from shared.database.errors import (
    CommitUnknown,
    DatabaseError,
    DatabaseUnavailable,
    SessionUnusable,
    StatementFailed,
    translated,
)
from shared.database.login import CONNECTION_LOST, logged_in
from shared.database.url import ConnectionSettings

Statement: TypeAlias = tuple[str, Sequence[object]]
"""SQL with $1, $2, … and their values."""

# What begins a transaction --------------------------------------------------------------------------------------------

WRITING = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
OURSELVES = ("SET LOCAL SESSION AUTHORIZATION DEFAULT", "SET LOCAL role TO DEFAULT")
"""Who logged in; the role is the one that ALTER ROLE or the URL's `options` gave at the login."""
TRUSTED_FOR_S = 10
"""A connection that was unused for longer may be dead: the function was frozen, or something on the way forgot it."""
IDLE_SESSION_S = 15
"""A session that is idle for longer ends by itself: a frozen function must not hold one of the server's connections."""
SETTINGS = {
    "search_path": "public, pg_temp",  # temporary tables last: else they come before ours
    "client_encoding": "UTF8",
    "standard_conforming_strings": "on",
    "array_nulls": "on",
    "transform_null_equals": "off",
    "bytea_output": "hex",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "extra_float_digits": "1",
    "gin_fuzzy_search_limit": "0",
    "row_security": "on",
    "exit_on_error": "off",
    "synchronous_commit": "on",
}
RARE = {"session_replication_role": "origin", "transaction_timeout": "0"}
"""Set where another value is found: one needs a superuser, the other is unknown before PostgreSQL 17."""
ROLL_BACK_OURS = f"ROLLBACK; SET idle_session_timeout = '{IDLE_SESSION_S}s'"
"""ROLLBACK takes back what the transaction had set for the session."""


def beginning(begin: str, timeouts_ms: Mapping[str, int], own_pid: int | None) -> list[Statement]:
    """BEGIN, and what the transaction must not take from the session. The last answers one row: `own`.

    It says whether the server's process is `own_pid`, the one that the login named. A pooler names another. Names are
    written as `pg_catalog.…`: the session's search_path may put others before them.
    """
    settings = {**SETTINGS, **timeouts_ms}
    said = [f"pg_catalog.set_config('{name}', '{value}', true)" for name, value in settings.items()]
    said += [
        f"CASE WHEN pg_catalog.current_setting('{name}', true) OPERATOR(pg_catalog.<>) '{value}' "
        f"THEN pg_catalog.set_config('{name}', '{value}', true) END"
        for name, value in RARE.items()
    ]
    own = "pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.=) CAST($1 AS pg_catalog.int8)"
    said.append(f"CASE WHEN {own} THEN pg_catalog.set_config('idle_session_timeout', '{IDLE_SESSION_S}s', false) END")
    select = f"SELECT {own} AS own, pg_catalog.num_nonnulls({', '.join(said)})"
    return [*[(sql, ()) for sql in (begin, *OURSELVES)], (select, (own_pid,))]


class Connection:
    """Not for two threads at once. `round_trips` counts exchanges after the login."""

    def __init__(
        self,
        settings: ConnectionSettings,
        *,
        connect_timeout_s: float,
        read_timeout_s: float,
        timeouts_ms: Mapping[str, int] | None = None,
    ) -> None:
        """`timeouts_ms`: the server's own, by setting, for each transaction. Raises DatabaseUnavailable."""
        self.round_trips = 0
        self.settings = settings
        self.read_timeout_s = read_timeout_s
        self._timeouts_ms = timeouts_ms or {}
        self._unanswered = False
        self._used_at = (time.monotonic(), time.time())
        self.session_is_ours = False
        self._beginnings: dict[str, tuple[bytes, list[str]]] = {}
        self._wire = logged_in(settings, connect_timeout_s)
        self._wire.register_in_adapter(TIMESTAMPTZ, _instant)

    def begin(
        self, statements: Sequence[Statement], *, snapshot: bool, committing: bool, timeout_s: float
    ) -> list[Context]:
        """BEGIN, what each transaction sets, and the first statements: a result for each of those.

        In one round trip where this connection is trusted. Where it may be dead, BEGIN travels alone, with `timeout_s`
        to answer. `snapshot`: read-only, all as of one moment. Raises SessionUnusable where this session cannot begin:
        another one may. Else as `together`.
        """
        if self._is_trusted():
            return self._begin(statements, snapshot, committing, timeout_s)
        try:
            self._begin((), snapshot, False, timeout_s)
        except DatabaseError as failure:
            raise SessionUnusable(str(failure)) from failure
        return self.together(statements, committing=committing)

    def _begin(
        self, statements: Sequence[Statement], snapshot: bool, committing: bool, timeout_s: float
    ) -> list[Context]:
        begin = SNAPSHOT if snapshot else WRITING
        if begin not in self._beginnings:
            key = self._wire._backend_key_data
            first, *others = beginning(begin, self._timeouts_ms, int.from_bytes(key[:4], "big") if key else None)
            said = b"".join([_message(*first), FLUSH_MSG, *[_message(*other) for other in others]])
            self._beginnings[begin] = said, [sql for sql, _ in (first, *others)]
        said, sqls = self._beginnings[begin]
        messages = b"".join([said, *[_message(*each) for each in statements], COMMIT if committing else b"", SYNC_MSG])
        asked = [*sqls, *[sql for sql, _ in statements], *["COMMIT"] * committing]
        answers = self._exchange(messages, asked, committing, timeout_s, len(sqls))
        self.session_is_ours = answers[len(sqls) - 1].rows[0][0] is True
        return answers[len(sqls) :]

    def _is_trusted(self) -> bool:
        """Surely alive: idle, used a moment ago, and nothing arrived since; a server that ends it says so or hangs up.

        By two clocks, since one may stand still while a function is frozen.
        """
        unused_s = max(time.monotonic() - self._used_at[0], time.time() - self._used_at[1])
        if not self.idle or unused_s >= TRUSTED_FOR_S:
            return False
        with selectors.DefaultSelector() as waiting:
            waiting.register(self._wire._usock, selectors.EVENT_READ)
            return not waiting.select(0)

    def together(self, statements: Sequence[Statement], *, committing: bool = False) -> list[Context]:
        """Statements in one round trip: a result for each. After one that fails, none is executed.

        `committing`: with COMMIT after them, so a lost answer is `CommitUnknown`. The first is answered at once: who
        says nothing is dead.
        """
        if not statements and not committing:
            return []
        first, *others = [*[_message(*each) for each in statements], *[COMMIT] * committing]
        asked = [*[sql for sql, _ in statements], *["COMMIT"] * committing]
        return self._exchange(b"".join([first, FLUSH_MSG, *others, SYNC_MSG]), asked, committing)

    def script(self, sql: str) -> None:
        """Statements without parameters, as one simple query."""
        self._exchange(_create_message(QUERY, sql.encode() + NULL_BYTE), [sql])

    def copy_in(self, sql: str, rows: Iterable[bytes]) -> None:
        """`COPY … FROM stdin` with these rows, in parts of any size. Where `rows` raises, the connection is lost."""
        self._exchange(_message(sql, ()) + SYNC_MSG, [sql], rows=rows)

    def roll_back(self) -> None:
        """Ends the transaction. ROLLBACK also takes back what it had set for a session of ours."""
        self.script(ROLL_BACK_OURS if self.session_is_ours else "ROLLBACK")

    @property
    def lost(self) -> bool:
        """An answer never came, or the connection was closed."""
        return self._unanswered

    @property
    def in_transaction(self) -> bool:
        """In a transaction that has not failed."""
        return not self._unanswered and self._wire._transaction_status == IN_TRANSACTION

    @property
    def idle(self) -> bool:
        """In no transaction, with no answer owed: ready for the next BEGIN."""
        return not self._unanswered and self._wire._transaction_status == IDLE

    @property
    def tls_version(self) -> str | None:
        """Like TLSv1.3; None: the connection is not encrypted."""
        return self._wire._usock.version() if isinstance(self._wire._usock, ssl.SSLSocket) else None

    def close(self) -> None:
        """Never fails."""
        self._unanswered = True
        try:
            if self._wire._usock is not None:
                self._wire._usock.settimeout(1)
                self._wire.close()
        except CONNECTION_LOST:
            pass

    def _exchange(
        self,
        messages: bytes,
        asked: Sequence[str],
        committing: bool = False,
        timeout_s: float | None = None,
        beginning: int = 0,
        rows: Iterable[bytes] | None = None,
    ) -> list[Context]:
        """A round trip: a result for each statement of `asked`. The whole answer ends with ReadyForQuery.

        `timeout_s`: until the first answer. `beginning`: how many of the statements only begin the transaction; the
        rest has not begun if these fail. `rows`: what a COPY takes.
        """
        if self._unanswered:
            raise DatabaseUnavailable("Nothing was done: the connection was lost.")
        self._unanswered = True
        self.round_trips += 1
        wire, contexts, answered, code = self._wire, [Context(sql, stream=rows) for sql in asked], 0, None
        try:
            wire._usock.settimeout(timeout_s or self.read_timeout_s)
            wire._sock.write(messages)
            wire._sock.flush()
            while code != READY_FOR_QUERY:
                code, length = ci_unpack(_read(wire._sock, 5))
                wire._usock.settimeout(self.read_timeout_s)
                data = _read(wire._sock, length - 4)
                if code != PARAMETER_STATUS:  # not followed: each transaction sets client_encoding itself
                    wire.message_types[code](data, contexts[min(answered, len(contexts) - 1)])
                answered += code in (COMMAND_COMPLETE, EMPTY_QUERY_RESPONSE)
        except CONNECTION_LOST:
            self.close()
        else:
            self._unanswered = False
        errors = [context.error for context in contexts if context.error is not None]
        if errors or self._unanswered:
            raise self._failure(errors[0] if errors else None, committing, begun=answered >= beginning)
        self._used_at = (time.monotonic(), time.time())
        return contexts

    def _failure(self, error: Exception | None, committing: bool, *, begun: bool) -> DatabaseError:
        if isinstance(error, ServerError):
            failure = translated(error.args[0], committing=committing)
            if self._unanswered or begun or isinstance(failure, CommitUnknown):
                return failure
            return SessionUnusable.of(error.args[0])
        self.close()
        if committing:
            return CommitUnknown("COMMIT was sent and the connection was lost before its answer.")
        return DatabaseUnavailable("Nothing was done: the connection was lost or the server did not answer in time.")


def _message(sql: str, values: Sequence[object]) -> bytes:
    """Parse, Bind, Describe and Execute of one statement."""
    params, wrong = [], ""
    try:
        params = [None if param is None else param.encode() for param in make_params(PY_TYPES, values)]
    except Exception as error:  # not chained: it quotes the value
        wrong = type(error).__name__
    if wrong:
        raise StatementFailed(f"A value cannot be sent to the database ({wrong}).", sqlstate="")
    bound = b"".join([NO_VALUE if param is None else i_pack(len(param)) + param for param in params])
    return b"".join(
        (
            _create_message(PARSE, NULL_BYTE + sql.encode() + NULL_BYTE + H_pack(0)),
            _create_message(BIND, NULL_BYTE * 2 + H_pack(0) + H_pack(len(values)) + bound + H_pack(0)),
            DESCRIBE_MSG,
            EXECUTE_MSG,
        )
    )


def _instant(text: str) -> Any:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return timestamptz_in(text)


NO_VALUE = i_pack(-1)
DESCRIBE_MSG = _create_message(DESCRIBE, PORTAL + NULL_BYTE)
COMMIT = _message("COMMIT", ())
