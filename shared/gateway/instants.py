"""How far ahead each stored instant can rightly lie. What lies further was written by a wrong clock, or a foreign hand.

A clock of the database that was ahead for a moment leaves instants that nobody would reach: a payment would not be
asked about, mail would not leave. So statements that decide by such an instant do not believe more than `LATEST`, and
each sweep puts right what it finds (`Watch.put_right`): it is due now.
"""

from __future__ import annotations

AHEAD = (
    # table, column, key, how far ahead it can rightly be, what it becomes
    ("transactions", "next_query_at", "id", "61 minutes", "now()"),
    ("callback_inbox", "next_try_at", "id", "1 minute", "now()"),
    ("outbox", "next_try_at", "id", "30 minutes", "now()"),
    ("mail_pause", "until", "only_row", "61 minutes", "now()"),
    ("query_budget", "next_slot_at", "app", "65 seconds", "now()"),
    ("access_tokens", "leased_until", "app", "11 seconds", "NULL"),
    ("access_tokens", "expires_at", "app", "24 hours 1 minute", "now()"),  # Daraja says an hour; a day is believed
    ("incidents", "since", "topic", "1 minute", "now()"),
    ("incidents", "seen_at", "topic", "1 minute", "now()"),
    ("incidents", "alerted_at", "topic", "1 minute", "now()"),
    ("sweeps", "began_at", "only_row", "1 minute", "now()"),
    ("sweeps", "looked_at", "only_row", "1 minute", "NULL"),
    ("sweeps", "asleep_until", "only_row", "13 hours", "NULL"),  # SWEEP_IDLE_MINUTES is 12 hours at most
)
WAITS_LONGER = {"outbox": "kind IN ('webhook', 'alert_mail') AND next_try_at <= now() + interval '25 hours'"}
"""Rows of a table that rightly lie further ahead."""
FURTHEST = {f"{table}.{column}": f"interval '{most}'" for table, column, _, most, _ in AHEAD}
LATEST = {instant: f"now() + {furthest}" for instant, furthest in FURTHEST.items()}
MOST_AT_A_TIME = 1000


def _put_right(table: str) -> str:
    """One UPDATE, by the table's index, of rows that nobody else has locked."""
    columns = [row for row in AHEAD if row[0] == table]
    key = columns[0][2]
    far = " OR ".join([f"{column} > now() + interval '{most}'" for _, column, _, most, _ in columns])
    if table in WAITS_LONGER:
        far = f"({far}) AND NOT ({WAITS_LONGER[table]})"
    sets = ", ".join(
        [
            f"{column} = CASE WHEN {column} > now() + interval '{most}' THEN {becomes} ELSE {column} END"
            for _, column, _, most, becomes in columns
        ]
    )
    return f"""{table}_back AS (
                UPDATE {table} SET {sets} WHERE {key} IN (
                    SELECT {key} FROM {table} WHERE {far} LIMIT {MOST_AT_A_TIME} FOR UPDATE SKIP LOCKED)
                RETURNING 1)"""


TABLES = tuple(dict.fromkeys([row[0] for row in AHEAD]))
ALL_BACK = ", ".join([_put_right(table) for table in TABLES])
HOW_MANY = " + ".join([f"(SELECT count(*) FROM {table}_back)" for table in TABLES])
"""Rows that `ALL_BACK` has put right."""
