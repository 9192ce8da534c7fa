"""When Daraja is asked about a payment: after a decision, after a query that settled nothing, and never again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from shared.daraja.result_codes import CALLBACK_FAILURES
from shared.payments import (
    Decision,
    Declined,
    Event,
    Ids,
    OperatorFailed,
    Outcome,
    Payment,
    PushAccepted,
    QueryDeclined,
    ReviewReason,
    Status,
    TimePassed,
)
from shared.query_schedule import (
    ASK_AGAIN_AFTER_FAILURE,
    FIRST_QUERY_AFTER,
    UNCHANGED,
    NextQuery,
    after_decision,
    after_failure,
    after_query,
    while_open,
)

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
EARLY, LATE = NOON + 5 * SECOND, NOON + 2 * MINUTE
AT_FIRST = NOON + 20 * SECOND
OURS = Ids("29115-1", "ws_CO_1")

INITIATED = Payment("a payment", Status.INITIATED, Decimal(1500), NOON)
PENDING = replace(INITIATED, status=Status.PENDING, ids=OURS)
FAILED = replace(PENDING, status=Status.FAILED)
SILENT = replace(PENDING, status=Status.REVIEW, review_reason=ReviewReason.SILENCE)
ACCEPTED = PushAccepted(OURS)
TAKEN_BACK, STANDS = Declined(OURS, Status.FAILED, True), Declined(OURS, Status.FAILED)
NO_NEWS = TimePassed()


def held(payment: Payment) -> Payment:
    return replace(payment, success_held=True)


def becomes(status: Status, reason: ReviewReason | None = None, **more: object) -> Decision:
    return Decision(status, Outcome.NOTED, reason, **more)  # type: ignore[arg-type]


AFTER_DECISION: list[tuple[str, Payment, Event, Decision, datetime, NextQuery]] = [
    ("accepted", INITIATED, ACCEPTED, becomes(Status.PENDING, ids=OURS), EARLY, AT_FIRST),
    ("accepted late", INITIATED, ACCEPTED, becomes(Status.PENDING, ids=OURS), LATE, LATE),
    ("accepted, a success waits", held(INITIATED), ACCEPTED, becomes(Status.PENDING, ids=OURS), EARLY, EARLY),
    ("still open", PENDING, NO_NEWS, becomes(Status.PENDING), LATE, UNCHANGED),
    ("unclear", INITIATED, NO_NEWS, becomes(Status.UNCERTAIN), LATE, UNCHANGED),
    ("a success is held", PENDING, NO_NEWS, becomes(Status.PENDING, hold_success=True), EARLY, EARLY),
    ("a late success is held", FAILED, NO_NEWS, becomes(Status.FAILED, hold_success=True), LATE, LATE),
    ("news beside a held success", held(PENDING), NO_NEWS, becomes(Status.PENDING), LATE, LATE),
    ("paid", PENDING, NO_NEWS, becomes(Status.PAID), LATE, None),
    ("refunded", SILENT, NO_NEWS, becomes(Status.REFUNDED), LATE, None),
    ("paid, then its ids", INITIATED, ACCEPTED, becomes(Status.PAID, ids=OURS), EARLY, None),
    *[
        (f"to review, {reason}", PENDING, NO_NEWS, becomes(Status.REVIEW, reason), LATE, then)
        for reason in ReviewReason
        for then in [UNCHANGED if reason in (ReviewReason.SILENCE, ReviewReason.UNKNOWN_CODE) else None]
    ],
    ("ids for silence", SILENT, ACCEPTED, becomes(Status.REVIEW, ReviewReason.SILENCE, ids=OURS), EARLY, AT_FIRST),
    ("ids for silence, late", SILENT, ACCEPTED, becomes(Status.REVIEW, ReviewReason.SILENCE, ids=OURS), LATE, LATE),
    ("ids for an unknown code", SILENT, ACCEPTED, becomes(Status.REVIEW, ReviewReason.UNKNOWN_CODE, ids=OURS), LATE,
     LATE),
    ("learnt ids", INITIATED, NO_NEWS,
     becomes(Status.REVIEW, ReviewReason.UNKNOWN_CODE, ids=OURS, ids_are_learnt=True), LATE, UNCHANGED),
    ("failed, may be taken back", PENDING, TAKEN_BACK, becomes(Status.FAILED), LATE, LATE + 5 * MINUTE),
    ("expired, may be taken back", PENDING, QueryDeclined(Status.EXPIRED, True), becomes(Status.EXPIRED), LATE,
     LATE + 5 * MINUTE),
    ("failed for good", PENDING, STANDS, becomes(Status.FAILED), LATE, None),
    ("cancelled for good", PENDING, QueryDeclined(Status.CANCELLED), becomes(Status.CANCELLED), LATE, None),
    ("failed by a person", SILENT, OperatorFailed(), becomes(Status.FAILED), LATE, None),
    ("failed again", FAILED, TAKEN_BACK, becomes(Status.FAILED), LATE, UNCHANGED),
]  # fmt: skip


@pytest.mark.parametrize(("payment", "event", "decision", "now", "then"), [row[1:] for row in AFTER_DECISION],
                         ids=[row[0] for row in AFTER_DECISION])  # fmt: skip
def test_after_a_decision(payment: Payment, event: Event, decision: Decision, now: datetime, then: NextQuery) -> None:
    assert after_decision(payment, event, decision, now) == then


AFTER_QUERY: list[tuple[str, Payment, timedelta, timedelta | None, bool, bool, timedelta | None]] = [
    # a payment, its age at the query and when it failed; was there an answer, or a 429; and when to ask again
    ("open", PENDING, MINUTE, None, True, False, 2 * MINUTE),
    ("open, no answer", PENDING, MINUTE, None, False, False, 2 * MINUTE),
    ("open, throttled", PENDING, 20 * MINUTE, None, False, True, 21 * MINUTE),
    ("open, throttled, the schedule comes first", PENDING, MINUTE, None, False, True, 2 * MINUTE),
    ("open for a day, throttled", PENDING, 24 * HOUR, None, False, True, None),
    ("silent", SILENT, HOUR, None, True, False, HOUR + 15 * MINUTE),
    ("failed", FAILED, 10 * MINUTE, 5 * MINUTE, True, False, HOUR + 5 * MINUTE),
    ("failed, answered twice", FAILED, 2 * HOUR, HOUR, True, False, None),
    ("failed, no answer", FAILED, 10 * MINUTE, 5 * MINUTE, False, False, 15 * MINUTE),
    ("failed, no answer, throttled", FAILED, 10 * MINUTE, 5 * MINUTE, False, True, 11 * MINUTE),
    ("failed, no answer for nearly 2 hours", FAILED, 2 * HOUR - SECOND, timedelta(0), False, False,
     2 * HOUR + 5 * MINUTE - SECOND),
    ("failed, no answer for 2 hours", FAILED, 2 * HOUR, timedelta(0), False, False, None),
    ("failed, no answer for 2 hours, throttled", FAILED, 2 * HOUR, timedelta(0), False, True, None),
    ("failed, a late success is held", held(FAILED), 10 * MINUTE, 5 * MINUTE, True, False, 12 * MINUTE),
    ("failed before we kept the time of it", FAILED, 10 * MINUTE, None, True, False, 12 * MINUTE),
]  # fmt: skip


@pytest.mark.parametrize(("payment", "age", "failed", "answered", "throttled", "then"),
                         [row[1:] for row in AFTER_QUERY], ids=[row[0] for row in AFTER_QUERY])  # fmt: skip
def test_after_a_query_that_settled_nothing(
    payment: Payment,
    age: timedelta,
    failed: timedelta | None,
    answered: bool,
    throttled: bool,
    then: timedelta | None,
) -> None:
    failed_at = None if failed is None else NOON + failed
    again = after_query(payment, NOON + age, failed_at, answered=answered, throttled=throttled)
    assert again == (None if then is None else NOON + then)


@pytest.mark.parametrize(
    ("age", "wait"),
    [
        (20 * SECOND, MINUTE),
        (5 * MINUTE - SECOND, MINUTE),
        (5 * MINUTE, 2 * MINUTE),
        (15 * MINUTE - SECOND, 2 * MINUTE),
        (15 * MINUTE, 15 * MINUTE),
        (24 * HOUR - SECOND, 15 * MINUTE),
        (24 * HOUR, None),
    ],
)
def test_an_open_payment_is_asked_about_ever_more_rarely(age: timedelta, wait: timedelta | None) -> None:
    assert while_open(PENDING, NOON + age) == (NOON + age + wait if wait else None)


@pytest.mark.parametrize(
    ("since", "then"),
    [
        (timedelta(0), 5 * MINUTE),
        (5 * MINUTE - SECOND, 5 * MINUTE),
        (5 * MINUTE, HOUR),
        (40 * MINUTE, HOUR),
        (HOUR, None),
    ],
)
def test_a_failure_is_asked_about_twice_more(since: timedelta, then: timedelta | None) -> None:
    assert after_failure(NOON, NOON + since) == (NOON + then if then else None)


def test_how_long_we_wait() -> None:
    assert timedelta(seconds=20) == FIRST_QUERY_AFTER
    assert (timedelta(minutes=5), timedelta(hours=1)) == ASK_AGAIN_AFTER_FAILURE


def test_five_failures_were_seen_to_be_taken_back() -> None:
    taken_back = {known.code for known in CALLBACK_FAILURES.values() if known.may_be_taken_back}
    assert taken_back == {"1037", "1019", "1036", "26", "9999"}
