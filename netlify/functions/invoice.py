"""POST /api/mpesa/invoice: send the invoice of a paid payment again, to the address on file.

At once where the mail server takes it within seconds; else the sweep sends it. The answer is the same.
"""

from __future__ import annotations

from typing import Any

from shared.collaborators import collaborators
from shared.deadline import Deadline
from shared.edge import Answer, Request, answer
from shared.gateway.invoices import AddressErased, Customer, NoAddress, NotPaid, Requested, TooMany, TooOften
from shared.problems import FieldError, Kind, Problem

A_MAIL_S = 5
"""How long the request waits for the mail server at most. After that the sweep sends it."""
NONE_STORED = FieldError("customer_email", "must be an e-mail address: none is stored with this payment")
NONE_TAKEN = FieldError("customer_email", "is not taken any more for this payment: ask the shop for the invoice")


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    return answer(
        event,
        function="invoice",
        methods=("POST",),
        story=send_again,
        address=r".*/invoice/?",
        origins=lambda: collaborators().settings.edge.allowed_origins,
    )


def send_again(request: Request) -> Answer:
    from shared.orders import read_invoice_request  # pydantic: only this function and stkpush pay for it

    wanted = read_invoice_request(request.json_object())
    transaction_id = wanted.transaction_id
    mine = collaborators()
    _ = mine.settings.letters  # 500 `misconfigured` where none could be sent
    caller = request.caller_digest(mine.settings.caller_key)
    asked_by = Customer(caller, mine.settings.limits.address_pushes_an_hour, wanted.customer_email)
    match mine.gateway.invoices.send_again(transaction_id, asked_by):
        case None:
            raise Problem(Kind.NOT_FOUND)
        case NotPaid():
            raise Problem(Kind.NOT_PAID)
        case NoAddress():
            raise Problem(Kind.INVALID, NONE_STORED)
        case AddressErased():
            raise Problem(Kind.ADDRESS_REMOVED, NONE_TAKEN)
        case TooOften(retry_after_s):
            kind = Kind.TOO_OFTEN_IN_ALL if retry_after_s is None else Kind.TOO_OFTEN
            raise Problem(kind, retry_after_s=retry_after_s)
        case TooMany(retry_after_s):
            raise Problem(Kind.TOO_MANY_INVOICES, retry_after_s=retry_after_s)
        case Requested():
            from shared.delivery import follow_up

            follow_up(mine, transaction_id, Deadline.after(A_MAIL_S), "invoice")
    return on_its_way(transaction_id)


def on_its_way(transaction_id: str) -> Answer:
    """Never the address: whoever holds the id need not be its owner."""
    message = "The invoice is on its way to the address stored with the payment."
    return Answer(202, {"transaction_id": transaction_id, "message": message}, log={"transaction_id": transaction_id})
