"""What begins each transaction: all in a session that can change what a statement means, in the round trip of BEGIN.

A pooler in transaction mode hands on a session with what others have set in it; a database and a role have settings of
their own. So nothing of a session is taken for granted. What is said here ends with the transaction; only
`idle_session_timeout` stays, and only in a session that belongs to nobody else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

Statement: TypeAlias = tuple[str, Sequence[object]]
"""SQL with $1, $2, … and their values."""

WRITING = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
OURSELVES = ("SET LOCAL SESSION AUTHORIZATION DEFAULT", "SET LOCAL role TO DEFAULT")
"""Who logged in; the role is the one that ALTER ROLE or the URL's `options` gave at the login."""
IDLE_SESSION_S = 15
"""A session that is idle for longer ends by itself: a frozen function must not hold one of the server's connections.
We trust a kept connection for 10 s only, so nothing is lost."""

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


ROLL_BACK_OURS = f"ROLLBACK; SET idle_session_timeout = '{IDLE_SESSION_S}s'"
"""ROLLBACK takes back what the transaction had set for the session."""
