"""What a sweep puts right before it begins: moments that only a wrong clock can have written, and which keys are good.

A clock of the database that was ahead for a moment, or a foreign hand, leaves moments that nobody would reach: a
payment would not be asked about, mail would not leave. What lies further ahead than the code ever writes is due now.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.database import Database

AHEAD = (
    # table, column, key, how far ahead it can rightly be, what it becomes
    ("transactions", "next_query_at", "id", "61 minutes", "now()"),
    ("callback_inbox", "next_try_at", "id", "1 minute", "now()"),
    ("outbox", "next_try_at", "id", "30 minutes", "now()"),
    ("mail_pause", "until", "only_row", "61 minutes", "now()"),
    ("query_budget", "next_slot_at", "app", "2 minutes", "now()"),
    ("access_tokens", "leased_until", "app", "1 minute", "NULL"),
    ("access_tokens", "expires_at", "app", "2 hours", "now()"),
    ("incidents", "since", "topic", "1 minute", "now()"),
    ("incidents", "seen_at", "topic", "1 minute", "now()"),
    ("incidents", "alerted_at", "topic", "1 minute", "now()"),
    ("sweeps", "began_at", "only_row", "1 minute", "now()"),
    ("sweeps", "looked_at", "only_row", "1 minute", "NULL"),
    ("sweeps", "asleep_until", "only_row", "13 hours", "NULL"),
)
MOST_AT_A_TIME = 1000
TABLES = tuple(dict.fromkeys(row[0] for row in AHEAD))


def _back() -> str:
    """One UPDATE for each table, by its index, of rows that nobody else has locked."""
    parts = []
    for table in TABLES:
        columns = [row for row in AHEAD if row[0] == table]
        key = columns[0][2]
        far = " OR ".join(f"{column} > now() + interval '{most}'" for _, column, _, most, _ in columns)
        sets = ", ".join(
            f"{column} = CASE WHEN {column} > now() + interval '{most}' THEN {becomes} ELSE {column} END"
            for _, column, _, most, becomes in columns
        )
        parts.append(
            f"""{table}_back AS (
                UPDATE {table} SET {sets} WHERE {key} IN (
                    SELECT {key} FROM {table} WHERE {far} LIMIT {MOST_AT_A_TIME} FOR UPDATE SKIP LOCKED)
                RETURNING 1)"""
        )
    return ",\n".join(parts)


PUT_RIGHT = f"""
    WITH good AS (SELECT unnest(string_to_array(:keys, ' ')) AS name),
    named AS (
        INSERT INTO callback_keys (name)
        SELECT name FROM good WHERE name NOT IN (SELECT k.name FROM callback_keys k) ON CONFLICT DO NOTHING),
    changed AS (
        UPDATE callback_keys SET retired_at = CASE WHEN name IN (SELECT name FROM good) THEN NULL ELSE now() END
        WHERE (retired_at IS NULL) <> (name IN (SELECT name FROM good))),
    {_back()}
    SELECT {" + ".join(f"(SELECT count(*) FROM {table}_back)" for table in TABLES)} AS moments
"""


class Upkeep:
    """In one statement, which writes nothing where there is nothing to put right."""

    def __init__(self, store: Database) -> None:
        self._store = store

    def put_right(self, good_keys: Sequence[str]) -> int:
        """These keys sign callback addresses, and no others. Returns how many rows had a moment that cannot be."""
        (found,) = self._store.change(PUT_RIGHT, keys=" ".join(good_keys))
        return int(found["moments"])
