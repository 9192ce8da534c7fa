"""Which payment of the books money becomes that a person books, and which others of its order stand paid."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ops.references import cleaned, same_reference
from shared.database import Database, Row
from shared.payments import Status
from shared.values import HIDDEN_MSISDN

if TYPE_CHECKING:
    from ops.book import Money


def named_order(database: Database, money: Money, reference: str, *, said: bool, of_one_order: bool) -> Row | None:
    """The newest payment of ours that the row names, or a person (`said`): one that is paid and has no receipt yet,
    which it gets; else one that was not paid, whose money it becomes, late.

    A till's row names no order, and a payer mistypes one. Where a reference is of no single order, the row has to name
    the payment's number too. A prompt may have brought the money where the digits that the row shows fit:
    while it is open, nothing is booked.
    """
    if money.row_id is None or (money.account and not said and not _names(money.account, reference)):
        return None
    return database.row(
        """
        SELECT t.id, t.status, t.review_reason, t.amount, t.account_reference, t.phone_number, t.created_at,
               NULL AS mpesa_receipt_number
        FROM transactions t LEFT JOIN payment_confirmations c ON c.transaction_id = t.id
        WHERE lower(t.account_reference) = lower(:reference) AND t.amount = :amount
          AND CAST(:at AS timestamptz) - t.created_at BETWEEN interval '-2 minutes' AND interval '24 hours'
          AND (t.status NOT IN ('PAID', 'REFUNDED') OR c.id IS NOT NULL AND c.mpesa_receipt_number IS NULL)
          AND (:of_one_order OR t.phone_number = :payer
               OR t.status IN ('PAID', 'REFUNDED', 'INITIATED', 'PENDING', 'UNCERTAIN') AND t.phone_number ~ :looks)
        ORDER BY c.id IS NULL, t.status NOT IN ('INITIATED', 'PENDING', 'UNCERTAIN'), t.created_at DESC LIMIT 1
        """,
        reference=reference,
        amount=money.amount_kes,
        at=money.at,
        of_one_order=of_one_order,
        payer=money.payer,
        looks=f"{money.looks}|^{HIDDEN_MSISDN}$",
    )


def is_paid(onto: Row | None) -> bool:
    return onto is not None and onto["status"] in (Status.PAID, Status.REFUNDED)


def _names(account: str, reference: str) -> bool:
    """Also where a spreadsheet took the zeros before a number, and wrote one behind it."""
    typed = [cleaned(each).lower().lstrip("0") for each in (account.removesuffix(".0"), reference)]
    return same_reference(account, reference) or typed[0] == typed[1] != ""


def paid_already(database: Database, reference: str) -> list[Row]:
    """Payments of the same order that stand paid."""
    return database.rows(
        """
        SELECT t.id, t.status, t.review_reason, t.amount, t.account_reference, t.phone_number, t.created_at,
               c.mpesa_receipt_number
        FROM transactions t LEFT JOIN payment_confirmations c ON c.transaction_id = t.id
        WHERE lower(t.account_reference) = lower(:reference) AND t.paid_at IS NOT NULL AND t.status = 'PAID'
        ORDER BY t.paid_at
        """,
        reference=reference,
    )
