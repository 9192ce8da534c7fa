"""The shop as a whole: is something wrong that no single payment shows, and does the sweep run at all?

Each condition is one query. It returns the facts where the condition is true, and no row where it is not. A condition
that is true opens an incident (`shared.gateway.alerts`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.gateway.alerts import incident
from shared.gateway.instants import ALL_BACK, FURTHEST, HOW_MANY, LATEST
from shared.gateway.outbox import ITS_TURN, MOST_TRIES_OF, AlertDue
from shared.gateway.trail import ANCHOR_DUE_AT

if TYPE_CHECKING:
    from shared.database import Database, Row

SWEEP_STOPPED = "sweep_stopped"
MAIL_STOPPED = "mail_stopped"
WEBHOOK = "webhook_not_delivered"
LETTER_TEMPLATE = "letter_template"
WORK_STUCK = "work_stuck"
A_LETTER_A_DAY = 24
"""Letters may be far apart: hours without one do not mean that a template was mended."""

DAYS_UNTIL_RECONCILED = 35
"""After so many days without a statement the alert comes."""
COMPARED_UNTIL = "SELECT max(ends) AS until FROM statement_files WHERE balance_chain <> 'broken'"
"""Broken balances cover no day."""

CONDITIONS: Mapping[str, str] = {
    # Queries found how payments ended, and no callback came for any of them: the callback address is broken. Five in a
    # row, because some callbacks are always lost; two in a shop that never had one.
    "callbacks_missing": """
        SELECT count(DISTINCT q.transaction_id) AS payments
        FROM query_answers q JOIN transactions t ON t.id = q.transaction_id
        WHERE q.result_code IS NOT NULL AND t.callback_received_at IS NULL
          AND q.answered_at BETWEEN now() - interval '7 days' AND now() - interval '5 minutes'
          AND q.answered_at > coalesce((SELECT max(received_at) FROM callback_inbox
                                        WHERE outcome IS DISTINCT FROM 'test'), '-infinity')
        HAVING count(DISTINCT q.transaction_id) >= CASE WHEN EXISTS (
            SELECT FROM callback_inbox WHERE outcome IS DISTINCT FROM 'test') THEN 5 ELSE 2 END
    """,
    # More failed within the last hour than the shop's own last week explains: three standard deviations above the
    # expected number, and at least eight. A new shop is compared with three in ten.
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
    "work_stuck": f"""
        SELECT payments, callbacks, messages FROM
            (SELECT count(*) AS payments FROM transactions
             WHERE status IN ('INITIATED', 'PENDING', 'UNCERTAIN') AND created_at <= now() - interval '75 minutes') p,
            (SELECT count(*) AS callbacks FROM callback_inbox
             WHERE next_try_at <= now() - interval '15 minutes') c,
            (SELECT count(*) AS messages FROM outbox
             WHERE next_try_at <= now() - interval '15 minutes'
               AND CASE kind WHEN 'alert' THEN true WHEN 'webhook' THEN {ITS_TURN}
                   ELSE NOT EXISTS (SELECT FROM mail_pause WHERE until > now() - interval '15 minutes') END) m
        WHERE payments + callbacks + messages > 0
    """,
    # What waits for a person: alerted every day until nothing does.
    "review_waiting": """
        SELECT count(*) AS payments, (extract(epoch FROM now() - min(updated_at)) / 3600)::int AS oldest_h
        FROM transactions WHERE status = 'REVIEW' AND updated_at <= now() - interval '24 hours' HAVING count(*) > 0
    """,
    "callbacks_waiting": """
        SELECT count(*) AS callbacks, (extract(epoch FROM now() - min(judged_at)) / 3600)::int AS oldest_h
        FROM callback_inbox
        WHERE outcome IN ('dead_letter', 'held') AND judged_at <= now() - interval '24 hours' HAVING count(*) > 0
    """,
    # Who never compared the books with a statement is not asked to.
    "not_reconciled": f"""
        SELECT (extract(epoch FROM now() - until) / 86400)::int AS days FROM ({COMPARED_UNTIL}) compared
        WHERE until <= now() - interval '{DAYS_UNTIL_RECONCILED} days'
    """,
    # Who has made backups for 100 days, and restored none, does not know that they can be.
    "drill_due": """
        SELECT (extract(epoch FROM now() - since) / 86400)::int AS days FROM (
            SELECT coalesce(max(began_at) FILTER (WHERE is_good),
                            least(min(began_at), (SELECT min(at) FROM backups))) AS since FROM drills) known
        WHERE since <= now() - interval '100 days'
    """,
    # Who never made a backup of their own is not asked to. What a wrong clock put into the future is none.
    "backup_missing": """
        SELECT (extract(epoch FROM now() - max(at)) / 3600)::int AS hours FROM backups
        WHERE at <= now() + interval '1 minute' HAVING max(at) <= now() - interval '36 hours'
    """,
}


SILENT_IN_REVIEW = """
    INSERT INTO outbox (kind, topic, transaction_id)
    SELECT 'alert', 'silent_in_review', t.id FROM transactions t
    JOIN outbox o ON o.transaction_id = t.id AND o.kind = 'alert' AND o.topic = 'silence'
    WHERE t.status = 'REVIEW' AND t.review_reason = 'silence' AND t.updated_at > o.created_at + interval '1 minute'
    ON CONFLICT (transaction_id, topic) WHERE kind = 'alert' DO NOTHING
    RETURNING topic
