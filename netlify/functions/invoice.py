"""POST /api/mpesa/invoice: send the invoice of a paid payment again, to the address on file.

At once where the mail server takes it within seconds; else the sweep sends it. The answer is the same.
"""

from __future__ import annotations

from typing import Any

from shared.collaborators import gateway
from shared.deadline import Deadline
from shared.edge import Answer, FieldError, Problem, Request, answer, invalid, not_found
from shared.gateway.invoices import AddressErased, Customer, NoAddress, NotPaid, Requested, TooMany, TooOften
from shared.limits import caller_digest
from shared.mail.sending import send_now
from shared.orders import read_email, unknown_fields
from shared.settings import settings
from shared.transaction_id import is_transaction_id

A_MAIL_S = 5
"""What whoever asked waits for it at most: a slow mail server is the sweep's business."""
FIELDS = ("transaction_id", "customer_email")


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    return answer(
        event,
        function="invoice",
        methods=("POST",),
        story=send_again,
        address=r".*/invoice",
        origins=lambda: settings().edge.allowed_origins,
    )


def send_again(request: Request) -> Answer:
    transaction_id, customer_email = _read(request.json_object())
    mine = settings()
    caller = caller_digest(request.caller_address, mine.caller_key)
    asked_by = Customer(caller, mine.limits.address_pushes_an_hour, customer_email)
    match gateway().invoices.send_again(transaction_id, asked_by):
        case None:
            raise not_found()
        case NotPaid():
            raise not_paid()
        case NoAddress():
            raise invalid(FieldError("customer_email", "must be an e-mail address: none is stored with this payment"))
        case AddressErased():
            raise address_removed()
        case TooOften(retry_after_s):
            raise too_often(retry_after_s)
        case TooMany(retry_after_s):
            raise too_many_asked(retry_after_s)
        case Requested(outbox_id):
            send_now(gateway(), outbox_id, Deadline.after(A_MAIL_S))
    return on_its_way(transaction_id)


def on_its_way(transaction_id: str) -> Answer:
    """Never the address: whoever holds the id need not be its owner."""
    message = "The invoice is on its way to the address stored with the payment."
    return Answer(202, {"transaction_id": transaction_id, "message": message}, log={"transaction_id": transaction_id})


def not_paid() -> Problem:
    """Only of a paid payment is the invoice sent."""
    return Problem(
        409, "not_paid", "Not paid", "An invoice is sent for a paid payment: this one is not paid, or was refunded."
    )


def address_removed() -> Problem:
    """A person left the books, by their wish or in time: no other address is taken for what they paid."""
    detail = "The e-mail address of this payment was removed from the books, and no other is taken for it."
    wrong = FieldError("customer_email", "is not taken any more for this payment: ask the shop for the invoice")
    return Problem(422, "invalid", "Cannot be used", f"{detail} Ask the shop for the invoice.", errors=(wrong,))


def too_often(retry_after_s: int | None) -> Problem:
    """Three times a day are enough to find it, ten times in all, and too few to pester anybody. None: no more."""
    if retry_after_s is None:
        detail = "The invoice was sent again ten times. It is not sent any more; ask the shop for it."
        return Problem(429, "too_often", "Too often", detail)
    detail = "The invoice was sent again three times within a day. Try tomorrow."
    headers = {"retry-after": str(retry_after_s)}
    return Problem(429, "too_often", "Too often", detail, headers=headers, more={"retry_after_s": retry_after_s})


def too_many_asked(retry_after_s: int) -> Problem:
    """As many from one address as it may ask for pushes."""
    return Problem(
        429,
        "too_many",
        "Too many requests for invoices",
        "Many invoices were asked for from your connection. Wait, or try another connection.",
        headers={"retry-after": str(retry_after_s)},
        more={"limit": "address", "retry_after_s": retry_after_s},
    )


def _read(body: dict[str, object]) -> tuple[str, str | None]:
    errors = unknown_fields(body, FIELDS, "is not a field of this request")
    transaction_id = body.get("transaction_id")
    if not is_transaction_id(transaction_id):
        errors.append(FieldError("transaction_id", "must be the id that the payment was given"))
    customer_email = None
    try:
        customer_email = read_email(body.get("customer_email"))
    except ValueError as refused:
        errors.append(FieldError("customer_email", str(refused)))
    if errors:
        raise invalid(*errors)
    return str(transaction_id), customer_email
