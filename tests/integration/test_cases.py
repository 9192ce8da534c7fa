"""A payment under lock: what a decision is shown of the books, and what each writes into them, to the column."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from shared.database import Database
from shared.gateway.cases import Evidence
from shared.gateway.invoices import AddressErased, NoAddress, NotPaid, Operator, Requested, Waiting
from shared.payments import (
    Alert,
    Confirmed,
    Decision,
    Declined,
    Ids,
    OperatorFailed,
    OperatorPaid,
    OperatorRefunded,
    Outcome,
    Paid,
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
from shared.payments import Evidence as On
from tests.fixtures.ledger import PHONES, PUSH_ANSWER, Changes, Ledger, ids

KES = Decimal(1500)
LARGE = Decimal(20_001)
RECEIPT, ANOTHER = "UE4JS31RBV", "UE4JS31RBW"
FIVE_O_CLOCK = datetime(2026, 5, 4, 14, 0, tzinfo=UTC)
OURS = ids(1)


@pytest.fixture(autouse=True)
def every_history_is_signed_as_it_was_written(ledger: Ledger) -> Iterator[None]:
    yield
    assert ledger.wrongly_signed() == []


def pushed(ledger: Ledger, number: int = 1, **order: object) -> str:
    """A payment whose push Daraja took."""
    transaction_id = ledger.admit(**order)  # type: ignore[arg-type]
    ledger.tell(transaction_id, PushAccepted(ids(number)), Evidence("stkpush", "PushAccepted", **PUSH_ANSWER))  # type: ignore[arg-type]
    return transaction_id


def paid(ledger: Ledger, number: int = 1, receipt: str = RECEIPT, **order: object) -> str:
    transaction_id = pushed(ledger, number, **order)
    ledger.tell(transaction_id, Confirmed(ids(number), order.get("amount_kes", KES), receipt))  # type: ignore[arg-type]
    assert ledger.payment(transaction_id)["status"] == "PAID"
    return transaction_id


def in_review(ledger: Ledger, reason: ReviewReason = ReviewReason.SILENCE, **order: object) -> str:
    transaction_id = ledger.admit(**order)  # type: ignore[arg-type]
    ledger.record(transaction_id, Decision(Status.REVIEW, Outcome.TO_REVIEW, reason))
    return transaction_id


def at(changes: Changes) -> datetime:
    """The moment of the transaction that made them: all that says now says this."""
    moment = changes.audit[0]["at"]
    assert isinstance(moment, datetime)
    return moment


def asks_at_once(ledger: Ledger, changes: Changes, after: timedelta = timedelta(0)) -> bool:
    """The next question is due by the clock that was read within the same transaction, or so long after it."""
    asks_at, now = changes.columns["next_query_at"], ledger.row("SELECT clock_timestamp() AS now")["now"]
    return bool(at(changes) + after <= asks_at <= now + after)


# Under lock -----------------------------------------------------------------------------------------------------------


def test_an_open_case_keeps_everybody_else_from_its_phone_and_from_its_row(ledger: Ledger, database_url: str) -> None:
    phone_is_free = "SELECT pg_try_advisory_xact_lock(hashtextextended(CAST(:phone AS text), 0)) AS free"
    row_is_free = "SELECT id FROM transactions FOR UPDATE SKIP LOCKED"
    transaction_id = ledger.admit(PHONES[0])
    somebody_else = Database(database_url)
    try:
        with ledger.gateway.cases.open(transaction_id, Evidence("a test", "Event")), somebody_else.transaction() as tx:
            assert tx.row(phone_is_free, phone=PHONES[0]) == {"free": False}
            assert tx.row(phone_is_free, phone=PHONES[1]) == {"free": True}
            assert tx.row(row_is_free) is None
        with somebody_else.transaction() as tx:
            assert tx.row(phone_is_free, phone=PHONES[0]) == {"free": True}
            assert tx.row(row_is_free) is not None
    finally:
        somebody_else.close()


def test_a_payment_that_is_not_there_is_no_case(ledger: Ledger) -> None:
    pushed(ledger)
    with ledger.gateway.cases.open("0c9e8f1a-0b1c-4d2e-8f3a-5b6c7d8e9f00", Evidence("a test", "Event")) as case:
        assert case is None


def test_a_decision_about_a_status_that_has_changed_since_is_not_written(ledger: Ledger) -> None:
    """The locks keep others away; should they ever fail to, the status itself is compared once more."""
    transaction_id = pushed(ledger)
    paying = Decision(Status.PAID, Outcome.PAID, paid=Paid(On.CALLBACK, RECEIPT), alerts=(Alert.LATE_PAYMENT,))
    filling = replace(paying, paid=None, fill_receipt=RECEIPT)
    books = "SELECT * FROM transactions", "SELECT * FROM audit_log", "SELECT * FROM payment_confirmations"
    for decision in (paying, filling):
        with ledger.gateway.cases.open(transaction_id, Evidence("a test", "Event")) as case:
            assert case is not None
            case._tx.run("UPDATE transactions SET status = 'FAILED', failed_at = now()")
            before = [case._tx.rows(table) for table in books]
            assert case.record(decision) is False
            assert [case._tx.rows(table) for table in books] == before
            assert case._tx.rows("SELECT * FROM outbox") == []
            case._tx.run("SET LOCAL session_replication_role = 'replica'")
            case._tx.run("UPDATE transactions SET status = 'PENDING', failed_at = NULL")


def test_only_the_payment_itself_is_written(ledger: Ledger) -> None:
    transaction_id, other = pushed(ledger, 1), pushed(ledger, 2)
    before = ledger.payment(other)
    ledger.tell(transaction_id, Confirmed(ids(1), KES, RECEIPT))
    assert ledger.payment(other) == before


# What a decision is shown ---------------------------------------------------------------------------------------------


def test_a_new_payment_is_shown_as_it_was_ordered(ledger: Ledger) -> None:
    transaction_id = ledger.admit(amount_kes=Decimal(700))
    payment, around = ledger.case(transaction_id)
    row = ledger.payment(transaction_id)
    assert payment.id == transaction_id
    assert (payment.status, payment.amount_kes, payment.created_at) == (
        Status.INITIATED,
        Decimal(700),
        row["created_at"],
    )
    assert (payment.ids, payment.ids_are_learnt, payment.review_reason, payment.receipt) == (None, False, None, None)
    assert payment.success_held is False
    assert (around.receipt_taken, around.ids_taken, around.twin_paid) == (False, False, False)
    assert around.confirm_above_kes == 20_000
    assert around.now > row["created_at"]


def test_a_payment_is_shown_with_its_ids_and_whether_they_are_learnt(ledger: Ledger) -> None:
    asked, overtaken = pushed(ledger, 1), ledger.admit()
    ledger.tell(overtaken, Declined(ids(2), Status.FAILED))
    assert (ledger.case(asked)[0].ids, ledger.case(asked)[0].ids_are_learnt) == (ids(1), False)
    assert (ledger.case(overtaken)[0].ids, ledger.case(overtaken)[0].ids_are_learnt) == (ids(2), True)


def test_a_paid_payment_is_shown_with_its_receipt(ledger: Ledger) -> None:
    payment, _ = ledger.case(paid(ledger))
    assert (payment.status, payment.receipt) == (Status.PAID, RECEIPT)


def test_a_review_is_shown_with_its_reason_and_a_held_success_is_shown(ledger: Ledger) -> None:
    payment, _ = ledger.case(in_review(ledger, ReviewReason.REUSED_RECEIPT))
    assert (payment.status, payment.review_reason) == (Status.REVIEW, ReviewReason.REUSED_RECEIPT)
    large = pushed(ledger, amount_kes=LARGE)
    ledger.tell(large, Confirmed(OURS, LARGE, RECEIPT))
    assert ledger.case(large)[0].success_held is True


def test_a_refund_is_shown_as_one_of_money_that_no_confirmation_tells_of_where_it_came_from_review(
    ledger: Ledger,
) -> None:
    for put, refund_receipt, unpaid in ((in_review, "UE5AA11BB1", True), (paid, "UE5AA11BB2", False)):
        transaction_id = put(ledger)
        assert ledger.case(transaction_id)[0].refunded_unpaid is False
        told = Evidence("operator amina", "OperatorRefunded", receipt=refund_receipt)
        ledger.tell(transaction_id, OperatorRefunded(), told)
        assert ledger.case(transaction_id)[0].refunded_unpaid is unpaid


def test_the_clock_of_a_decision_is_the_database_s_and_read_under_the_lock(ledger: Ledger) -> None:
    transaction_id = pushed(ledger)
    with ledger.gateway.cases.open(transaction_id, Evidence("a test", "Event")) as case:
        assert case is not None
        row = case._tx.row("SELECT now() AS began, clock_timestamp() AS now")
        assert row is not None
        assert row["began"] < case.circumstances.now < row["now"]


def test_a_receipt_is_taken_where_it_confirms_another_payment_and_only_there(ledger: Ledger) -> None:
    mine, other = paid(ledger, 1, RECEIPT), pushed(ledger, 2)
    says_mine, says_new = Evidence("a test", "Event", receipt=RECEIPT), Evidence("a test", "Event", receipt=ANOTHER)
    assert ledger.case(other, says_mine)[1].receipt_taken is True
    assert ledger.case(other, says_new)[1].receipt_taken is False
    assert ledger.case(mine, says_mine)[1].receipt_taken is False
    assert ledger.case(other)[1].receipt_taken is False


def test_a_receipt_is_taken_too_where_it_names_money_that_went_back_for_another_payment(ledger: Ledger) -> None:
    mine, other = in_review(ledger), pushed(ledger, 2)
    says_mine = Evidence("operator amina", "OperatorRefunded", receipt=RECEIPT)
    ledger.tell(mine, OperatorRefunded(), says_mine)
    assert ledger.case(other, says_mine)[1].receipt_taken is True
    assert ledger.case(other, replace(says_mine, receipt=ANOTHER))[1].receipt_taken is False
    assert ledger.case(mine, says_mine)[1].receipt_taken is False


def test_a_callback_was_weighed_before_once_it_led_to_more_than_waiting_for_a_query(ledger: Ledger) -> None:
    transaction_id, other = pushed(ledger, 1, amount_kes=LARGE), pushed(ledger, 2)
    first, second = (Evidence("callback", "Event", inbox_id=ledger.on_file(transaction_id).id) for _ in range(2))
    assert ledger.case(transaction_id, first)[1].weighed_before is False
    ledger.tell(transaction_id, Confirmed(OURS, LARGE, RECEIPT), first)
    assert ledger.case(transaction_id, first)[1].weighed_before is False
    ledger.tell(transaction_id, UnknownCode(OURS), second)
    assert ledger.case(transaction_id, second)[1].weighed_before is True
    assert ledger.case(transaction_id, first)[1].weighed_before is False
    assert ledger.case(transaction_id)[1].weighed_before is False
    assert ledger.case(other, second)[1].weighed_before is False


def test_a_callback_that_was_weighed_before_does_not_say_again_why_a_payment_failed(ledger: Ledger) -> None:
    transaction_id = pushed(ledger)
    entry_id = ledger.on_file(transaction_id).id
    told = Evidence("callback", "Declined", inbox_id=entry_id, result_code="1037", result_desc="DS timeout")
    ledger.tell(transaction_id, Declined(OURS, Status.FAILED), told)
    ledger.tell(transaction_id, QueryDeclined(Status.FAILED), Evidence("sweep", "QueryDeclined", result_code="1"))
    assert ledger.changes(transaction_id, Declined(OURS, Status.FAILED), told).columns == {}
    assert ledger.payment(transaction_id)["result_code"] == "1"


def test_the_ids_of_a_person_who_was_erased_are_shown_as_a_callback_tells_them(ledger: Ledger) -> None:
    asked, erased = Ids("29115-1", "ws_CO_040520261200708374149"), Ids("29115-1", "ws_CO_040520261200012345678")
    transaction_id = ledger.admit("254708374149")
    ledger.tell(transaction_id, PushAccepted(asked))
    ledger.overwrite(
        "UPDATE transactions SET phone_number = '254012345678', checkout_request_id = :erased",
        erased=erased.checkout_request_id,
    )
    assert ledger.case(transaction_id, Evidence("callback", "Confirmed", ids=asked))[0].ids == asked
    assert ledger.case(transaction_id, Evidence("callback", "Confirmed", ids=ids(2)))[0].ids == erased
    assert ledger.case(transaction_id)[0].ids == erased


def test_ids_are_taken_where_either_of_them_belongs_to_another_payment(ledger: Ledger) -> None:
    mine, other = pushed(ledger, 1), ledger.admit()

    def taken(transaction_id: str, merchant: int, checkout: int) -> bool:
        told = replace(ids(merchant), checkout_request_id=ids(checkout).checkout_request_id)
        return ledger.case(transaction_id, Evidence("a test", "Event", ids=told))[1].ids_taken

    assert taken(other, 1, 1) is True
    assert taken(other, 1, 2) is True
    assert taken(other, 2, 1) is True
    assert taken(other, 2, 2) is False
    assert taken(mine, 1, 1) is False


@pytest.mark.parametrize(
    ("order", "age_s", "twin"),
    [
        ({}, 0, True),
        ({}, 86_399 - 60, True),
        ({}, 86_400 + 1, False),
        ({"phone": PHONES[1]}, 0, False),
        ({"amount_kes": KES + 1}, 0, False),
        ({"account_reference": "INV00043"}, 0, False),
    ],
)
def test_a_twin_is_the_same_phone_amount_and_reference_paid_within_a_day(
    ledger: Ledger, order: dict[str, object], age_s: float, twin: bool
) -> None:
    first = paid(ledger, phone=PHONES[0])
    ledger.age(first, max(age_s, 200))
    if age_s == 0:
        ledger.overwrite("UPDATE transactions SET paid_at = now()")
    second = ledger.admit(**{"phone": PHONES[0], **order})  # type: ignore[arg-type]
    assert ledger.case(second)[1].twin_paid is twin
    assert ledger.case(first)[1].twin_paid is False


def test_a_first_attempt_that_is_not_paid_is_no_twin(ledger: Ledger) -> None:
    first = pushed(ledger, phone=PHONES[0])
    ledger.age(first, 3600)
    assert ledger.case(ledger.admit(PHONES[0]))[1].twin_paid is False


# What the push's answer writes ----------------------------------------------------------------------------------------


def test_an_accepted_push_writes_its_ids_and_the_answer_and_is_asked_about_after_20_seconds(ledger: Ledger) -> None:
    transaction_id = ledger.admit()
    told = Evidence("stkpush", "PushAccepted", ids=OURS, **PUSH_ANSWER)  # type: ignore[arg-type]
    changes = ledger.changes(transaction_id, PushAccepted(OURS), told)
    created_at = ledger.payment(transaction_id)["created_at"]
    assert changes.columns == {
        "status": "PENDING",
        "merchant_request_id": OURS.merchant_request_id,
        "checkout_request_id": OURS.checkout_request_id,
        **PUSH_ANSWER,
        "updated_at": at(changes),
        "next_query_at": created_at + timedelta(seconds=20),
    }
    assert said(changes) == [("stkpush", "PushAccepted", "accepted", "INITIATED", "PENDING", None, None, None)]
    assert (changes.outbox, changes.answers) == ([], [])


def said(changes: Changes) -> list[tuple[object, ...]]:
    """The audit rows, but for their number, moment and payment."""
    names = ("actor", "event", "outcome", "from_status", "to_status", "reason", "inbox_id", "said")
    return [tuple(row[name] for name in names) for row in changes.audit]


def test_an_answer_to_the_push_that_comes_late_has_us_ask_at_once(ledger: Ledger) -> None:
    transaction_id = ledger.admit()
    ledger.age(transaction_id, 60)
    changes = ledger.changes(transaction_id, PushAccepted(OURS))
    assert asks_at_once(ledger, changes)


def test_an_answer_to_the_push_of_a_success_that_is_held_has_us_ask_at_once(ledger: Ledger) -> None:
    transaction_id = ledger.admit(amount_kes=LARGE)
    ledger.tell(transaction_id, Confirmed(OURS, LARGE, RECEIPT))
    changes = ledger.changes(transaction_id, PushAccepted(OURS))
    assert (changes.columns["status"], changes.columns["ids_are_learnt"]) == ("PENDING", False)
    assert asks_at_once(ledger, changes)


@pytest.mark.parametrize("reason", [ReviewReason.SILENCE, ReviewReason.UNKNOWN_CODE])
def test_ids_that_come_to_a_review_which_a_query_can_end_have_us_ask(ledger: Ledger, reason: ReviewReason) -> None:
    fresh, old = in_review(ledger, reason), in_review(ledger, reason)
    changes = ledger.changes(fresh, PushAccepted(ids(1)))
    assert changes.columns["next_query_at"] == ledger.payment(fresh)["created_at"] + timedelta(seconds=20)
    ledger.age(old, 60)
    changes = ledger.changes(old, PushAccepted(ids(2)))
    assert asks_at_once(ledger, changes)
    assert changes.columns.keys() == {"merchant_request_id", "checkout_request_id", "next_query_at"}


def test_a_review_that_no_query_can_end_is_not_asked_about(ledger: Ledger) -> None:
    for number, reason in enumerate({*ReviewReason} - {ReviewReason.SILENCE, ReviewReason.UNKNOWN_CODE}):
        transaction_id = pushed(ledger, number)
        changes = ledger.changes_by(transaction_id, Decision(Status.REVIEW, Outcome.TO_REVIEW, reason))
        assert changes.columns["next_query_at"] is None


def test_ids_that_only_a_callback_told_us_are_kept_as_learnt_and_not_asked_about(ledger: Ledger) -> None:
    transaction_id = ledger.admit()
    changes = ledger.changes(transaction_id, UnknownCode(OURS), Evidence("callback", "UnknownCode", ids=OURS))
    assert changes.columns == {
        "status": "REVIEW",
        "review_reason": "unknown_code",
        "merchant_request_id": OURS.merchant_request_id,
        "checkout_request_id": OURS.checkout_request_id,
        "ids_are_learnt": True,
        "updated_at": at(changes),
    }


def test_news_that_names_no_ids_leaves_learnt_ids_learnt_and_the_pushs_answer_replaces_them(ledger: Ledger) -> None:
    transaction_id = ledger.admit()
    ledger.tell(transaction_id, UnknownCode(OURS))
    assert ledger.changes_by(transaction_id, stays(Status.REVIEW, Outcome.NOTED, ReviewReason.SILENCE)).columns == {
        "review_reason": "silence"
    }
    changes = ledger.changes(transaction_id, PushAccepted(ids(2)))
    assert (
        changes.columns.items()
        >= {
            "merchant_request_id": ids(2).merchant_request_id,
            "checkout_request_id": ids(2).checkout_request_id,
            "ids_are_learnt": False,
        }.items()
    )


def stays(status: Status, outcome: Outcome, reason: ReviewReason | None = None, *alerts: Alert) -> Decision:
    return Decision(status, outcome, reason, alerts=alerts)


@pytest.mark.parametrize(("event", "outcome"), [(PushRefused(), "refused"), (PushNotSent(), "not_sent")])
def test_a_push_that_never_left_frees_its_key_and_its_phone(
    ledger: Ledger, event: PushRefused | PushNotSent, outcome: str
) -> None:
    ledger.admit(key="another key")
    transaction_id = ledger.admit(key="a key")
    told = Evidence("stkpush", type(event).__name__, response_code="400.002.02", response_message="Bad Request")
    changes = ledger.changes(transaction_id, event, told)
    assert changes.columns == {
        "status": "FAILED",
        "updated_at": at(changes),
        "failed_at": at(changes),
        "pushed_at": None,
        "response_code": "400.002.02",
        "response_message": "Bad Request",
    }
    assert said(changes)[0][2:5] == (outcome, "INITIATED", "FAILED")
    assert [row["key"] for row in ledger.rows("SELECT key FROM idempotency_keys")] == ["another key"]


def test_an_unclear_push_keeps_its_key_and_its_phone(ledger: Ledger) -> None:
    transaction_id = ledger.admit(key="a key")
    told = Evidence("stkpush", "PushUnanswered", response_message="timed out")
    changes = ledger.changes(transaction_id, PushUnanswered(), told)
    assert changes.columns == {
        "status": "UNCERTAIN",
        "updated_at": at(changes),
        "response_message": "timed out",
    }
    assert len(ledger.rows("SELECT key FROM idempotency_keys")) == 1


def test_a_later_answer_that_says_less_leaves_the_first_answer_of_the_push(ledger: Ledger) -> None:
    transaction_id = pushed(ledger)
    assert ledger.changes(transaction_id, TimePassed()).columns == {}
    assert ledger.payment(transaction_id)["response_code"] == "0"
    assert ledger.payment(transaction_id)["response_message"] == PUSH_ANSWER["response_message"]


# What success writes --------------------------------------------------------------------------------------------------


def told_in(entry_id: str, **more: object) -> Evidence:
    """What a good callback says."""
    usual: dict[str, object] = {
        "inbox_id": entry_id,
        "receipts_seen": (RECEIPT,),
        "ids": OURS,
        "receipt": RECEIPT,
        "result_code": "0",
        "result_desc": "The service request is processed successfully.",
        "transaction_date": FIVE_O_CLOCK,
        "payer": "254708374149",
        "balance_kes": Decimal("12.50"),
    }
    return Evidence("callback", "Confirmed", **{**usual, **more})  # type: ignore[arg-type]


def test_a_callback_that_pays_writes_the_payment_its_confirmation_its_invoice_and_its_inbox_entry(
    ledger: Ledger,
) -> None:
    transaction_id = pushed(ledger, customer_email="alice@example.com", customer_name="Alice")
    entry, other = ledger.on_file(transaction_id), ledger.on_file(transaction_id)
    ledger.gateway.inbox.put_back(entry, "tried before", ())
    changes = ledger.changes(transaction_id, Confirmed(OURS, KES, RECEIPT), told_in(entry.id))
    payment = ledger.payment(transaction_id)
    assert changes.columns == {
        "status": "PAID",
        "updated_at": at(changes),
        "paid_at": at(changes),
        "callback_received_at": at(changes),
        "result_code": "0",
        "result_desc": "The service request is processed successfully.",
        "next_query_at": None,
    }
    assert [(*row[:6], str(row[6]), row[7]) for row in said(changes)] == [
        ("callback", "Confirmed", "paid", "PENDING", "PAID", None, entry.id, "0")
    ]
    assert (changes.outbox, changes.answers) == ([("invoice", "settled")], [])
    confirmation = ledger.row("SELECT * FROM payment_confirmations")
    assert {name: value for name, value in confirmation.items() if name not in ("id", "received_at")} == {
        "transaction_id": payment["id"],
        "evidence": "callback",
        "inbox_id": changes.audit[0]["inbox_id"],
        "result_code": "0",
        "result_desc": "The service request is processed successfully.",
        "amount": KES,
        "mpesa_receipt_number": RECEIPT,
        "balance_amount": Decimal("12.50"),
        "transaction_date": FIVE_O_CLOCK,
        "phone_number": "254708374149",
    }
    invoice = ledger.row("SELECT * FROM invoices")
    assert (invoice["transaction_id"], invoice["amount"], invoice["status"]) == (payment["id"], KES, "PENDING")
    assert (invoice["customer_email"], invoice["customer_name"]) == ("alice@example.com", "Alice")
    assert invoice["customer_phone"] == payment["phone_number"]
    judged = in_inbox(ledger, entry.id)
    assert (judged["outcome"], judged["receipts"], judged["judged_at"]) == ("paid", [RECEIPT], at(changes))
    assert (judged["next_try_at"], judged["last_error"]) == (None, None)
    assert in_inbox(ledger, other.id)["outcome"] is None


def in_inbox(ledger: Ledger, entry_id: str) -> dict[str, object]:
    return ledger.row("SELECT * FROM callback_inbox WHERE id = CAST(:id AS uuid)", id=entry_id)


def test_whoever_left_no_address_has_no_invoice(ledger: Ledger) -> None:
    other = pushed(ledger, 2, customer_email="alice@example.com")
    changes = ledger.changes(pushed(ledger), Confirmed(OURS, KES, RECEIPT))
    assert changes.outbox == []
    assert ledger.rows("SELECT id FROM invoices") == []
    assert ledger.payment(other)["status"] == "PENDING"


def test_every_receipt_that_a_callback_spoke_of_is_kept_with_it(ledger: Ledger) -> None:
    transaction_id = pushed(ledger)
    entry = ledger.on_file(transaction_id)
    ledger.tell(transaction_id, Confirmed(OURS, KES, RECEIPT), told_in(entry.id, receipts_seen=(RECEIPT, ANOTHER)))
    assert in_inbox(ledger, entry.id)["receipts"] == [RECEIPT, ANOTHER]


def test_a_payment_that_is_paid_after_it_failed_is_marked_late_and_stays_so(ledger: Ledger) -> None:
    transaction_id = pushed(ledger)
    ledger.tell(transaction_id, Declined(OURS, Status.FAILED), Evidence("callback", "Declined", result_code="1"))
    failed_at = ledger.payment(transaction_id)["failed_at"]
    changes = ledger.changes(transaction_id, Confirmed(OURS, KES, RECEIPT))
    assert (changes.columns["status"], changes.columns["paid_late"]) == ("PAID", True)
    assert changes.columns["result_code"] == "0"
    assert changes.outbox == [("alert", "late_payment")]
    assert ledger.payment(transaction_id)["failed_at"] == failed_at
    assert ledger.changes(transaction_id, Confirmed(OURS, KES, RECEIPT)).columns == {}


def test_a_query_that_pays_is_kept_as_an_answer_and_leaves_a_confirmation_without_a_receipt(ledger: Ledger) -> None:
    transaction_id = pushed(ledger)
    told = Evidence("sweep", "QueryConfirmed", result_code="0", result_desc="processed", by_query=True)
    changes = ledger.changes(transaction_id, QueryConfirmed(), told)
    (answer,) = changes.answers
    assert (answer["result_code"], answer["said"], answer["outcome"]) == ("0", "processed", "paid")
    assert said(changes) == [("sweep", "QueryConfirmed", "paid", "PENDING", "PAID", None, None, "0")]
    assert "callback_received_at" not in changes.columns
    row = ledger.row("SELECT evidence, mpesa_receipt_number, inbox_id, result_desc FROM payment_confirmations")
    assert row == {"evidence": "query", "mpesa_receipt_number": None, "inbox_id": None, "result_desc": "processed"}


def test_the_callback_after_a_query_fills_in_the_receipt_and_all_else_that_a_query_cannot_say(ledger: Ledger) -> None:
    transaction_id, other = pushed(ledger, 1), pushed(ledger, 2)
    for each in (transaction_id, other):
        ledger.tell(each, QueryConfirmed(), Evidence("sweep", "QueryConfirmed", result_desc="as queried"))
    entry = ledger.on_file(transaction_id)
    changes = ledger.changes(transaction_id, Confirmed(OURS, KES, RECEIPT), told_in(entry.id))
    assert changes.columns == {"callback_received_at": at(changes)}
    assert said(changes)[0][2:5] == ("receipt_filled", "PAID", "PAID")
    filled = confirmation_of(ledger, transaction_id)
    assert (str(filled["inbox_id"]), filled["mpesa_receipt_number"], filled["evidence"]) == (entry.id, RECEIPT, "query")
    assert (filled["balance_amount"], filled["transaction_date"]) == (Decimal("12.50"), FIVE_O_CLOCK)
    assert (filled["phone_number"], filled["result_desc"]) == ("254708374149", "as queried")
    assert confirmation_of(ledger, other)["mpesa_receipt_number"] is None


def confirmation_of(ledger: Ledger, transaction_id: str) -> dict[str, object]:
    return ledger.row("SELECT * FROM payment_confirmations WHERE transaction_id = CAST(:id AS uuid)", id=transaction_id)


def test_other_news_leaves_the_confirmation_of_a_query_as_it_is(ledger: Ledger) -> None:
    transaction_id = pushed(ledger)
    ledger.tell(transaction_id, QueryConfirmed())
    before = confirmation_of(ledger, transaction_id)
    told = told_in(ledger.on_file(transaction_id).id, receipt=None)
    ledger.tell(transaction_id, Declined(OURS, Status.FAILED), told)
    ledger.tell(transaction_id, Confirmed(OURS, KES, None), told)
    assert confirmation_of(ledger, transaction_id) == before


def test_a_receipt_that_is_there_is_never_written_over(ledger: Ledger) -> None:
    transaction_id = paid(ledger)
    before = confirmation_of(ledger, transaction_id)
    filling = Decision(Status.PAID, Outcome.RECEIPT_FILLED, fill_receipt=ANOTHER)
    ledger.record(transaction_id, filling, told_in(ledger.on_file(transaction_id).id))
    assert confirmation_of(ledger, transaction_id) == before


def test_a_large_success_is_held_and_asked_about_at_once(ledger: Ledger) -> None:
    transaction_id = pushed(ledger, amount_kes=LARGE)
    entry = ledger.on_file(transaction_id)
    changes = ledger.changes(transaction_id, Confirmed(OURS, LARGE, RECEIPT), told_in(entry.id))
    assert asks_at_once(ledger, changes)
    del changes.columns["next_query_at"]
    assert changes.columns == {"success_held_at": at(changes), "callback_received_at": at(changes)}
    assert said(changes)[0][2:5] == ("waits_for_query", "PENDING", "PENDING")
    assert in_inbox(ledger, entry.id)["outcome"] == "waits_for_query"
    assert ledger.rows("SELECT id FROM payment_confirmations") == []


def test_a_success_that_is_told_twice_is_held_since_the_first_time(ledger: Ledger) -> None:
    transaction_id = pushed(ledger, amount_kes=LARGE)
    told = told_in(ledger.on_file(transaction_id).id)
    ledger.tell(transaction_id, Confirmed(OURS, LARGE, RECEIPT), told)
    assert ledger.changes(transaction_id, Confirmed(OURS, LARGE, RECEIPT), told).columns.keys() == {"next_query_at"}


def test_a_held_success_stays_held_beside_a_failure_until_a_person_fails_it(ledger: Ledger) -> None:
    transaction_id = pushed(ledger, amount_kes=LARGE)
    ledger.tell(transaction_id, Confirmed(OURS, LARGE, RECEIPT))
    assert ledger.changes(transaction_id, Declined(OURS, Status.FAILED)).columns.keys() == {"next_query_at"}
    assert ledger.payment(transaction_id)["success_held_at"] is not None
    ledger.tell(transaction_id, QueryDeclined(Status.FAILED))
    assert ledger.payment(transaction_id)["success_held_at"] is not None
    changes = ledger.changes(transaction_id, OperatorFailed())
    assert (changes.columns["status"], changes.columns["success_held_at"]) == ("FAILED", None)


def test_once_a_query_has_agreed_the_callbacks_that_waited_for_it_are_judged_again(ledger: Ledger) -> None:
    mine, other = pushed(ledger, 1, amount_kes=LARGE), pushed(ledger, 2, amount_kes=LARGE)
    waiting, others = ledger.on_file(mine), ledger.on_file(other)
    ledger.tell(mine, Confirmed(ids(1), LARGE, RECEIPT), told_in(waiting.id))
    ledger.tell(other, Confirmed(ids(2), LARGE, ANOTHER), told_in(others.id, ids=ids(2), receipt=ANOTHER))
    noted = ledger.on_file(mine)
    ledger.tell(mine, Declined(ids(1), Status.FAILED), Evidence("callback", "Declined", inbox_id=noted.id))
    assert in_inbox(ledger, waiting.id)["outcome"] == "waits_for_query"
    changes = ledger.changes(mine, QueryConfirmed(), Evidence("sweep", "QueryConfirmed", by_query=True))
    assert changes.columns["status"] == "PAID"
    again = in_inbox(ledger, waiting.id)
    assert (again["outcome"], again["tries"], again["next_try_at"]) == (None, 0, at(changes))
    assert in_inbox(ledger, others.id)["outcome"] == "waits_for_query"
    assert in_inbox(ledger, noted.id)["outcome"] == "contradicts"


def test_the_moment_of_the_first_callback_is_kept(ledger: Ledger) -> None:
    transaction_id = pushed(ledger)
    told = Evidence("callback", "UnknownCode", inbox_id=ledger.on_file(transaction_id).id)
    ledger.tell(transaction_id, UnknownCode(OURS), told)
    assert ledger.changes(transaction_id, UnknownCode(OURS), told).columns == {}


# What failure, silence and people write -------------------------------------------------------------------------------


@pytest.mark.parametrize(("taken_back", "again"), [(True, timedelta(minutes=5)), (False, None)])
def test_a_failure_is_asked_about_again_where_safaricom_may_take_it_back(
    ledger: Ledger, taken_back: bool, again: timedelta | None
) -> None:
    transaction_id = pushed(ledger)
    told = Evidence("callback", "Declined", result_code="1037", result_desc="DS timeout", may_be_taken_back=taken_back)
    changes = ledger.changes(transaction_id, Declined(OURS, Status.FAILED), told)
    assert changes.columns["next_query_at"] is None if again is None else asks_at_once(ledger, changes, after=again)
    del changes.columns["next_query_at"]
    assert changes.columns == {
        "status": "FAILED",
        "updated_at": at(changes),
        "failed_at": at(changes),
        "result_code": "1037",
        "result_desc": "DS timeout",
    }
    assert said(changes) == [("callback", "Declined", "declined", "PENDING", "FAILED", None, None, "1037")]


def test_a_failure_that_is_told_again_says_why_and_is_not_audited_twice(ledger: Ledger) -> None:
    transaction_id = pushed(ledger)
    ledger.tell(transaction_id, Declined(OURS, Status.FAILED), Evidence("callback", "Declined", result_code="1037"))
    told = Evidence("sweep", "QueryDeclined", result_code="1", result_desc="no balance", by_query=True)
    changes = ledger.changes(transaction_id, QueryDeclined(Status.FAILED), told)
    assert changes.columns == {"result_code": "1", "result_desc": "no balance"}
    assert changes.audit == []
    assert [answer["outcome"] for answer in changes.answers] == ["repeated"]


@pytest.mark.parametrize(
    "decision",
    [
        stays(Status.FAILED, Outcome.NOTED),
        stays(Status.FAILED, Outcome.CONTRADICTS),
        stays(Status.PENDING, Outcome.REPEATED),
        stays(Status.PENDING, Outcome.DECLINED),
    ],
)
def test_no_other_news_changes_why_a_payment_failed(ledger: Ledger, decision: Decision) -> None:
    transaction_id = pushed(ledger)
    if decision.status is Status.FAILED:
        ledger.tell(transaction_id, Declined(OURS, Status.FAILED), Evidence("callback", "Declined", result_code="1"))
    told = Evidence("callback", "Event", result_code="7777", result_desc="new")
    assert ledger.changes_by(transaction_id, decision, told).columns == {}


def test_news_without_a_code_does_not_take_away_why_a_payment_failed(ledger: Ledger) -> None:
    transaction_id = pushed(ledger)
    told = Evidence("callback", "Declined", result_code="1", result_desc="no balance")
    ledger.tell(transaction_id, Declined(OURS, Status.FAILED), told)
    assert ledger.changes(transaction_id, Declined(OURS, Status.FAILED)).columns == {}


def test_a_silent_payment_is_told_about_once_and_then_reviewed(ledger: Ledger) -> None:
    transaction_id = pushed(ledger)
    ledger.age(transaction_id, 16 * 60)
    assert ledger.changes(transaction_id, TimePassed()).outbox == [("alert", "silence")]
    changes = ledger.changes(transaction_id, TimePassed())
    assert (changes.columns, changes.audit, changes.outbox) == ({}, [], [])
    ledger.age(transaction_id, 45 * 60)
    changes = ledger.changes(transaction_id, TimePassed(), Evidence("sweep", "TimePassed"))
    assert changes.columns == {"status": "REVIEW", "review_reason": "silence", "updated_at": at(changes)}
    assert said(changes) == [("sweep", "TimePassed", "to_review", "PENDING", "REVIEW", "silence", None, None)]
    assert changes.outbox == []


def test_all_alerts_of_a_decision_are_told_and_only_about_its_payment(ledger: Ledger) -> None:
    transaction_id, other = pushed(ledger, 1), pushed(ledger, 2)
    decision = stays(Status.PENDING, Outcome.NOTED, None, Alert.UNKNOWN_CODE, Alert.SECOND_RECEIPT)
    changes = ledger.changes_by(transaction_id, decision)
    assert changes.outbox == [("alert", "unknown_code"), ("alert", "second_receipt")]
    assert ledger.changes_by(other, stays(Status.PENDING, Outcome.NOTED)).outbox == []


def test_what_changes_nothing_is_audited_unless_it_is_a_repetition_or_more_silence(ledger: Ledger) -> None:
    transaction_id = pushed(ledger)
    audited = {outcome: ledger.changes_by(transaction_id, stays(Status.PENDING, outcome)).audit for outcome in Outcome}
    unremarkable = {outcome for outcome, rows in audited.items() if rows == []}
    assert unremarkable == {Outcome.REPEATED, Outcome.STILL_WAITING}


def test_ids_that_a_repetition_teaches_a_payment_are_audited(ledger: Ledger) -> None:
    transaction_id = in_review(ledger)
    ledger.tell(transaction_id, OperatorFailed())
    changes = ledger.changes(transaction_id, Declined(OURS, Status.EXPIRED))
    assert changes.columns["checkout_request_id"] == OURS.checkout_request_id
    assert said(changes) == [("a test", "Declined", "repeated", "FAILED", "FAILED", None, None, None)]
    assert ledger.changes(transaction_id, Declined(OURS, Status.EXPIRED)).audit == []


def test_a_persons_word_is_audited_also_where_it_changes_nothing(ledger: Ledger) -> None:
    transaction_id = pushed(ledger)
    told = Evidence("operator amina", "Retried", why="asked by the shop")
    changes = ledger.changes_by(transaction_id, stays(Status.PENDING, Outcome.REPEATED), told)
    assert said(changes) == [
        ("operator amina", "Retried", "repeated", "PENDING", "PENDING", "asked by the shop", None, None)
    ]


def test_ids_that_a_repetition_teaches_are_in_the_history(ledger: Ledger) -> None:
    transaction_id = ledger.admit()
    ledger.tell(transaction_id, Declined(None, Status.FAILED))
    changes = ledger.changes(transaction_id, Declined(OURS, Status.FAILED))
    assert changes.columns["ids_are_learnt"] is True
    assert said(changes)[0][2:5] == ("repeated", "FAILED", "FAILED")


def test_what_is_noted_is_one_more_row_of_one_history_and_changes_no_payment(ledger: Ledger) -> None:
    transaction_id, other = pushed(ledger, 1), pushed(ledger, 2)
    before, others = ledger.payment(transaction_id), ledger.payment(other)
    told = Evidence("operator amina", "Erased", receipt=RECEIPT, why="asked by the customer")
    with ledger.gateway.cases.open(transaction_id, told) as case:
        assert case is not None
        case.note("erased")
    (noted,) = ledger.rows("SELECT * FROM audit_log WHERE outcome = 'erased'")
    assert (str(noted["transaction_id"]), noted["actor"], noted["event"]) == (
        transaction_id,
        "operator amina",
        "Erased",
    )
    assert (noted["from_status"], noted["to_status"]) == ("PENDING", "PENDING")
    assert (noted["reason"], noted["said"]) == ("asked by the customer", RECEIPT)
    after = ledger.payment(transaction_id)
    assert after["audit_length"] == before["audit_length"] + 1
    assert after["audit_head"] != before["audit_head"]
    assert {name for name in after if after[name] != before[name]} == {"audit_length", "audit_head"}
    assert ledger.payment(other) == others


def test_a_reason_is_written_only_beside_a_review_and_is_a_persons_own_where_a_person_gave_one(ledger: Ledger) -> None:
    transaction_id = in_review(ledger, ReviewReason.SILENCE)
    told = Evidence("operator amina", "OperatorFailed", why="not on the statement")
    changes = ledger.changes(transaction_id, OperatorFailed(), told)
    assert (changes.columns["status"], changes.columns["review_reason"]) == ("FAILED", None)
    assert said(changes) == [
        ("operator amina", "OperatorFailed", "declined", "REVIEW", "FAILED", "not on the statement", None, None)
    ]
    kept = replace(stays(Status.FAILED, Outcome.NOTED), review_reason=ReviewReason.SILENCE)
    changes = ledger.changes_by(transaction_id, kept)
    assert changes.columns == {}
    assert said(changes)[0][5] == "silence"


def test_a_person_who_saw_the_money_pays_with_its_receipt(ledger: Ledger) -> None:
    transaction_id = in_review(ledger)
    told = Evidence("operator amina", "OperatorPaid", receipt=ANOTHER, why="on the statement")
    changes = ledger.changes(transaction_id, OperatorPaid(ANOTHER), told)
    assert (changes.columns["status"], changes.columns["paid_at"]) == ("PAID", at(changes))
    assert said(changes)[0][7] == ANOTHER
    row = confirmation_of(ledger, transaction_id)
    assert (row["evidence"], row["mpesa_receipt_number"]) == ("operator", ANOTHER)


@pytest.mark.parametrize("put", [in_review, paid])
def test_a_refund_is_written_with_its_own_receipt_and_not_asked_about(
    ledger: Ledger, put: Callable[[Ledger], str]
) -> None:
    transaction_id = put(ledger)
    told = Evidence("operator amina", "OperatorRefunded", receipt=ANOTHER, why="sent back")
    changes = ledger.changes(transaction_id, OperatorRefunded(), told)
    assert (
        changes.columns.items()
        >= {
            "status": "REFUNDED",
            "updated_at": at(changes),
            "refunded_at": at(changes),
            "refund_receipt": ANOTHER,
        }.items()
    )
    assert "paid_at" not in changes.columns
    later = Evidence("callback", "Confirmed", receipt="UE00000009")
    assert ledger.changes_by(transaction_id, stays(Status.REFUNDED, Outcome.NOTED), later).columns == {}


def test_what_is_settled_is_not_asked_about_any_more(ledger: Ledger) -> None:
    transaction_id = paid(ledger)
    ledger.overwrite("UPDATE transactions SET next_query_at = now()")
    assert ledger.changes(transaction_id, TimePassed()).columns == {"next_query_at": None}


def test_what_changes_nothing_leaves_the_next_question_where_it_was(ledger: Ledger) -> None:
    open_still, failed = pushed(ledger, 1), pushed(ledger, 2)
    told = Evidence("callback", "Declined", result_code="1037", may_be_taken_back=True)
    ledger.tell(failed, Declined(ids(2), Status.FAILED), told)
    for transaction_id, status in ((open_still, Status.PENDING), (failed, Status.FAILED)):
        assert ledger.payment(transaction_id)["next_query_at"] is not None
        assert ledger.changes_by(transaction_id, stays(status, Outcome.NOTED), told).columns == {}


def test_a_decision_is_taken_about_the_payment_as_it_is_written(ledger: Ledger) -> None:
    """Read, decided and written in one: the payment a decision was shown is the one that it changes."""
    transaction_id = pushed(ledger)
    with ledger.gateway.cases.open(transaction_id, Evidence("a test", "Confirmed", receipt=RECEIPT)) as case:
        assert case is not None
        decision = decide(case.payment, Confirmed(OURS, KES, RECEIPT), case.circumstances)
        assert case.record(decision) is True
    assert confirmation_of(ledger, transaction_id)["mpesa_receipt_number"] == RECEIPT


# The same invoice again -----------------------------------------------------------------------------------------------


def invoiced(ledger: Ledger, number: int = 1) -> str:
    """A paid payment whose invoice was sent."""
    transaction_id = paid(ledger, number, receipt=f"UE4JS31RB{number}", customer_email="alice@example.com")
    ledger.overwrite("UPDATE outbox SET sent_at = now(), next_try_at = NULL")
    ledger.overwrite("UPDATE invoices SET sent_at = now(), status = 'SENT'")
    return transaction_id


def resent(ledger: Ledger, transaction_id: str) -> object:
    """What it gives that a person wants the invoice sent again."""
    return ledger.gateway.invoices.send_again(transaction_id, Operator("amina", "never arrived"))


def invoice_of(ledger: Ledger, transaction_id: str) -> object:
    sql = "SELECT status FROM invoices WHERE transaction_id = CAST(:id AS uuid)"
    return ledger.row(sql, id=transaction_id)["status"]


@pytest.mark.parametrize(("was", "is_now"), [("FAILED", "PENDING"), ("SENT", "SENT")])
def test_an_invoice_that_a_person_wants_sent_again_is_queued_and_noted(ledger: Ledger, was: str, is_now: str) -> None:
    transaction_id, other = invoiced(ledger, 1), invoiced(ledger, 2)
    ledger.overwrite("UPDATE invoices SET status = :was", was=was)
    wanted = resent(ledger, transaction_id)
    (queued,) = ledger.rows("SELECT id, kind, topic, transaction_id FROM outbox WHERE next_try_at IS NOT NULL")
    assert wanted == Requested(queued["id"])
    assert (queued["kind"], queued["topic"], str(queued["transaction_id"])) == ("invoice", "resent", transaction_id)
    assert (invoice_of(ledger, transaction_id), invoice_of(ledger, other)) == (is_now, was)
    (noted,) = ledger.rows("SELECT * FROM audit_log WHERE outcome = 'noted'")
    assert (str(noted["transaction_id"]), noted["event"]) == (transaction_id, "InvoiceResent")
    assert noted["reason"] == "never arrived"


def test_an_invoice_that_waits_already_is_not_queued_twice(ledger: Ledger) -> None:
    transaction_id, other = invoiced(ledger, 1), invoiced(ledger, 2)
    assert isinstance(resent(ledger, other), Requested)
    assert isinstance(resent(ledger, transaction_id), Requested)
    assert resent(ledger, transaction_id) == Waiting()
    assert len(ledger.rows("SELECT id FROM outbox WHERE topic = 'resent'")) == 2
    assert len(ledger.rows("SELECT id FROM audit_log WHERE outcome = 'noted'")) == 2


def test_an_alert_that_waits_holds_up_no_invoice(ledger: Ledger) -> None:
    transaction_id = invoiced(ledger)
    ledger.tell(transaction_id, Declined(OURS, Status.FAILED))
    assert isinstance(resent(ledger, transaction_id), Requested)


def test_without_an_address_or_with_an_erased_one_no_invoice_is_sent_again(ledger: Ledger) -> None:
    without, erased = paid(ledger, 1), invoiced(ledger, 2)
    ledger.overwrite("UPDATE invoices SET customer_email = 'erased@erased.invalid'")
    assert resent(ledger, without) == NoAddress()
    assert resent(ledger, erased) == AddressErased()
    assert ledger.rows("SELECT id FROM outbox WHERE next_try_at IS NOT NULL") == []


def test_what_is_not_paid_has_no_invoice_to_send_again(ledger: Ledger) -> None:
    transaction_id = invoiced(ledger)
    ledger.tell(transaction_id, OperatorRefunded(), Evidence("operator amina", "OperatorRefunded", receipt=ANOTHER))
    assert resent(ledger, transaction_id) == NotPaid()
    assert ledger.rows("SELECT id FROM outbox WHERE topic = 'resent'") == []
