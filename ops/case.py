"""Everything known about one payment, told in order: Safaricom said, it means, do now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from ops.books import Books
from shared.daraja_models import (
    EAT,
    CallbackFailure,
    CallbackRead,
    CallbackSuccess,
    CallbackUnknownCode,
    CallbackUnreadable,
    read_callback,
)
from shared.database import Row
from shared.money import in_words
from shared.payments import PUBLIC, ReviewReason, Status
from shared.phone import masked
from shared.result_codes import describe

DO_NOW = {
    Status.INITIATED: "Nothing. The sweep looks at it after 90 seconds.",
    Status.PENDING: "Nothing yet. Callbacks are awaited, and the sweep asks Daraja.",
    Status.UNCERTAIN: "Nothing yet, and do not ask the customer to pay again: a callback may come for 15 minutes.",
    Status.FAILED: "Nothing. The customer may order again.",
    Status.CANCELLED: "Nothing. The customer may order again.",
    Status.EXPIRED: "Nothing. The customer may order again.",
    Status.REFUNDED: "Nothing. The money went back.",
}
REVIEW_NOW = {
    ReviewReason.SILENCE: "Look for the reference and the amount in the M-Pesa organisation portal.",
    ReviewReason.UNKNOWN_CODE: "Look in the portal whether money came; tell the code to Safaricom's support.",
    ReviewReason.AMOUNT_MISMATCH: "Compare with the portal: how much came? Agree with the customer, or refund.",
    ReviewReason.INCOMPLETE_SUCCESS: "Look in the portal for the receipt of this amount and reference.",
    ReviewReason.IDS_DISAGREE: "A callback named another push. Look in the portal which payment the money belongs to.",
    ReviewReason.REUSED_RECEIPT: "Its receipt pays another payment. Look in the portal whether money came twice.",
    ReviewReason.DUPLICATE_PAYMENT: "The customer paid this order twice. Refund this one in the portal.",
    ReviewReason.UNCONFIRMED_LARGE: "A large payment that could not be confirmed by a query. Look in the portal.",
    ReviewReason.CONTRADICTION: "The callback said paid, the query said failed. Look in the portal which is true.",
}
THEN = (
    "Then one of: `ops review pay TX --receipt R --why …` (the money is there), `ops review fail TX --why …` (no money "
    "came), `ops review refunded TX --receipt R --why …` (it went back)."
)


@dataclass(frozen=True)
class Moment:
    """One thing that happened."""

    at: datetime
    what: str


def tell(books: Books, transaction_id: str) -> Iterator[str]:
    """The story, line by line. Phone numbers are masked; the case belongs to the shop's own people."""
    payment = books.payment(transaction_id)
    if payment is None:
        yield f"There is no payment {transaction_id}."
        return
    status = Status(payment["status"])
    amount, reference, phone = (
        in_words(payment["amount"]),
        payment["account_reference"],
        masked(payment["phone_number"]),
    )
    yield f"Payment {transaction_id}: {amount} for {reference}, asked of {phone}"
    yield ""
    for moment in sorted(_moments(books, payment), key=lambda moment: moment.at):
        yield f"  {_eat(moment.at)}  {moment.what}"
    yield ""
    yield f"It is {status} ({PUBLIC[status]} to the customer)."
    yield from _confirmation(books, payment)
    yield "Do now: " + _do_now(books, payment)


def _moments(books: Books, payment: Row) -> Iterator[Moment]:
    transaction_id = str(payment["id"])
    for row in books.audit(transaction_id):
        yield Moment(row["at"], _audited(row, payment))
    for row in books.callbacks(transaction_id):
        yield Moment(row["received_at"], f"Safaricom called back: {_said(read_callback(bytes(row['body'])))}")
        if row["outcome"] not in (None, "paid", "paid_late", "declined", "to_review"):
            yield Moment(row["judged_at"], f"  that callback: {row['outcome']}")
        if row["source_check"] in ("unlisted", "held"):
            yield Moment(row["received_at"], f"  it came from {row['source_address']}, not an address of Safaricom's")
    for row in books.answers(transaction_id):
        yield Moment(row["answered_at"], f"Daraja, asked, said: {_answered(row)}")
    for row in books.sent(transaction_id):
        name = f"alert {row['topic']}" if row["kind"] == "alert" else "invoice"
        if row["sent_at"]:
            yield Moment(row["sent_at"], f"{name} sent")
        elif row["next_try_at"] is None:
            yield Moment(row["created_at"], f"{name} given up: {row['last_error'] or 'no reason kept'}")
        else:
            yield Moment(
                row["created_at"], f"{name} waits to be sent" + (f": {row['last_error']}" * bool(row["last_error"]))
            )


def _audited(row: Row, payment: Row) -> str:
    if row["event"] == "Order":
        return "the order was admitted and the row committed"
    change = f"{row['from_status']} → {row['to_status']}" if row["from_status"] != row["to_status"] else "no change"
    why = f"; {row['reason']}" if row["reason"] else ""
    said = {
        "PushAccepted": "Daraja took the push",
        "PushRefused": f"Daraja refused the push ({payment['response_code']}: {payment['response_message']})",
        "PushUnanswered": "the push was not answered clearly: it may have arrived",
        "PushNotSent": "the push could not be sent",
        "TimePassed": "time passed",
        "Confirmed": "judged the callback",
        "Declined": "judged the callback",
        "UnknownCode": "judged the callback",
        "QueryConfirmed": "judged the answer to the query",
        "QueryDeclined": "judged the answer to the query",
    }.get(row["event"], row["event"])
    return f"{row['actor']}: {said}: {row['outcome']}, {change}{why}"


def _said(told: CallbackRead) -> str:
    match told:
        case CallbackSuccess():
            amount = in_words(told.amount_kes) if told.amount_kes is not None else "no amount"
            return f"0, success: {amount}, receipt {told.receipt or 'missing'}"
        case CallbackFailure() | CallbackUnknownCode():
            return f"{told.code}, “{told.description}”: {_means(told.code)}"
        case CallbackUnreadable():
            return f"something unreadable ({told.reason})"


def _answered(row: Row) -> str:
    if row["result_code"] is None:
        return f"no answer yet ({row['said']})"
    return f"{row['result_code']}, “{row['said']}”" + (
        f": {_means(row['result_code'])}" if row["result_code"] != "0" else ""
    )


def _means(code: str) -> str:
    known = describe(code)
    return f"it means: {known.operator_note}" if known else "it means: nobody has explained this code"


def _confirmation(books: Books, payment: Row) -> Iterator[str]:
    confirmation = books.confirmation(str(payment["id"]))
    if confirmation is not None:
        receipt = confirmation["mpesa_receipt_number"] or "missing"
        yield f"Confirmed by {confirmation['evidence']}, receipt {receipt}, {in_words(confirmation['amount'])}."
    invoice = books.invoice(str(payment["id"]))
    if invoice is not None:
        yield f"Invoice {invoice['invoice_number']}: {invoice['status']}."


def _do_now(books: Books, payment: Row) -> str:
    status = Status(payment["status"])
    if status is Status.REVIEW:
        return f"{REVIEW_NOW[ReviewReason(payment['review_reason'])]} {THEN}"
    if status is Status.PAID:
        confirmation = books.confirmation(str(payment["id"]))
        if confirmation is not None and confirmation["mpesa_receipt_number"] is None:
            return "Deliver. The receipt number is missing until a callback or the statement brings it."
        return "Deliver."
    return DO_NOW[status]


def _eat(at: datetime) -> str:
    return at.astimezone(EAT).strftime("%Y-%m-%d %H:%M:%S")
