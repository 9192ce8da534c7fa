"""The shop as a whole, watched: is something wrong that no single payment shows, and does the sweep run at all?

Each condition is one query that answers with the facts where it holds and with nothing where it does not. What holds is
an occasion: told when it begins and then once a day, by one sweep only, however many look. One that was not seen for an
hour is over; the next time is a new one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from shared.gateway.outbox import AlertDue

if TYPE_CHECKING:
    from shared.database import Row, Transaction
    from shared.gateway.store import Store

SWEEP_STOPPED = "sweep_stopped"
MAIL_STOPPED = "mail_stopped"
LETTER_TEMPLATE = "letter_template"
A_LETTER_A_DAY = 24
"""Letters can be far apart: that none was written for hours does not mean that a template was mended."""

CONDITIONS: Mapping[str, str] = {
    # Daraja told how payments ended when asked, and no callback came for any: the address it calls is broken. Five in
    # a row, because some callbacks are always lost; two in a shop that never had one.
    "callbacks_missing": """
        SELECT count(DISTINCT q.transaction_id) AS payments
        FROM query_answers q JOIN transactions t ON t.id = q.transaction_id
        WHERE q.result_code IS NOT NULL AND t.callback_received_at IS NULL
          AND q.answered_at BETWEEN now() - interval '7 days' AND now() - interval '5 minutes'
          AND q.answered_at > coalesce((SELECT max(received_at) FROM callback_inbox), '-infinity')
        HAVING count(DISTINCT q.transaction_id) >= CASE WHEN EXISTS (SELECT FROM callback_inbox) THEN 5 ELSE 2 END
    """,
    # More failed within the last hour than the shop's own last week explains: three standard deviations above what was
    # to be expected, and at least eight. A shop without a past is held against three in ten.
    "failure_rate": """
        WITH ended AS (
            SELECT status IN ('FAILED', 'CANCELLED', 'EXPIRED') AS failed,
                   created_at > now() - interval '1 hour' AS lately
            FROM transactions
            WHERE status IN ('PAID', 'REFUNDED', 'FAILED', 'CANCELLED', 'EXPIRED')
              AND created_at > now() - interval '7 days'),
        counted AS (
            SELECT count(*) FILTER (WHERE lately) AS payments, count(*) FILTER (WHERE lately AND failed) AS failed,
                   greatest((count(*) FILTER (WHERE NOT lately AND failed) + 3.0)
                            / (count(*) FILTER (WHERE NOT lately) + 10.0), 0.05) AS usual
            FROM ended)
        SELECT payments, failed, round(100 * usual)::int AS usual_percent FROM counted
        WHERE failed >= 8 AND failed > payments * usual + 3 * sqrt(payments * usual * (1 - usual))
    """,
    # Nobody was asked to pay although several tried: credentials, shortcode, network.
    "no_push_accepted": """
        SELECT count(*) AS pushes FROM transactions
        WHERE status = 'FAILED' AND checkout_request_id IS NULL
          AND created_at > greatest(now() - interval '24 hours', (
              SELECT max(a.created_at) FROM transactions a
              WHERE a.status IN ('PENDING', 'PAID', 'FAILED', 'CANCELLED', 'EXPIRED', 'REVIEW', 'REFUNDED')
                AND a.created_at > now() - interval '24 hours' AND a.checkout_request_id IS NOT NULL))
        HAVING count(*) >= 3 AND count(DISTINCT phone_number) >= 2
    """,
    "mail_failing": """
        SELECT count(*) AS invoices FROM outbox
        WHERE kind = 'invoice' AND sent_at IS NULL AND last_error IS NOT NULL
          AND created_at > greatest(now() - interval '24 hours', (
              SELECT max(sent_at) FROM outbox WHERE kind = 'invoice' AND sent_at IS NOT NULL))
        HAVING count(*) >= 3
    """,
    # The sweep runs, and still work stays where it is. (Mail that keeps a pause is not stuck.)
    "work_stuck": """
        SELECT payments, callbacks, messages FROM
            (SELECT count(*) AS payments FROM transactions
             WHERE status IN ('INITIATED', 'PENDING', 'UNCERTAIN') AND created_at <= now() - interval '75 minutes') p,
            (SELECT count(*) AS callbacks FROM callback_inbox
             WHERE next_try_at <= now() - interval '15 minutes') c,
            (SELECT count(*) AS messages FROM outbox
             WHERE next_try_at <= now() - interval '15 minutes'
               AND (kind = 'alert'
                    OR NOT EXISTS (SELECT FROM mail_pause WHERE until > now() - interval '15 minutes'))) m
        WHERE payments + callbacks + messages > 0
    """,
    # What waits for a person, told again every day until nothing does.
    "review_waiting": """
        SELECT count(*) AS payments, (extract(epoch FROM now() - min(updated_at)) / 3600)::int AS oldest_h
        FROM transactions WHERE status = 'REVIEW' AND updated_at <= now() - interval '24 hours' HAVING count(*) > 0
    """,
    "callbacks_waiting": """
        SELECT count(*) AS callbacks, (extract(epoch FROM now() - min(judged_at)) / 3600)::int AS oldest_h
        FROM callback_inbox
        WHERE outcome IN ('dead_letter', 'held') AND judged_at <= now() - interval '24 hours' HAVING count(*) > 0
    """,
}


class Watch:
    """Looking after the shop as a whole."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def sweep_begins(self) -> None:
        """Remember that a sweep runs; after ten minutes without one, alert that it had stopped."""
        with self._store.transaction() as tx:
            row = tx.row(
                """
                WITH before AS (SELECT began_at FROM sweeps FOR UPDATE),
                begun AS (
                    INSERT INTO sweeps (only_row) VALUES (true)
                    ON CONFLICT (only_row) DO UPDATE SET began_at = greatest(sweeps.began_at, now()))
                SELECT (extract(epoch FROM now() - began_at) / 60)::int AS minutes FROM before
                WHERE began_at <= now() - interval '10 minutes'
                """
            )
            if row is not None:
                _tell(tx, SWEEP_STOPPED, {"minutes": row["minutes"], "runs_again": True})

    def sweep_is_late(self) -> AlertDue | None:
        """Somebody else noticed that no sweep comes. The alert to tell now, leased for a minute, unless it was told."""
        with self._store.transaction() as tx:
            row = tx.row(
                """
                SELECT (extract(epoch FROM now() - coalesce(s.began_at, i.stamped_at)) / 60)::int AS minutes
                FROM installation i LEFT JOIN sweeps s ON true
                WHERE coalesce(s.began_at, i.stamped_at) <= now() - interval '10 minutes'
                """
            )
            told = row and _tell(tx, SWEEP_STOPPED, {"minutes": row["minutes"], "runs_again": False}, leased=True)
            return AlertDue.of(told) if told else None

    def mail_stops(self) -> None:
        """Whoever carries our mail takes none until a person puts something right."""
        with self._store.transaction() as tx:
            _tell(tx, MAIL_STOPPED, {})

    def letter_template_breaks(self, template: str, where: str) -> None:
        """A shop's own template could not be used, and the built-in one was. `where` names file, line and error."""
        with self._store.transaction() as tx:
            _tell(tx, LETTER_TEMPLATE, {"template": template, "broken_at": where}, over_after_h=A_LETTER_A_DAY)

    def look(self) -> list[str]:
        """Every five minutes, by whichever sweep comes first: alert of what concerns the whole shop. Returns topics."""
        with self._store.transaction() as tx:
            if not tx.run(
                """
                UPDATE sweeps SET looked_at = now()
                WHERE looked_at IS NULL OR looked_at <= now() - interval '5 minutes'
                """
            ):
                return []
            told = ["silent_in_review"] * bool(_tell_of_silence_in_review(tx))
            found = {topic: tx.row(sql) for topic, sql in CONDITIONS.items()}
            return told + [topic for topic, facts in found.items() if facts is not None and _tell(tx, topic, facts)]


