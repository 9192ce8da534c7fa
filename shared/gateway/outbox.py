"""What has to leave: under a lease, outside any transaction, three tries at most. One file: one table, one taker."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, TypeAlias

from shared.audit_chain import Anchor
from shared.gateway.instants import LATEST
from shared.notices import SENT_BY_DEFAULT, DropReason, Notice, NoticeFacts, reason_to_drop
from shared.values import ERASED_EMAIL, Lang

if TYPE_CHECKING:
    from shared.database import Database, Row, Transaction
    from shared.prices import Priced

MOST_TRIES = 3
LONGEST_PAUSE_S = 3600.0
DROPPED_AT_ONCE = 1000


@dataclass(frozen=True)
class AlertDue:
    """Something an operator should know."""

    id: int
    topic: str
    transaction_id: str | None
    created_at: datetime
    facts: Mapping[str, object] = field(default_factory=dict)
    line_is_written: bool = False
    """An earlier try wrote the log line and could not reach Sentry."""

    @classmethod
    def of(cls, row: Row) -> AlertDue:
        told_of = row["transaction_id"]
        return cls(
            id=row["id"],
            topic=row["topic"],
            transaction_id=str(told_of) if told_of else None,
            created_at=row["created_at"],
            facts=row["facts"] or {},
            line_is_written=row["last_error"] is not None,
        )


@dataclass(frozen=True, kw_only=True)
class LetterDue:
    """What every letter to a customer says."""

    id: int
    transaction_id: str
    customer_email: str
    customer_name: str | None
    customer_phone: str
    amount_kes: Decimal
    account_reference: str
    transaction_desc: str | None
    items: tuple[Priced, ...]
    receipt: str | None
    paid_at: datetime | None
    """None: it never was, so what came need not be its amount."""
    lang: Lang
    tries: int


@dataclass(frozen=True, kw_only=True)
class InvoiceDue(LetterDue):
    """An invoice that is to be sent."""

    invoice_number: str
    invoice_date: datetime
    paid_at: datetime


@dataclass(frozen=True, kw_only=True)
class NoticeDue(LetterDue):
    """What else became of a payment."""

    topic: str
    at: datetime
    """When it happened."""
    refund_receipt: str | None
    result_code: str | None


@dataclass(frozen=True)
class AnchorDue:
    """An anchor of the audit log that is to leave, by one of its two ways."""

    id: int
    way: str
    """'log' or 'mail'."""
    made_at: datetime
    token: str
    tries: int


@dataclass(frozen=True)
class Dropped:
    """Notices that were to leave and are pointless by now: written down, nothing to send."""

    how_many: int = 1


MailDue: TypeAlias = InvoiceDue | NoticeDue | AnchorDue
Due: TypeAlias = AlertDue | MailDue

MAILBOX = r"regexp_replace(lower({}.customer_email), '(\+[^@]*|\.)(?=[^@]*@)', '', 'g')"
"""What an address is counted under, as the index has it: spellings that reach one mailbox are one."""
MAIL_WAITS = f"EXISTS (SELECT FROM mail_pause WHERE until > now() AND until <= {LATEST['mail_pause.until']})"
DUE = f"""
    next_try_at <= now() AND tries < :most_tries
    AND (CAST(:of AS uuid) IS NULL OR transaction_id = CAST(:of AS uuid) OR transaction_id IS NULL AND kind = 'alert')
    AND (kind = 'alert' OR kind = 'anchor' AND topic = 'log'
         OR :mail_too AND NOT {MAIL_WAITS})
"""
TOLD = f"""
    told AS MATERIALIZED (
        SELECT {MAILBOX.format("o")} AS mailbox, count(*) AS notices
        FROM outbox f JOIN transactions o ON o.id = f.transaction_id
        WHERE f.kind = 'notice' AND f.topic = 'failed' AND f.tries > 0 AND f.created_at > now() - interval '1 day'
          AND o.customer_email IS NOT NULL
        GROUP BY 1)
