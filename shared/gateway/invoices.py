"""An invoice once more, under its number: for whoever holds the payment's id, and for an operator who says why.

One way to queue it, under the payment's row lock, so that no two requests at once go by what neither has seen.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from shared.erased import ERASED_EMAIL
from shared.gateway.trail import READ, WRITE

if TYPE_CHECKING:
    from shared.database import Row, Transaction
    from shared.gateway.store import Store
    from shared.gateway.trail import Trail

AGAIN_A_DAY = 3


@dataclass(frozen=True)
class Customer:
    """Whoever holds the payment's id. An address is taken once, where none is stored."""

    email: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Operator:
    """A person of the shop: as often as they see fit, with an audit row."""

    who: str
    why: str


@dataclass(frozen=True)
class Requested:
    """The invoice is on its way: this row is to be sent."""

    outbox_id: int


@dataclass(frozen=True)
class NotPaid:
    """There is nothing to invoice."""


@dataclass(frozen=True)
class NoAddress:
    """No e-mail address is stored, and none was given; or it was erased, and no other takes its place."""


@dataclass(frozen=True)
class Waiting:
    """It has not been sent or given up yet: the sweep does it."""


@dataclass(frozen=True)
class TooOften:
    """It was sent again three times within a day."""

    retry_after_s: int


Asked: TypeAlias = Requested | NotPaid | NoAddress | Waiting | TooOften


class Invoices:
    """Sent again."""

    def __init__(self, store: Store, trail: Trail) -> None:
        self._store = store
        self._trail = trail

    def send_again(self, transaction_id: str, asked_by: Customer | Operator) -> Asked | None:
        """To the stored address only. `Waiting` is told to an operator, `TooOften` to a customer. None: no such
        payment."""
        with self._store.transaction() as tx:
            payment = tx.row(
                f"""
                SELECT t.status, t.customer_email, i.customer_email AS invoiced_to, t.audit_length, t.audit_head, {READ}
                FROM transactions t LEFT JOIN invoices i ON i.transaction_id = t.id
                WHERE t.id = CAST(:id AS uuid) FOR UPDATE OF t
                """,
                id=transaction_id,
            )
            if payment is None:
                return None
            if payment["status"] != "PAID":
                return NotPaid()
            given = asked_by.email if isinstance(asked_by, Customer) else None
            if ERASED_EMAIL in (payment["customer_email"], payment["invoiced_to"]):
                return NoAddress()
            if payment["customer_email"] is None and given is None:
                return NoAddress()
            before = _asked_before(tx, transaction_id)
            match asked_by:
                case Operator() if before["waits"]:
                    return Waiting()
                case Operator(who, why):
                    self._note(tx, payment, transaction_id, who, why)
                    return _queue(tx, transaction_id, "resent", None)
                case Customer() if before["today"] >= AGAIN_A_DAY:
                    return TooOften(int(before["retry_after_s"]) + 1)
                case Customer():
                    return _queue(tx, transaction_id, "again", given)

    def given_up(self) -> list[str]:
        """The paid payments whose invoice is FAILED, oldest first."""
        with self._store.transaction() as tx:
            rows = tx.rows(
                """
                SELECT t.id FROM invoices i JOIN transactions t ON t.id = i.transaction_id
                WHERE i.status = 'FAILED' AND t.status = 'PAID' AND i.customer_email <> :erased
                ORDER BY i.invoice_date, t.id
                """,
                erased=ERASED_EMAIL,
            )
            return [str(row["id"]) for row in rows]

    def _note(self, tx: Transaction, payment: Row, transaction_id: str, who: str, why: str) -> None:
        """An operator's wish changes no status; its audit row says whose it was and why."""
        tx.run(
            f"""
            WITH noted AS (
                UPDATE transactions SET audit_length = :audit_length, audit_head = :audit_head
                WHERE id = CAST(:id AS uuid) RETURNING id)
            {WRITE} noted
            """,
            id=transaction_id,
            **self._trail.step(
                payment,
                transaction_id,
                actor=f"operator {who}",
                event="InvoiceResent",
                outcome="noted",
                from_status=payment["status"],
                to_status=payment["status"],
                reason=why,
            ),
        )


def _asked_before(tx: Transaction, transaction_id: str) -> Row:
    """Read under the payment's lock, in a statement of its own: it sees everybody who held the lock before."""
    (row,) = tx.rows(
        """
        SELECT coalesce(bool_or(next_try_at IS NOT NULL), false) AS waits,
               count(*) FILTER (WHERE lately) AS today,
               extract(epoch FROM min(created_at) FILTER (WHERE lately) + interval '24 hours' - now()) AS retry_after_s
        FROM (SELECT next_try_at, created_at, topic = 'again' AND created_at > now() - interval '24 hours' AS lately
              FROM outbox WHERE transaction_id = CAST(:id AS uuid) AND kind = 'invoice') asked
        """,
        id=transaction_id,
    )
    return row


def _queue(tx: Transaction, transaction_id: str, topic: str, email: str | None) -> Requested:
    """The invoice, where it is the first; its place in the outbox; and what was given up is no longer."""
    (queued,) = tx.rows(
        """
        WITH addressed AS (
            UPDATE transactions SET customer_email = coalesce(customer_email, :email)
            WHERE id = CAST(:id AS uuid) RETURNING id, customer_email, customer_name, phone_number, amount),
        invoiced AS (
            INSERT INTO invoices (transaction_id, customer_email, customer_name, customer_phone, amount)
            SELECT id, customer_email, customer_name, phone_number, amount FROM addressed
            WHERE NOT EXISTS (SELECT FROM invoices i WHERE i.transaction_id = addressed.id)),
        waits_again AS (
            UPDATE invoices i SET status = 'PENDING'
            WHERE i.transaction_id = CAST(:id AS uuid) AND i.status = 'FAILED')
        INSERT INTO outbox (kind, topic, transaction_id) VALUES ('invoice', :topic, CAST(:id AS uuid))
        RETURNING id
        """,
        id=transaction_id,
        topic=topic,
        email=email,
    )
    return Requested(queued["id"])