def _tell(
    tx: Transaction, topic: str, facts: Mapping[str, object], *, leased: bool = False, over_after_h: int = 1
) -> Row | None:
    """The alert, where this is news: the occasion has just begun, or was last told a day ago."""
    return tx.row(
        """
        WITH occasion AS (
            INSERT INTO occasions AS o (topic) VALUES (:topic)
            ON CONFLICT (topic) DO UPDATE SET
                since = CASE WHEN o.seen_at <= now() - interval '1 hour' * :over_after_h THEN now() ELSE o.since END,
                told_at = CASE WHEN o.seen_at <= now() - interval '1 hour' * :over_after_h
                                 OR o.told_at <= now() - interval '24 hours' THEN now() ELSE o.told_at END,
                seen_at = now()
            RETURNING topic, since, told_at)
        INSERT INTO outbox (kind, topic, facts, tries, next_try_at)
        SELECT 'alert', topic, CAST(:facts AS jsonb) || jsonb_build_object('reminder', since < now()),
               CASE WHEN :leased THEN 1 ELSE 0 END,
               CASE WHEN :leased THEN now() + interval '1 minute' ELSE now() END
        FROM occasion WHERE told_at = now()
        RETURNING id, topic, transaction_id, created_at, facts, last_error
        """,
        topic=topic,
        facts=json.dumps(facts),
        leased=leased,
        over_after_h=over_after_h,
    )


def _tell_of_silence_in_review(tx: Transaction) -> int:
    """A payment that was silent for 15 minutes was told of then; that it went to review later is news."""
    return tx.run(
        """
        INSERT INTO outbox (kind, topic, transaction_id)
        SELECT 'alert', 'silent_in_review', t.id FROM transactions t
        JOIN outbox o ON o.transaction_id = t.id AND o.kind = 'alert' AND o.topic = 'silence'
        WHERE t.status = 'REVIEW' AND t.review_reason = 'silence' AND t.updated_at > o.created_at + interval '1 minute'
        ON CONFLICT (transaction_id, topic) WHERE kind = 'alert' DO NOTHING
        """
    )
