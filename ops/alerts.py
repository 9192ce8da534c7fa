"""`ops alerts`: alerts of the last 7 days, incidents that are open now, and whether the sweep runs. Changes nothing.

Exits 1 while an incident is open, a restore is not finished or the sweep has stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from ops.answers import Answer, Table
from ops.recovery import still_open
from ops.session import Commands, Session
from ops.words import counted, eat
from shared.database import Database, Row
from shared.gateway.watch import HEARD_OF
from shared.observability.alerts import TOPICS, UNKNOWN


def add_commands(commands: Commands) -> None:
    lately = commands.add_parser("alerts", help="alerts of the last 7 days, and open incidents; changes nothing")
    lately.set_defaults(run=_alerts)


def _alerts(session: Session, _: argparse.Namespace) -> Answer:
    database = session.database
    incidents = database.rows(
        "SELECT topic, since FROM incidents WHERE seen_at > now() - interval '1 hour' ORDER BY since"
    )
    for row in incidents:
        row.update(vars(TOPICS.get(row["topic"].partition(":")[0], UNKNOWN)))
    alerts = database.rows(
        """
        SELECT topic, transaction_id, created_at, sent_at, next_try_at, last_error, facts FROM outbox
        WHERE kind = 'alert' AND created_at > now() - interval '7 days' ORDER BY created_at DESC LIMIT 200
        """
    )
    stopped, recovering = no_sweep(database), still_open(database)
    return Answer(
        {"incidents": incidents, "alerts": alerts, "no_sweep": stopped, "recovering": recovering},
        [*filter(None, [recovering]), *_lines(incidents, alerts)],
        code=1 if incidents or stopped or recovering else 0,
    )


def no_sweep(database: Database) -> str | None:
    """What to say where no sweep has got through for ten minutes; None: one has, or said that it sleeps."""
    row = database.row(
        f"""
        SELECT (extract(epoch FROM now() - coalesce({HEARD_OF}, stamped_at)) / 60)::int AS minutes FROM installation
        """  # noqa: S608
    )
    if row is None or row["minutes"] < 10:
        return None
    return f"no sweep has got through for {row['minutes']} minutes. {TOPICS['sweep_stopped'].do_now}"


def _lines(incidents: list[Row], alerts: list[Row]) -> Iterator[str | Table]:
    """First the open incidents, then the alerts of the last days, newest first."""
    yield f"{counted(len(incidents), 'incident')} open now"
    yield Table(
        ("Topic", "Since (EAT)", "~What it means", "~Do now"),
        [
            (
                (row["topic"], eat(row["since"]), row["says"], row["do_now"]),
                f"  {row['topic']} since {eat(row['since'])} EAT: {row['says']}\n      {row['do_now']}",
            )
            for row in incidents
        ],
    )
    yield f"{counted(len(alerts), 'alert')} in the last 7 days"
    yield Table(
        ("When (EAT)", "Topic", "Payment, or what it is about", "~Left"),
        [
            (
                (eat(row["created_at"]), row["topic"], _about(row), _left(row).strip(" ()")),
                f"  {eat(row['created_at'])} EAT  {row['topic']}  {_about(row)}{_left(row)}",
            )
            for row in alerts
        ],
    )


def _about(row: Row) -> str:
    if row["transaction_id"]:
        return str(row["transaction_id"])
    facts = row["facts"] or {}
    return ", ".join(f"{name} {value}" for name, value in facts.items() if not isinstance(value, bool))


def _left(row: Row) -> str:
    if row["sent_at"]:
        return ""
    return (
        f"  (not sent yet: {row['last_error'] or 'the sweep sends it'})" if row["next_try_at"] else "  (log line only)"
    )
