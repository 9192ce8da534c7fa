"""GET /api/mpesa/status/{transaction_id}: where a payment stands. Who holds the id may read it.

While a customer watches, this function asks Daraja about the payment where that is due and the shared budget has a
slot, and sends what the payment made due. Everybody else is answered from the database.
"""

from __future__ import annotations

from typing import Any

from shared.collaborators import collaborators
from shared.deadline import Deadline
from shared.edge import Answer, Request, answer
from shared.gateway.statuses import StatusView, ask_again_after_s, words_for
from shared.observability.log import failed
from shared.payments import PUBLIC
from shared.problems import Kind, Problem
from shared.values import is_transaction_id

FOLLOWS_UP_FOR_S = 5


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    return answer(
        event,
        function="status",
        methods=("GET",),
        story=tell,
        address=r".*/status/[^/]+/?",
        origins=lambda: collaborators().settings.edge.allowed_origins,
    )


def tell(request: Request) -> Answer:
    transaction_id = request.last_segment
    if transaction_id == "doctor":
        from shared.deployed import describe  # nobody but an operator asks

        return Answer(200, describe(collaborators(), request.headers))
    payment = collaborators().gateway.statuses.watch(transaction_id) if is_transaction_id(transaction_id) else None
    if payment is None:
        raise Problem(Kind.NOT_FOUND)
    if payment.ask_in_s == 0 or payment.work_is_due:
        payment = _follow_up(payment)
    if payment.sweep_is_late:
        _alert_that_no_sweep_runs()
    log = {"transaction_id": payment.transaction_id, "payment_status": payment.status.value}
    return Answer(200, described(payment), log=log)


def described(payment: StatusView) -> dict[str, object]:
    """The payment in the words of the API; what there is nothing to say about is left out."""
    words = words_for(payment)
    optional = {
        "mpesa_receipt_number": payment.receipt,
        "result_code": payment.result_code,
        "next_action": words.next_action,
        "retry_after_s": ask_again_after_s(payment),
    }
    return {
        "transaction_id": payment.transaction_id,
        "status": PUBLIC[payment.status],
        "amount": int(payment.amount_kes),
        "account_reference": payment.account_reference,
        "message": words.message,
        "updated_at": payment.updated_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        **{name: value for name, value in optional.items() if value is not None},
    }


def _follow_up(payment: StatusView) -> StatusView:
    """Ask, judge, send; then the payment as it is now."""
    from shared.delivery import follow_up  # what it needs is imported only where there is something to do

    mine, asks = collaborators(), payment.ask_in_s == 0
    if asks:
        _ = mine.daraja  # imported before the time is taken
    follow_up(mine, payment.transaction_id, Deadline.after(FOLLOWS_UP_FOR_S), "status", asks=asks, judges=True)
    return mine.gateway.statuses.watch(payment.transaction_id) or payment


def _alert_that_no_sweep_runs() -> None:
    """A sweep that does not run cannot alert; a customer's request can, and is answered whatever becomes of it."""
    from shared.observability.alerts import sweep_is_late

    try:
        sweep_is_late(collaborators().gateway)
    except Exception as failure:  # another sweep or another request will alert
        failed("alerting", failure)