"""
"""Notices of failures that left within a day, by mailbox: counted once, however many wait."""
NOTICE_FACTS = f"""
    SELECT EXISTS (SELECT FROM audit_log a WHERE a.transaction_id = t.id AND a.id > due.tells_of
                     AND a.from_status <> a.to_status) AS overtaken,
           t.success_held_at IS NOT NULL AS success_held,
           coalesce(t.watched_at >= t.failed_at, false) AS failure_seen,
           EXISTS (SELECT FROM transactions n
                   WHERE n.phone_number = t.phone_number AND n.created_at > t.created_at
                     AND n.account_reference = t.account_reference) AS tried_again,
           EXISTS (SELECT FROM audit_log a WHERE a.id = due.tells_of AND a.from_status = 'REVIEW') AS after_review,
           coalesce((SELECT told.notices FROM told WHERE told.mailbox = {MAILBOX.format("t")}), 0)
           - CASE WHEN due.topic = 'failed' AND due.tries > 0 AND due.created_at > now() - interval '1 day'
                  THEN 1 ELSE 0 END AS failures_today,
           EXISTS (SELECT FROM outbox f WHERE f.transaction_id = t.id AND f.kind = 'notice' AND f.topic = 'failed'
                     AND f.tries > 0) AS failure_notice_left
    WHERE due.kind = 'notice'
"""
"""What `shared.notices` decides by."""
DROP_OVER_THE_DAILY_LIMIT = f"""
    UPDATE outbox SET next_try_at = NULL, dropped = 'daily_limit' WHERE id IN (
        SELECT f.id
        FROM transactions t JOIN transactions o ON {MAILBOX.format("o")} = {MAILBOX.format("t")}
        JOIN outbox f ON f.transaction_id = o.id
        WHERE t.id = :id AND o.customer_email IS NOT NULL
          AND f.kind = 'notice' AND f.topic = 'failed' AND f.next_try_at <= now() AND f.tries = 0
          AND NOT EXISTS (SELECT FROM audit_log a WHERE a.id = f.tells_of AND a.from_status = 'REVIEW')
        LIMIT 10000)
