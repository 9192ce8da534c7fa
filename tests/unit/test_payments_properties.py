"""What holds for every payment, whatever happens to it and in whichever order, tried on made-up histories."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.database import Database
from shared.payments import (
    NOT_PAID,
    OPEN,
    SETTLED,
    TRANSITIONS,
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
THRESHOLD_KES = Decimal(20_000)
OURS, OTHERS = Ids("1-1-1", "ws_CO_1"), Ids("2-2-2", "ws_CO_2")
MIXED = Ids("1-1-1", "ws_CO_2")

ids = st.sampled_from([None, OURS, OTHERS, MIXED])
receipts = st.sampled_from([None, "UE00000001", "UE00000002"])
amounts = st.sampled_from([Decimal(1), Decimal(1500), THRESHOLD_KES, THRESHOLD_KES + 1, Decimal(250_000)])
failures = st.sampled_from(sorted(NOT_PAID))
statuses = st.sampled_from(sorted(Status))
befores = {
    Status.REFUNDED: [None, Before(Status.PAID), Before(Status.REVIEW, ReviewReason.DUPLICATE_PAYMENT)],
    Status.FAILED: [None, Before(Status.REVIEW, ReviewReason.SILENCE)],
}
"""Where what a person ended stood before."""


@st.composite
def payments(draw: st.DrawFn) -> Payment:
    """Any row that the schema allows, also ones that no history of ours leads to."""
    status, known = draw(statuses), draw(st.sampled_from([None, OURS]))
    if status is Status.PENDING:
        known = OURS
    return Payment(
        id="a payment",
        status=status,
        amount_kes=draw(amounts),
        created_at=NOON,
        ids=known,
        ids_are_learnt=known is not None and status is not Status.PENDING and draw(st.booleans()),
        review_reason=draw(st.sampled_from(ReviewReason)) if status is Status.REVIEW else None,
        receipt=draw(receipts) if status in SETTLED else None,
        success_held=draw(st.booleans()),
        pushed=draw(st.booleans()),
        before=draw(st.sampled_from(befores.get(status, [None]))),
    )


def events(amount_kes: Decimal | None = None) -> st.SearchStrategy[Event]:
    reported = amounts if amount_kes is None else st.sampled_from([amount_kes, amount_kes + 1])
    return st.one_of(
        st.builds(PushAccepted, st.sampled_from([OURS, OTHERS, MIXED])),
        st.sampled_from([PushRefused(), PushUnanswered(), PushNotSent(), QueryConfirmed(), TimePassed()]),
        st.builds(Confirmed, ids, st.one_of(st.none(), reported), receipts),
        st.builds(Declined, ids, failures),
        st.builds(UnknownCode, ids),
        st.builds(QueryDeclined, failures),
        st.sampled_from([OperatorPaid("UE00000001"), OperatorFailed(), OperatorRefunded("UE00000009")]),
        st.just(OperatorReopened()),
        st.builds(StatementPaid, st.sampled_from(["UE00000001", "UE00000002"]), reported),
        st.builds(StatementRefunded, st.sampled_from(["UE00000001", "UE00000009"]), reported),
        st.builds(
            BookedByHand, st.just("UE00000001"), reported, st.sampled_from(["callback", "statement"]).map(ConfirmedBy)
        ),
    )


circumstances = st.builds(
    Circumstances,
    now=st.timedeltas(timedelta(0), timedelta(days=2)).map(lambda age: NOON + age),
    confirm_above_kes=st.just(THRESHOLD_KES),
    receipt_taken=st.booleans(),
    ids_taken=st.booleans(),
    duplicate_paid=st.booleans(),
    order_paid=st.booleans(),
    push_in_flight=st.booleans(),
    receipts_named=st.frozensets(st.sampled_from(["UE00000001", "UE00000002"])),
)


@given(payments(), events(), circumstances)
def test_deciding_never_raises_and_never_leaves_the_table(
    payment: Payment, event: Event, around: Circumstances
) -> None:
    decision = decide(payment, event, around)
    assert decision.status is payment.status or (payment.status, decision.status) in TRANSITIONS


@given(payments(), events(), circumstances)
def test_what_was_paid_stays_paid_until_a_person_or_a_statement_says_that_it_went_back(
    payment: Payment, event: Event, around: Circumstances
) -> None:
    if payment.status not in SETTLED:
        return
    now = decide(payment, event, around).status
    match event:
        case OperatorRefunded():
            went_back = payment.status is Status.PAID and not around.receipt_taken
            assert now is (Status.REFUNDED if went_back else payment.status)
        case StatementRefunded(receipt, amount_kes) if now is not payment.status:
            assert (payment.status, now) == (Status.PAID, Status.REFUNDED)
            assert receipt not in {payment.receipt, *around.receipts_named}
            assert amount_kes == payment.amount_kes <= THRESHOLD_KES
            assert not around.receipt_taken
        case OperatorReopened() if now is not payment.status:
            assert payment.status is Status.REFUNDED
            assert payment.before is not None
            assert now is payment.before.status
        case _:
            assert now is payment.status


@given(payments(), events(), circumstances)
def test_only_what_a_person_ended_is_reopened_and_only_to_where_it_was(
    payment: Payment, event: Event, around: Circumstances
) -> None:
    decision = decide(payment, event, around)
    if (decision.outcome is Outcome.REOPENED) != (isinstance(event, OperatorReopened) and payment.before is not None):
        assert around.already_judged
    if decision.outcome is Outcome.REOPENED:
        assert payment.before == Before(decision.status, decision.review_reason)
        assert decision.paid is None, "what was confirmed still is"


@given(payments(), events(), circumstances)
def test_nobody_is_paid_without_evidence_of_the_exact_amount(
    payment: Payment, event: Event, around: Circumstances
) -> None:
    decision = decide(payment, event, around)
    becomes_paid = decision.status is Status.PAID and payment.status not in SETTLED
    assert becomes_paid == (decision.paid is not None)
    if decision.paid is None:
        return
    assert not around.ids_taken or not isinstance(event, Confirmed)
    match event:
        case Confirmed(reported, amount_kes, receipt):
            assert amount_kes == payment.amount_kes
            assert receipt is not None
            assert receipt == decision.paid.receipt
            assert not around.receipt_taken
            assert payment.ids is None or reported == payment.ids
            assert payment.amount_kes <= THRESHOLD_KES
            assert not around.duplicate_paid
        case QueryConfirmed():
            assert payment.ids is not None
            assert not payment.ids_are_learnt
            assert decision.paid.receipt is None
            assert not around.duplicate_paid
        case OperatorPaid(receipt):
            assert payment.status is Status.REVIEW
            assert not around.receipt_taken
        case StatementPaid(receipt, amount_kes):
            assert amount_kes == payment.amount_kes <= THRESHOLD_KES
            assert not around.receipt_taken
            assert not around.duplicate_paid
            assert not around.push_in_flight
            on_file = payment.review_reason is ReviewReason.INCOMPLETE_SUCCESS and receipt in around.receipts_named
            assert payment.review_reason in (None, ReviewReason.SILENCE, ReviewReason.UNKNOWN_CODE) or on_file
        case BookedByHand(receipt, amount_kes):
            assert amount_kes == payment.amount_kes
            assert not around.receipt_taken
            assert payment.status not in OPEN or not payment.pushed
        case _:
            pytest.fail(f"{event} is no evidence of money")


@given(payments(), events(), circumstances)
def test_a_review_has_a_reason_and_an_alert_and_nothing_else_has_a_reason(
    payment: Payment, event: Event, around: Circumstances
) -> None:
    decision = decide(payment, event, around)
    assert (decision.status is Status.REVIEW) == (decision.review_reason is not None)
    assert decision.status is not Status.REVIEW or payment.status is Status.REVIEW or decision.alerts


@given(payments(), events(), circumstances)
def test_ids_from_a_callback_never_replace_stored_ones(payment: Payment, event: Event, around: Circumstances) -> None:
    decision = decide(payment, event, around)
    if decision.ids is not None and not isinstance(event, PushAccepted):
        assert payment.ids is None
        assert decision.ids_are_learnt
    if decision.ids is not None:
        assert not around.ids_taken


@given(payments(), events(), circumstances)
def test_a_receipt_is_filled_in_once_and_never_replaced(payment: Payment, event: Event, around: Circumstances) -> None:
    decision = decide(payment, event, around)
    if decision.fill_receipt is not None:
        assert payment.status in SETTLED
        assert payment.receipt is None
        assert not around.receipt_taken


# Histories ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SoFar:
    """A payment with what was written about it: how often it was confirmed, and by whom."""

    payment: Payment
    confirmations: int = 0
    evidence: ConfirmedBy | None = None

    def then(self, event: Event, at: datetime = NOON + timedelta(minutes=1)) -> SoFar:
        decision = decide(self.payment, event, Circumstances(at, THRESHOLD_KES))
        return SoFar(
            written(self.payment, event, decision),
            self.confirmations + (decision.paid is not None),
            decision.paid.evidence if decision.paid else self.evidence,
        )


def written(payment: Payment, event: Event, decision: Decision) -> Payment:
    """As the gateway writes it."""
    receipt = decision.paid.receipt if decision.paid else decision.fill_receipt or payment.receipt
    return replace(
        payment,
        status=decision.status,
        review_reason=decision.review_reason,
        ids=decision.ids or payment.ids,
        ids_are_learnt=decision.ids_are_learnt if decision.ids else payment.ids_are_learnt,
        receipt=receipt,
        success_held=(payment.success_held or decision.hold_success) and not decision.drop_success,
        before=payment.before if decision.status is payment.status else ended_by(event, payment),
        refunded_unpaid=decision.status is Status.REFUNDED and receipt is None,
    )


def ended_by(event: Event, payment: Payment) -> Before | None:
    reason = payment.review_reason and payment.review_reason.value
    return before_the_word(type(event).__name__, payment.status.value, reason)


def ordered(amount_kes: Decimal) -> SoFar:
    return SoFar(Payment("a payment", Status.INITIATED, amount_kes, NOON))


@st.composite
def histories(draw: st.DrawFn) -> tuple[Decimal, list[Event]]:
    amount_kes = draw(amounts)
    return amount_kes, draw(st.lists(events(amount_kes), max_size=12))


@given(histories())
@settings(max_examples=300)
def test_a_payment_is_confirmed_once_and_the_same_news_again_changes_nothing(
    history: tuple[Decimal, list[Event]],
) -> None:
    amount_kes, happened = history
    so_far = ordered(amount_kes)
    for event in happened:
        so_far = so_far.then(event)
        assert so_far.confirmations == (so_far.payment.status is Status.PAID or so_far.evidence is not None)
        assert so_far.confirmations <= 1
        if not isinstance(event, PushAccepted | PushRefused | PushNotSent | PushUnanswered):  # there is one push
            assert so_far.then(event) == so_far
    booked = any(isinstance(event, BookedByHand) for event in happened)
    if amount_kes > THRESHOLD_KES and so_far.payment.status is Status.PAID and not booked:
        assert so_far.evidence in (ConfirmedBy.QUERY, ConfirmedBy.OPERATOR)


EVIDENCE: dict[str, Event] = {
    "accepted": PushAccepted(OURS),
    "confirmed": Confirmed(OURS, Decimal(1500), "UE00000001"),
    "query confirmed": QueryConfirmed(),
    "failed": Declined(OURS, Status.FAILED),
    "unknown code": UnknownCode(OURS),
    "silence": TimePassed(),
}
SMALL, LARGE = Decimal(1500), Decimal(50_000)


@pytest.mark.parametrize(
    ("amount_kes", "happened"),
    [
        (SMALL, ("confirmed", "failed")),
        (SMALL, ("confirmed", "failed", "unknown code", "silence")),
        *[
            (amount_kes, happened)
            for amount_kes in (SMALL, LARGE)  # what is large is paid only where a query is among the news
            for happened in [
                ("confirmed", "query confirmed"),
                ("confirmed", "failed", "query confirmed"),
                ("confirmed", "failed", "silence", "query confirmed"),
                ("confirmed", "unknown code", "query confirmed"),
                ("failed", "query confirmed"),
            ]
        ],
    ],
)
def test_callbacks_and_queries_of_one_payment_lead_to_the_same_end_in_any_order(
    amount_kes: Decimal, happened: tuple[str, ...]
) -> None:
    """After the push was answered; Daraja cannot be asked before. Silence is an hour of it."""
    ends, receipt = set(), "UE00000001" if "confirmed" in happened else None
    for order in itertools.permutations(happened):
        so_far = ordered(amount_kes).then(EVIDENCE["accepted"])
        for name in order:
            event = EVIDENCE[name]
            if isinstance(event, Confirmed):
                event = replace(event, amount_kes=amount_kes)
            so_far = so_far.then(event, NOON + timedelta(hours=2 if name == "silence" else 0))
        if so_far.payment.success_held:  # what the held callback says is judged again once a query has agreed
            so_far = so_far.then(Confirmed(OURS, amount_kes, "UE00000001"))
        ends.add((so_far.payment.status, receipt and so_far.payment.receipt, so_far.confirmations))
    assert ends == {(Status.PAID, receipt, 1)}


@pytest.mark.parametrize("first", ["accepted", "confirmed", "failed", "unknown code"])
def test_the_pushs_answer_and_the_callback_may_come_in_any_order(first: str) -> None:
    for second in {"accepted", "confirmed", "failed", "unknown code"} - {first}:
        ends = [
            ordered(Decimal(1500)).then(EVIDENCE[a]).then(EVIDENCE[b]).payment
            for a, b in ((first, second), (second, first))
        ]
        if {first, second} & {"accepted", "confirmed"}:
            assert ends[0].status is ends[1].status
        if "accepted" in (first, second):
            assert ends[0] == ends[1]


# The table and the database -------------------------------------------------------------------------------------------


def test_the_database_allows_exactly_the_transitions_of_the_table(database: Database) -> None:
    with database.transaction() as tx:
        rows = tx.rows(
            """
            SELECT was, now FROM unnest(CAST(:statuses AS text[])) was, unnest(CAST(:statuses AS text[])) now
            WHERE payment_may_go(was, now)
            """,
            statuses="{" + ",".join(Status) + "}",
        )
    assert {(row["was"], row["now"]) for row in rows} == {(str(was), str(now)) for was, now in TRANSITIONS}


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
    yield OperatorReopened()
    yield StatementPaid("UE00000005", payment.amount_kes)
    yield StatementRefunded("UE00000006", payment.amount_kes)
    yield BookedByHand("UE00000007", payment.amount_kes, ConfirmedBy.STATEMENT)


def test_every_transition_of_the_table_is_reached_by_some_event() -> None:
    reached = set()
    yes_or_no = (False, True)
    for status, reason, known, learnt, held, taken, duplicate, age_s in itertools.product(
        Status, [None, *ReviewReason], (None, OURS), yes_or_no, yes_or_no, yes_or_no, yes_or_no, (0, 4000)
    ):
        if (status is Status.REVIEW) != (reason is not None):
            continue
        around = Circumstances(NOON + timedelta(seconds=age_s), THRESHOLD_KES, False, taken, duplicate)
        for before in befores.get(status, [None]):
            payment = Payment(
                "a payment", status, Decimal(1500), NOON, known, learnt, reason, None, held, before=before
            )
            for event in every_event(payment):
                now = decide(payment, event, around).status
                if now is not status:
                    reached.add((status, now))
    assert reached == TRANSITIONS
