"""The table of all decisions (so longer than 350 lines): what a payment becomes, what is kept, alerted of and asked.

BECOMES was written from the rules about money, without looking at the code: each event in each status. A row of ROWS is
a payment, an event, the circumstances where they matter, and the one decision that follows, whole.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from shared.payments import (
    AN_INITIATED_PAYMENT_DIED_AFTER,
    CALLBACK_CANNOT_RESOLVE,
    DUPLICATE_WITHIN,
    NOT_PAID,
    OPEN,
    PUBLIC,
    QUERY_CAN_RESOLVE,
    SETTLED,
    SILENCE_ALERTS_AFTER,
    SILENCE_IS_REVIEWED_AFTER,
    TRANSITIONS,
    Alert,
    Before,
    BookedByHand,
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
    OperatorReopened,
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
    StatementPaid,
    StatementRefunded,
    Status,
    TimePassed,
    UnknownCode,
    before_the_word,
    decide,
)

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
KES = Decimal(1500)
THRESHOLD = Decimal(20_000)
LARGE = THRESHOLD + 1
RECEIPT, ANOTHER = "UE4JS31RBV", "UE4JS31RBW"
OURS, OTHERS = Ids("29115-1", "ws_CO_1"), Ids("29115-2", "ws_CO_2")
HALF_OURS = (Ids("29115-1", "ws_CO_2"), Ids("29115-2", "ws_CO_1"))
SUCCESS = Confirmed(OURS, KES, RECEIPT)
ROW, GONE_BACK = StatementPaid(ANOTHER, KES), StatementRefunded(ANOTHER, KES)
BOOKED = BookedByHand(ANOTHER, KES, ConfirmedBy.STATEMENT)

INITIATED = Payment("a payment", Status.INITIATED, KES, NOON)
UNCERTAIN = replace(INITIATED, status=Status.UNCERTAIN)
PENDING = replace(INITIATED, status=Status.PENDING, ids=OURS)
LEARNT = replace(UNCERTAIN, ids=OURS, ids_are_learnt=True)
FAILED = replace(PENDING, status=Status.FAILED)
EXPIRED = replace(PENDING, status=Status.EXPIRED)
CANCELLED = replace(PENDING, status=Status.CANCELLED)
PAID = replace(PENDING, status=Status.PAID, receipt=RECEIPT)
PAID_BY_QUERY = replace(PAID, receipt=None)
REFUNDED = replace(PAID, status=Status.REFUNDED)
REFUNDED_UNPAID = replace(PENDING, status=Status.REFUNDED, refunded_unpaid=True)
NEW_BY_HAND = replace(INITIATED, pushed=False)
HELD = replace(PENDING, success_held=True)
HELD_EARLY = replace(INITIATED, success_held=True)
HELD_LEARNT = replace(HELD_EARLY, ids=OURS, ids_are_learnt=True)


def review(reason: ReviewReason, payment: Payment = PENDING) -> Payment:
    return replace(payment, status=Status.REVIEW, review_reason=reason)


def large(payment: Payment) -> Payment:
    return replace(payment, amount_kes=LARGE)


def around(after: timedelta = timedelta(seconds=30), **more: Any) -> Circumstances:
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
PAID_BY_ROW = Decision(Status.PAID, Outcome.PAID, paid=Paid(ConfirmedBy.STATEMENT, ANOTHER))
PAID_ON_QUERY = Decision(Status.PAID, Outcome.PAID, paid=Paid(ConfirmedBy.QUERY, None))
LATE = (Alert.LATE_PAYMENT,)
TAKEN = around(receipt_taken=True)
IDS_TAKEN = around(ids_taken=True)
DUPLICATE = around(duplicate_paid=True)
NAMED = around(receipts_named=frozenset({RECEIPT}))
ALL = (INITIATED, PENDING, UNCERTAIN, PAID, FAILED, CANCELLED, EXPIRED, review(ReviewReason.SILENCE), REFUNDED)
"""A payment as it usually stands in each status: past its push it has the ids of the push."""

BECOMES: list[tuple[Event, dict[str, str]]] = [
    # event, and for each status what it becomes; a status that is not named stays
    (PushAccepted(OURS), {"INITIATED": "PENDING", "UNCERTAIN": "PENDING"}),
    (PushRefused(), {"INITIATED": "FAILED", "UNCERTAIN": "FAILED"}),
    (PushNotSent(), {"INITIATED": "FAILED", "UNCERTAIN": "FAILED"}),
    (PushUnanswered(), {"INITIATED": "UNCERTAIN"}),
    (SUCCESS, {status: "PAID" for status in Status if status != "REFUNDED"}),
    (Declined(OURS, Status.FAILED), {"INITIATED": "FAILED", "PENDING": "FAILED", "UNCERTAIN": "FAILED"}),
    (Declined(OURS, Status.CANCELLED), {"INITIATED": "CANCELLED", "PENDING": "CANCELLED", "UNCERTAIN": "CANCELLED"}),
    (Declined(OURS, Status.EXPIRED), {"INITIATED": "EXPIRED", "PENDING": "EXPIRED", "UNCERTAIN": "EXPIRED"}),
    (UnknownCode(OURS), {"INITIATED": "REVIEW", "PENDING": "REVIEW", "UNCERTAIN": "REVIEW"}),
    # INITIATED and UNCERTAIN have no id of Daraja's, so nothing could have been asked about them
    (QueryConfirmed(), dict.fromkeys(("PENDING", "FAILED", "CANCELLED", "EXPIRED", "REVIEW"), "PAID")),
    (QueryDeclined(Status.FAILED), {"PENDING": "FAILED"}),
    (QueryDeclined(Status.CANCELLED), {"PENDING": "CANCELLED"}),
    (QueryDeclined(Status.EXPIRED), {"PENDING": "EXPIRED"}),
    (TimePassed(), {}),
    (OperatorPaid("UE00000009"), {"REVIEW": "PAID"}),
    (OperatorFailed(), {"REVIEW": "FAILED"}),
    (OperatorRefunded("UE00000008"), {"REVIEW": "REFUNDED", "PAID": "REFUNDED"}),
    (OperatorReopened(), {}),
    (StatementPaid("UE00000007", KES), {status: "PAID" for status in Status if status != "REFUNDED"}),
    (StatementPaid("UE00000007", KES - 1), {}),
    (StatementRefunded("UE00000006", KES), {"REVIEW": "REFUNDED", "PAID": "REFUNDED"}),
    (StatementRefunded("UE00000006", KES + 1), {}),
    (BookedByHand("UE00000007", KES, ConfirmedBy.STATEMENT),
     dict.fromkeys(("FAILED", "CANCELLED", "EXPIRED", "REVIEW"), "PAID")),
    # evidence that names another payment's ids
    (PushAccepted(OTHERS), {"INITIATED": "PENDING", "UNCERTAIN": "PENDING", "PENDING": "REVIEW", "FAILED": "REVIEW",
                            "CANCELLED": "REVIEW", "EXPIRED": "REVIEW"}),
    (Confirmed(OTHERS, KES, RECEIPT), {"INITIATED": "PAID", "UNCERTAIN": "PAID", "PENDING": "REVIEW",
                                       "FAILED": "REVIEW", "CANCELLED": "REVIEW", "EXPIRED": "REVIEW"}),
    (Declined(OTHERS, Status.FAILED), {"INITIATED": "FAILED", "UNCERTAIN": "FAILED", "PENDING": "REVIEW",
                                       "FAILED": "REVIEW", "CANCELLED": "REVIEW", "EXPIRED": "REVIEW"}),
    # money that is not what was asked
    (Confirmed(OURS, KES - 1, RECEIPT), {status: "REVIEW" for status in Status if status not in ("PAID", "REFUNDED")}),
    (Confirmed(OURS, KES - 1, None), {status: "REVIEW" for status in Status if status not in ("PAID", "REFUNDED")}),
    # a success that does not say enough: ask, and where we may not ask, a person
    (Confirmed(OURS, None, None), {"UNCERTAIN": "REVIEW"}),
    (Confirmed(OURS, KES, None), {"UNCERTAIN": "REVIEW"}),
]  # fmt: skip


@pytest.mark.parametrize("payment", ALL, ids=lambda payment: payment.status)
@pytest.mark.parametrize(("event", "becomes"), BECOMES, ids=[str(row[0])[:60] for row in BECOMES])
def test_each_event_makes_of_each_status_what_the_rules_say(
    event: Event, becomes: dict[str, str], payment: Payment
) -> None:
    assert decide(payment, event, around()).status == becomes.get(payment.status, payment.status)


def test_the_tables_have_every_event_and_every_status() -> None:
    assert {type(event) for event, _ in BECOMES} == set(Event.__args__)
    assert [payment.status for payment in ALL] == list(Status)


Row = tuple[str, Payment, Event, Decision] | tuple[str, Payment, Event, Decision, Circumstances]

ROWS: list[Row] = [
    # the push
    ("accepted", INITIATED, PushAccepted(OURS), Decision(Status.PENDING, Outcome.ACCEPTED, ids=OURS)),
    ("accepted, after we gave up", UNCERTAIN, PushAccepted(OURS), Decision(Status.PENDING, Outcome.ACCEPTED, ids=OURS)),
    ("accepted, after its callback", PAID, PushAccepted(OURS), replace(stays(PAID, Outcome.ACCEPTED), ids=OURS)),
    ("accepted, and its callback named the same ids", replace(PAID, ids_are_learnt=True), PushAccepted(OURS),
     replace(stays(PAID, Outcome.ACCEPTED), ids=OURS)),
    ("accepted, and a success waits", HELD_LEARNT, PushAccepted(OURS),
     Decision(Status.PENDING, Outcome.ACCEPTED, ids=OURS)),
    ("accepted, in review", review(ReviewReason.SILENCE), PushAccepted(OURS),
     replace(stays(review(ReviewReason.SILENCE), Outcome.ACCEPTED), ids=OURS)),
    ("accepted under other ids than a callback told", LEARNT, PushAccepted(OTHERS),
     replace(to_review(ReviewReason.IDS_DISAGREE), ids=OTHERS)),
    ("accepted under other ids, already paid", PAID, PushAccepted(OTHERS),
     replace(stays(PAID, Outcome.CONTRADICTS, Alert.IDS_DISAGREE), ids=OTHERS)),
    ("accepted under other ids, failed", replace(FAILED, ids_are_learnt=True), PushAccepted(OTHERS),
     replace(to_review(ReviewReason.IDS_DISAGREE), ids=OTHERS)),
    ("accepted under other ids, in review", review(ReviewReason.SILENCE, LEARNT), PushAccepted(OTHERS),
     replace(stays(review(ReviewReason.SILENCE), Outcome.CONTRADICTS, Alert.IDS_DISAGREE), ids=OTHERS)),
    ("accepted under another payment's ids", INITIATED, PushAccepted(OTHERS),
     to_review(ReviewReason.IDS_DISAGREE), IDS_TAKEN),
    ("refused", INITIATED, PushRefused(), Decision(Status.FAILED, Outcome.REFUSED)),
    ("refused, after we gave up", UNCERTAIN, PushRefused(), Decision(Status.FAILED, Outcome.REFUSED)),
    ("refused, and failed already", FAILED, PushRefused(), stays(FAILED, Outcome.REFUSED)),
    ("refused, and expired already", EXPIRED, PushNotSent(), stays(EXPIRED, Outcome.NOT_SENT)),
    ("refused, and paid", PAID, PushRefused(), stays(PAID, Outcome.CONTRADICTS, Alert.CONTRADICTION)),
    ("refused, and accepted", PENDING, PushRefused(), stays(PENDING, Outcome.CONTRADICTS, Alert.CONTRADICTION)),
    ("refused, and a callback said paid", HELD_EARLY, PushRefused(), to_review(ReviewReason.CONTRADICTION)),
    ("never left", INITIATED, PushNotSent(), Decision(Status.FAILED, Outcome.NOT_SENT)),
    ("never left, and a callback said paid", HELD_LEARNT, PushNotSent(), to_review(ReviewReason.CONTRADICTION)),
    ("unanswered", INITIATED, PushUnanswered(), Decision(Status.UNCERTAIN, Outcome.UNCLEAR)),
    ("unanswered, after its callback", PAID, PushUnanswered(), stays(PAID, Outcome.UNCLEAR)),
    ("unanswered, and a large success waits", large(HELD_EARLY), PushUnanswered(),
     to_review(ReviewReason.UNCONFIRMED_LARGE)),
    ("unanswered, and a success of the threshold waits", replace(HELD_EARLY, amount_kes=THRESHOLD), PushUnanswered(),
     to_review(ReviewReason.INCOMPLETE_SUCCESS)),
    # success by callback
    ("paid", PENDING, SUCCESS, PAID_BY_CALLBACK),
    ("paid, nothing else stored", INITIATED, SUCCESS, learnt(PAID_BY_CALLBACK)),
    ("paid, naming no ids", UNCERTAIN, Confirmed(None, KES, RECEIPT), PAID_BY_CALLBACK),
    ("paid late", FAILED, SUCCESS, replace(PAID_BY_CALLBACK, outcome=Outcome.PAID_LATE, alerts=LATE)),
    ("paid after silence", review(ReviewReason.SILENCE), SUCCESS, PAID_BY_CALLBACK),
    ("too little", PENDING, Confirmed(OURS, KES - 1, RECEIPT), to_review(ReviewReason.AMOUNT_MISMATCH)),
    ("too much", PENDING, Confirmed(OURS, KES + 1, RECEIPT), to_review(ReviewReason.AMOUNT_MISMATCH)),
    ("a cent too much", PENDING, Confirmed(OURS, KES + Decimal("0.01"), RECEIPT),
     to_review(ReviewReason.AMOUNT_MISMATCH)),
    ("another's receipt", PENDING, SUCCESS, to_review(ReviewReason.REUSED_RECEIPT), TAKEN),
    ("another's receipt without an amount", PENDING, Confirmed(OURS, None, RECEIPT),
     to_review(ReviewReason.REUSED_RECEIPT), TAKEN),
    ("no amount", PENDING, Confirmed(OURS, None, RECEIPT), held(PENDING, Alert.INCOMPLETE_SUCCESS)),
    ("no receipt", PENDING, Confirmed(OURS, KES, None), held(PENDING, Alert.INCOMPLETE_SUCCESS)),
    ("no receipt, nobody to ask", LEARNT, Confirmed(OURS, KES, None), to_review(ReviewReason.INCOMPLETE_SUCCESS)),
    ("no receipt, the push in flight", INITIATED, Confirmed(OURS, KES, None),
     learnt(held(INITIATED, Alert.INCOMPLETE_SUCCESS))),
    ("no receipt, in review for its amount", review(ReviewReason.AMOUNT_MISMATCH), Confirmed(OURS, KES, None),
     stays(review(ReviewReason.AMOUNT_MISMATCH), Outcome.NOTED, Alert.INCOMPLETE_SUCCESS)),
    ("no receipt, in review for silence", review(ReviewReason.SILENCE), Confirmed(OURS, KES, None),
     held(review(ReviewReason.SILENCE), Alert.INCOMPLETE_SUCCESS)),
    ("second of its order", PENDING, SUCCESS, to_review(ReviewReason.DUPLICATE_PAYMENT), DUPLICATE),
    ("second of its order, large", large(PENDING), Confirmed(OURS, LARGE, RECEIPT),
     to_review(ReviewReason.DUPLICATE_PAYMENT), DUPLICATE),
    ("second of its order, late", FAILED, SUCCESS, to_review(ReviewReason.DUPLICATE_PAYMENT), DUPLICATE),
    ("second of its order, after silence", review(ReviewReason.SILENCE), SUCCESS,
     to_review(ReviewReason.DUPLICATE_PAYMENT), DUPLICATE),
    ("a duplicate, told again", review(ReviewReason.DUPLICATE_PAYMENT), SUCCESS,
     stays(review(ReviewReason.DUPLICATE_PAYMENT), Outcome.NOTED)),
    ("a reused receipt, told again with its own", review(ReviewReason.REUSED_RECEIPT), SUCCESS,
     stays(review(ReviewReason.REUSED_RECEIPT), Outcome.NOTED)),
    ("a duplicate whose amount is wrong too", review(ReviewReason.DUPLICATE_PAYMENT), Confirmed(OURS, KES + 1, RECEIPT),
     to_review(ReviewReason.DUPLICATE_PAYMENT)),
    ("silent, then the wrong amount", review(ReviewReason.SILENCE), Confirmed(OURS, KES + 1, RECEIPT),
     to_review(ReviewReason.AMOUNT_MISMATCH)),
    ("large", large(PENDING), Confirmed(OURS, LARGE, RECEIPT), held(large(PENDING))),
    ("large, late", large(FAILED), Confirmed(OURS, LARGE, RECEIPT), held(large(FAILED))),
    ("large, after silence", large(review(ReviewReason.SILENCE)), Confirmed(OURS, LARGE, RECEIPT),
     held(large(review(ReviewReason.SILENCE)))),
    ("large, the push in flight", large(INITIATED), Confirmed(OURS, LARGE, RECEIPT), learnt(held(large(INITIATED)))),
    ("large, under learnt ids", large(LEARNT), Confirmed(OURS, LARGE, RECEIPT),
     to_review(ReviewReason.UNCONFIRMED_LARGE)),
    ("large, nobody to ask", large(UNCERTAIN), Confirmed(OURS, LARGE, RECEIPT),
     learnt(to_review(ReviewReason.UNCONFIRMED_LARGE))),
    ("the threshold itself", replace(PENDING, amount_kes=THRESHOLD), Confirmed(OURS, THRESHOLD, RECEIPT),
     PAID_BY_CALLBACK),
    # success again
    ("told twice", PAID, SUCCESS, stays(PAID, Outcome.REPEATED)),
    ("told twice, refunded", REFUNDED, SUCCESS, stays(REFUNDED, Outcome.REPEATED)),
    ("told again without a receipt", PAID, Confirmed(OURS, KES, None), stays(PAID, Outcome.REPEATED)),
    ("told again without an amount", PAID, Confirmed(OURS, None, RECEIPT), stays(PAID, Outcome.REPEATED)),
    ("the missing receipt", PAID_BY_QUERY, SUCCESS,
     replace(stays(PAID_BY_QUERY, Outcome.RECEIPT_FILLED), fill_receipt=RECEIPT)),
    ("the receipt of what went back from review", replace(REFUNDED, receipt=None, refunded_unpaid=True), SUCCESS,
     stays(REFUNDED, Outcome.NOTED)),
    ("the missing receipt is another's", PAID_BY_QUERY, SUCCESS,
     stays(PAID_BY_QUERY, Outcome.CONTRADICTS, Alert.REUSED_RECEIPT), TAKEN),
    ("the missing receipt with another amount", PAID_BY_QUERY, Confirmed(OURS, KES - 1, RECEIPT),
     stays(PAID_BY_QUERY, Outcome.CONTRADICTS, Alert.AMOUNT_MISMATCH)),
    ("a second receipt", PAID, Confirmed(OURS, KES, ANOTHER), stays(PAID, Outcome.CONTRADICTS, Alert.SECOND_RECEIPT)),
    ("a second receipt, another's", PAID, Confirmed(OURS, KES, ANOTHER),
     stays(PAID, Outcome.CONTRADICTS, Alert.REUSED_RECEIPT), TAKEN),
    ("paid, then another amount", PAID, Confirmed(OURS, KES + 1, RECEIPT),
     stays(PAID, Outcome.CONTRADICTS, Alert.AMOUNT_MISMATCH)),
    # whose callback it is
    ("success of another push", PENDING, Confirmed(OTHERS, KES, RECEIPT), to_review(ReviewReason.IDS_DISAGREE)),
    ("success that names no ids", PENDING, Confirmed(None, KES, RECEIPT), to_review(ReviewReason.IDS_DISAGREE)),
    ("failure of another push", FAILED, Declined(OTHERS, Status.FAILED), to_review(ReviewReason.IDS_DISAGREE)),
    ("unknown code of another push, paid", PAID, UnknownCode(OTHERS),
     stays(PAID, Outcome.CONTRADICTS, Alert.IDS_DISAGREE)),
    ("success of another push, in review", review(ReviewReason.SILENCE), Confirmed(OTHERS, KES, RECEIPT),
     stays(review(ReviewReason.SILENCE), Outcome.CONTRADICTS, Alert.IDS_DISAGREE)),
    ("success with another payment's ids", INITIATED, Confirmed(OTHERS, KES, RECEIPT),
     to_review(ReviewReason.IDS_DISAGREE), IDS_TAKEN),
    ("failure with another payment's ids", PENDING, Declined(OURS, Status.FAILED),
     to_review(ReviewReason.IDS_DISAGREE), IDS_TAKEN),
    *((f"success with one of two ids, {ids}", PENDING, Confirmed(ids, KES, RECEIPT),
       to_review(ReviewReason.IDS_DISAGREE)) for ids in HALF_OURS),
    # failure
    ("declined", PENDING, Declined(OURS, Status.CANCELLED), Decision(Status.CANCELLED, Outcome.DECLINED)),
    ("declined, nothing else stored", UNCERTAIN, Declined(OURS, Status.EXPIRED),
     learnt(Decision(Status.EXPIRED, Outcome.DECLINED))),
    ("declined again", FAILED, Declined(OURS, Status.CANCELLED), stays(FAILED, Outcome.REPEATED)),
    ("declined in review", review(ReviewReason.SILENCE), Declined(OURS, Status.FAILED),
     stays(review(ReviewReason.SILENCE), Outcome.NOTED)),
    ("declined, and paid", PAID, Declined(OURS, Status.FAILED), stays(PAID, Outcome.CONTRADICTS, Alert.CONTRADICTION)),
    ("declined beside a held success", HELD, Declined(OURS, Status.FAILED),
     stays(HELD, Outcome.CONTRADICTS, Alert.CONTRADICTION)),
    ("declined late beside a held success", replace(HELD, status=Status.FAILED), Declined(OURS, Status.FAILED),
     stays(FAILED, Outcome.REPEATED)),
    ("unknown code", PENDING, UnknownCode(OURS), to_review(ReviewReason.UNKNOWN_CODE)),
    ("unknown code, nothing else stored", INITIATED, UnknownCode(OURS), learnt(to_review(ReviewReason.UNKNOWN_CODE))),
    ("unknown code, naming no ids", INITIATED, UnknownCode(None), to_review(ReviewReason.UNKNOWN_CODE)),
    ("unknown code, failed", FAILED, UnknownCode(OURS), stays(FAILED, Outcome.NOTED, Alert.UNKNOWN_CODE)),
    ("unknown code, paid", PAID, UnknownCode(OURS), stays(PAID, Outcome.NOTED, Alert.UNKNOWN_CODE)),
    # queries
    ("a query says paid", PENDING, QueryConfirmed(), PAID_ON_QUERY),
    ("a query says paid, late", EXPIRED, QueryConfirmed(),
     replace(PAID_ON_QUERY, outcome=Outcome.PAID_LATE, alerts=LATE)),
    ("a query says what a callback said", PAID, QueryConfirmed(), stays(PAID, Outcome.REPEATED)),
    ("a query about learnt ids", LEARNT, QueryConfirmed(), stays(LEARNT, Outcome.NOTED)),
    ("a query about learnt ids, silent", review(ReviewReason.SILENCE, LEARNT), QueryConfirmed(),
     stays(review(ReviewReason.SILENCE), Outcome.NOTED)),
    ("a query about learnt ids says no", LEARNT, QueryDeclined(Status.FAILED), stays(LEARNT, Outcome.NOTED)),
    ("a query about no ids says no", UNCERTAIN, QueryDeclined(Status.FAILED), stays(UNCERTAIN, Outcome.NOTED)),
    ("a query says paid, the amount was wrong", review(ReviewReason.AMOUNT_MISMATCH), QueryConfirmed(),
     stays(review(ReviewReason.AMOUNT_MISMATCH), Outcome.NOTED)),
    ("a query says paid, second of its order", PENDING, QueryConfirmed(),
     to_review(ReviewReason.DUPLICATE_PAYMENT), DUPLICATE),
    ("a query says paid, second of its order, silent", review(ReviewReason.SILENCE), QueryConfirmed(),
     to_review(ReviewReason.DUPLICATE_PAYMENT), DUPLICATE),
    ("a query says no", PENDING, QueryDeclined(Status.EXPIRED), Decision(Status.EXPIRED, Outcome.DECLINED)),
    ("a query says no again", FAILED, QueryDeclined(Status.EXPIRED), stays(FAILED, Outcome.REPEATED)),
    ("a query says no, silent", review(ReviewReason.SILENCE), QueryDeclined(Status.FAILED),
     stays(review(ReviewReason.SILENCE), Outcome.NOTED)),
    ("a query says no to a held success", HELD, QueryDeclined(Status.FAILED), to_review(ReviewReason.CONTRADICTION)),
    ("a query says no to a held late success", replace(HELD, status=Status.FAILED), QueryDeclined(Status.FAILED),
     to_review(ReviewReason.CONTRADICTION)),
    ("a query says no, paid", PAID, QueryDeclined(Status.FAILED),
     stays(PAID, Outcome.CONTRADICTS, Alert.CONTRADICTION)),
    # time
    ("nothing yet", PENDING, TimePassed(),
     stays(PENDING, Outcome.STILL_WAITING), around(timedelta(minutes=14, seconds=59))),
    ("silence is alerted of", PENDING, TimePassed(),
     stays(PENDING, Outcome.STILL_WAITING, Alert.SILENCE), around(timedelta(minutes=15))),
    ("silence is reviewed", PENDING, TimePassed(), to_review(ReviewReason.SILENCE), around(timedelta(minutes=60))),
    ("silence is not yet reviewed", PENDING, TimePassed(),
     stays(PENDING, Outcome.STILL_WAITING, Alert.SILENCE), around(timedelta(minutes=59, seconds=59))),
    ("nobody to ask, not yet", UNCERTAIN, TimePassed(),
     stays(UNCERTAIN, Outcome.STILL_WAITING), around(timedelta(minutes=14, seconds=59))),
    ("nobody to ask", UNCERTAIN, TimePassed(), to_review(ReviewReason.SILENCE), around(timedelta(minutes=15))),
    ("in flight", INITIATED, TimePassed(), stays(INITIATED, Outcome.STILL_WAITING), around(timedelta(seconds=89))),
    ("died", INITIATED, TimePassed(), Decision(Status.UNCERTAIN, Outcome.UNCLEAR), around(timedelta(seconds=90))),
    ("died long ago", INITIATED, TimePassed(),
     Decision(Status.UNCERTAIN, Outcome.UNCLEAR, alerts=(Alert.SILENCE,)), around(timedelta(minutes=15))),
    ("died beside a large success", large(HELD_EARLY), TimePassed(),
     to_review(ReviewReason.UNCONFIRMED_LARGE), around(timedelta(minutes=2))),
    ("died beside a success without a receipt", HELD_LEARNT, TimePassed(),
     to_review(ReviewReason.INCOMPLETE_SUCCESS), around(timedelta(seconds=90))),
    ("a late success is held", replace(HELD, status=Status.FAILED), TimePassed(),
     stays(FAILED, Outcome.STILL_WAITING, Alert.SILENCE), around(timedelta(minutes=15))),
    ("a late success is held for long", replace(HELD, status=Status.EXPIRED), TimePassed(),
     to_review(ReviewReason.SILENCE), around(timedelta(minutes=60))),
    ("time passes over a failure", FAILED, TimePassed(),
     stays(FAILED, Outcome.STILL_WAITING), around(timedelta(days=2))),
    ("time passes over what is settled", PAID, TimePassed(),
     stays(PAID, Outcome.STILL_WAITING), around(timedelta(days=2))),
    ("time passes over a review", review(ReviewReason.SILENCE), TimePassed(),
     stays(review(ReviewReason.SILENCE), Outcome.STILL_WAITING), around(timedelta(days=2))),
    # a callback that was judged before
    ("a failure that was taken back since", PAID, Declined(OURS, Status.FAILED),
     stays(PAID, Outcome.REPEATED), around(already_judged=True)),
    ("a success that a person did not believe", FAILED, SUCCESS,
     stays(FAILED, Outcome.REPEATED), around(already_judged=True)),
    # people
    ("seen on the statement", review(ReviewReason.SILENCE), OperatorPaid(ANOTHER),
     Decision(Status.PAID, Outcome.PAID, paid=Paid(ConfirmedBy.OPERATOR, ANOTHER))),
    ("another's receipt on the statement", review(ReviewReason.SILENCE), OperatorPaid(ANOTHER),
     stays(review(ReviewReason.SILENCE), Outcome.NOTED), TAKEN),
    ("not on the statement", review(ReviewReason.SILENCE), OperatorFailed(),
     Decision(Status.FAILED, Outcome.DECLINED, drop_success=True)),
    ("given back", PAID, OperatorRefunded(ANOTHER), Decision(Status.REFUNDED, Outcome.REFUNDED)),
    ("given back under a receipt of something else", PAID, OperatorRefunded(ANOTHER),
     stays(PAID, Outcome.NOTED), TAKEN),
    ("given back from review", review(ReviewReason.DUPLICATE_PAYMENT), OperatorRefunded(ANOTHER),
     Decision(Status.REFUNDED, Outcome.REFUNDED)),
    ("a person cannot pay what is open", PENDING, OperatorPaid(ANOTHER), stays(PENDING, Outcome.NOTED)),
    ("a person cannot fail what is paid", PAID, OperatorFailed(), stays(PAID, Outcome.NOTED)),
    ("a person cannot give back what failed", FAILED, OperatorRefunded(ANOTHER), stays(FAILED, Outcome.NOTED)),
    # a person's word is taken back
    ("the refund was another payment's", replace(REFUNDED, before=Before(Status.PAID)), OperatorReopened(),
     Decision(Status.PAID, Outcome.REOPENED)),
    ("the order was paid again meanwhile", replace(REFUNDED, before=Before(Status.PAID)), OperatorReopened(),
     Decision(Status.PAID, Outcome.REOPENED, alerts=(Alert.ORDER_PAID_TWICE,)), around(order_paid=True)),
    ("refunded from review by mistake",
     replace(REFUNDED_UNPAID, before=Before(Status.REVIEW, ReviewReason.DUPLICATE_PAYMENT)), OperatorReopened(),
     Decision(Status.REVIEW, Outcome.REOPENED, ReviewReason.DUPLICATE_PAYMENT, (Alert.DUPLICATE_PAYMENT,))),
    ("failed by mistake", replace(FAILED, before=Before(Status.REVIEW, ReviewReason.SILENCE)), OperatorReopened(),
     Decision(Status.REVIEW, Outcome.REOPENED, ReviewReason.SILENCE, (Alert.SILENCE,))),
    ("what Safaricom called failed is not a person's word", FAILED, OperatorReopened(), stays(FAILED, Outcome.NOTED)),
    # statements
    ("the callback was lost", review(ReviewReason.SILENCE), ROW, PAID_BY_ROW),
    ("paid, says the statement, though it failed", FAILED, ROW,
     replace(PAID_BY_ROW, outcome=Outcome.PAID_LATE, alerts=LATE)),
    ("the order was paid otherwise", UNCERTAIN, ROW,
     replace(PAID_BY_ROW, alerts=(Alert.ORDER_PAID_TWICE,)), around(order_paid=True)),
    ("a row of a payment whose push is in flight", INITIATED, ROW,
     stays(INITIATED, Outcome.NOTED), around(push_in_flight=True)),
    ("the row that a success without an amount named",
     review(ReviewReason.INCOMPLETE_SUCCESS), StatementPaid(RECEIPT, KES),
     replace(PAID_BY_ROW, paid=Paid(ConfirmedBy.STATEMENT, RECEIPT)), NAMED),
    ("another row than a success without an amount named", review(ReviewReason.INCOMPLETE_SUCCESS), ROW,
     stays(review(ReviewReason.INCOMPLETE_SUCCESS), Outcome.NOTED), NAMED),
    ("a row where amounts disagree", review(ReviewReason.AMOUNT_MISMATCH), StatementPaid(RECEIPT, KES),
     stays(review(ReviewReason.AMOUNT_MISMATCH), Outcome.NOTED), NAMED),
    ("a row of what was paid twice", review(ReviewReason.DUPLICATE_PAYMENT), ROW,
     stays(review(ReviewReason.DUPLICATE_PAYMENT), Outcome.NOTED), DUPLICATE),
    ("paid twice, both seen on the statement", EXPIRED, ROW, to_review(ReviewReason.DUPLICATE_PAYMENT), DUPLICATE),
    ("a row whose receipt is another payment's", FAILED, ROW, stays(FAILED, Outcome.NOTED), TAKEN),
    ("a large row", large(FAILED), StatementPaid(ANOTHER, LARGE), stays(large(FAILED), Outcome.NOTED)),
    ("at the threshold, a row pays", replace(FAILED, amount_kes=THRESHOLD), StatementPaid(ANOTHER, THRESHOLD),
     replace(PAID_BY_ROW, outcome=Outcome.PAID_LATE, alerts=LATE)),
    ("the receipt of a large payment is filled in", large(PAID_BY_QUERY), StatementPaid(ANOTHER, LARGE),
     replace(stays(large(PAID_BY_QUERY), Outcome.RECEIPT_FILLED), fill_receipt=ANOTHER)),
    ("the row of what a callback paid", PAID, StatementPaid(RECEIPT, KES), stays(PAID, Outcome.REPEATED)),
    ("money twice for one payment", PAID, ROW, stays(PAID, Outcome.CONTRADICTS, Alert.SECOND_RECEIPT)),
    ("reversed, says the statement", PAID, GONE_BACK, Decision(Status.REFUNDED, Outcome.REFUNDED)),
    ("reversed from review", review(ReviewReason.AMOUNT_MISMATCH), GONE_BACK,
     Decision(Status.REFUNDED, Outcome.REFUNDED)),
    ("what came in under a receipt did not go back under it", PAID, StatementRefunded(RECEIPT, KES),
     stays(PAID, Outcome.NOTED)),
    ("nor under one that a callback named", review(ReviewReason.AMOUNT_MISMATCH), StatementRefunded(RECEIPT, KES),
     stays(review(ReviewReason.AMOUNT_MISMATCH), Outcome.NOTED), NAMED),
    ("reversed, and large", large(PAID), StatementRefunded(ANOTHER, LARGE), stays(large(PAID), Outcome.NOTED)),
    ("reversed under a receipt of something else", PAID, GONE_BACK, stays(PAID, Outcome.NOTED), TAKEN),
    # booked by hand
    ("money that came another way", NEW_BY_HAND, BOOKED, PAID_BY_ROW, around(push_in_flight=True)),
    ("a person may book what is large", large(NEW_BY_HAND), BookedByHand(ANOTHER, LARGE, ConfirmedBy.CALLBACK),
     replace(PAID_BY_ROW, paid=Paid(ConfirmedBy.CALLBACK, ANOTHER))),
    ("not while a push may be answered", INITIATED, BOOKED, stays(INITIATED, Outcome.NOTED)),
    ("not twice", PAID, BOOKED, stays(PAID, Outcome.CONTRADICTS, Alert.SECOND_RECEIPT)),
    ("booked for what was given up", FAILED, BOOKED, replace(PAID_BY_ROW, outcome=Outcome.PAID_LATE, alerts=LATE)),
    ("booked with another's receipt", FAILED, BOOKED, stays(FAILED, Outcome.NOTED), TAKEN),
    # refunded straight from review, then news
    ("the money that went back is told of now", REFUNDED_UNPAID, SUCCESS, stays(REFUNDED_UNPAID, Outcome.NOTED)),
    ("it was told of before", REFUNDED_UNPAID, SUCCESS, stays(REFUNDED_UNPAID, Outcome.NOTED), NAMED),
    ("other money came after the refund", REFUNDED_UNPAID, Confirmed(OURS, KES, ANOTHER),
     stays(REFUNDED_UNPAID, Outcome.CONTRADICTS, Alert.SECOND_RECEIPT), NAMED),
    ("so says a statement", REFUNDED_UNPAID, ROW,
     stays(REFUNDED_UNPAID, Outcome.CONTRADICTS, Alert.SECOND_RECEIPT), NAMED),
]  # fmt: skip


@pytest.mark.parametrize(("payment", "event", "decision", "circumstances"),
                         [(*row[1:4], row[4] if len(row) == 5 else around()) for row in ROWS],
                         ids=[row[0] for row in ROWS])  # fmt: skip
def test_the_whole_decision(payment: Payment, event: Event, decision: Decision, circumstances: Circumstances) -> None:
    assert decide(payment, event, circumstances) == decision


@pytest.mark.parametrize("reason", ReviewReason)
def test_a_review_is_resolved_by_a_callback_or_a_query_only_for_some_reasons(reason: ReviewReason) -> None:
    payment = review(reason)
    unresolvable = reason in (ReviewReason.DUPLICATE_PAYMENT, ReviewReason.REUSED_RECEIPT)
    by_query = reason in (ReviewReason.SILENCE, ReviewReason.UNKNOWN_CODE)
    assert decide(payment, SUCCESS, around()).status is (Status.REVIEW if unresolvable else Status.PAID)
    decision = decide(payment, QueryConfirmed(), around())
    assert (decision.status, decision.review_reason) == ((Status.PAID, None) if by_query else (Status.REVIEW, reason))
    for event in (Confirmed(OURS, KES + 1, RECEIPT), UnknownCode(OURS), Confirmed(OTHERS, KES, RECEIPT)):
        decision = decide(payment, event, around())
        assert decision.status is Status.REVIEW
        assert not unresolvable or decision.review_reason is reason


@pytest.mark.parametrize(
    ("event", "alert"),
    [
        (Confirmed(OURS, KES, ANOTHER), Alert.SECOND_RECEIPT),
        (Confirmed(OURS, KES + 1, ANOTHER), Alert.AMOUNT_MISMATCH),
        (Confirmed(OTHERS, KES, RECEIPT), Alert.IDS_DISAGREE),
        (Declined(OURS, Status.FAILED), Alert.CONTRADICTION),
        (QueryDeclined(Status.CANCELLED), Alert.CONTRADICTION),
        (PushRefused(), Alert.CONTRADICTION),
        (PushNotSent(), Alert.CONTRADICTION),
        (UnknownCode(OURS), Alert.UNKNOWN_CODE),
    ],
)
@pytest.mark.parametrize("payment", [PAID, REFUNDED], ids=lambda payment: payment.status)
def test_what_contradicts_a_settled_payment_alerts_and_changes_nothing(
    payment: Payment, event: Event, alert: Alert
) -> None:
    decision = decide(payment, event, around())
    assert (decision.status, decision.alerts, decision.paid, decision.fill_receipt) == (
        payment.status,
        (alert,),
        None,
        None,
    )


@pytest.mark.parametrize("payment", [PAID, REFUNDED], ids=lambda payment: payment.status)
@pytest.mark.parametrize("event", [SUCCESS, QueryConfirmed(), Confirmed(OURS, None, None), PushUnanswered()])
def test_a_success_again_changes_nothing(payment: Payment, event: Event) -> None:
    decision = decide(payment, event, around())
    assert (decision.status, decision.alerts, decision.paid, decision.fill_receipt) == (payment.status, (), None, None)


@pytest.mark.parametrize("payment", [each for each in ALL if each.status not in OPEN], ids=lambda each: each.status)
def test_time_changes_nothing_that_is_not_open(payment: Payment) -> None:
    decision = decide(payment, TimePassed(), around(timedelta(days=400)))
    assert (decision.status, decision.alerts) == (payment.status, ())


# Facts about the tables of the core -----------------------------------------------------------------------------------


def test_every_status_has_a_public_name() -> None:
    assert {str(status): PUBLIC[status] for status in Status} == {
        "INITIATED": "pending", "PENDING": "pending", "UNCERTAIN": "pending", "PAID": "paid", "FAILED": "failed",
        "CANCELLED": "failed", "EXPIRED": "failed", "REVIEW": "under_review", "REFUNDED": "refunded",
    }  # fmt: skip


def test_what_is_paid_can_only_be_refunded_and_a_refund_can_be_taken_back() -> None:
    assert {(was, now) for was, now in TRANSITIONS if was in SETTLED} == {
        (Status.PAID, Status.REFUNDED),
        (Status.REFUNDED, Status.PAID),
        (Status.REFUNDED, Status.REVIEW),
    }


def test_only_what_a_person_or_a_statement_ended_can_go_back() -> None:
    ends = {OperatorFailed, OperatorRefunded, StatementRefunded}
    for event in Event.__args__:
        back = Before(Status.PAID) if event in ends else None
        assert before_the_word(event.__name__, "PAID", "silence") == back
    assert before_the_word("OperatorFailed", "REVIEW", "silence") == Before(Status.REVIEW, ReviewReason.SILENCE)
    assert before_the_word("OperatorFailed", "REVIEW", None) == Before(Status.REVIEW, ReviewReason.CONTRADICTION)


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
