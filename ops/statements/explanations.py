"""What a difference means, and what to do now: a command to copy, in which FILE stands for the statement."""

from __future__ import annotations

from decimal import Decimal

from ops.references import cleaned, is_reference
from ops.statements.sides import Booked, Kind, Settlement
from ops.statements.statement import Row
from shared.payments import Status
from shared.values import in_words, one_line

OPS = "python -m ops"
WRITE = f"{OPS} reconcile FILE --write"


MEANS = {
    Kind.MISSING_HERE: "Money came, and the books have no payment of it",
    Kind.MISSING_THERE: "Paid in the books, and the statement has no row of it",
    Kind.AMOUNT_DIFFERS: "Books and statement have different amounts under one receipt",
    Kind.RECEIPT_MISSING: "Paid in the books without a receipt, and the statement has it",
    Kind.DOUBLED: "An order was paid twice",
    Kind.REVERSED: "Money went back, and the books do not say so",
    Kind.REFUND_UNSEEN: "Refunded in the books, and the statement has no row of it",
    Kind.REFUND_UNKNOWN: "Money went to a person, and the books have no such refund",
    Kind.STATE_DIFFERS: "Not paid in the books, and completed on the statement",
    Kind.TIMING: "Near the edge of what statements cover",
    Kind.DUPLICATE_ROW: "A receipt has several amounts or balances on the statement",
}
"""For reports that stay: no word of it is about a person."""


def kes(amount_kes: Decimal) -> str:
    """With cents where there are some: banks' apps send them."""
    return in_words(amount_kes) if amount_kes == amount_kes.to_integral_value() else f"KES {amount_kes:,.2f}"


def says(kind: Kind, row: Row | None, payment: Booked | None, note: str = "") -> str:
    """One or two sentences, and a note."""
    return " ".join(filter(None, [_means(kind, row, payment), note]))


def _means(kind: Kind, row: Row | None, payment: Booked | None) -> str:
    amount = kes(row.paid_in_kes or row.withdrawn_kes) if row else ""
    ours = f"The books have {kes(payment.amount_kes)} for {payment.reference}" if payment else ""
    status, under = (payment.status, payment.refund_receipt) if payment else ("", "")
    match kind:
        case Kind.MISSING_HERE:
            return f"{amount} came{_typed(row)}, and no payment in the books has this receipt."
        case Kind.MISSING_THERE:
            return f"{ours} as {status}, and the statement has no such row. Was the callback forged?"
        case Kind.AMOUNT_DIFFERS:
            return f"{ours}, the row has {amount} under the same receipt."
        case Kind.RECEIPT_MISSING:
            return f"{ours} as {status} without a receipt number. This row fits it."
        case Kind.DOUBLED:
            about = f" for {payment.reference}" if payment else ""
            return f"{amount} came{about}, which was paid already: one order, two receipts."
        case Kind.REVERSED:
            return f"{amount} went back. {f'{ours} as {status}' if ours else 'No payment in the books has it'}."
        case Kind.REFUND_UNSEEN:
            return f"{ours} as refunded under {under}, and the statement has no such row."
        case Kind.REFUND_UNKNOWN:
            known = f"{ours} as refunded under {under}" if ours else "The books have no such refund"
            return f"{amount} went out to a person. {known}."
        case Kind.STATE_DIFFERS:
            return f"{ours} as {status}, and the row says that {amount} came."
        case Kind.TIMING:
            return f"{ours}, near the edge of what the statements cover. The next one should have it."
        case Kind.DUPLICATE_ROW:
            return (
                f"The receipt stands on statements with several amounts or balances, at last {amount}. Was a file "
                "edited, or cut off? Look in the portal which is right."
            )


def do_now(kind: Kind, row: Row | None, payment: Booked | None, settlement: Settlement | None) -> str:
    """The command."""
    receipt = row.receipt if row else (payment and payment.receipt) or ""
    case = f"{OPS} case {payment.transaction_id}" if payment else f"{OPS} receipts find {receipt}"
    if settlement is not None:
        return WRITE
    match kind:
        case Kind.MISSING_HERE if row and row.paid_in_kes == row.paid_in_kes.to_integral_value():
            return f'{OPS} book {receipt} --reference {_reference(row)} --why "…"'
        case Kind.MISSING_HERE | Kind.REFUND_UNKNOWN | Kind.REVERSED if payment is None:
            return f'{OPS} receipts not-a-sale {receipt} --why "…"'
        case Kind.RECEIPT_MISSING if payment:
            return f'{OPS} book {receipt} --reference {payment.reference} --why "…"'
        case Kind.STATE_DIFFERS if payment and payment.status is Status.REVIEW:
            return f'{OPS} review pay {payment.transaction_id} --receipt {receipt} --why "…"'
        case Kind.STATE_DIFFERS if payment:
            return f'{OPS} book {receipt} --reference {payment.reference} --why "…"'
        case Kind.REVERSED | Kind.AMOUNT_DIFFERS if row and payment and 0 != row.withdrawn_kes != payment.amount_kes:
            return f'{OPS} receipts not-a-sale {receipt} --why "…"'
        case Kind.REVERSED if payment:
            under = "REVERSAL" if receipt == payment.receipt else receipt
            return f'{OPS} review refunded {payment.transaction_id} --receipt {under} --why "…"'
        case Kind.DOUBLED if payment and (payment.receipt == receipt or payment.review_reason):
            return f'{OPS} review refunded {payment.transaction_id} --receipt REVERSAL --why "…"'
        case Kind.DUPLICATE_ROW if row and payment is None and row.paid_in_kes:
            return f'{OPS} book {receipt} --reference {_reference(row)} --amount KES --why "…"'
        case Kind.DUPLICATE_ROW:
            return f'{OPS} receipts not-a-sale {receipt} --why "…"'
        case Kind.TIMING:
            return f"{OPS} reconcile FILE"
    return case


def _typed(row: Row | None) -> str:
    return f" for {one_line(row.account)}" if row and row.account else ""


def _reference(row: Row) -> str:
    account = cleaned(row.account)
    return account if is_reference(account) else "ORDER"
