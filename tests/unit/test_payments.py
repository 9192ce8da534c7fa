"""What becomes of a payment, row by row: what the rules about money say, written without looking at the code."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from shared.payments import (
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
    (OperatorRefunded("UE00000008"), {"REVIEW": "REFUNDED", "PAID": "REFUNDED"}),
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


def test_the_table_has_every_event() -> None:
    assert {type(event) for event, _ in BECOMES} == set(Event.__args__)


def test_every_status_has_a_public_name() -> None:
    assert {status: PUBLIC[Status(status)] for status in ALL} == {
        "INITIATED": "pending", "PENDING": "pending", "UNCERTAIN": "pending", "PAID": "paid", "FAILED": "failed",
        "CANCELLED": "failed", "EXPIRED": "failed", "REVIEW": "under_review", "REFUNDED": "refunded",
    }  # fmt: skip


def test_the_schema_has_the_same_transitions() -> None:
    says = (ROOT / "db" / "schema.sql").read_text(encoding="utf-8").partition("FUNCTION payment_may_go")[2]
    pairs = re.findall(r"'([A-Z]+) ([A-Z]+)'", says.partition("$$;")[0].partition("\n$$")[0])
    assert {(str(was), str(now)) for was, now in TRANSITIONS} == set(pairs)


def test_what_is_paid_can_only_be_refunded() -> None:
    assert {(was, now) for was, now in TRANSITIONS if was in (Status.PAID, Status.REFUNDED)} == {
        (Status.PAID, Status.REFUNDED)
    }


# Success --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", sorted(NOT_PAID))
@pytest.mark.parametrize("event", [SUCCESS, QueryConfirmed()])
def test_money_after_a_failure_is_paid_late_with_an_alert(status: str, event: Event) -> None:
    decision = after(payment(status), event)
    assert (decision.outcome, decision.alerts) == (Outcome.PAID_LATE, (Alert.LATE_PAYMENT,))


@pytest.mark.parametrize("event", [SUCCESS, QueryConfirmed()])
def test_the_second_payment_of_the_same_order_goes_to_a_person(event: Event) -> None:
    for status in ("PENDING", "FAILED", "REVIEW"):
        decision = after(payment(status), event, around(duplicate_paid=True))
        assert (decision.status, decision.review_reason) == (Status.REVIEW, ReviewReason.DUPLICATE_PAYMENT)
        assert decision.paid is None


@pytest.mark.parametrize("reason", list(ReviewReason))
def test_a_fitting_callback_resolves_most_reviews(reason: ReviewReason) -> None:
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
def test_no_later_evidence_replaces_a_reason_that_no_callback_can_resolve(reason: ReviewReason) -> None:
    for event in (Confirmed(OURS, KES + 1, RECEIPT), UnknownCode(OURS), Confirmed(OTHERS, KES, RECEIPT), SUCCESS):
        decision = after(payment("REVIEW", review_reason=reason), event)
        assert (decision.status, decision.review_reason) == (Status.REVIEW, reason)


# Paid already ---------------------------------------------------------------------------------------------------------


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
def test_a_success_again_changes_nothing(status: str, event: Event) -> None:
    decision = after(payment(status), event)
    assert (decision.status, decision.alerts, decision.paid, decision.fill_receipt) == (status, (), None, None)


# Large amounts, and time ----------------------------------------------------------------------------------------------


def test_a_large_success_waits_for_the_query() -> None:
    for status in ("PENDING", "FAILED", "CANCELLED", "EXPIRED", "REVIEW"):
        decision = after(payment(status, amount_kes=LARGE_KES), Confirmed(OURS, LARGE_KES, RECEIPT))
        assert (decision.status, decision.outcome, decision.hold_success) == (status, Outcome.WAITS_FOR_QUERY, True)


@pytest.mark.parametrize("status", [status for status in ALL if Status(status) not in OPEN])
def test_time_changes_nothing_that_is_not_open(status: str) -> None:
    decision = after(payment(status), TimePassed(), around(timedelta(days=400)))
    assert (decision.status, decision.alerts) == (status, ())