"""
"""A payment that was silent for 15 minutes had its alert then: that it is in review now is news."""
LOOK = " UNION ALL ".join(
    [
        f"""WITH looked AS (
                INSERT INTO sweeps (began_at, looked_at) SELECT stamped_at, now() FROM installation
                ON CONFLICT (only_row) DO UPDATE SET looked_at = now()),
            silent AS ({SILENT_IN_REVIEW})
            SELECT topic, NULL::jsonb AS facts FROM silent"""
    ]
    + [f"SELECT '{topic}', to_jsonb(found) FROM ({sql}) found" for topic, sql in CONDITIONS.items()]
)


HEARD_OF = f"""
    (SELECT greatest(began_at, CASE WHEN asleep_until <= began_at + {FURTHEST["sweeps.asleep_until"]}
                                    THEN asleep_until END) FROM sweeps)
"""
"""Until when the last sweep that got through answers for the shop: it may have said until when it sleeps."""
SWEEP_IS_LATE = f"""
    coalesce({HEARD_OF}, (SELECT stamped_at FROM installation)) <= now() - interval '10 minutes'
"""
AGENDA: Mapping[str, str] = {
    "alerts": f"""SELECT min(next_try_at) FROM outbox
                  WHERE next_try_at IS NOT NULL AND (kind = 'alert' OR topic = 'log' OR tries >= {MOST_TRIES_OF})""",
    "mail": f"""SELECT greatest(min(next_try_at), (SELECT least(until, {LATEST["mail_pause.until"]}) FROM mail_pause))
               FROM outbox
               WHERE next_try_at IS NOT NULL AND kind NOT IN ('alert', 'webhook') AND topic <> 'log' AND tries < 3
               HAVING count(*) > 0""",
    "webhooks": f"""SELECT min(next_try_at) FROM outbox
                    WHERE next_try_at IS NOT NULL AND kind = 'webhook' AND tries < {MOST_TRIES_OF} AND {ITS_TURN}""",
    "callbacks": "SELECT min(next_try_at) FROM callback_inbox WHERE next_try_at IS NOT NULL",
    "open": """SELECT now() WHERE EXISTS (SELECT FROM transactions
                                          WHERE status IN ('INITIATED', 'PENDING', 'UNCERTAIN')
                                             OR status IN ('FAILED', 'CANCELLED', 'EXPIRED')
                                                AND success_held_at IS NOT NULL)""",
    "queries": """SELECT min(next_query_at) FROM transactions
                  WHERE next_query_at IS NOT NULL AND checkout_request_id IS NOT NULL AND NOT ids_are_learnt""",
    "anchors": ANCHOR_DUE_AT,
    # what alerts once it has waited for a day; the look at the whole shop repeats it
    "reviews": """SELECT min(updated_at) + interval '24 hours' FROM transactions
                  WHERE status = 'REVIEW' AND updated_at > now() - interval '24 hours'""",
    "held callbacks": """SELECT min(judged_at) + interval '24 hours' FROM callback_inbox
                         WHERE outcome IN ('dead_letter', 'held') AND judged_at > now() - interval '24 hours'""",
}
"""What a sweep has to do, by the instant from which on it is due; null: there is nothing."""
AGENDA_IN_S = f"""
    SELECT what, extract(epoch FROM least(greatest(at, now()), now() + interval '2 days') - now())::float8 AS in_s
    FROM ({" UNION ALL ".join(f"SELECT '{what}' AS what, ({sql}) AS at" for what, sql in AGENDA.items())}) known
    WHERE at IS NOT NULL
"""
LOOK_EVERY = "interval '5 minutes'"
PUT_RIGHT = f"""
    WITH good AS (SELECT unnest(string_to_array(:keys, ' ')) AS name),
    named AS (
        INSERT INTO callback_keys (name)
        SELECT name FROM good WHERE name NOT IN (SELECT k.name FROM callback_keys k) ON CONFLICT DO NOTHING),
    changed AS (
        UPDATE callback_keys SET retired_at = CASE WHEN name IN (SELECT name FROM good) THEN NULL ELSE now() END
        WHERE (retired_at IS NULL) <> (name IN (SELECT name FROM good))),
    {ALL_BACK}
    SELECT {HOW_MANY} AS moments
