"""POST /api/mpesa/stkpush: ask a customer for money, once.

The row is committed before Daraja is asked. Once bytes may have left, nothing is ever sent again: what is unclear stays
pending until a callback, a query or a person says what became of it. An old payment of the same phone that is still
open is asked about before another is admitted: the customer may have paid it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.admission import (
    AboveLimit,
    Admitted,
    AlreadyPaid,
    Asked,
    AskFirst,
    KeyMismatch,
    Recovering,
    TooMany,
    TooSoon,
)
from shared.collaborators import collaborators
from shared.deadline import Deadline
from shared.edge import Answer, Request, answer
from shared.environment_variables import Misconfigured
from shared.limits import MoneyLimit, Scope
from shared.payments import PUBLIC
from shared.problems import Kind, Problem
from shared.pushing import ask_about, push

if TYPE_CHECKING:
    from shared.collaborators import Collaborators
    from shared.orders import Order, StkpushRequest

IN_ALL_S = 25
ALERTS_FOR_S = 3
A_SLOT_IS_FREE_AFTER_S = 15
API = ("/api/pay/stkpush", "/api/mpesa/stkpush")
CHECK_YOUR_PHONE = "Check your phone and enter your M-Pesa PIN."
SEEN_BEFORE = "This payment was asked for before. Its status says how it ended."
TOO_MANY = {
    Scope.PHONE: Kind.TOO_MANY_PHONE,
    Scope.ADDRESS: Kind.TOO_MANY_ADDRESS,
    Scope.SHOP: Kind.TOO_MANY_SHOP,
}
ABOVE = {
    MoneyLimit.PAYMENT: Kind.ABOVE_LIMIT_PAYMENT,
    MoneyLimit.PHONE_DAY: Kind.ABOVE_LIMIT_PHONE_DAY,
    MoneyLimit.SHOP_DAY: Kind.ABOVE_LIMIT_SHOP_DAY,
}


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    return answer(
        event,
        function="stkpush",
        methods=("POST",),
        story=take_payment,
        address=r".*/stkpush/?",
        origins=lambda: collaborators().settings.edge.allowed_origins,
    )


def take_payment(request: Request) -> Answer:
    from shared.orders import read_idempotency_key, read_stkpush  # pydantic: only this and invoice pay for it

    deadline = Deadline.after(IN_ALL_S)
    mine = collaborators()
    asked_for = read_stkpush(request.json_object())
    key = read_idempotency_key(request.headers.get("idempotency-key"), asked_for)
    try:
        order = priced(mine, asked_for)
    except (Problem, Misconfigured):  # a price may have changed since the key was used, or a link may have run out
        match mine.gateway.admissions.seen(key) if key else None:
            case Asked() as payment:
                return accepted(request, payment)
            case KeyMismatch():
                raise Problem(Kind.IDEMPOTENCY_MISMATCH) from None
        raise
    caller = request.caller_digest(mine.settings.caller_key)
    admission = mine.gateway.admissions.admit(order, key, mine.settings.limits, caller)
    if isinstance(admission, AskFirst):
        asked = ask_about(mine, admission.transaction_ids)
        admission = mine.gateway.admissions.admit(order, key, mine.settings.limits, caller, asked)
    match admission:
        case Asked():
            return accepted(request, admission)
        case KeyMismatch():
            raise Problem(Kind.IDEMPOTENCY_MISMATCH)
        case Recovering():
            raise Problem(Kind.RECOVERING)
        case AlreadyPaid():
            raise Problem(Kind.ALREADY_PAID)
        case TooSoon(retry_after_s):
            raise Problem(Kind.TOO_SOON, retry_after_s=retry_after_s)
        case AskFirst():
            raise Problem(Kind.TOO_SOON, retry_after_s=A_SLOT_IS_FREE_AFTER_S)
        case TooMany(scope, retry_after_s):
            if scope is Scope.SHOP:
                alert_the_shop(mine)
            raise Problem(TOO_MANY[scope], retry_after_s=retry_after_s)
        case AboveLimit(limit, most_kes, wait_s):
            if limit is MoneyLimit.SHOP_DAY:
                alert_the_shop(mine)
            raise Problem(ABOVE[limit], most_kes=most_kes, retry_after_s=wait_s)
        case Admitted(transaction_id):
            status, checkout_request_id = push(mine, transaction_id, order, deadline)
            payment = Asked(transaction_id, status, checkout_request_id, order.amount_kes, order.account_reference)
            return accepted(request, payment)


def priced(mine: Collaborators, asked_for: StkpushRequest) -> Order:
    """The order at the shop's price. Where the catalogue cannot be used, nobody pays, and the shop is alerted."""
    from shared.catalogue import catalogue_of
    from shared.orders import order_of

    shop = mine.settings.orders
    try:
        catalogue = catalogue_of(shop.catalogue) if asked_for.order is None else None
    except Misconfigured:
        mine.gateway.admissions.alert_of_catalogue()
        alert_the_shop(mine)
        raise
    return order_of(asked_for, catalogue, shop.link_secrets, mine.clock())


def alert_the_shop(mine: Collaborators) -> None:
    from shared.delivery import send_alerts  # what it needs is imported only where there is something to do

    send_alerts(mine, Deadline.after(ALERTS_FOR_S))


def accepted(request: Request, payment: Asked) -> Answer:
    """The customer is being asked, or was. It does not say that it is paid."""
    status = PUBLIC[payment.status]
    prefix = request.path.removesuffix("/stkpush") if request.path.endswith(API) else "/api/mpesa"
    body = {
        "transaction_id": payment.transaction_id,
        "checkout_request_id": payment.checkout_request_id,
        "status": status,
        "amount": int(payment.amount_kes),
        "account_reference": payment.account_reference,
        "message": CHECK_YOUR_PHONE if status == "pending" else SEEN_BEFORE,
        "status_url": f"{request.origin}{prefix}/status/{payment.transaction_id}",
        "poll_after_s": 3,
    }
    return Answer(202, body, log={"transaction_id": payment.transaction_id, "payment_status": payment.status.value})
