"""An invoice sent again, under its number: for whoever holds the payment's id, and for an operator who says why.

One way to queue it. Checked without locks first, so that refusals hold nobody up; then again under the caller's lock
and the payment's row lock, so that requests at the same moment cannot exceed a limit together.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from shared.gateway.trail import READ
from shared.values import ERASED_EMAIL

if TYPE_CHECKING:
    from shared.database import Database, Row, Transaction
    from shared.gateway.trail import Trail

AGAIN_A_DAY = 3
AGAIN_IN_ALL = 10


@dataclass(frozen=True)
class Customer:
    """Whoever holds the payment's id. An address is taken once, where none is stored."""

    caller: str
    """The digest that the caller's network address is counted under."""
    most_an_hour: int
    """Invoices that all who share that address may ask for in 60 minutes."""
    email: str | None = field(default=None, repr=False)

    @property
    def counted_as(self) -> str:
        """Beside the same caller's pushes, not among them."""
        return f"invoice {self.caller}"


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
    """No e-mail address is stored, and none was given."""


@dataclass(frozen=True)
class AddressErased:
    """The person was erased, and no other address takes the place of theirs."""


@dataclass(frozen=True)
class Waiting:
    """It is still in the outbox: the sweep sends it."""


@dataclass(frozen=True)
class TooOften:
    """It was sent again three times within a day; or ten times in all, and waiting does not help (None)."""

    retry_after_s: int | None


@dataclass(frozen=True)
class TooMany:
    """So many invoices were asked for from this address that one more has to wait."""

    retry_after_s: int


Refused: TypeAlias = NotPaid | NoAddress | AddressErased | Waiting | TooOften | TooMany


class Invoices:
    """Sent again."""

    def __init__(self, store: Database, trail: Trail) -> None:
        self._store = store
        self._trail = trail

    def send_again(self, transaction_id: str, asked_by: Customer | Operator) -> Requested | Refused | None:
        """To the stored address only. None: no such payment.

        Operators may get `Waiting`, customers `TooOften` and `TooMany`.
        """
        with self._store.transaction() as tx:
            payment = _look(tx, transaction_id, asked_by)
            if payment is not None and _refused(payment, asked_by) is None:
                _lock(tx, transaction_id, asked_by)
                payment = _look(tx, transaction_id, asked_by)
            if payment is None:
                return None
            refusal = _refused(payment, asked_by)
            if refusal is not None:
                return refusal
            if isinstance(asked_by, Operator):
                self._trail.note(
                    tx,
                    payment,
                    transaction_id,
                    actor=f"operator {asked_by.who}",
                    event="InvoiceResent",
                    outcome="noted",
                    reason=asked_by.why,
                )
            return _queue(tx, transaction_id, asked_by)

    def given_up(self) -> list[str]:
        """The paid payments whose invoice is FAILED, oldest first."""
        rows = self._store.rows(
            """
            SELECT t.id FROM invoices i JOIN transactions t ON t.id = i.transaction_id
            WHERE i.status = 'FAILED' AND t.status = 'PAID' AND i.customer_email <> :erased
            ORDER BY i.invoice_date, t.id
            """,
            erased=ERASED_EMAIL,
        )
        return [str(row["id"]) for row in rows]