"""


@dataclass(frozen=True)
class Agenda:
    """What a sweep is to do now."""

    due: frozenset[str]
    """Of `AGENDA`; and `look`, where the last look at the whole shop is five minutes old."""
    had_stopped: bool
    """No sweep got through for ten minutes, or longer than it had said that it would sleep."""


EVERYTHING = Agenda(frozenset({*AGENDA, "look"}), had_stopped=False)
"""What there is to do where the agenda cannot be read."""


class Watch:
    """Looking after the shop as a whole."""

    def __init__(self, store: Database) -> None:
        self._store = store

    def agenda(self) -> Agenda:
        """What there is to do, in one round trip."""
        rows = self._store.rows(
            f"""
            {AGENDA_IN_S}
            UNION ALL SELECT 'look', 0 WHERE coalesce((SELECT looked_at <= now() - {LOOK_EVERY} FROM sweeps), true)
            UNION ALL SELECT 'stopped', 0 WHERE {HEARD_OF} <= now() - interval '10 minutes'
            """
        )
        due = {row["what"] for row in rows if row["in_s"] <= 0}
        return Agenda(frozenset(due - {"stopped"}), "stopped" in due)

    def put_right(self, good_keys: Sequence[str]) -> int:
        """What a wrong clock or an old deploy left: these keys sign callback addresses, and no others.

        In one statement, which writes nothing where nothing is wrong. Returns how many rows had an instant that cannot
        be.
        """
        (found,) = self._store.change(PUT_RIGHT, keys=" ".join(good_keys))
        return int(found["moments"])

    def sweep_got_through(self, idle_s: float) -> float:
        """The heartbeat. Returns, and writes down, for how many seconds the sweep leaves the database alone.

        Until something comes due, `idle_s` at the most; 0 where there is something to do within a minute.
        """
        (row,) = self._store.rows(
            f"""
            WITH agenda AS ({AGENDA_IN_S}),
            nap AS (
                SELECT CASE WHEN least(min(in_s), :idle_s) >= 60 THEN least(min(in_s), :idle_s) ELSE 0 END AS for_s
                FROM agenda),
            written AS (
                INSERT INTO sweeps (asleep_until) SELECT now() + interval '1 second' * for_s FROM nap
                ON CONFLICT (only_row) DO UPDATE SET
                    began_at = now(),
                    asleep_until = greatest(
                        CASE WHEN sweeps.asleep_until <= {LATEST["sweeps.asleep_until"]} THEN sweeps.asleep_until END,
                        excluded.asleep_until))
            SELECT for_s FROM nap
            """,
            idle_s=idle_s,
        )
        return float(row["for_s"])

    def sweep_had_stopped(self) -> None:
        """Alert that no sweep had got through for a while: this one does, or will say what breaks it."""
        with self._store.transaction() as tx:
            stopped = tx.row(
                f"""
                SELECT (extract(epoch FROM now() - {HEARD_OF}) / 60)::int AS minutes
                WHERE {HEARD_OF} <= now() - interval '10 minutes'
                """
            )
            if stopped is not None:
                incident(tx, SWEEP_STOPPED, {"minutes": stopped["minutes"], "runs_again": True})

    def step_breaks(self, step: str) -> AlertDue | None:
        """A step of the sweep broke. The alert, leased for a minute; None: it was alerted within the day."""
        with self._store.transaction() as tx:
            alerted = incident(tx, WORK_STUCK, {"step": step}, part=step, leased=True)
            return AlertDue.of(alerted) if alerted else None

    def forget(self) -> None:
        """Delete the digests of callers' addresses after an hour, and Idempotency-Keys after 30 days."""
        self._store.run(
            """
            WITH callers AS (DELETE FROM push_callers
                             WHERE asked_at NOT BETWEEN now() - interval '1 hour' AND now() + interval '1 hour')
            DELETE FROM idempotency_keys WHERE created_at <= now() - interval '30 days'
            """
        )

    def sweep_is_late(self) -> AlertDue | None:
        """Somebody else noticed that no sweep runs. The alert, leased for a minute; None: it was sent already."""
        with self._store.transaction() as tx:
            row = tx.row(
                f"""
                SELECT (extract(epoch FROM now() - coalesce({HEARD_OF}, stamped_at)) / 60)::int AS minutes
                FROM installation WHERE {SWEEP_IS_LATE}
                """
            )
            facts = row and {"minutes": row["minutes"], "runs_again": False}
            alerted = incident(tx, SWEEP_STOPPED, facts, leased=True) if facts else None
            return AlertDue.of(alerted) if alerted else None

    def mail_stops(self) -> None:
        """The mail service refuses our mail until a person corrects something."""
        with self._store.transaction() as tx:
            incident(tx, MAIL_STOPPED, {})

    def webhook_is_misconfigured(self, variables: str) -> None:
        """Events wait until a person corrects these settings of the webhook."""
        with self._store.transaction() as tx:
            incident(tx, WEBHOOK, {"variables": variables}, part="settings")

    def letter_template_breaks(self, template: str, where: str) -> None:
        """The shop's own template could not be used, so the built-in one was. `where`: file, line and error."""
        with self._store.transaction() as tx:
            incident(tx, LETTER_TEMPLATE, {"template": template, "broken_at": where}, over_after_h=A_LETTER_A_DAY)

    def stamp(self) -> Row | None:
        """Of the database: for which environment, and since when."""
        return self._store.row("SELECT environment, stamped_at FROM installation")

    def look(self) -> list[str]:
        """Check every condition. Returns the topics of new alerts."""
        found = self._store.rows(LOOK)
        if not found:
            return []
        with self._store.transaction() as tx:
            return [row["topic"] for row in found if row["facts"] is None or incident(tx, row["topic"], row["facts"])]
