"""What has to leave: under a lease, outside any transaction, within its tries. One file: one table, one taker."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, TypeAlias

from shared.audit_chain import Anchor
from shared.gateway.instants import LATEST
from shared.notices import SENT_BY_DEFAULT, DropReason, Notice, NoticeFacts, reason_to_drop
from shared.shop_events import WEBHOOK_TRIES, WEBHOOK_TRIES_AFTER_S, Sold, known_email, known_phone
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
class ErasuresDue:
    """Lines that let erasures be repeated after a restore, by one of their two ways."""

    id: int
    way: str
    """'log' or 'mail'."""
    lines: tuple[str, ...]
    tries: int


@dataclass(frozen=True)
class SaleDue:
    """A mail to the shop: a payment was paid, paid late or refunded."""

    id: int
    topic: str
    at: datetime
    sold: Sold
    refund_receipt: str | None
    tries: int


@dataclass(frozen=True)
class WebhookDue:
    """An event for the shop's webhook."""

    id: int
    topic: str
    at: datetime
    sold: Sold
    tells_of: int
    tries: int

    @property
    def event_id(self) -> str:
        """The same at every try."""
        return f"msg_{self.sold.transaction_id}_{self.tells_of}"


@dataclass(frozen=True)
class AlertMailDue:
    """A mail to the shop with the alerts of one topic since the last one."""

    id: int
    topic: str
    alerts: tuple[AlertDue, ...]
    """The first of them."""
    in_all: int
    taken_at: datetime
    tries: int


@dataclass(frozen=True)
class Dropped:
    """Notices, or webhooks, that were to leave and are pointless by now: written down, nothing to send."""

    how_many: int = 1


MailDue: TypeAlias = InvoiceDue | NoticeDue | AnchorDue | ErasuresDue | SaleDue | AlertMailDue
Due: TypeAlias = AlertDue | MailDue | WebhookDue

MAILBOX = r"regexp_replace(lower({}.customer_email), '(\+[^@]*|\.)(?=[^@]*@)', '', 'g')"
"""What an address is counted under, as the index has it: spellings that reach one mailbox are one."""
MAIL_WAITS = f"EXISTS (SELECT FROM mail_pause WHERE until > now() AND until <= {LATEST['mail_pause.until']})"
MOST_TRIES_OF = f"CASE kind WHEN 'webhook' THEN {WEBHOOK_TRIES} ELSE {MOST_TRIES} END"
NEXT_TRY_AT = f"""
    now() + interval '1 second' * CASE
        WHEN kind <> 'webhook' THEN 60 * power(5, tries)
        WHEN tries >= {WEBHOOK_TRIES} - 1 THEN 60
        ELSE (ARRAY[{", ".join(map(str, WEBHOOK_TRIES_AFTER_S))}])[tries + 2] END
"""
"""The lease of a try, and when the next one comes."""
ITS_TURN = """
    NOT EXISTS (SELECT FROM outbox earlier
                WHERE earlier.transaction_id = outbox.transaction_id AND earlier.kind = 'webhook'
                  AND earlier.next_try_at IS NOT NULL AND earlier.tells_of < outbox.tells_of)
"""
"""A webhook: what happened to the payment before is delivered, or given up."""
DUE = f"""
    next_try_at <= now() AND tries < {MOST_TRIES_OF}
    AND (CAST(:of AS uuid) IS NULL OR transaction_id = CAST(:of AS uuid)
         OR transaction_id IS NULL AND kind IN ('alert', 'alert_mail'))
    AND (kind = 'alert' OR topic = 'log'
         OR kind = 'webhook' AND :webhooks_too AND {ITS_TURN}
         OR kind <> 'webhook' AND :mail_too AND NOT {MAIL_WAITS})
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
MAIL_THE_ALERT = """
    INSERT INTO outbox (kind, topic, next_try_at)
    SELECT 'alert_mail', :topic, greatest(now(), max(sent_at) + interval '1 day')
    FROM outbox WHERE kind = 'alert_mail' AND topic = :topic AND sent_at BETWEEN now() - interval '1 day' AND now()
    ON CONFLICT (topic) WHERE kind = 'alert_mail' AND next_try_at IS NOT NULL DO NOTHING
"""
"""One mail a topic and day: what is alerted meanwhile waits for the next one."""
MAIL_WHAT_CAME_SINCE = """
    INSERT INTO outbox (kind, topic, next_try_at)
    SELECT 'alert_mail', :topic, now() + interval '1 day'
    WHERE EXISTS (SELECT FROM outbox WHERE kind = 'alert' AND topic = :topic AND sent_at > :taken_at)
    ON CONFLICT (topic) WHERE kind = 'alert_mail' AND next_try_at IS NOT NULL DO NOTHING
