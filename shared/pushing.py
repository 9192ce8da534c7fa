"""One push, and the record of what came of it. Sent at most once; every answer, also none, is a state."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from shared.daraja.answers import PromptOpen, Rejected, Unanswered, Unavailable
from shared.daraja.callback_address import callback_url
from shared.database.errors import DatabaseError
from shared.deadline import Deadline, retry
from shared.gateway.cases import Report
from shared.observability.log import note
from shared.payments import Ids, PushAccepted, PushNotSent, PushRefused, PushUnanswered, Status
from shared.problems import Kind, Problem
from shared.settlement import ask_at_once, settle

if TYPE_CHECKING:
    from shared.collaborators import Collaborators
    from shared.orders import Order

TO_RECORD_S = 5
ASKS_FOR_S = 6
"""All questions about older payments of the phone together; the push needs the rest of the time."""
SENDS_FOR_S = 3


class Pushed(NamedTuple):
    """Where the payment stands after its push."""

    status: Status
    checkout_request_id: str | None


def push(mine: Collaborators, transaction_id: str, order: Order, deadline: Deadline) -> Pushed:
    """Ask Daraja to prompt the customer, and write what it answered.

    Raises a `Problem` where no prompt went out: 502 `daraja_rejected`, 409 `prompt_open`, 503 `unavailable`. A callback
    may say otherwise in the meantime: then the payment is where that brought it.
    """
    from shared.daraja.client import PushRequest

    request = PushRequest(
        msisdn=order.msisdn,
        amount_kes=order.amount_kes,
        account_reference=order.account_reference,
        transaction_desc=order.transaction_desc or "",
        callback_url=callback_url(mine.settings.callback, transaction_id),
    )
    record = partial(_record, mine, transaction_id, deadline)
    try:
        accepted = mine.daraja.push(request, Deadline(deadline.at_s - TO_RECORD_S))
    except Unanswered as silence:
        status = record(Report(PushUnanswered(), "stkpush", response_message=str(silence)[:500]))
        return Pushed(status or Status.UNCERTAIN, None)
    except Rejected as refusal:
        note("push refused", transaction_id=transaction_id, daraja_code=refusal.code, daraja_says=refusal.explanation)
        status = record(
            Report(
                PushRefused(refusal.shops_fault),
                "stkpush",
                response_code=refusal.code[:50],
                response_message=refusal.message[:500],
            )
        )
        return _no_prompt(status, Kind.PROMPT_OPEN if isinstance(refusal, PromptOpen) else Kind.DARAJA_REJECTED)
    except Unavailable as failure:
        status = record(Report(PushNotSent(), "stkpush", response_message=str(failure)[:500]))
        return _no_prompt(status, Kind.DARAJA_UNAVAILABLE)
    ids = Ids(accepted.merchant_request_id, accepted.checkout_request_id)
    status = record(
        Report(
            PushAccepted(ids),
            "stkpush",
            response_code=accepted.response_code,
            response_message=accepted.response_description,
        )
    )
    return Pushed(status or Status.PENDING, accepted.checkout_request_id)


def _no_prompt(status: Status | None, kind: Kind) -> Pushed:
    """Raises the `Problem`, unless a callback said otherwise in the meantime."""
    if status in (None, Status.FAILED):
        raise Problem(kind)
    return Pushed(status, None)


def ask_about(mine: Collaborators, transaction_ids: tuple[str, ...]) -> tuple[str, ...]:
    """Ask Daraja what became of these payments, each once. Returns those it was asked about.

    Raises 409 `already_paid` where one of them turns out to be paid.
    """
    from shared.delivery import follow_up

    ends = Deadline.after(ASKS_FOR_S)
    asked = tuple(each for each in transaction_ids if ask_at_once(mine, each, ends, "stkpush", before_its_time=True))
    for each in asked:
        follow_up(mine, each, ends, "stkpush", judges=True)
        payment = mine.gateway.statuses.read(each)
        if payment is not None and payment.status is Status.PAID:
            raise Problem(Kind.ALREADY_PAID)
    return asked


def _record(mine: Collaborators, transaction_id: str, deadline: Deadline, report: Report) -> Status | None:
    """Write the answer of the push, trying while there is time: the push cannot be taken back. Returns the status then.

    A callback that overtook the answer is judged, and what became due is sent. None: the answer could not be written.
    The row stays INITIATED, and the sweep makes it UNCERTAIN.
    """
    work = partial(settle, mine.gateway, transaction_id, report)
    try:
        settled = retry(work, DatabaseError, for_s=max(0, deadline.remaining_s() - 1), pause_s=0.3)
    except DatabaseError as failure:
        note("answer of push not recorded", transaction_id=transaction_id, failure=type(failure).__name__)
        return None
    if settled is None:
        return None
    a_callback_waits = settled.decision.judge_waiting
    if a_callback_waits or settled.decision.alerts or settled.decision.paid:  # nobody waits for a webhook here
        from shared.delivery import follow_up

        follow_up(mine, transaction_id, Deadline.after(SENDS_FOR_S), "stkpush", judges=a_callback_waits)
    if a_callback_waits:
        with contextlib.suppress(DatabaseError):  # it is settled as far as it was
            now = mine.gateway.statuses.read(transaction_id)
            return now.status if now else None
    return settled.decision.status