"""
"""What waits for one mailbox, 10,000 at once: anybody can have as many told to it as they can order."""


class Outbox:
    """Invoices, notices, alerts and anchors."""

    def __init__(self, store: Database) -> None:
        self._store = store

    def take(
        self, *, mail_too: bool = True, notices: Collection[str] = SENT_BY_DEFAULT, of: str | None = None
    ) -> Due | Dropped | None:
        """What is due, or what is `of` this payment: leased for a minute and counted as a try; the next waits longer.

        Alerts first, since they need no mail server; then the oldest; notices after that, and failures' notices last.
        Where one is a notice that is pointless by now, or of a kind that is not among `notices`, all such are dropped.
        """
        asked = {"most_tries": MOST_TRIES, "mail_too": mail_too, "of": of}
        if not self._store.rows(f"SELECT id FROM outbox WHERE {DUE} LIMIT 1", **asked):
            return None
        with self._store.transaction() as tx:
            row = tx.row(
                f"""
                WITH due AS (
                    SELECT * FROM outbox WHERE {DUE}
                    ORDER BY kind = 'alert' DESC, kind = 'notice', kind = 'notice' AND topic = 'failed', next_try_at, id
                    LIMIT 1 FOR UPDATE SKIP LOCKED),
                {TOLD}
                SELECT due.*, due.tries + 1 AS this_try, i.invoice_number, i.invoice_date,
                       coalesce(i.customer_email, t.customer_email) AS customer_email,
                       coalesce(i.customer_name, t.customer_name) AS customer_name,
                       coalesce(i.customer_phone, t.phone_number) AS customer_phone,
                       t.amount, t.account_reference, t.transaction_desc, t.items, t.paid_at, t.refund_receipt,
                       CASE WHEN NOT coalesce(n.after_review, false) THEN t.result_code END AS result_code,
                       t.lang, c.mpesa_receipt_number,
                       n.overtaken, n.success_held, n.failure_seen, n.tried_again, n.after_review, n.failures_today,
                       n.failure_notice_left,
                       a.made_at, a.last_audit_id, a.row_count, a.payment_count, a.digest, s.stamped_at
                FROM due
                LEFT JOIN audit_anchors a ON a.id = due.anchor_id
                LEFT JOIN installation s ON a.id IS NOT NULL
                LEFT JOIN transactions t ON t.id = due.transaction_id
                LEFT JOIN invoices i ON i.transaction_id = due.transaction_id AND due.kind = 'invoice'
                LEFT JOIN payment_confirmations c ON c.transaction_id = due.transaction_id
                LEFT JOIN LATERAL ({NOTICE_FACTS}) n ON true
                """,
                **asked,
            )
            if row is None:
                return None
            reason = reason_to_drop(_notice_facts(row), notices) if row["kind"] == "notice" else None
            if reason is DropReason.DAILY_LIMIT:
                return Dropped(tx.run(DROP_OVER_THE_DAILY_LIMIT, id=row["transaction_id"]))
            if reason is not None:
                return Dropped(_drop_pointless(tx, notices, asked))
            tx.later(
                """
                UPDATE outbox SET tries = tries + 1, next_try_at = now() + interval '1 minute' * power(5, tries)
                WHERE id = :id
                """,
                id=row["id"],
            )
        return _due(row)

    def sent(self, due: Due) -> None:
        """It left; never again."""
        with self._store.transaction() as tx:
            tx.later(
                """
                UPDATE outbox SET sent_at = now(), next_try_at = NULL, last_error = NULL, dropped = NULL WHERE id = :id
                """,
                id=due.id,
            )
            if isinstance(due, InvoiceDue):
                tx.later(
                    """
                    UPDATE invoices SET status = 'SENT', sent_at = coalesce(sent_at, now())
                    WHERE transaction_id = CAST(:id AS uuid)
                    """,
                    id=due.transaction_id,
                )

    def failed(self, due: Due, error: str, *, give_up: bool = False) -> None:
        """It did not leave. Tried again after 1 and 5 minutes, unless that is pointless or it was the third try."""
        self._store.run(
            """
            UPDATE outbox SET last_error = :error, tries = CASE WHEN :give_up THEN :most_tries ELSE tries END,
                   next_try_at = CASE WHEN :give_up OR tries >= :most_tries THEN now() ELSE next_try_at END
            WHERE id = :id AND sent_at IS NULL AND next_try_at IS NOT NULL
            """,
            id=due.id,
            error=error[:500],
            give_up=give_up,
            most_tries=MOST_TRIES,
        )

    def put_back(self, due: MailDue, error: str) -> None:
        """No fault of the message: it was no try. (Where another sender has it by now, that one writes.)"""
        self._store.run(
            """
            UPDATE outbox SET last_error = :error, tries = tries - 1
            WHERE id = :id AND sent_at IS NULL AND next_try_at IS NOT NULL AND tries = :tries AND tries > 0
            """,
            id=due.id,
            error=error[:500],
            tries=due.tries,
        )

    def hold_mail(self, for_s: float) -> None:
        """No mail is tried for so long, an hour at most, by any sender, whether it waits already or is queued later."""
        self._store.run(
            f"""
            INSERT INTO mail_pause AS p (until) VALUES (now() + interval '1 second' * CAST(:for_s AS float8))
            ON CONFLICT (only_row) DO UPDATE SET until = CASE
                WHEN p.until > {LATEST["mail_pause.until"]} THEN excluded.until
                ELSE greatest(p.until, excluded.until) END
            """,
            for_s=min(for_s, LONGEST_PAUSE_S),
        )

    def give_up(self) -> int:
        """What was tried three times is given up, with an alert; an invoice is FAILED. Returns how many."""
        row = self._store.row(
            """
            WITH given_up AS (
                UPDATE outbox SET next_try_at = NULL WHERE next_try_at <= now() AND tries >= :most_tries
                RETURNING kind, topic, transaction_id),
            failed AS (
                UPDATE invoices i SET status = 'FAILED' FROM given_up g
                WHERE g.kind = 'invoice' AND i.transaction_id = g.transaction_id AND i.status = 'PENDING'),
            alerted AS (
                INSERT INTO outbox (kind, topic, transaction_id)
                SELECT DISTINCT 'alert', 'invoice_not_sent', transaction_id FROM given_up WHERE kind = 'invoice'
                UNION ALL
                SELECT DISTINCT 'alert', 'notice_not_sent', transaction_id FROM given_up WHERE kind = 'notice'
                UNION ALL
                SELECT DISTINCT 'alert', 'anchor_not_sent', transaction_id FROM given_up WHERE kind = 'anchor'
                ON CONFLICT (transaction_id, topic) WHERE kind = 'alert' DO UPDATE SET
                    tries = 0, next_try_at = now(), sent_at = NULL, last_error = NULL)
            SELECT count(*) AS given_up FROM given_up
            """,
            most_tries=MOST_TRIES,
        )
        return int(row["given_up"]) if row else 0


def _drop_pointless(tx: Transaction, notices: Collection[str], asked: Mapping[str, object]) -> int:
    """The first notices that are due, so many at once: those that are pointless."""
    rows = tx.rows(
        f"""
        WITH due AS (SELECT * FROM outbox WHERE {DUE} AND kind = 'notice'
                     ORDER BY topic = 'failed', next_try_at, id LIMIT {DROPPED_AT_ONCE}),
        {TOLD}
        SELECT due.id, due.topic, t.customer_email, n.*
        FROM due JOIN transactions t ON t.id = due.transaction_id CROSS JOIN LATERAL ({NOTICE_FACTS}) n
        """,
        **asked,
    )
    reasons = {row["id"]: reason_to_drop(_notice_facts(row), notices) for row in rows}
    dropped = {row_id: reason.value for row_id, reason in reasons.items() if reason is not None}
    return tx.run(
        """
        UPDATE outbox o SET next_try_at = NULL, dropped = pointless.reason
        FROM unnest(CAST(:ids AS bigint[]), CAST(:reasons AS text[])) AS pointless (id, reason)
        WHERE o.id = pointless.id AND o.next_try_at IS NOT NULL
        """,
        ids=list(dropped),
        reasons=list(dropped.values()),
    )


def _notice_facts(row: Row) -> NoticeFacts:
    return NoticeFacts(
        notice=Notice(row["topic"]),
        address_stored=row["customer_email"] not in (None, ERASED_EMAIL),
        overtaken=row["overtaken"],
        success_held=row["success_held"],
        failure_seen=row["failure_seen"],
        tried_again=row["tried_again"],
        after_review=row["after_review"],
        failures_today=row["failures_today"],
        failure_notice_left=row["failure_notice_left"],
    )


def _due(row: Row) -> Due:
    if row["kind"] == "alert":
        return AlertDue.of(row)
    if row["kind"] == "anchor":
        anchor = Anchor(row["last_audit_id"], row["row_count"], row["payment_count"], row["digest"])
        return AnchorDue(row["id"], row["topic"], row["made_at"], anchor.token(row["stamped_at"]), row["this_try"])
    from shared.prices import bought  # a callback sends a letter only after it is settled

    letter = {
        "id": row["id"],
        "transaction_id": str(row["transaction_id"]),
        "customer_email": row["customer_email"],
        "customer_name": row["customer_name"],
        "customer_phone": row["customer_phone"],
        "amount_kes": row["amount"],
        "account_reference": row["account_reference"],
        "transaction_desc": row["transaction_desc"],
        "items": bought(row["items"]),
        "receipt": row["mpesa_receipt_number"],
        "paid_at": row["paid_at"],
        "lang": row["lang"],
        "tries": row["this_try"],
    }
    if row["kind"] == "notice":
        return NoticeDue(
            **letter,
            topic=row["topic"],
            at=row["created_at"],
            refund_receipt=row["refund_receipt"],
            result_code=row["result_code"],
        )
    return InvoiceDue(**letter, invoice_number=row["invoice_number"], invoice_date=row["invoice_date"])