"""
"""Alerted while the mail was on its way."""
MOST_ALERTS_IN_A_MAIL = 20
ALERTS_TO_MAIL = f"""
    SELECT id, topic, transaction_id, created_at, facts, last_error, count(*) OVER () AS in_all
    FROM outbox
    WHERE kind = 'alert' AND topic = :topic AND sent_at <= now() AND sent_at > coalesce(
        (SELECT max(sent_at) FROM outbox WHERE kind = 'alert_mail' AND topic = :topic AND sent_at <= now()),
        now() - interval '7 days')
    ORDER BY id LIMIT {MOST_ALERTS_IN_A_MAIL}
"""


ADDRESS_CAME_LATER = """
    (EXISTS (SELECT FROM outbox f WHERE f.transaction_id = t.id AND f.kind = 'invoice' AND f.topic = 'again')
     AND NOT EXISTS (SELECT FROM outbox f WHERE f.transaction_id = t.id AND f.kind = 'invoice' AND f.topic = 'settled'))
"""
"""Whoever held the payment's id named it, after the payment: it need not be the payer's."""


class Outbox:
    """Invoices, notices, alerts, anchors, erasures, and what the shop is told."""

    def __init__(self, store: Database) -> None:
        self._store = store

    def take(
        self,
        *,
        mail_too: bool = True,
        webhooks_too: bool = True,
        notices: Collection[str] = SENT_BY_DEFAULT,
        of: str | None = None,
    ) -> Due | Dropped | None:
        """What is due, or what is `of` this payment: leased for a minute and counted as a try; the next waits longer.

        Alerts first, since they need no mail server, and webhooks, which leave beside the rest; then invoices, anchors
        and sales; then notices and mail of alerts, and failures' notices last.
        Where one is a notice that is pointless by now, or of a kind that is not among `notices`, all such are dropped.
        """
        asked = {"mail_too": mail_too, "webhooks_too": webhooks_too, "of": of}
        if not self._store.rows(f"SELECT id FROM outbox WHERE {DUE} LIMIT 1", **asked):
            return None
        with self._store.transaction() as tx:
            row = tx.row(
                f"""
                WITH due AS (
                    SELECT * FROM outbox WHERE {DUE}
                    ORDER BY array_position(ARRAY['alert', 'webhook', 'invoice', 'anchor', 'erasure', 'sale'], kind),
                             kind = 'notice' AND topic = 'failed', kind = 'alert_mail', next_try_at, id
                    LIMIT 1 FOR UPDATE SKIP LOCKED),
                {TOLD}
                SELECT due.*, due.tries + 1 AS this_try, i.invoice_number, i.invoice_date,
                       coalesce(i.customer_email, t.customer_email) AS customer_email,
                       coalesce(i.customer_name, t.customer_name) AS customer_name,
                       coalesce(i.customer_phone, t.phone_number) AS customer_phone,
                       t.amount, t.account_reference, t.transaction_desc, t.items, t.paid_at, t.refund_receipt,
                       CASE WHEN NOT coalesce(n.after_review, false) THEN t.result_code END AS result_code,
                       t.lang, t.note, c.mpesa_receipt_number, now() AS taken_at,
                       n.overtaken, n.success_held, n.failure_seen, n.tried_again, n.after_review, n.failures_today,
                       n.failure_notice_left, {ADDRESS_CAME_LATER} AS address_came_later,
                       a.made_at, a.last_audit_id, a.row_count, a.payment_count, a.digest, s.stamped_at
                FROM due
                LEFT JOIN audit_anchors a ON a.id = due.anchor_id
                LEFT JOIN installation s ON a.id IS NOT NULL
                LEFT JOIN transactions t ON t.id = due.transaction_id
                LEFT JOIN invoices i ON i.transaction_id = due.transaction_id AND due.kind IN ('invoice', 'sale')
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
            tx.later(f"UPDATE outbox SET tries = tries + 1, next_try_at = {NEXT_TRY_AT} WHERE id = :id", id=row["id"])
            return (
                _alert_mail(row, tx.rows(ALERTS_TO_MAIL, topic=row["topic"]))
                if row["kind"] == "alert_mail"
                else _due(row)
            )

    def sent(self, due: Due) -> None:
        """It left; never again."""
        with self._store.transaction() as tx:
            tx.later(
                """
                UPDATE outbox SET sent_at = now(), next_try_at = NULL, last_error = NULL, dropped = NULL WHERE id = :id
                """,
                id=due.id,
            )
            if isinstance(due, AlertDue):
                tx.later(MAIL_THE_ALERT, topic=due.topic)
            elif isinstance(due, AlertMailDue):
                tx.later(MAIL_WHAT_CAME_SINCE, topic=due.topic, taken_at=due.taken_at)
            elif isinstance(due, InvoiceDue):
                tx.later(
                    """
                    UPDATE invoices SET status = 'SENT', sent_at = coalesce(sent_at, now())
                    WHERE transaction_id = CAST(:id AS uuid)
                    """,
                    id=due.transaction_id,
                )

    def failed(self, due: Due, error: str, *, give_up: bool = False) -> None:
        """It did not leave. Tried again after its pause, unless that is pointless or it was the last try."""
        self._store.run(
            f"""
            UPDATE outbox SET last_error = :error, tries = CASE WHEN :give_up THEN {MOST_TRIES_OF} ELSE tries END,
                   next_try_at = CASE WHEN :give_up OR tries >= {MOST_TRIES_OF} THEN now() ELSE next_try_at END
            WHERE id = :id AND sent_at IS NULL AND next_try_at IS NOT NULL
            """,
            id=due.id,
            error=error[:500],
            give_up=give_up,
        )

    def put_back(self, due: MailDue | WebhookDue, error: str) -> None:
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

    def drop_webhooks(self) -> int:
        """The shop has no webhook: what waits for one is dropped. Returns how many."""
        return self._store.run(
            "UPDATE outbox SET next_try_at = NULL, dropped = 'off' WHERE kind = 'webhook' AND next_try_at IS NOT NULL"
        )

    def give_up(self) -> int:
        """What had its last try is given up, with an alert; an invoice is FAILED. Returns how many."""
        row = self._store.row(
            f"""
            WITH given_up AS (
                UPDATE outbox SET next_try_at = NULL WHERE next_try_at <= now() AND tries >= {MOST_TRIES_OF}
                RETURNING kind, topic, transaction_id),
            failed AS (
                UPDATE invoices i SET status = 'FAILED' FROM given_up g
                WHERE g.kind = 'invoice' AND i.transaction_id = g.transaction_id AND i.status = 'PENDING'),
            alerted AS (
                INSERT INTO outbox (kind, topic, transaction_id)
                SELECT DISTINCT 'alert', 'invoice_not_sent', transaction_id FROM given_up WHERE kind = 'invoice'
                UNION ALL
                SELECT DISTINCT 'alert', 'notice_not_sent', transaction_id FROM given_up
                WHERE kind IN ('notice', 'sale')
                UNION ALL
                SELECT DISTINCT 'alert', 'webhook_not_delivered', transaction_id FROM given_up WHERE kind = 'webhook'
                UNION ALL
                SELECT DISTINCT 'alert', 'anchor_not_sent', transaction_id FROM given_up
                WHERE kind IN ('anchor', 'erasure')
                ON CONFLICT (transaction_id, topic) WHERE kind = 'alert' DO UPDATE SET
                    tries = 0, next_try_at = now(), sent_at = NULL, last_error = NULL)
            SELECT count(*) AS given_up FROM given_up
            """
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


def _alert_mail(row: Row, alerts: list[Row]) -> AlertMailDue:
    in_all = alerts[0]["in_all"] if alerts else 0
    told = tuple(map(AlertDue.of, alerts))
    return AlertMailDue(row["id"], row["topic"], told, in_all, row["taken_at"], row["this_try"])


def _sold(row: Row) -> Sold:
    return Sold(
        transaction_id=str(row["transaction_id"]),
        account_reference=row["account_reference"],
        amount_kes=row["amount"],
        items=row["items"],
        description=row["transaction_desc"],
        receipt=row["mpesa_receipt_number"],
        paid_at=row["paid_at"],
        customer_name=row["customer_name"],
        customer_email=known_email(row["customer_email"]),
        customer_phone=known_phone(row["customer_phone"]),
        note=row["note"],
        invoice_number=row["invoice_number"],
    )


def _due(row: Row) -> Due:
    if row["kind"] == "alert":
        return AlertDue.of(row)
    if row["kind"] == "anchor":
        anchor = Anchor(row["last_audit_id"], row["row_count"], row["payment_count"], row["digest"])
        return AnchorDue(row["id"], row["topic"], row["made_at"], anchor.token(row["stamped_at"]), row["this_try"])
    if row["kind"] == "erasure":
        return ErasuresDue(row["id"], row["topic"], tuple(row["facts"]["lines"]), row["this_try"])
    if row["kind"] == "sale":
        return SaleDue(row["id"], row["topic"], row["created_at"], _sold(row), row["refund_receipt"], row["this_try"])
    if row["kind"] == "webhook":
        return WebhookDue(row["id"], row["topic"], row["created_at"], _sold(row), row["tells_of"], row["this_try"])
    from shared.prices import bought  # a callback sends a letter only after it is settled

    personal = not row["address_came_later"]
    letter = {
        "id": row["id"],
        "transaction_id": str(row["transaction_id"]),
        "customer_email": row["customer_email"],
        "customer_name": row["customer_name"] if personal else None,
        "customer_phone": row["customer_phone"],
        "amount_kes": row["amount"],
        "account_reference": row["account_reference"],
        "transaction_desc": row["transaction_desc"] if personal else None,
        "items": bought(row["items"]) if personal else (),
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
