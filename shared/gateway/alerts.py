"""Raising an alert: a row of the outbox, written in the transaction that found the reason.

An alert about one payment is raised once for each topic. A condition of the whole shop opens an incident: it is alerted
when it begins and once a day while it lasts. An incident that was not seen for an hour is over.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.database import Row, Transaction


def alert(tx: Transaction, topic: str, transaction_id: str | None) -> None:
    """Once for each payment and topic. An id that is in no books, and None, give an alert without a payment."""
    tx.later(
        """
        INSERT INTO outbox (kind, topic, transaction_id)
        SELECT 'alert', :topic, (SELECT id FROM transactions WHERE id = CAST(:id AS uuid))
        ON CONFLICT (transaction_id, topic) WHERE kind = 'alert' DO NOTHING
        """,
        topic=topic,
        id=transaction_id,
    )


def incident(
    tx: Transaction,
    topic: str,
    facts: Mapping[str, object],
    *,
    part: str = "",
    leased: bool = False,
    over_after_h: int = 1,
) -> Row | None:
    """The alert's row, where this is news: the incident has just begun, or its last alert is a day old.

    `part`: each has an incident of its own, `topic:part`. `leased`: the caller sends it now, so no sweep takes it for a
    minute.
    """
    return tx.row(INCIDENT, **_incident(topic, facts, part, leased=leased, over_after_h=over_after_h))


def incident_of(tx: Transaction, topic: str, transaction_id: str, facts: Mapping[str, object], part: str) -> None:
    """An incident of the whole shop that this payment shows: its own functions send the alert."""
    tx.later(INCIDENT, **_incident(topic, facts, part, transaction_id=transaction_id, over_after_h=24))


def _incident(
    topic: str,
    facts: Mapping[str, object],
    part: str,
    *,
    over_after_h: int,
    leased: bool = False,
    transaction_id: str | None = None,
) -> dict[str, object]:
    return {
        "incident": f"{topic}:{part}" if part else topic,
        "topic": topic,
        "facts": json.dumps(facts),
        "leased": leased,
        "over_after_h": over_after_h,
        "id": transaction_id,
    }


INCIDENT = """
    WITH incident AS (
        INSERT INTO incidents AS i (topic) VALUES (:incident)
        ON CONFLICT (topic) DO UPDATE SET
            since = CASE WHEN i.seen_at <= now() - interval '1 hour' * :over_after_h THEN now() ELSE i.since END,
            alerted_at = CASE WHEN i.seen_at <= now() - interval '1 hour' * :over_after_h
                                OR i.alerted_at <= now() - interval '24 hours' THEN now() ELSE i.alerted_at END,
            seen_at = now()
        RETURNING since, alerted_at)
    INSERT INTO outbox (kind, topic, transaction_id, facts, tries, next_try_at)
    SELECT 'alert', CAST(:topic AS text), CAST(:id AS uuid),
           CAST(:facts AS jsonb) || jsonb_build_object('reminder', since < now()),
           CASE WHEN :leased THEN 1 ELSE 0 END,
           CASE WHEN :leased THEN now() + interval '1 minute' ELSE now() END
    FROM incident WHERE alerted_at = now()
    ON CONFLICT (transaction_id, topic) WHERE kind = 'alert' DO NOTHING
    RETURNING id, topic, transaction_id, created_at, facts, last_error
    """
