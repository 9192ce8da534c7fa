"""When Daraja is asked what became of a payment (an STK query), and when it is asked again. Pure.

The first query is due 20 s after the order. A payment that stays open is asked about ever more rarely, for 24 hours;
while a customer watches it, every 20 s until it is 15 minutes old. A failure that Safaricom has been seen to take back
is asked about twice more. The budget that all instances share is kept in `shared.gateway.daraja`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Final, TypeAlias

from shared.payments import (
    NOT_PAID,
    QUERY_CAN_RESOLVE,
    SETTLED,
    Decision,
    Declined,
    Event,
    Outcome,
    Payment,
    QueryDeclined,
    Status,
)

FIRST_QUERY_AFTER = timedelta(seconds=20)
A_WATCHED_PAYMENT_WAITS = timedelta(seconds=20)
WATCHED_UNTIL_AGE = timedelta(minutes=15)
_PATIENCE = (
    (timedelta(minutes=5), timedelta(seconds=60)),
    (timedelta(minutes=15), timedelta(minutes=2)),
    (timedelta(hours=24), timedelta(minutes=15)),
)
ASK_AGAIN_AFTER_FAILURE = (timedelta(minutes=5), timedelta(hours=1))
"""A failure that may be taken back is asked about again this long after it was reported."""
A_FAILURE_IS_ASKED_ABOUT_FOR = timedelta(hours=2)
AN_UNANSWERED_QUERY_WAITS = timedelta(minutes=5)
A_THROTTLED_QUERY_WAITS = timedelta(minutes=1)
"""After a 429: Daraja did not even read it."""


@dataclass(frozen=True)
class Budget:
    """How often all instances together may ask."""

    every_s: float
    """From one query to the next."""
    saved_s: float = 0.0
    """Slots that nobody used within so many seconds may be used at once."""


BUDGETS: dict[str, Budget] = {"sandbox": Budget(12.5), "production": Budget(2.0, saved_s=30.0)}
"""The sandbox allows 5 a minute and no burst: 12 s apart where they arrive (captured 429 answers, 2025-10), and one may
be half a second longer on its way than the next. Production's limit is not published; a 429 delays all by a minute."""


class Unchanged(Enum):
    """The time of the next query stays as it is."""

    UNCHANGED = "unchanged"


UNCHANGED: Final = Unchanged.UNCHANGED
NextQuery: TypeAlias = datetime | Unchanged | None
"""None: it is not asked about any more."""


def after_decision(payment: Payment, event: Event, decision: Decision, now: datetime) -> NextQuery:
    """When to ask about `payment` once `decision` is written."""
    at_first = max(now, payment.created_at + FIRST_QUERY_AFTER)
    was, status = payment.status, decision.status
    if decision.hold_success or (status is Status.PENDING and payment.success_held):
        return now
    if status is Status.PENDING and was is not Status.PENDING:
        return at_first
    if status in SETTLED:
        return None
    if decision.outcome is Outcome.REOPENED and payment.can_be_queried:
        return while_open(payment, now) if decision.review_reason in QUERY_CAN_RESOLVE else None
    if status is Status.REVIEW and decision.review_reason not in QUERY_CAN_RESOLVE:
        return None  # no answer changes it, and other payments need the budget
    if decision.ids and not decision.ids_are_learnt and decision.review_reason in QUERY_CAN_RESOLVE:
        return at_first
    if status in NOT_PAID and status is not was:
        taken_back = isinstance(event, Declined | QueryDeclined) and event.may_be_taken_back
        return after_failure(now, now) if taken_back else None
    return UNCHANGED


def after_query(
    payment: Payment, asked_at: datetime, failed_at: datetime | None, *, answered: bool, throttled: bool
) -> datetime | None:
    """When to ask again after a query that settled nothing; None: not any more."""
    again = while_open(payment, asked_at)
    if payment.status in NOT_PAID and not payment.success_held and failed_at is not None:
        failed_at = min(failed_at, asked_at)  # a clock that was ahead wrote a later one
        again = after_failure(failed_at, asked_at)
        if not answered and asked_at < failed_at + A_FAILURE_IS_ASKED_ABOUT_FOR:
            again = asked_at + AN_UNANSWERED_QUERY_WAITS
    if throttled and again is not None:
        again = min(again, asked_at + A_THROTTLED_QUERY_WAITS)
    return again


def while_open(payment: Payment, asked_at: datetime) -> datetime | None:
    """The next query of an open or silent payment; None after 24 hours."""
    age = asked_at - payment.created_at
    return next((asked_at + wait for until, wait in _PATIENCE if age < until), None)


def after_failure(failed_at: datetime, asked_at: datetime) -> datetime | None:
    """The next query of a failure that may be taken back; None: it stands."""
    return next((failed_at + wait for wait in ASK_AGAIN_AFTER_FAILURE if failed_at + wait > asked_at), None)
