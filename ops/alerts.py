"""`ops alerts`: what was told lately, what still holds, and whether the sweep runs. Changes nothing.

Every command that works on the books says so too where no sweep comes: it is one of the few that can notice.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from ops.words import counted
from shared.database import Database, Row
from shared.east_africa_time import EAT
from shared.observability.alerts import TOPICS, UNKNOWN


def add_commands(commands: Any) -> None:
    """Adds `alerts` to the parser's commands."""
    told = commands.add_parser("alerts", help="what was told in the last 7 days, what still holds; changes nothing")
    told.set_defaults(run=_alerts)


def no_sweep(database: Database) -> str | None:
    """What to say where no sweep has begun for ten minutes; None: one has."""
    with database.transaction() as tx:
        row = tx.row(
            """
            SELECT (extract(epoch FROM now() - coalesce(s.began_at, i.stamped_at)) / 60)::int AS minutes
            FROM installation i LEFT JOIN sweeps s ON true
            """
        )
    if row is None or row["minutes"] < 10:
        return None
    return f"no sweep has begun for {row['minutes']} minutes. {TOPICS['sweep_stopped'].do_now}"


def tell(database: Database) -> Iterator[str]:
    """Line by line: first what holds now, then what was told, newest first."""
    with database.transaction() as tx:
        holding = tx.rows("SELECT * FROM occasions WHERE seen_at > now() - interval '1 hour' ORDER BY since")
        told = tx.rows(
            """
            SELECT topic, transaction_id, created_at, sent_at, next_try_at, last_error, facts FROM outbox
            WHERE kind = 'alert' AND created_at > now() - interval '7 days' ORDER BY created_at DESC LIMIT 200
            """
        )
    yield f"{counted(len(holding), 'thing')} about the whole shop {'holds' if len(holding) == 1 else 'hold'} now"
    for row in holding:
        topic = TOPICS.get(row["topic"], UNKNOWN)
        yield f"  {row['topic']} since {_eat(row['since'])}: {topic.says}"
        yield f"      {topic.do_now}"
    yield f"{counted(len(told), 'alert')} in the last 7 days"
    for row in told:
        yield f"  {_eat(row['created_at'])}  {row['topic']}  {_about(row)}{_left(row)}"


def _alerts(database: Database, _: argparse.Namespace) -> int:
    for line in tell(database):
        print(line)
    return 0


def _about(row: Row) -> str:
    if row["transaction_id"]:
        return str(row["transaction_id"])
    facts = row["facts"] or {}
    return ", ".join(f"{name} {value}" for name, value in facts.items() if not isinstance(value, bool))


def _left(row: Row) -> str:
    if row["sent_at"]:
        return ""
    return (
        f"  (not told yet: {row['last_error'] or 'the sweep tells it'})" if row["next_try_at"] else "  (log line only)"
    )


def _eat(at: Any) -> str:
    return f"{at.astimezone(EAT):%Y-%m-%d %H:%M} EAT"
