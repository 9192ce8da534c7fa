"""A payment that a person books: put on file and settled in one transaction, so that nothing of it stays half done."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from shared.database.errors import Busy, CommitUnknown, ConstraintBroken
from shared.deadline import retry
from shared.gateway.trail import READ
from shared.payments import Outcome, Status, decide

if TYPE_CHECKING:
    from shared.database import Database, Transaction
    from shared.gateway.cases import Cases, Report
    from shared.gateway.trail import Trail

TRIES = 3


@dataclass(frozen=True)
class Booking:
    """The payment that the money becomes: a new one, or one that is on file."""

    transaction_id: str
    is_new: bool
    msisdn: str
    amount_kes: Decimal
    account_reference: str
    customer_email: str | None = None
    customer_name: str | None = None


class NotBooked(Exception):
    """The payment stands otherwise by now, or its receipt is taken. Nothing was written."""

    def __init__(self, receipt: str | None, status: Status) -> None:
        super().__init__(f"{receipt}: {status}")
        self.receipt, self.status = receipt, status


class Bookings:
    """Money that came another way."""

    def __init__(self, store: Database, trail: Trail, cases: Cases) -> None:
        self._store = store
        self._trail = trail
        self._cases = cases

    def book(self, booking: Booking, report: Report) -> Status:
        """May be repeated, also when the answer to COMMIT was lost. Raises `NotBooked`."""

        def once() -> Status:
            with self._store.transaction() as tx:
                if booking.is_new:
                    self._put_on_file(tx, booking, report)
                case = self._cases.within(tx, booking.transaction_id, report)
                if case is None:
                    raise NotBooked(report.receipt, Status.INITIATED)
                decision = decide(case.payment, report.event, case.circumstances)
                if decision.outcome is Outcome.REPEATED:
                    return decision.status
                if decision.paid is None and decision.fill_receipt is None:
                    raise NotBooked(report.receipt, case.payment.status)
                if not case.record(decision):
                    raise Busy("Rolled back: somebody else changed the payment.")
            return decision.status

        return retry(once, (Busy, ConstraintBroken, CommitUnknown), tries=TRIES)

    def _put_on_file(self, tx: Transaction, booking: Booking, report: Report) -> None:
        """The row and its first audit row. Other callbacks to its address are judged again, once it is there."""
        read = tx.row(
            f"SELECT {READ} WHERE NOT EXISTS (SELECT FROM transactions WHERE id = CAST(:id AS uuid))",
            id=booking.transaction_id,
        )
        if read is None:
            return
        signed = self._trail.sign(
            read,
            booking.transaction_id,
            actor=report.actor,
            event="Order",
            outcome="admitted",
            from_status=None,
            to_status=Status.INITIATED.value,
        )
        tx.run(
            """
            INSERT INTO transactions (id, phone_number, amount, account_reference, customer_email, customer_name,
                                      audit_length, audit_head)
            VALUES (CAST(:id AS uuid), :phone, :amount, :reference, :email, :name, :audit_length, :audit_head)
            """,
            id=booking.transaction_id,
            phone=booking.msisdn,
            amount=booking.amount_kes,
            reference=booking.account_reference,
            email=booking.customer_email,
            name=booking.customer_name,
            **signed.payment,
        )
        self._trail.write(tx, signed)
        tx.later(
            """
            UPDATE callback_inbox SET outcome = NULL, judged_at = NULL, tries = 0, next_try_at = now()
            WHERE transaction_id = CAST(:id AS uuid) AND outcome = 'unknown_transaction'
              AND id IS DISTINCT FROM CAST(:inbox_id AS uuid)
            """,
            id=booking.transaction_id,
            inbox_id=report.inbox_id,
        )
