"""One push, and the record of what came of it. Sent at most once; every answer, also none, is a state."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.daraja.callback_address import callback_url
from shared.database.errors import DatabaseError
from shared.deadline import Deadline
from shared.gateway.cases import Evidence
from shared.observability.log import note
from shared.payments import Decision, Event, Ids, PushAccepted, PushNotSent, PushRefused, PushUnanswered, Status
from shared.problems import Kind, Problem
from shared.settlement import settle

if TYPE_CHECKING:
    from shared.daraja.client import Daraja
    from shared.gateway import Gateway
    from shared.orders import Order
    from shared.settings import CallbackSettings

TO_RECORD_S = 5


@dataclass(frozen=True)
class Pushed:
    """Where the payment stands after its push."""

    status: Status
    checkout_request_id: str | None


def push(
    gateway: Gateway, daraja: Daraja, callback: CallbackSettings, transaction_id: str, order: Order, deadline: Deadline
) -> Pushed:
    """Ask Daraja to prompt the customer, and write what it answered.

    Raises a `Problem` where no prompt went out: 502 `daraja_rejected`, 409 `prompt_open`, 503 `unavailable`.
    """
    from shared.daraja.client import PromptOpen, PushRequest, Rejected, Unanswered, Unavailable

    request = PushRequest(
        msisdn=order.msisdn,
        amount_kes=order.amount_kes,
        account_reference=order.account_reference,
        transaction_desc=order.transaction_desc or "",
        callback_url=callback_url(callback, transaction_id),
    )
    record = _Recorder(gateway, transaction_id, deadline)
    try:
        accepted = daraja.push(request, Deadline(deadline.at_s - TO_RECORD_S))
    except Unanswered as silence:
        record(PushUnanswered(), Evidence("stkpush", "PushUnanswered", response_message=str(silence)[:500]))
        return Pushed(Status.UNCERTAIN, None)
    except Rejected as refusal:
        note("push refused", transaction_id=transaction_id, daraja_code=refusal.code, daraja_says=refusal.explanation)
        evidence = Evidence(
            "stkpush", "PushRefused", response_code=refusal.code[:50], response_message=refusal.message[:500]
        )
        record(PushRefused(), evidence)
        kind = Kind.PROMPT_OPEN if isinstance(refusal, PromptOpen) else Kind.DARAJA_REJECTED
        raise Problem(kind) from refusal
    except Unavailable as failure:
        record(PushNotSent(), Evidence("stkpush", "PushNotSent", response_message=str(failure)[:500]))
        raise Problem(Kind.DARAJA_UNAVAILABLE) from failure
    ids = Ids(accepted.merchant_request_id, accepted.checkout_request_id)
    decision = record(
        PushAccepted(ids),
        Evidence(
            "stkpush",
            "PushAccepted",
            ids=ids,
            response_code=accepted.response_code,
            response_message=accepted.response_description,
        ),
    )
    return Pushed(decision.status if decision else Status.PENDING, accepted.checkout_request_id)


class _Recorder:
    """Writes the answer of the push, trying while there is time: the push cannot be taken back."""

    def __init__(self, gateway: Gateway, transaction_id: str, deadline: Deadline) -> None:
        self._gateway, self._transaction_id, self._deadline = gateway, transaction_id, deadline

    def __call__(self, event: Event, evidence: Evidence) -> Decision | None:
        """None: it could not be written. The row stays INITIATED, and the sweep will call it uncertain."""
        while True:
            try:
                return settle(self._gateway, self._transaction_id, event, evidence)
            except DatabaseError as failure:
                if self._deadline.remaining_s() < 1:
                    note(
                        "answer of push not recorded",
                        transaction_id=self._transaction_id,
                        failure=type(failure).__name__,
                    )
                    return None
                time.sleep(0.3)
