"""What has to leave the house: taken under a lease, sent outside any transaction, at most three tries each."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, TypeAlias

from shared.audit_chain import Anchor
from shared.erased import ERASED_EMAIL
from shared.language import Lang
from shared.notices import MOST_FAILURES_A_DAY, TOLD_BY_DEFAULT

if TYPE_CHECKING:
    from shared.database import Row
    from shared.gateway.store import Store

MOST_TRIES = 3


@dataclass(frozen=True)
class AlertDue:
    """Something an operator should know."""

    id: int
    topic: str
    transaction_id: str | None
    created_at: datetime
    facts: Mapping[str, object] = field(default_factory=dict)
    line_is_written: bool = False
    """An earlier try wrote the log line and could not tell Sentry."""

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


@dataclass(frozen=True)
class InvoiceDue:
    """An invoice that is to be sent, with all it says."""

    id: int
    transaction_id: str
    invoice_number: str
    invoice_date: datetime
    customer_email: str
    customer_name: str | None
    customer_phone: str
    amount_kes: Decimal
    account_reference: str
    transaction_desc: str | None
    receipt: str | None
    paid_at: datetime
    lang: Lang
    tries: int


@dataclass(frozen=True)
class NoticeDue:
    """What else became of a payment, to be told to its customer."""

    id: int
    topic: str
    transaction_id: str
    at: datetime
    """When it happened."""
    customer_email: str
    customer_name: str | None
    customer_phone: str
    amount_kes: Decimal
    account_reference: str
    transaction_desc: str | None
    receipt: str | None
    refund_receipt: str | None
    paid_at: datetime | None
    """None: it never was, so nothing vouches that what came was its amount."""
    result_code: str | None
    lang: Lang
    tries: int


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
    """A notice that was to leave and is pointless by now: written down, nothing to send."""


MailDue: TypeAlias = InvoiceDue | NoticeDue | AnchorDue
Due: TypeAlias = AlertDue | MailDue

MAILBOX = r"regexp_replace(lower({}.customer_email), '(\+[^@]*|\.)(?=[^@]*@)', '', 'g')"
"""What an address is counted under, as the index has it: spellings that reach one mailbox are one."""
POINTLESS = f"""
    CASE WHEN coalesce(t.customer_email, :erased) = :erased THEN 'no_address'
         WHEN EXISTS (SELECT FROM audit_log a WHERE a.transaction_id = t.id AND a.id > due.tells_of
                        AND a.from_status <> a.to_status) THEN 'overtaken'
         WHEN due.topic = 'failed' AND t.success_held_at IS NOT NULL THEN 'overtaken'
         WHEN due.topic <> ALL (CAST(:notices AS text[])) THEN 'off'
         WHEN due.topic = 'failed' AND t.watched_at >= t.failed_at
              AND 'failed_seen' <> ALL (CAST(:notices AS text[])) THEN 'seen'
         WHEN due.topic = 'failed' AND EXISTS (
              SELECT FROM transactions n WHERE n.phone_number = t.phone_number AND n.created_at > t.created_at
                 AND n.account_reference = t.account_reference)
              AND NOT EXISTS (SELECT FROM audit_log a WHERE a.id = due.tells_of AND a.from_status = 'REVIEW')
              THEN 'tried_again'
         WHEN due.topic = 'failed' AND (
              SELECT count(*) FROM transactions o
              JOIN outbox f ON f.transaction_id = o.id AND f.kind = 'notice' AND f.topic = 'failed'
              WHERE {MAILBOX.format("o")} = {MAILBOX.format("t")} AND o.customer_email IS NOT NULL
                AND o.created_at > now() - interval '2 days'
                AND f.id <> due.id AND f.tries > 0 AND f.created_at > now() - interval '1 day'
              ) >= {MOST_FAILURES_A_DAY}
              AND NOT EXISTS (SELECT FROM audit_log a WHERE a.id = due.tells_of AND a.from_status = 'REVIEW')
              THEN 'told_enough'
         WHEN due.topic = 'paid_late' AND coalesce(t.watched_at < t.failed_at, true) AND NOT EXISTS (
              SELECT FROM outbox f WHERE f.transaction_id = t.id AND f.kind = 'notice' AND f.topic = 'failed'
                 AND f.tries > 0) THEN 'never_told'
    END
