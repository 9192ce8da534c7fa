"""What a person says of an order that was paid: it is on its way to the customer. And events for the webhook, again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, TypeAlias

from shared.gateway.trail import READ

if TYPE_CHECKING:
    from shared.database import Database
    from shared.gateway.trail import Trail

ORDER_SENT = "OrderSent"
REFUND_ASKED, REFUND_DROPPED = "refund_asked", "refund_dropped"
"""Kinds of rows in reconciliation_log, about a payment; the last one holds (ops/refund.py)."""
LAST_SAID = f"""
    SELECT l.kind, l.at AS asked_at, l.who AS asked_by, l.why FROM reconciliation_log l
    WHERE l.subject = t.id::text AND l.kind IN ('{REFUND_ASKED}', '{REFUND_DROPPED}') ORDER BY l.place DESC LIMIT 1
"""
"""Of a payment `t`."""


@dataclass(frozen=True)
class Marked:
    """It is marked as sent, at this moment."""

    at: datetime


@dataclass(frozen=True)
class SentBefore:
    """Somebody marked it before."""

    by: str
    at: datetime


@dataclass(frozen=True)
class TwinSent:
    """The same order was paid twice, and went out with the other payment."""

    transaction_id: str


@dataclass(frozen=True)
class RefundAsked:
    """Somebody asked for a refund of it."""

    by: str
    at: datetime


@dataclass(frozen=True)
class NotPaidNow:
    """Only what is paid is sent."""

    status: str


AsSent: TypeAlias = Marked | SentBefore | TwinSent | RefundAsked | NotPaidNow


class Sales:
    """Orders that were paid."""

    def __init__(self, store: Database, trail: Trail) -> None:
        self._store = store
        self._trail = trail

    def mark_as_sent(self, transaction_id: str, who: str, why: str | None) -> AsSent | None:
        """Under the payment's lock, so that of two packers the second hears of the first. None: no such payment.

        What was marked before is marked again only with a `why`.
        """
        with self._store.transaction() as tx:
            tx.later("SELECT id FROM transactions WHERE id = CAST(:id AS uuid) FOR UPDATE", id=transaction_id)
            payment = tx.row(
                f"""
                SELECT t.status, t.order_sent_at, t.audit_length, t.audit_head, {READ},
                       (SELECT a.actor FROM audit_log a WHERE a.transaction_id = t.id AND a.event = '{ORDER_SENT}'
                        ORDER BY a.id DESC LIMIT 1) AS sent_by,
                       (SELECT o.id FROM transactions o
                        WHERE lower(o.account_reference) = lower(t.account_reference) AND o.paid_at IS NOT NULL
                          AND o.id <> t.id AND o.order_sent_at IS NOT NULL
                          AND EXISTS (SELECT FROM outbox a WHERE a.kind = 'alert' AND a.topic = 'order_paid_twice'
                                        AND a.transaction_id IN (o.id, t.id)) LIMIT 1) AS twin_sent,
                       r.asked_by, r.asked_at
                FROM transactions t LEFT JOIN LATERAL ({LAST_SAID}) r ON r.kind = '{REFUND_ASKED}'
                WHERE t.id = CAST(:id AS uuid)
                """,
                id=transaction_id,
            )
            if payment is None:
                return None
            if payment["status"] != "PAID":
                return NotPaidNow(payment["status"])
            if payment["order_sent_at"] is not None and why is None:
                return SentBefore(str(payment["sent_by"]).removeprefix("operator "), payment["order_sent_at"])
            if payment["asked_at"] is not None and why is None:
                return RefundAsked(payment["asked_by"], payment["asked_at"])
            if payment["twin_sent"] is not None and why is None:
                return TwinSent(str(payment["twin_sent"]))
            tx.later("UPDATE transactions SET order_sent_at = now() WHERE id = CAST(:id AS uuid)", id=transaction_id)
            self._trail.note(
                tx,
                payment,
                transaction_id,
                actor=f"operator {who}",
                event=ORDER_SENT,
                outcome="noted",
                reason=why,
            )
            return Marked(payment["audit_at"])

    def webhooks_again(self, transaction_id: str | None) -> int:
        """Events of a payment, or all that were given up (None), go out again under their ids. Returns how many."""
        return self._store.run(
            """
            UPDATE outbox SET tries = 0, next_try_at = now(), sent_at = NULL, dropped = NULL, last_error = NULL
            WHERE kind = 'webhook' AND next_try_at IS NULL
              AND (transaction_id = CAST(:id AS uuid) OR CAST(:id AS uuid) IS NULL AND sent_at IS NULL)
            """,
            id=transaction_id,
        )
