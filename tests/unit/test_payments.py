"""What becomes of a payment, row by row: what the rules about money expect, written without looking at the code."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from shared.daraja.result_codes import CALLBACK_FAILURES
from shared.payments import (
    FIRST_QUERY_AFTER,
    NOT_PAID,
    OPEN,
    PUBLIC,
    TRANSITIONS,
    Alert,
    Circumstances,
    Confirmed,
    Decision,
    Declined,
    Event,
    Evidence,
    Ids,
    OperatorFailed,
    OperatorPaid,
    OperatorRefunded,
    Outcome,
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
    next_query_at,
    queries_after_failure,
)

ROOT = Path(__file__).parents[2]
NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
OURS = Ids("29115-34620561-1", "ws_CO_040520261200001")
OTHERS = Ids("29115-34620561-2", "ws_CO_040520261200002")
KES = Decimal(1500)
LARGE_KES = Decimal(20_001)
RECEIPT = "UE4JS31RBV"

ALL = ["INITIATED", "PENDING", "UNCERTAIN", "PAID", "FAILED", "CANCELLED", "EXPIRED", "REVIEW", "REFUNDED"]


def payment(status: str, **more: object) -> Payment:
    """As it usually stands in this status: a payment that is past its push has the ids of the push."""
    usual: dict[str, object] = {"ids": None if status in ("INITIATED", "UNCERTAIN") else OURS}
    if status == "REVIEW":
        usual["review_reason"] = ReviewReason.SILENCE
    if status in ("PAID", "REFUNDED"):
        usual["receipt"] = RECEIPT
    return Payment("a payment", Status(status), created_at=NOON, **{"amount_kes": KES, **usual, **more})  # type: ignore[arg-type]


def around(after: timedelta = timedelta(seconds=30), **more: bool) -> Circumstances:
    return Circumstances(NOON + after, Decimal(20_000), **more)


def after(payment: Payment, event: Event, circumstances: Circumstances | None = None) -> Decision:
    return decide(payment, event, circumstances or around())


SUCCESS = Confirmed(OURS, KES, RECEIPT)
FAILS = Declined(OURS, Status.FAILED)
CANCELS = Declined(OURS, Status.CANCELLED)
EXPIRES = Declined(OURS, Status.EXPIRED)

BECOMES: list[tuple[Event, dict[str, str]]] = [
    # event, and for each status what it becomes; a status that is not named stays
    (PushAccepted(OURS), {"INITIATED": "PENDING", "UNCERTAIN": "PENDING"}),
    (PushRefused(), {"INITIATED": "FAILED", "UNCERTAIN": "FAILED"}),
    (PushNotSent(), {"INITIATED": "FAILED", "UNCERTAIN": "FAILED"}),
    (PushUnanswered(), {"INITIATED": "UNCERTAIN"}),
    (SUCCESS, {status: "PAID" for status in ALL if status != "REFUNDED"}),
    (FAILS, {"INITIATED": "FAILED", "PENDING": "FAILED", "UNCERTAIN": "FAILED"}),
    (CANCELS, {"INITIATED": "CANCELLED", "PENDING": "CANCELLED", "UNCERTAIN": "CANCELLED"}),
    (EXPIRES, {"INITIATED": "EXPIRED", "PENDING": "EXPIRED", "UNCERTAIN": "EXPIRED"}),
    (UnknownCode(OURS), {"INITIATED": "REVIEW", "PENDING": "REVIEW", "UNCERTAIN": "REVIEW"}),
    # INITIATED and UNCERTAIN have no id of Daraja's, so nothing could have been asked about them
    (QueryConfirmed(), dict.fromkeys(("PENDING", "FAILED", "CANCELLED", "EXPIRED", "REVIEW"), "PAID")),
    (QueryDeclined(Status.FAILED), {"PENDING": "FAILED"}),
    (QueryDeclined(Status.CANCELLED), {"PENDING": "CANCELLED"}),
    (QueryDeclined(Status.EXPIRED), {"PENDING": "EXPIRED"}),
    (TimePassed(), {}),
    (OperatorPaid("UE00000009"), {"REVIEW": "PAID"}),
    (OperatorFailed(), {"REVIEW": "FAILED"}),
    (OperatorRefunded(), {"REVIEW": "REFUNDED", "PAID": "REFUNDED"}),
    # evidence that names another payment's ids
    (PushAccepted(OTHERS), {"INITIATED": "PENDING", "UNCERTAIN": "PENDING", "PENDING": "REVIEW", "FAILED": "REVIEW",
                            "CANCELLED": "REVIEW", "EXPIRED": "REVIEW"}),
    (Confirmed(OTHERS, KES, RECEIPT), {"INITIATED": "PAID", "UNCERTAIN": "PAID", "PENDING": "REVIEW",
                                       "FAILED": "REVIEW", "CANCELLED": "REVIEW", "EXPIRED": "REVIEW"}),
    (Declined(OTHERS, Status.FAILED), {"INITIATED": "FAILED", "UNCERTAIN": "FAILED", "PENDING": "REVIEW",
                                       "FAILED": "REVIEW", "CANCELLED": "REVIEW", "EXPIRED": "REVIEW"}),
    # money that is not what was asked
    (Confirmed(OURS, KES - 1, RECEIPT), {status: "REVIEW" for status in ALL if status not in ("PAID", "REFUNDED")}),
    (Confirmed(OURS, KES - 1, None), {status: "REVIEW" for status in ALL if status not in ("PAID", "REFUNDED")}),
    # a success that does not say enough: ask, and where we may not ask, a person
    (Confirmed(OURS, None, None), {"UNCERTAIN": "REVIEW"}),
    (Confirmed(OURS, KES, None), {"UNCERTAIN": "REVIEW"}),
]  # fmt: skip


@pytest.mark.parametrize("status", ALL)
@pytest.mark.parametrize(("event", "becomes"), BECOMES, ids=[str(row[0])[:60] for row in BECOMES])
def test_each_event_makes_of_each_status_what_the_rules_say(event: Event, becomes: dict[str, str], status: str) -> None:
    assert after(payment(status), event).status == becomes.get(status, status)


def test_the_table_speaks_of_every_event() -> None:
    assert {type(event) for event, _ in BECOMES} == set(Event.__args__)


def test_every_status_has_a_public_name() -> None:
    assert {status: PUBLIC[Status(status)] for status in ALL} == {
        "INITIATED": "pending", "PENDING": "pending", "UNCERTAIN": "pending", "PAID": "paid", "FAILED": "failed",
        "CANCELLED": "failed", "EXPIRED": "failed", "REVIEW": "under_review", "REFUNDED": "refunded",
    }  # fmt: skip


def test_the_table_of_what_may_follow_what_is_the_one_that_the_schema_says() -> None:
    says = (ROOT / "db" / "schema.sql").read_text(encoding="utf-8").partition("FUNCTION payment_may_go")[2]
    pairs = re.findall(r"'([A-Z]+) ([A-Z]+)'", says.partition("$$;")[0].partition("\n$$")[0])
    assert {(str(was), str(now)) for was, now in TRANSITIONS} == set(pairs)


def test_paid_and_refunded_go_nowhere_but_from_paid_to_refunded() -> None:
    assert {(was, now) for was, now in TRANSITIONS if was in (Status.PAID, Status.REFUNDED)} == {
        (Status.PAID, Status.REFUNDED)
    }


# Success --------------------------------------------------------------------------------------------------------------


def test_a_callback_pays_with_its_receipt_as_evidence() -> None:
    decision = after(payment("PENDING"), SUCCESS)
    assert decision.paid is not None
    assert (decision.outcome, decision.paid.evidence, decision.paid.receipt, decision.alerts) == (
        Outcome.PAID, Evidence.CALLBACK, RECEIPT, ())  # fmt: skip


def test_a_query_pays_without_a_receipt() -> None:
    decision = after(payment("PENDING"), QueryConfirmed())
    assert decision.paid is not None
    assert (decision.outcome, decision.paid.evidence, decision.paid.receipt) == (Outcome.PAID, Evidence.QUERY, None)


@pytest.mark.parametrize("status", sorted(NOT_PAID))
@pytest.mark.parametrize("event", [SUCCESS, QueryConfirmed()])
def test_money_after_a_failure_is_paid_late_with_an_alert(status: str, event: Event) -> None:
    decision = after(payment(status), event)
    assert (decision.outcome, decision.alerts) == (Outcome.PAID_LATE, (Alert.LATE_PAYMENT,))


def test_a_callback_that_overtakes_the_answer_to_the_push_pays_and_its_ids_are_kept_as_learnt() -> None:
    decision = after(payment("INITIATED"), SUCCESS)
    assert (decision.status, decision.ids, decision.ids_are_learnt) == (Status.PAID, OURS, True)


def test_the_pushs_answer_confirms_learnt_ids_whatever_the_status() -> None:
    learnt = payment("PAID", ids_are_learnt=True)
    decision = after(learnt, PushAccepted(OURS))
    assert (decision.status, decision.ids, decision.ids_are_learnt) == (Status.PAID, OURS, False)


def test_the_pushs_answer_that_disagrees_with_learnt_ids_alerts_and_writes_its_own() -> None:
    for status, becomes in (("PAID", Status.PAID), ("FAILED", Status.REVIEW), ("REVIEW", Status.REVIEW)):
        decision = after(payment(status, ids=OTHERS, ids_are_learnt=True), PushAccepted(OURS))
        assert (decision.status, decision.ids, decision.ids_are_learnt) == (becomes, OURS, False)
        assert decision.alerts == (Alert.IDS_DISAGREE,)


@pytest.mark.parametrize("event", [PushAccepted(OTHERS), Confirmed(OTHERS, KES, RECEIPT), FAILS, UnknownCode(OTHERS)])
def test_ids_that_belong_to_another_payment_are_never_written(event: Event) -> None:
    for status in ("INITIATED", "UNCERTAIN", "PENDING"):
        decision = after(payment(status), event, around(ids_taken=True))
        assert (decision.status, decision.review_reason) == (Status.REVIEW, ReviewReason.IDS_DISAGREE)
        assert decision.ids is None


def test_only_one_of_two_ids_agreeing_is_disagreement() -> None:
    for told in (Ids(OURS.merchant_request_id, "ws_CO_2"), Ids("2-2-2", OURS.checkout_request_id)):
        assert after(payment("PENDING"), Confirmed(told, KES, RECEIPT)).review_reason is ReviewReason.IDS_DISAGREE


def test_a_success_that_names_no_ids_does_not_pay_where_ids_are_stored() -> None:
    assert after(payment("PENDING"), Confirmed(None, KES, RECEIPT)).status is Status.REVIEW


def test_a_query_never_counts_for_an_id_that_only_a_callback_told_us() -> None:
    learnt = payment("REVIEW", ids_are_learnt=True)
    for event in (QueryConfirmed(), QueryDeclined(Status.FAILED)):
        assert after(learnt, event).status is Status.REVIEW
    assert not learnt.can_be_queried


def test_a_receipt_that_confirms_another_payment_goes_to_a_person() -> None:
    decision = after(payment("PENDING"), SUCCESS, around(receipt_taken=True))
    assert (decision.status, decision.review_reason) == (Status.REVIEW, ReviewReason.REUSED_RECEIPT)
    assert decision.alerts == (Alert.REUSED_RECEIPT,)


@pytest.mark.parametrize("event", [SUCCESS, QueryConfirmed()])
def test_the_second_payment_of_the_same_order_goes_to_a_person(event: Event) -> None:
    for status in ("PENDING", "FAILED", "REVIEW"):
        decision = after(payment(status), event, around(twin_paid=True))
        assert (decision.status, decision.review_reason) == (Status.REVIEW, ReviewReason.DUPLICATE_PAYMENT)
        assert decision.paid is None


@pytest.mark.parametrize("reason", list(ReviewReason))
def test_a_fitting_callback_resolves_every_review_but_a_duplicate_and_a_reused_receipt(reason: ReviewReason) -> None:
    unresolvable = reason in (ReviewReason.DUPLICATE_PAYMENT, ReviewReason.REUSED_RECEIPT)
    decision = after(payment("REVIEW", review_reason=reason), SUCCESS)
    assert decision.status is (Status.REVIEW if unresolvable else Status.PAID)


@pytest.mark.parametrize("reason", list(ReviewReason))
def test_a_query_resolves_only_silence_and_an_unknown_code(reason: ReviewReason) -> None:
    resolvable = reason in (ReviewReason.SILENCE, ReviewReason.UNKNOWN_CODE)
    decision = after(payment("REVIEW", review_reason=reason), QueryConfirmed())
    assert decision.status is (Status.PAID if resolvable else Status.REVIEW)
    if not resolvable:
        assert decision.review_reason is reason


@pytest.mark.parametrize("reason", [ReviewReason.DUPLICATE_PAYMENT, ReviewReason.REUSED_RECEIPT])
def test_no_later_evidence_makes_a_duplicate_look_like_something_a_callback_can_resolve(reason: ReviewReason) -> None:
    for event in (Confirmed(OURS, KES + 1, RECEIPT), UnknownCode(OURS), Confirmed(OTHERS, KES, RECEIPT), SUCCESS):
        decision = after(payment("REVIEW", review_reason=reason), event)
        assert (decision.status, decision.review_reason) == (Status.REVIEW, reason)


# Paid already ---------------------------------------------------------------------------------------------------------


def test_a_late_callback_fills_the_missing_receipt_of_a_payment_that_a_query_paid() -> None:
    decision = after(payment("PAID", receipt=None), SUCCESS)
    assert (decision.outcome, decision.fill_receipt, decision.paid) == (Outcome.RECEIPT_FILLED, RECEIPT, None)


def test_a_missing_receipt_is_not_filled_with_anothers() -> None:
    decision = after(payment("PAID", receipt=None), SUCCESS, around(receipt_taken=True))
    assert (decision.fill_receipt, decision.alerts) == (None, (Alert.REUSED_RECEIPT,))


def test_a_missing_receipt_is_not_filled_from_a_callback_about_another_amount() -> None:
    decision = after(payment("PAID", receipt=None), Confirmed(OURS, KES + 1, RECEIPT))
    assert (decision.fill_receipt, decision.alerts) == (None, (Alert.AMOUNT_MISMATCH,))


@pytest.mark.parametrize(
    ("event", "alert"),
    [
        (Confirmed(OURS, KES, "UE00000002"), Alert.SECOND_RECEIPT),
        (Confirmed(OURS, KES + 1, "UE00000002"), Alert.AMOUNT_MISMATCH),
        (Confirmed(OTHERS, KES, RECEIPT), Alert.IDS_DISAGREE),
        (FAILS, Alert.CONTRADICTION),
        (QueryDeclined(Status.CANCELLED), Alert.CONTRADICTION),
        (PushRefused(), Alert.CONTRADICTION),
        (PushNotSent(), Alert.CONTRADICTION),
        (UnknownCode(OURS), Alert.UNKNOWN_CODE),
    ],
)
@pytest.mark.parametrize("status", ["PAID", "REFUNDED"])
def test_what_contradicts_a_settled_payment_alerts_and_changes_nothing(status: str, event: Event, alert: Alert) -> None:
    decision = after(payment(status), event)
    assert (decision.status, decision.alerts, decision.paid, decision.fill_receipt) == (status, (alert,), None, None)


@pytest.mark.parametrize("status", ["PAID", "REFUNDED"])
@pytest.mark.parametrize("event", [SUCCESS, QueryConfirmed(), Confirmed(OURS, None, None), PushUnanswered()])
def test_good_news_again_says_nothing_new(status: str, event: Event) -> None:
    decision = after(payment(status), event)
    assert (decision.status, decision.alerts, decision.paid, decision.fill_receipt) == (status, (), None, None)


# Large amounts --------------------------------------------------------------------------------------------------------


def test_a_large_success_waits_for_the_query() -> None:
    for status in ("PENDING", "FAILED", "CANCELLED", "EXPIRED", "REVIEW"):
        decision = after(payment(status, amount_kes=LARGE_KES), Confirmed(OURS, LARGE_KES, RECEIPT))
        assert (decision.status, decision.outcome, decision.hold_success) == (status, Outcome.WAITS_FOR_QUERY, True)


def test_the_threshold_itself_is_not_large() -> None:
    at = Decimal(20_000)
    assert after(payment("PENDING", amount_kes=at), Confirmed(OURS, at, RECEIPT)).status is Status.PAID


def test_a_large_success_for_an_id_only_it_told_us_goes_to_a_person() -> None:
    for known in ({"ids": None}, {"ids": OURS, "ids_are_learnt": True}):
        decision = after(payment("UNCERTAIN", amount_kes=LARGE_KES, **known), Confirmed(OURS, LARGE_KES, RECEIPT))
        assert (decision.status, decision.review_reason) == (Status.REVIEW, ReviewReason.UNCONFIRMED_LARGE)


@pytest.mark.parametrize(
    ("success", "reason"),
    [
        (Confirmed(OURS, LARGE_KES, RECEIPT), ReviewReason.UNCONFIRMED_LARGE),
        (Confirmed(OURS, None, None), ReviewReason.INCOMPLETE_SUCCESS),
    ],
)
def test_a_success_that_overtakes_the_answer_to_its_push_is_held_for_it(
    success: Confirmed, reason: ReviewReason
) -> None:
    amount_kes = success.amount_kes or KES
    overtaken = payment("INITIATED", amount_kes=amount_kes)
    decision = after(overtaken, success)
    assert (decision.status, decision.hold_success, decision.ids_are_learnt) == (Status.INITIATED, True, True)
    held = payment("INITIATED", amount_kes=amount_kes, ids=OURS, ids_are_learnt=True, success_held=True)
    answered = after(held, PushAccepted(OURS))
    assert (answered.status, answered.ids, answered.ids_are_learnt) == (Status.PENDING, OURS, False)
    died = around(timedelta(seconds=90))
    for decision in (after(held, PushUnanswered()), after(held, TimePassed(), died)):
        assert (decision.status, decision.review_reason) == (Status.REVIEW, reason)
    for refused in (PushRefused(), PushNotSent()):
        assert after(held, refused).review_reason is ReviewReason.CONTRADICTION


def test_a_query_that_contradicts_a_held_success_goes_to_a_person() -> None:
    for status in ("PENDING", "FAILED"):
        held = payment(status, amount_kes=LARGE_KES, success_held=True)
        decision = after(held, QueryDeclined(Status.CANCELLED))
        assert (decision.status, decision.review_reason) == (Status.REVIEW, ReviewReason.CONTRADICTION)


def test_a_failing_callback_beside_a_held_success_leaves_the_word_to_the_query() -> None:
    """Both orders in which a success and a failure can arrive must come to the same end."""
    held = payment("PENDING", amount_kes=LARGE_KES, success_held=True)
    decision = after(held, FAILS)
    assert (decision.status, decision.alerts) == (Status.PENDING, (Alert.CONTRADICTION,))


# Time -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "age", "becomes", "alerts"),
    [
        ("INITIATED", timedelta(seconds=89), "INITIATED", ()),
        ("INITIATED", timedelta(seconds=90), "UNCERTAIN", ()),
        ("INITIATED", timedelta(minutes=15), "UNCERTAIN", (Alert.SILENCE,)),
        ("UNCERTAIN", timedelta(minutes=14, seconds=59), "UNCERTAIN", ()),
        ("UNCERTAIN", timedelta(minutes=15), "REVIEW", (Alert.SILENCE,)),
        ("PENDING", timedelta(minutes=14, seconds=59), "PENDING", ()),
        ("PENDING", timedelta(minutes=15), "PENDING", (Alert.SILENCE,)),
        ("PENDING", timedelta(minutes=59, seconds=59), "PENDING", (Alert.SILENCE,)),
        ("PENDING", timedelta(minutes=60), "REVIEW", (Alert.SILENCE,)),
        *((status, timedelta(days=400), status, ()) for status in ALL if Status(status) not in OPEN),
    ],
)
def test_silence_is_told_and_reviewed_and_never_fails_a_payment(
    status: str, age: timedelta, becomes: str, alerts: tuple[Alert, ...]
) -> None:
    decision = after(payment(status), TimePassed(), around(age))
    assert (decision.status, decision.alerts) == (becomes, alerts)


# People ---------------------------------------------------------------------------------------------------------------


def test_an_operator_cannot_pay_with_a_receipt_that_paid_another() -> None:
    assert after(payment("REVIEW"), OperatorPaid(RECEIPT), around(receipt_taken=True)).status is Status.REVIEW


# When Daraja is asked -------------------------------------------------------------------------------------------------


def test_the_first_query_comes_after_20_seconds() -> None:
    assert timedelta(seconds=20) == FIRST_QUERY_AFTER


@pytest.mark.parametrize(
    ("age", "then"),
    [
        (timedelta(seconds=20), timedelta(seconds=60)),
        (timedelta(minutes=4, seconds=59), timedelta(seconds=60)),
        (timedelta(minutes=5), timedelta(minutes=2)),
        (timedelta(minutes=14, seconds=59), timedelta(minutes=2)),
        (timedelta(minutes=15), timedelta(minutes=15)),
        (timedelta(hours=23, minutes=59), timedelta(minutes=15)),
        (timedelta(hours=24), None),
    ],
)
def test_a_silent_payment_is_asked_about_less_and_less_often(age: timedelta, then: timedelta | None) -> None:
    asked_at = NOON + age
    assert next_query_at(payment("PENDING"), asked_at) == (asked_at + then if then else None)


def test_a_failure_that_may_be_taken_back_is_asked_about_after_5_minutes_and_after_an_hour() -> None:
    failed_at = NOON
    assert queries_after_failure(failed_at, failed_at) == failed_at + timedelta(minutes=5)
    assert queries_after_failure(failed_at, failed_at + timedelta(minutes=5)) == failed_at + timedelta(hours=1)
    assert queries_after_failure(failed_at, failed_at + timedelta(minutes=40)) == failed_at + timedelta(hours=1)
    assert queries_after_failure(failed_at, failed_at + timedelta(hours=1)) is None


def test_the_failures_that_may_be_taken_back_are_the_five_that_were_seen_to_be() -> None:
    taken_back = {known.code for known in CALLBACK_FAILURES.values() if known.may_be_taken_back}
    assert taken_back == {"1037", "1019", "1036", "26", "9999"}
