"""Decisions, whole: not only what a payment becomes, but what is kept, alerted of and asked because of it.

A row is a payment, an event, the circumstances and the one decision that follows. The tests of the status alone would
miss a one-word mistake in the core that a row finds.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from shared.payments import (
    AN_INITIATED_PAYMENT_DIED_AFTER,
    CALLBACK_CANNOT_RESOLVE,
    DUPLICATE_WITHIN,
    NOT_PAID,
    OPEN,
    QUERY_CAN_RESOLVE,
    SETTLED,
    SILENCE_ALERTS_AFTER,
    SILENCE_IS_REVIEWED_AFTER,
    Alert,
    Circumstances,
    Confirmed,
    ConfirmedBy,
    Decision,
    Declined,
    Event,
    Ids,
    OperatorFailed,
    OperatorPaid,
    OperatorRefunded,
    Outcome,
    Paid,
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
from tests.fixtures.events import every_event

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
KES = Decimal(1500)
THRESHOLD = Decimal(20_000)
LARGE = THRESHOLD + 1
RECEIPT, ANOTHER = "UE4JS31RBV", "UE4JS31RBW"
OURS, OTHERS = Ids("29115-1", "ws_CO_1"), Ids("29115-2", "ws_CO_2")
HALF_OURS = (Ids("29115-1", "ws_CO_2"), Ids("29115-2", "ws_CO_1"))
SUCCESS = Confirmed(OURS, KES, RECEIPT)

INITIATED = Payment("a payment", Status.INITIATED, KES, NOON)
UNCERTAIN = replace(INITIATED, status=Status.UNCERTAIN)
PENDING = replace(INITIATED, status=Status.PENDING, ids=OURS)
LEARNT = replace(UNCERTAIN, ids=OURS, ids_are_learnt=True)
FAILED = replace(PENDING, status=Status.FAILED)
EXPIRED = replace(PENDING, status=Status.EXPIRED)
PAID = replace(PENDING, status=Status.PAID, receipt=RECEIPT)
PAID_BY_QUERY = replace(PAID, receipt=None)
REFUNDED = replace(PAID, status=Status.REFUNDED)
HELD = replace(PENDING, success_held=True)
HELD_EARLY = replace(INITIATED, success_held=True)
HELD_LEARNT = replace(HELD_EARLY, ids=OURS, ids_are_learnt=True)


def review(reason: ReviewReason, payment: Payment = PENDING) -> Payment:
    return replace(payment, status=Status.REVIEW, review_reason=reason)


def large(payment: Payment) -> Payment:
    return replace(payment, amount_kes=LARGE)


def around(after: timedelta = timedelta(seconds=30), **more: bool) -> Circumstances:
    return Circumstances(NOON + after, THRESHOLD, **more)


def stays(payment: Payment, outcome: Outcome, *alerts: Alert) -> Decision:
    return Decision(payment.status, outcome, payment.review_reason, alerts)


def to_review(reason: ReviewReason) -> Decision:
    return Decision(Status.REVIEW, Outcome.TO_REVIEW, reason, (Alert(reason.value),))


def held(payment: Payment, *alerts: Alert) -> Decision:
    return replace(stays(payment, Outcome.WAITS_FOR_QUERY, *alerts), hold_success=True)


def learnt(decision: Decision) -> Decision:
    return replace(decision, ids=OURS, ids_are_learnt=True)


PAID_BY_CALLBACK = Decision(Status.PAID, Outcome.PAID, paid=Paid(ConfirmedBy.CALLBACK, RECEIPT))
PAID_ON_QUERY = Decision(Status.PAID, Outcome.PAID, paid=Paid(ConfirmedBy.QUERY, None))
LATE = (Alert.LATE_PAYMENT,)
TAKEN = around(receipt_taken=True)
IDS_TAKEN = around(ids_taken=True)
DUPLICATE = around(duplicate_paid=True)
Row = tuple[str, Payment, Event, Circumstances, Decision]

ROWS: list[Row] = [
    # the push
    ("accepted", INITIATED, PushAccepted(OURS), around(), Decision(Status.PENDING, Outcome.ACCEPTED, ids=OURS)),
    ("accepted, after we gave up", UNCERTAIN, PushAccepted(OURS), around(),
     Decision(Status.PENDING, Outcome.ACCEPTED, ids=OURS)),
    ("accepted, after its callback", PAID, PushAccepted(OURS), around(),
     replace(stays(PAID, Outcome.ACCEPTED), ids=OURS)),
    ("accepted, and its callback named the same ids", replace(PAID, ids_are_learnt=True), PushAccepted(OURS), around(),
     replace(stays(PAID, Outcome.ACCEPTED), ids=OURS)),
    ("accepted, and a success waits", HELD_LEARNT, PushAccepted(OURS), around(),
     Decision(Status.PENDING, Outcome.ACCEPTED, ids=OURS)),
    ("accepted, in review", review(ReviewReason.SILENCE), PushAccepted(OURS), around(),
     replace(stays(review(ReviewReason.SILENCE), Outcome.ACCEPTED), ids=OURS)),
    ("accepted under other ids than a callback told", LEARNT, PushAccepted(OTHERS), around(),
     replace(to_review(ReviewReason.IDS_DISAGREE), ids=OTHERS)),
    ("accepted under other ids, already paid", PAID, PushAccepted(OTHERS), around(),
     replace(stays(PAID, Outcome.CONTRADICTS, Alert.IDS_DISAGREE), ids=OTHERS)),
    ("accepted under other ids, failed", replace(FAILED, ids_are_learnt=True), PushAccepted(OTHERS), around(),
     replace(to_review(ReviewReason.IDS_DISAGREE), ids=OTHERS)),
    ("accepted under other ids, in review", review(ReviewReason.SILENCE, LEARNT), PushAccepted(OTHERS), around(),
     replace(stays(review(ReviewReason.SILENCE), Outcome.CONTRADICTS, Alert.IDS_DISAGREE), ids=OTHERS)),
    ("accepted under another payment's ids", INITIATED, PushAccepted(OTHERS), IDS_TAKEN,
     to_review(ReviewReason.IDS_DISAGREE)),
    ("refused", INITIATED, PushRefused(), around(), Decision(Status.FAILED, Outcome.REFUSED)),
    ("refused, after we gave up", UNCERTAIN, PushRefused(), around(), Decision(Status.FAILED, Outcome.REFUSED)),
    ("refused, and failed already", FAILED, PushRefused(), around(), stays(FAILED, Outcome.REFUSED)),
    ("refused, and expired already", EXPIRED, PushNotSent(), around(), stays(EXPIRED, Outcome.NOT_SENT)),
    ("refused, and paid", PAID, PushRefused(), around(), stays(PAID, Outcome.CONTRADICTS, Alert.CONTRADICTION)),
    ("refused, and accepted", PENDING, PushRefused(), around(),
     stays(PENDING, Outcome.CONTRADICTS, Alert.CONTRADICTION)),
    ("refused, and a callback said paid", HELD_EARLY, PushRefused(), around(), to_review(ReviewReason.CONTRADICTION)),
    ("never left", INITIATED, PushNotSent(), around(), Decision(Status.FAILED, Outcome.NOT_SENT)),
    ("never left, and a callback said paid", HELD_LEARNT, PushNotSent(), around(),
     to_review(ReviewReason.CONTRADICTION)),
    ("unanswered", INITIATED, PushUnanswered(), around(), Decision(Status.UNCERTAIN, Outcome.UNCLEAR)),
    ("unanswered, after its callback", PAID, PushUnanswered(), around(), stays(PAID, Outcome.UNCLEAR)),
    ("unanswered, and a large success waits", large(HELD_EARLY), PushUnanswered(), around(),
     to_review(ReviewReason.UNCONFIRMED_LARGE)),
    ("unanswered, and a success of the threshold waits", replace(HELD_EARLY, amount_kes=THRESHOLD), PushUnanswered(),
     around(), to_review(ReviewReason.INCOMPLETE_SUCCESS)),
    # success by callback
    ("paid", PENDING, SUCCESS, around(), PAID_BY_CALLBACK),
    ("paid, nothing else stored", INITIATED, SUCCESS, around(), learnt(PAID_BY_CALLBACK)),
    ("paid, naming no ids", UNCERTAIN, Confirmed(None, KES, RECEIPT), around(), PAID_BY_CALLBACK),
    ("paid late", FAILED, SUCCESS, around(), replace(PAID_BY_CALLBACK, outcome=Outcome.PAID_LATE, alerts=LATE)),
    ("paid after silence", review(ReviewReason.SILENCE), SUCCESS, around(), PAID_BY_CALLBACK),
    ("too little", PENDING, Confirmed(OURS, KES - 1, RECEIPT), around(), to_review(ReviewReason.AMOUNT_MISMATCH)),
    ("too much", PENDING, Confirmed(OURS, KES + 1, RECEIPT), around(), to_review(ReviewReason.AMOUNT_MISMATCH)),
    ("a cent too much", PENDING, Confirmed(OURS, KES + Decimal("0.01"), RECEIPT), around(),
     to_review(ReviewReason.AMOUNT_MISMATCH)),
    ("another's receipt", PENDING, SUCCESS, TAKEN, to_review(ReviewReason.REUSED_RECEIPT)),
    ("another's receipt without an amount", PENDING, Confirmed(OURS, None, RECEIPT), TAKEN,
     to_review(ReviewReason.REUSED_RECEIPT)),
    ("no amount", PENDING, Confirmed(OURS, None, RECEIPT), around(), held(PENDING, Alert.INCOMPLETE_SUCCESS)),
    ("no receipt", PENDING, Confirmed(OURS, KES, None), around(), held(PENDING, Alert.INCOMPLETE_SUCCESS)),
    ("no receipt, nobody to ask", LEARNT, Confirmed(OURS, KES, None), around(),
     to_review(ReviewReason.INCOMPLETE_SUCCESS)),
    ("no receipt, the push in flight", INITIATED, Confirmed(OURS, KES, None), around(),
     learnt(held(INITIATED, Alert.INCOMPLETE_SUCCESS))),
    ("no receipt, in review for its amount", review(ReviewReason.AMOUNT_MISMATCH), Confirmed(OURS, KES, None), around(),
     stays(review(ReviewReason.AMOUNT_MISMATCH), Outcome.NOTED, Alert.INCOMPLETE_SUCCESS)),
    ("no receipt, in review for silence", review(ReviewReason.SILENCE), Confirmed(OURS, KES, None), around(),
     held(review(ReviewReason.SILENCE), Alert.INCOMPLETE_SUCCESS)),
    ("second of its order", PENDING, SUCCESS, DUPLICATE, to_review(ReviewReason.DUPLICATE_PAYMENT)),
    ("second of its order, large", large(PENDING), Confirmed(OURS, LARGE, RECEIPT), DUPLICATE,
     to_review(ReviewReason.DUPLICATE_PAYMENT)),
    ("second of its order, late", FAILED, SUCCESS, DUPLICATE, to_review(ReviewReason.DUPLICATE_PAYMENT)),
    ("a duplicate, told again", review(ReviewReason.DUPLICATE_PAYMENT), SUCCESS, around(),
     stays(review(ReviewReason.DUPLICATE_PAYMENT), Outcome.NOTED)),
    ("a reused receipt, told again with its own", review(ReviewReason.REUSED_RECEIPT), SUCCESS, around(),
     stays(review(ReviewReason.REUSED_RECEIPT), Outcome.NOTED)),
    ("a duplicate whose amount is wrong too", review(ReviewReason.DUPLICATE_PAYMENT), Confirmed(OURS, KES + 1, RECEIPT),
     around(), to_review(ReviewReason.DUPLICATE_PAYMENT)),
    ("silent, then the wrong amount", review(ReviewReason.SILENCE), Confirmed(OURS, KES + 1, RECEIPT), around(),
     to_review(ReviewReason.AMOUNT_MISMATCH)),
    ("large", large(PENDING), Confirmed(OURS, LARGE, RECEIPT), around(), held(large(PENDING))),
    ("large, late", large(FAILED), Confirmed(OURS, LARGE, RECEIPT), around(), held(large(FAILED))),
    ("large, the push in flight", large(INITIATED), Confirmed(OURS, LARGE, RECEIPT), around(),
     learnt(held(large(INITIATED)))),
    ("large, under learnt ids", large(LEARNT), Confirmed(OURS, LARGE, RECEIPT), around(),
     to_review(ReviewReason.UNCONFIRMED_LARGE)),
    ("large, nobody to ask", large(UNCERTAIN), Confirmed(OURS, LARGE, RECEIPT), around(),
     learnt(to_review(ReviewReason.UNCONFIRMED_LARGE))),
    ("the threshold itself", replace(PENDING, amount_kes=THRESHOLD), Confirmed(OURS, THRESHOLD, RECEIPT), around(),
     PAID_BY_CALLBACK),
    # success again
    ("told twice", PAID, SUCCESS, around(), stays(PAID, Outcome.REPEATED)),
    ("told twice, refunded", REFUNDED, SUCCESS, around(), stays(REFUNDED, Outcome.REPEATED)),
    ("told again without a receipt", PAID, Confirmed(OURS, KES, None), around(), stays(PAID, Outcome.REPEATED)),
    ("told again without an amount", PAID, Confirmed(OURS, None, RECEIPT), around(), stays(PAID, Outcome.REPEATED)),
    ("the missing receipt", PAID_BY_QUERY, SUCCESS, around(),
     replace(stays(PAID_BY_QUERY, Outcome.RECEIPT_FILLED), fill_receipt=RECEIPT)),
    ("the receipt of what went back from review", replace(REFUNDED, receipt=None, refunded_unpaid=True), SUCCESS,
     around(), stays(REFUNDED, Outcome.NOTED)),
    ("the missing receipt is another's", PAID_BY_QUERY, SUCCESS, TAKEN,
     stays(PAID_BY_QUERY, Outcome.CONTRADICTS, Alert.REUSED_RECEIPT)),
    ("the missing receipt with another amount", PAID_BY_QUERY, Confirmed(OURS, KES - 1, RECEIPT), around(),
     stays(PAID_BY_QUERY, Outcome.CONTRADICTS, Alert.AMOUNT_MISMATCH)),
    ("a second receipt", PAID, Confirmed(OURS, KES, ANOTHER), around(),
     stays(PAID, Outcome.CONTRADICTS, Alert.SECOND_RECEIPT)),
    ("a second receipt, another's", PAID, Confirmed(OURS, KES, ANOTHER), TAKEN,
     stays(PAID, Outcome.CONTRADICTS, Alert.REUSED_RECEIPT)),
    ("paid, then another amount", PAID, Confirmed(OURS, KES + 1, RECEIPT), around(),
     stays(PAID, Outcome.CONTRADICTS, Alert.AMOUNT_MISMATCH)),
    # whose callback it is
    ("success of another push", PENDING, Confirmed(OTHERS, KES, RECEIPT), around(),
     to_review(ReviewReason.IDS_DISAGREE)),
    ("success that names no ids", PENDING, Confirmed(None, KES, RECEIPT), around(),
     to_review(ReviewReason.IDS_DISAGREE)),
    ("failure of another push", FAILED, Declined(OTHERS, Status.FAILED), around(),
     to_review(ReviewReason.IDS_DISAGREE)),
    ("unknown code of another push, paid", PAID, UnknownCode(OTHERS), around(),
     stays(PAID, Outcome.CONTRADICTS, Alert.IDS_DISAGREE)),
    ("success of another push, in review", review(ReviewReason.SILENCE), Confirmed(OTHERS, KES, RECEIPT), around(),
     stays(review(ReviewReason.SILENCE), Outcome.CONTRADICTS, Alert.IDS_DISAGREE)),
    ("success with another payment's ids", INITIATED, Confirmed(OTHERS, KES, RECEIPT), IDS_TAKEN,
     to_review(ReviewReason.IDS_DISAGREE)),
    ("failure with another payment's ids", PENDING, Declined(OURS, Status.FAILED), IDS_TAKEN,
     to_review(ReviewReason.IDS_DISAGREE)),
    *((f"success with one of two ids, {ids}", PENDING, Confirmed(ids, KES, RECEIPT), around(),
       to_review(ReviewReason.IDS_DISAGREE)) for ids in HALF_OURS),
    # failure
    ("declined", PENDING, Declined(OURS, Status.CANCELLED), around(), Decision(Status.CANCELLED, Outcome.DECLINED)),
    ("declined, nothing else stored", UNCERTAIN, Declined(OURS, Status.EXPIRED), around(),
     learnt(Decision(Status.EXPIRED, Outcome.DECLINED))),
    ("declined again", FAILED, Declined(OURS, Status.CANCELLED), around(), stays(FAILED, Outcome.REPEATED)),
    ("declined in review", review(ReviewReason.SILENCE), Declined(OURS, Status.FAILED), around(),
     stays(review(ReviewReason.SILENCE), Outcome.NOTED)),
    ("declined, and paid", PAID, Declined(OURS, Status.FAILED), around(),
     stays(PAID, Outcome.CONTRADICTS, Alert.CONTRADICTION)),
    ("declined beside a held success", HELD, Declined(OURS, Status.FAILED), around(),
     stays(HELD, Outcome.CONTRADICTS, Alert.CONTRADICTION)),
    ("declined late beside a held success", replace(HELD, status=Status.FAILED), Declined(OURS, Status.FAILED),
     around(), stays(FAILED, Outcome.REPEATED)),
    ("unknown code", PENDING, UnknownCode(OURS), around(), to_review(ReviewReason.UNKNOWN_CODE)),
    ("unknown code, nothing else stored", INITIATED, UnknownCode(OURS), around(),
     learnt(to_review(ReviewReason.UNKNOWN_CODE))),
    ("unknown code, naming no ids", INITIATED, UnknownCode(None), around(), to_review(ReviewReason.UNKNOWN_CODE)),
    ("unknown code, failed", FAILED, UnknownCode(OURS), around(), stays(FAILED, Outcome.NOTED, Alert.UNKNOWN_CODE)),
    ("unknown code, paid", PAID, UnknownCode(OURS), around(), stays(PAID, Outcome.NOTED, Alert.UNKNOWN_CODE)),
    # queries
    ("a query says paid", PENDING, QueryConfirmed(), around(), PAID_ON_QUERY),
    ("a query says paid, late", EXPIRED, QueryConfirmed(), around(),
     replace(PAID_ON_QUERY, outcome=Outcome.PAID_LATE, alerts=LATE)),
    ("a query says what a callback said", PAID, QueryConfirmed(), around(), stays(PAID, Outcome.REPEATED)),
    ("a query about learnt ids", LEARNT, QueryConfirmed(), around(), stays(LEARNT, Outcome.NOTED)),
    ("a query about learnt ids, silent", review(ReviewReason.SILENCE, LEARNT), QueryConfirmed(), around(),
     stays(review(ReviewReason.SILENCE), Outcome.NOTED)),
    ("a query about learnt ids says no", LEARNT, QueryDeclined(Status.FAILED), around(), stays(LEARNT, Outcome.NOTED)),
    ("a query about no ids says no", UNCERTAIN, QueryDeclined(Status.FAILED), around(),
     stays(UNCERTAIN, Outcome.NOTED)),
    ("a query says paid, the amount was wrong", review(ReviewReason.AMOUNT_MISMATCH), QueryConfirmed(), around(),
     stays(review(ReviewReason.AMOUNT_MISMATCH), Outcome.NOTED)),
    ("a query says paid, second of its order", PENDING, QueryConfirmed(), DUPLICATE,
     to_review(ReviewReason.DUPLICATE_PAYMENT)),
    ("a query says paid, second of its order, silent", review(ReviewReason.SILENCE), QueryConfirmed(), DUPLICATE,
     to_review(ReviewReason.DUPLICATE_PAYMENT)),
    ("a query says no", PENDING, QueryDeclined(Status.EXPIRED), around(), Decision(Status.EXPIRED, Outcome.DECLINED)),
    ("a query says no again", FAILED, QueryDeclined(Status.EXPIRED), around(), stays(FAILED, Outcome.REPEATED)),
    ("a query says no, silent", review(ReviewReason.SILENCE), QueryDeclined(Status.FAILED), around(),
     stays(review(ReviewReason.SILENCE), Outcome.NOTED)),
    ("a query says no to a held success", HELD, QueryDeclined(Status.FAILED), around(),
     to_review(ReviewReason.CONTRADICTION)),
    ("a query says no to a held late success", replace(HELD, status=Status.FAILED), QueryDeclined(Status.FAILED),
     around(), to_review(ReviewReason.CONTRADICTION)),
    ("a query says no, paid", PAID, QueryDeclined(Status.FAILED), around(),
     stays(PAID, Outcome.CONTRADICTS, Alert.CONTRADICTION)),
    # time
    ("nothing yet", PENDING, TimePassed(), around(timedelta(minutes=14, seconds=59)),
     stays(PENDING, Outcome.STILL_WAITING)),
    ("silence is alerted of", PENDING, TimePassed(), around(timedelta(minutes=15)),
     stays(PENDING, Outcome.STILL_WAITING, Alert.SILENCE)),
    ("silence is reviewed", PENDING, TimePassed(), around(timedelta(minutes=60)), to_review(ReviewReason.SILENCE)),
    ("silence is not yet reviewed", PENDING, TimePassed(), around(timedelta(minutes=59, seconds=59)),
     stays(PENDING, Outcome.STILL_WAITING, Alert.SILENCE)),
    ("nobody to ask, not yet", UNCERTAIN, TimePassed(), around(timedelta(minutes=14, seconds=59)),
     stays(UNCERTAIN, Outcome.STILL_WAITING)),
    ("nobody to ask", UNCERTAIN, TimePassed(), around(timedelta(minutes=15)), to_review(ReviewReason.SILENCE)),
    ("in flight", INITIATED, TimePassed(), around(timedelta(seconds=89)), stays(INITIATED, Outcome.STILL_WAITING)),
    ("died", INITIATED, TimePassed(), around(timedelta(seconds=90)), Decision(Status.UNCERTAIN, Outcome.UNCLEAR)),
    ("died long ago", INITIATED, TimePassed(), around(timedelta(minutes=15)),
     Decision(Status.UNCERTAIN, Outcome.UNCLEAR, alerts=(Alert.SILENCE,))),
    ("died beside a large success", large(HELD_EARLY), TimePassed(), around(timedelta(minutes=2)),
     to_review(ReviewReason.UNCONFIRMED_LARGE)),
    ("died beside a success without a receipt", HELD_LEARNT, TimePassed(), around(timedelta(seconds=90)),
     to_review(ReviewReason.INCOMPLETE_SUCCESS)),
    ("a late success is held", replace(HELD, status=Status.FAILED), TimePassed(), around(timedelta(minutes=15)),
     stays(FAILED, Outcome.STILL_WAITING, Alert.SILENCE)),
    ("a late success is held for long", replace(HELD, status=Status.EXPIRED), TimePassed(),
     around(timedelta(minutes=60)), to_review(ReviewReason.SILENCE)),
    ("time passes over a failure", FAILED, TimePassed(), around(timedelta(days=2)),
     stays(FAILED, Outcome.STILL_WAITING)),
    ("time passes over what is settled", PAID, TimePassed(), around(timedelta(days=2)),
     stays(PAID, Outcome.STILL_WAITING)),
    ("time passes over a review", review(ReviewReason.SILENCE), TimePassed(), around(timedelta(days=2)),
     stays(review(ReviewReason.SILENCE), Outcome.STILL_WAITING)),
    # a callback that was judged before
    ("a failure that was taken back since", PAID, Declined(OURS, Status.FAILED), around(already_judged=True),
     stays(PAID, Outcome.REPEATED)),
    ("a success that a person did not believe", FAILED, SUCCESS, around(already_judged=True),
     stays(FAILED, Outcome.REPEATED)),
    # people
    ("seen on the statement", review(ReviewReason.SILENCE), OperatorPaid(ANOTHER), around(),
     Decision(Status.PAID, Outcome.PAID, paid=Paid(ConfirmedBy.OPERATOR, ANOTHER))),
    ("another's receipt on the statement", review(ReviewReason.SILENCE), OperatorPaid(ANOTHER), TAKEN,
     stays(review(ReviewReason.SILENCE), Outcome.NOTED)),
    ("not on the statement", review(ReviewReason.SILENCE), OperatorFailed(), around(),
     Decision(Status.FAILED, Outcome.DECLINED, drop_success=True)),
    ("given back", PAID, OperatorRefunded(ANOTHER), around(), Decision(Status.REFUNDED, Outcome.REFUNDED)),
    ("given back under a receipt of something else", PAID, OperatorRefunded(ANOTHER), TAKEN,
     stays(PAID, Outcome.NOTED)),
    ("given back from review", review(ReviewReason.DUPLICATE_PAYMENT), OperatorRefunded(ANOTHER), around(),
     Decision(Status.REFUNDED, Outcome.REFUNDED)),
    ("a person cannot pay what is open", PENDING, OperatorPaid(ANOTHER), around(), stays(PENDING, Outcome.NOTED)),
    ("a person cannot fail what is paid", PAID, OperatorFailed(), around(), stays(PAID, Outcome.NOTED)),
    ("a person cannot give back what failed", FAILED, OperatorRefunded(ANOTHER), around(),
     stays(FAILED, Outcome.NOTED)),
]  # fmt: skip


@pytest.mark.parametrize(("payment", "event", "circumstances", "decision"), [row[1:] for row in ROWS],
                         ids=[row[0] for row in ROWS])  # fmt: skip
def test_the_whole_decision(payment: Payment, event: Event, circumstances: Circumstances, decision: Decision) -> None:
    assert decide(payment, event, circumstances) == decision


def test_which_statuses_are_open_failed_and_settled() -> None:
    assert {Status.INITIATED, Status.PENDING, Status.UNCERTAIN} == OPEN
    assert {Status.FAILED, Status.CANCELLED, Status.EXPIRED} == NOT_PAID
    assert {Status.PAID, Status.REFUNDED} == SETTLED
    assert OPEN | NOT_PAID | SETTLED | {Status.REVIEW} == set(Status)


def test_what_may_resolve_a_review() -> None:
    assert {ReviewReason.SILENCE, ReviewReason.UNKNOWN_CODE} == QUERY_CAN_RESOLVE
    assert {ReviewReason.DUPLICATE_PAYMENT, ReviewReason.REUSED_RECEIPT} == CALLBACK_CANNOT_RESOLVE


def test_every_reason_of_a_review_is_an_alert_of_the_same_name() -> None:
    assert [Alert(reason.value).name for reason in ReviewReason] == [reason.name for reason in ReviewReason]


def test_how_long_we_wait() -> None:
    assert timedelta(seconds=90) == AN_INITIATED_PAYMENT_DIED_AFTER
    assert timedelta(minutes=15) == SILENCE_ALERTS_AFTER
    assert timedelta(minutes=60) == SILENCE_IS_REVIEWED_AFTER
    assert timedelta(hours=24) == DUPLICATE_WITHIN


def test_one_of_each_event_is_enough_to_draw_every_arrow() -> None:
    """What the printed diagram is made of: the ids are the payment's own, and once another's."""
    events = list(every_event(PENDING))
    assert {type(event) for event in events} == set(_EVENTS)
    assert [event.ids for event in events if isinstance(event, PushAccepted)].count(OURS) == 1
    told = [event for event in events if isinstance(event, Confirmed)]
    assert [event.amount_kes == KES for event in told] == [True, False, False, True]
    assert [event.ids == OURS for event in told] == [True, True, True, False]
    becomes = [event.becomes for event in events if isinstance(event, Declined | QueryDeclined)]
    assert sorted(becomes) == sorted([*NOT_PAID] * 2)
    assert all(event.receipt for event in told if event.amount_kes == KES)
    invented = Ids("0000-0000-0000-00001", "ws_CO_1")
    first_push = list(every_event(INITIATED))
    assert [event.ids for event in first_push if isinstance(event, PushAccepted)].count(invented) == 1
    assert {event.ids for event in first_push if isinstance(event, Declined | UnknownCode)} == {invented}


_EVENTS = (PushAccepted, PushRefused, PushNotSent, PushUnanswered, Confirmed, Declined, UnknownCode, QueryConfirmed,
           QueryDeclined, TimePassed, OperatorPaid, OperatorFailed, OperatorRefunded)  # fmt: skip
