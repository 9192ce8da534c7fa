"""docs/states.md, printed from the code: `decide` is asked about every status, event and circumstance."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from shared.payments import (
    NOT_PAID,
    OPEN,
    PUBLIC,
    SETTLED,
    TRANSITIONS,
    Circumstances,
    Confirmed,
    Decision,
    Declined,
    Event,
    Ids,
    OperatorFailed,
    OperatorPaid,
    OperatorRefunded,
    Payment,
    PushAccepted,
    PushNotSent,
    PushRefused,
    PushUnanswered,
    QueryConfirmed,
    QueryDeclined,
    ReviewReason,
    Status,
    TimePassed,
    UnknownCode,
    decide,
)

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
AGES = (timedelta(0), timedelta(minutes=2), timedelta(minutes=20), timedelta(hours=2))
SMALL, LARGE = Decimal(1500), Decimal(50_000)

MEANINGS = {
    Status.INITIATED: "The row is committed; the push has not been answered yet.",
    Status.PENDING: "Daraja accepted the push. The customer is being asked.",
    Status.UNCERTAIN: "No clear answer came: the push may have arrived. It is never sent again.",
    Status.PAID: "The money is here, with evidence, a confirmation and (if there is an e-mail address) an invoice.",
    Status.FAILED: "Daraja refused the push, or a known result code said that nobody paid.",
    Status.CANCELLED: "The customer cancelled the prompt (1032, 1031).",
    Status.EXPIRED: "Daraja said that the prompt expired (1019). Time alone never sets it.",
    Status.REVIEW: "The evidence does not fit, or there is none: a person must look. The reason is stored beside it.",
    Status.REFUNDED: "The whole amount went back, as an operator recorded.",
}
REASONS = {
    ReviewReason.SILENCE: "no terminal answer after 60 minutes, or none at all 15 minutes after an unclear push",
    ReviewReason.UNKNOWN_CODE: "a callback with an unknown result code",
    ReviewReason.AMOUNT_MISMATCH: "a success of another amount than the one asked for",
    ReviewReason.INCOMPLETE_SUCCESS: "a success without amount or receipt, and no id of our own to ask about",
    ReviewReason.IDS_DISAGREE: "a callback whose ids are not the payment's",
    ReviewReason.REUSED_RECEIPT: "a success with a receipt that confirms another payment",
    ReviewReason.DUPLICATE_PAYMENT: "the same reference, phone and amount was paid by another payment within 24 hours",
    ReviewReason.UNCONFIRMED_LARGE: "a large success (CONFIRM_ABOVE_KES) without an id of our own to ask about",
    ReviewReason.CONTRADICTION: "a callback said paid, a query said failed",
}


def states_page() -> str:
    """The whole page, as Markdown."""
    return "\n".join([*_top(), *_diagram(), *_meanings(), *_reasons(), *_answers()]) + "\n"


def _top() -> list[str]:
    return [
        "# States of a payment",
        "",
        "Printed from `shared/payments.py` by `python -m dev.print_docs`; a test keeps it so. Nothing else changes a",
        "status, and the database refuses every transition that is not drawn here.",
        "",
    ]


def _diagram() -> list[str]:
    order = list(Status)
    arrows = sorted(TRANSITIONS, key=lambda arrow: (order.index(arrow[0]), order.index(arrow[1])))
    return [
        "```mermaid",
        "stateDiagram-v2",
        "    [*] --> INITIATED",
        *(f"    {was} --> {now}" for was, now in arrows),
        "```",
        "",
    ]


def _meanings() -> list[str]:
    return [*(f"- **{status}** (`{PUBLIC[status]}`): {MEANINGS[status]}" for status in Status), ""]


def _reasons() -> list[str]:
    lines = [f"- `{reason}`: {REASONS[reason]}" for reason in ReviewReason]
    return ["## Why a payment is in REVIEW", "", *lines, ""]


def _answers() -> list[str]:
    """What each event makes of each status; statuses of which it makes the same share a line."""
    found: dict[str, dict[Status, dict[str, set[str]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(set)))
    for status in Status:
        for event, decision in decisions(status):
            became = "stays" if decision.status is status else decision.status.value
            why = decision.alerts or (decision.outcome.value,)
            found[type(event).__name__][status][became].update(why)
    lines = ["## What each event makes of each state", ""]
    lines += ["In brackets: the alerts; if there is none, the `outcome` in the log line.", ""]
    for event_name, by_status in found.items():
        same: dict[str, list[str]] = defaultdict(list)
        for status, becomes in by_status.items():
            text = "; ".join(f"{became} ({', '.join(sorted(why))})" for became, why in sorted(becomes.items()))
            same[text].append(status)
        lines += [f"**{event_name}**", "", *(f"- {', '.join(of)}: {text}" for text, of in same.items()), ""]
    return lines


def decisions(status: Status) -> Iterator[tuple[Event, Decision]]:
    """Every decision about payments of this status, over all that it can depend on."""
    for payment, around in itertools.product(payments(status), circumstances()):
        for event in every_event(payment):
            yield event, decide(payment, event, around)


def every_event(payment: Payment) -> Iterator[Event]:
    """One of each event, fitting `payment` where it can fit: enough to draw every arrow."""
    ids = payment.ids or Ids("0000-0000-0000-00001", "ws_CO_1")
    yield PushAccepted(ids)
    yield PushAccepted(Ids("0000-0000-0000-00002", "ws_CO_2"))
    yield PushRefused()
    yield PushNotSent()
    yield PushUnanswered()
    yield Confirmed(ids, payment.amount_kes, "UE00000001")
    yield Confirmed(ids, payment.amount_kes + 1, "UE00000002")
    yield Confirmed(ids, None, None)
    yield Confirmed(None, payment.amount_kes, "UE00000003")
    for becomes in (Status.FAILED, Status.CANCELLED, Status.EXPIRED):
        yield Declined(ids, becomes)
        yield QueryDeclined(becomes)
    yield UnknownCode(ids)
    yield QueryConfirmed()
    yield TimePassed()
    yield OperatorPaid("UE00000004")
    yield OperatorFailed()
    yield OperatorRefunded("UE00000002")


def payments(status: Status) -> Iterator[Payment]:
    """Every kind of payment that can have this status."""
    ids = Ids("0000-0000-0000-00001", "ws_CO_1")
    reasons = tuple(ReviewReason) if status is Status.REVIEW else (None,)
    receipts = ("UE00000001", None) if status in SETTLED else (None,)
    known_ids = [(ids, False)] if status is Status.PENDING else [(None, False), (ids, True)]
    if status in NOT_PAID | SETTLED | {Status.REVIEW}:
        known_ids.append((ids, False))
    held = (False, True) if status in OPEN | NOT_PAID else (False,)
    for (its_ids, learnt), reason, receipt, success_held, amount, age in itertools.product(
        known_ids, reasons, receipts, held, (SMALL, LARGE), AGES
    ):
        payment = Payment("a", status, amount, NOON - age, its_ids, learnt, reason, receipt, success_held)
        yield payment
        if status is Status.REFUNDED and receipt is None:
            yield replace(payment, refunded_unpaid=True)


def circumstances() -> Iterator[Circumstances]:
    """Everything that may surround an event."""
    for receipt_taken, ids_taken, duplicate_paid in itertools.product((False, True), repeat=3):
        yield Circumstances(NOON, Decimal(20_000), receipt_taken, ids_taken, duplicate_paid)