"""
"""Why a notice is not sent after all: nobody can be told; it is no longer true, or will not be for long, since a
success waits for its query; the shop does not want it told; or the customer knows, from the page or by having tried
the same order again; or so many were told to that mailbox within a day. (Who was told that a person looks hears how
that ended.) Who never heard of a failure has all that matters in the invoice."""


class Outbox:
    """Invoices, notices, alerts and anchors."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def take(
        self, *, mail_too: bool = True, notices: Collection[str] = TOLD_BY_DEFAULT, only: int | None = None
    ) -> Due | Dropped | None:
        """What is due, or `only` this where it is: leased for a minute and counted as a try; the next waits longer.

        Alerts first, since no mail server can hold them up; then the oldest, and notices last. A notice that is
        pointless by now, or of a kind that is not among `notices`, is dropped.
        """
        with self._store.transaction() as tx:
            row = tx.row(
                f"""
                WITH due AS (
                    SELECT id, kind, topic, transaction_id, tells_of FROM outbox
                    WHERE next_try_at <= now() AND tries < :most_tries AND id = coalesce(CAST(:only AS bigint), id)
                      AND (kind = 'alert' OR kind = 'anchor' AND topic = 'log'
                           OR :mail_too AND NOT EXISTS (SELECT FROM mail_pause WHERE until > now()))
                    ORDER BY kind = 'alert' DESC, kind = 'notice', next_try_at, id LIMIT 1 FOR UPDATE SKIP LOCKED),
                pointless AS (
                    SELECT {POINTLESS} AS why FROM due JOIN transactions t ON t.id = due.transaction_id
                    WHERE due.kind = 'notice'),
                taken AS (
                    UPDATE outbox o SET
                           tries = o.tries + CASE WHEN why IS NULL THEN 1 ELSE 0 END,
                           next_try_at = CASE WHEN why IS NULL THEN now() + interval '1 minute' * power(5, o.tries) END,
                           dropped = why
                    FROM due LEFT JOIN pointless ON true
                    WHERE o.id = due.id
                    RETURNING o.id, o.kind, o.topic, o.transaction_id, o.created_at, o.facts, o.last_error, o.anchor_id,
                              o.tries, o.dropped, o.tells_of)
                SELECT taken.*, i.invoice_number, i.invoice_date,
                       coalesce(i.customer_email, t.customer_email) AS customer_email,
                       coalesce(i.customer_name, t.customer_name) AS customer_name,
                       coalesce(i.customer_phone, t.phone_number) AS customer_phone,
                       t.amount, t.account_reference, t.transaction_desc, t.paid_at, t.refund_receipt,
                       CASE WHEN told.from_status IS DISTINCT FROM 'REVIEW' THEN t.result_code END AS result_code,
                       t.lang, c.mpesa_receipt_number,
                       a.made_at, a.last_audit_id, a.row_count, a.payment_count, a.digest, s.stamped_at
                FROM taken
                LEFT JOIN audit_anchors a ON a.id = taken.anchor_id
                LEFT JOIN installation s ON a.id IS NOT NULL
                LEFT JOIN transactions t ON t.id = taken.transaction_id
                LEFT JOIN invoices i ON i.transaction_id = taken.transaction_id AND taken.kind = 'invoice'
                LEFT JOIN payment_confirmations c ON c.transaction_id = taken.transaction_id
                LEFT JOIN audit_log told ON told.id = taken.tells_of
                """,
                most_tries=MOST_TRIES,
                mail_too=mail_too,
                notices=list(notices),
                only=only,
                erased=ERASED_EMAIL,
            )
            if row is None:
                return None
            return Dropped() if row["dropped"] else _due(row)

    def sent(self, due: Due) -> None:
        """It left; never again."""
        with self._store.transaction() as tx:
            tx.run(
                """
                WITH gone AS (
                    UPDATE outbox SET sent_at = now(), next_try_at = NULL, last_error = NULL, dropped = NULL
                    WHERE id = :id
                    RETURNING kind, transaction_id)
                UPDATE invoices i SET status = 'SENT', sent_at = coalesce(i.sent_at, now())
                FROM gone WHERE gone.kind = 'invoice' AND i.transaction_id = gone.transaction_id
                """,
                id=due.id,
            )

    def failed(self, due: Due, error: str, *, give_up: bool = False) -> None:
        """It did not leave. Tried again after 1 and 5 minutes, unless that is pointless or it was the third try."""
        with self._store.transaction() as tx:
            tx.run(
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
        with self._store.transaction() as tx:
            tx.run(
                """
                UPDATE outbox SET last_error = :error, tries = tries - 1
                WHERE id = :id AND sent_at IS NULL AND next_try_at IS NOT NULL AND tries = :tries AND tries > 0
                """,
                id=due.id,
                error=error[:500],
                tries=due.tries,
            )

    def hold_mail(self, for_s: float) -> None:
        """No mail is tried for so long, by any sender, whether it waits already or is queued meanwhile."""
        with self._store.transaction() as tx:
            tx.run(
                """
                INSERT INTO mail_pause (until) VALUES (now() + interval '1 second' * CAST(:for_s AS float8))
                ON CONFLICT (only_row) DO UPDATE SET until = greatest(mail_pause.until, excluded.until)
                """,
                for_s=for_s,
            )

    def give_up(self) -> int:
        """What was tried three times is given up: an invoice is FAILED, and an operator is told. Returns how many."""
        with self._store.transaction() as tx:
            row = tx.row(
                """
                WITH given_up AS (
                    UPDATE outbox SET next_try_at = NULL WHERE next_try_at <= now() AND tries >= :most_tries
                    RETURNING kind, topic, transaction_id),
                failed AS (
                    UPDATE invoices i SET status = 'FAILED' FROM given_up g
                    WHERE g.kind = 'invoice' AND i.transaction_id = g.transaction_id AND i.status = 'PENDING'),
                told AS (
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


def _due(row: Row) -> Due:
    if row["kind"] == "alert":
        return AlertDue.of(row)
    if row["kind"] == "anchor":
        anchor = Anchor(row["last_audit_id"], row["row_count"], row["payment_count"], row["digest"])
        return AnchorDue(row["id"], row["topic"], row["made_at"], anchor.token(row["stamped_at"]), row["tries"])
    if row["kind"] == "notice":
        return NoticeDue(
            id=row["id"],
            topic=row["topic"],
            transaction_id=str(row["transaction_id"]),
            at=row["created_at"],
            customer_email=row["customer_email"],
            customer_name=row["customer_name"],
            customer_phone=row["customer_phone"],
            amount_kes=row["amount"],
            account_reference=row["account_reference"],
            transaction_desc=row["transaction_desc"],
            receipt=row["mpesa_receipt_number"],
            refund_receipt=row["refund_receipt"],
            paid_at=row["paid_at"],
            result_code=row["result_code"],
            lang=row["lang"],
            tries=row["tries"],
        )
    return InvoiceDue(
        id=row["id"],
        transaction_id=str(row["transaction_id"]),
        invoice_number=row["invoice_number"],
        invoice_date=row["invoice_date"],
        customer_email=row["customer_email"],
        customer_name=row["customer_name"],
        customer_phone=row["customer_phone"],
        amount_kes=row["amount"],
        account_reference=row["account_reference"],
        transaction_desc=row["transaction_desc"],
        receipt=row["mpesa_receipt_number"],
        paid_at=row["paid_at"],
        lang=row["lang"],
        tries=row["tries"],
    )