def _look(tx: Transaction, transaction_id: str, asked_by: Customer | Operator) -> Row | None:
    """The payment, who asked for its invoice before, and what else the caller asked for within the hour."""
    customer = asked_by if isinstance(asked_by, Customer) else None
    return tx.row(
        f"""
        SELECT t.status, t.customer_email, i.customer_email AS invoiced_to, t.audit_length, t.audit_head, {READ},
               asked.*,
               (SELECT extract(epoch FROM c.asked_at + interval '1 hour' - now()) FROM push_callers c
                WHERE c.address_digest = :caller
                  AND c.asked_at BETWEEN now() - interval '1 hour' AND now() + interval '1 minute'
                ORDER BY c.asked_at DESC OFFSET CAST(:most_an_hour AS integer) - 1 LIMIT 1) AS caller_waits_s
        FROM transactions t LEFT JOIN invoices i ON i.transaction_id = t.id
        CROSS JOIN LATERAL (
            SELECT coalesce(bool_or(o.next_try_at IS NOT NULL), false) AS waits,
                   count(*) FILTER (WHERE o.topic = 'again') AS in_all,
                   count(*) FILTER (WHERE o.topic = 'again' AND o.created_at > now() - interval '1 day') AS today,
                   extract(epoch FROM min(o.created_at) FILTER (
                       WHERE o.topic = 'again' AND o.created_at > now() - interval '1 day')
                       + interval '1 day' - now()) AS retry_after_s
            FROM outbox o WHERE o.transaction_id = t.id AND o.kind = 'invoice') asked
        WHERE t.id = CAST(:id AS uuid)
        """,
        id=transaction_id,
        caller=customer and customer.counted_as,
        most_an_hour=customer.most_an_hour if customer else 1,
    )


def _refused(payment: Row, asked_by: Customer | Operator) -> Refused | None:
    if payment["status"] != "PAID":
        return NotPaid()
    if ERASED_EMAIL in (payment["customer_email"], payment["invoiced_to"]):
        return AddressErased()
    match asked_by:
        case Operator():
            if payment["customer_email"] is None:
                return NoAddress()
            return Waiting() if payment["waits"] else None
        case Customer(email=given):
            if payment["customer_email"] is None and given is None:
                return NoAddress()
            if payment["in_all"] >= AGAIN_IN_ALL:
                return TooOften(None)
            if payment["today"] >= AGAIN_A_DAY:
                return TooOften(int(payment["retry_after_s"]) + 1)
            waits_s = payment["caller_waits_s"]
            return None if waits_s is None else TooMany(int(waits_s) + 1)


def _lock(tx: Transaction, transaction_id: str, asked_by: Customer | Operator) -> None:
    """The caller's other requests wait, then everything else about this payment. Nobody takes a caller's lock later."""
    if isinstance(asked_by, Customer):
        tx.later("SELECT pg_advisory_xact_lock(hashtextextended(CAST(:caller AS text), 3))", caller=asked_by.counted_as)
    tx.later("SELECT id FROM transactions WHERE id = CAST(:id AS uuid) FOR UPDATE", id=transaction_id)


def _queue(tx: Transaction, transaction_id: str, asked_by: Customer | Operator) -> Requested:
    """The address, where none is stored; its row in the outbox; and the invoice, where it is the first.

    The invoice is last: its number is locked until COMMIT, and every settlement would wait for it.
    """
    if isinstance(asked_by, Customer):
        if asked_by.email is not None:
            tx.later(
                """
                UPDATE transactions SET customer_email = :email
                WHERE id = CAST(:id AS uuid) AND customer_email IS NULL
                """,
                id=transaction_id,
                email=asked_by.email,
            )
        tx.later("INSERT INTO push_callers (address_digest) VALUES (:caller)", caller=asked_by.counted_as)
    (queued,) = tx.rows(
        """
        INSERT INTO outbox (kind, topic, transaction_id) VALUES ('invoice', :topic, CAST(:id AS uuid)) RETURNING id
        """,
        id=transaction_id,
        topic="again" if isinstance(asked_by, Customer) else "resent",
    )
    tx.later(
        "UPDATE invoices SET status = 'PENDING' WHERE transaction_id = CAST(:id AS uuid) AND status = 'FAILED'",
        id=transaction_id,
    )
    tx.later(
        """
        INSERT INTO invoices (transaction_id, customer_email, customer_name, customer_phone, amount)
        SELECT id, customer_email, customer_name, phone_number, amount FROM transactions t
        WHERE id = CAST(:id AS uuid) AND NOT EXISTS (SELECT FROM invoices i WHERE i.transaction_id = t.id)
        """,
        id=transaction_id,
    )
    return Requested(queued["id"])
