"""A payment under lock: what a decision is given to read, and which columns and rows each decision writes.

Long, because each test names every column that one decision changes: a column that no test names could be written
wrongly and nobody would see it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from shared.database import Database, Row
from shared.gateway.cases import Report
from shared.gateway.invoices import Operator, Requested
from shared.payments import (
    Alert,
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
from tests.fixtures.ledger import NO_NEWS, PHONES, PUSH_ANSWER, Changes, Ledger, ids

KES = Decimal(1500)
LARGE = Decimal(20_001)
RECEIPT, ANOTHER = "UE4JS31RBV", "UE4JS31RBW"
FIVE_O_CLOCK = datetime(2026, 5, 4, 14, 0, tzinfo=UTC)
OURS = ids(1)
NOBODYS = "0c9e8f1a-0b1c-4d2e-8f3a-5b6c7d8e9f00"
SUCCESS, LARGE_SUCCESS = Confirmed(OURS, KES, RECEIPT), Confirmed(OURS, LARGE, RECEIPT)
FAILS = Declined(OURS, Status.FAILED)
MAY_BE_TAKEN_BACK = Declined(OURS, Status.FAILED, may_be_taken_back=True)
AMINA = "operator amina"


@pytest.fixture(autouse=True)
def every_history_is_signed_as_it_was_written(ledger: Ledger) -> Iterator[None]:
    yield
    assert ledger.wrongly_signed() == []


def pushed(ledger: Ledger, number: int = 1, **order: Any) -> str:
    """A payment whose push Daraja took."""
    transaction_id = ledger.admit(**order)
    ledger.tell(transaction_id, PushAccepted(ids(number)), "stkpush", **PUSH_ANSWER)
    return transaction_id


def paid(ledger: Ledger, number: int = 1, receipt: str = RECEIPT, **order: Any) -> str:
    transaction_id = pushed(ledger, number, **order)
    ledger.tell(transaction_id, Confirmed(ids(number), order.get("amount_kes", KES), receipt))
    assert ledger.payment(transaction_id)["status"] == "PAID"
    return transaction_id


def in_review(ledger: Ledger, reason: ReviewReason = ReviewReason.SILENCE, **order: Any) -> str:
    transaction_id = ledger.admit(**order)
    ledger.record(transaction_id, Decision(Status.REVIEW, Outcome.TO_REVIEW, reason))
    return transaction_id


def stays(status: Status, outcome: Outcome, reason: ReviewReason | None = None, *alerts: Alert) -> Decision:
    return Decision(status, outcome, reason, alerts=alerts)


def at(changes: Changes) -> datetime:
    """now() of the transaction that made them."""
    moment = changes.audit[0]["at"]
    assert isinstance(moment, datetime)
    return moment


def audited(changes: Changes) -> list[tuple[object, ...]]:
    """The audit rows, without their number, moment and payment."""
    names = ("actor", "event", "outcome", "from_status", "to_status", "reason", "inbox_id", "said")
    return [tuple(row[name] and str(row[name]) for name in names) for row in changes.audit]


def asks_at_once(ledger: Ledger, changes: Changes, after: timedelta = timedelta(0)) -> bool:
    """The next query is due at the clock_timestamp() of the same transaction, or so long after it."""
    asks_at, now = changes.columns["next_query_at"], ledger.row("SELECT clock_timestamp() AS now")["now"]
    return bool(at(changes) + after <= asks_at <= now + after)


# Under lock -----------------------------------------------------------------------------------------------------------


def test_an_open_case_locks_its_phone_and_its_row(ledger: Ledger, database_url: str) -> None:
    phone_is_free = "SELECT pg_try_advisory_xact_lock(hashtextextended(CAST(:phone AS text), 0)) AS free"
    row_is_free = "SELECT id FROM transactions FOR UPDATE SKIP LOCKED"
    transaction_id = ledger.admit(PHONES[0])
    somebody_else = Database(database_url)
    try:
        with ledger.open(transaction_id), somebody_else.transaction() as tx:
            assert tx.row(phone_is_free, phone=PHONES[0]) == {"free": False}
            assert tx.row(phone_is_free, phone=PHONES[1]) == {"free": True}
            assert tx.row(row_is_free) is None
        with somebody_else.transaction() as tx:
            assert tx.row(phone_is_free, phone=PHONES[0]) == {"free": True}
            assert tx.row(row_is_free) is not None
    finally:
        somebody_else.close()


def test_there_is_no_case_of_an_unknown_payment(ledger: Ledger) -> None:
    pushed(ledger)
    with ledger.gateway.cases.open(NOBODYS, Report(NO_NEWS, "a test")) as case:
        assert case is None


def test_what_is_read_and_decided_is_written(ledger: Ledger) -> None:
    transaction_id = pushed(ledger)
    with ledger.open(transaction_id, SUCCESS) as case:
        assert case.record(decide(case.payment, SUCCESS, case.circumstances)) is True
    assert confirmation_of(ledger, transaction_id)["mpesa_receipt_number"] == RECEIPT


def test_nothing_is_written_about_a_status_that_has_changed_since(ledger: Ledger) -> None:
    """The locks keep others away; should they ever fail to, the status itself is compared once more."""
    transaction_id = pushed(ledger)
    paying = Decision(Status.PAID, Outcome.PAID, paid=Paid(ConfirmedBy.CALLBACK, RECEIPT), alerts=(Alert.LATE_PAYMENT,))
    tables = ("transactions", "audit_log", "payment_confirmations", "outbox")
    for decision in (paying, replace(paying, paid=None, fill_receipt=RECEIPT)):
        with ledger.open(transaction_id) as case:
            case._tx.run("UPDATE transactions SET status = 'FAILED', failed_at = now()")
            before = [case._tx.rows(f"SELECT * FROM {table}") for table in tables]
            assert case.record(decision) is False
            assert [case._tx.rows(f"SELECT * FROM {table}") for table in tables] == before
            case._tx.run("SET LOCAL session_replication_role = 'replica'")
            case._tx.run("UPDATE transactions SET status = 'PENDING', failed_at = NULL")


def test_no_other_payment_is_written(ledger: Ledger) -> None:
    transaction_id, other = pushed(ledger, 1), pushed(ledger, 2)
    before = ledger.payment(other)
    ledger.tell(transaction_id, SUCCESS)
    assert ledger.payment(other) == before


@pytest.mark.parametrize(
    "event",
    [
        SUCCESS,
        FAILS,
        UnknownCode(OURS),
        TimePassed(),
    ],
)
def test_the_row_is_not_written_where_nothing_changes(ledger: Ledger, event: Event) -> None:
    transaction_id, version = pushed(ledger), "SELECT CAST(xmin AS text) AS written_by FROM transactions"
    kept = {} if isinstance(event, TimePassed) else {"inbox_id": ledger.on_file(transaction_id).id}
    ledger.tell(transaction_id, event, **kept)
    before = ledger.row(version)
    ledger.tell(transaction_id, event, **kept)
    assert ledger.row(version) == before


# What a decision reads ------------------------------------------------------------------------------------------------


def test_a_new_payment_is_read_as_it_was_ordered(ledger: Ledger) -> None:
    transaction_id = ledger.admit(amount_kes=Decimal(700))
    payment, around = ledger.case(transaction_id)
    created_at = ledger.payment(transaction_id)["created_at"]
    assert payment.id == transaction_id
    assert (payment.status, payment.amount_kes, payment.created_at) == (Status.INITIATED, Decimal(700), created_at)
    assert (payment.ids, payment.ids_are_learnt, payment.review_reason, payment.receipt) == (None, False, None, None)
    assert payment.success_held is False
    assert (around.receipt_taken, around.ids_taken, around.duplicate_paid) == (False, False, False)
    assert around.confirm_above_kes == 20_000
    assert around.now > created_at


def test_ids_receipt_review_reason_and_a_held_success_are_read(ledger: Ledger) -> None:
    asked, overtaken, large = pushed(ledger, 1), ledger.admit(), pushed(ledger, 3, amount_kes=LARGE)
    ledger.age(overtaken, 91)
    ledger.tell(overtaken, Declined(ids(2), Status.FAILED))
    assert (ledger.case(asked)[0].ids, ledger.case(asked)[0].ids_are_learnt) == (ids(1), False)
    assert (ledger.case(overtaken)[0].ids, ledger.case(overtaken)[0].ids_are_learnt) == (ids(2), True)
    ledger.tell(large, Confirmed(ids(3), LARGE, RECEIPT))
    assert ledger.case(large)[0].success_held is True
    payment, _ = ledger.case(paid(ledger, 4))
    assert (payment.status, payment.receipt) == (Status.PAID, RECEIPT)
    payment, _ = ledger.case(in_review(ledger, ReviewReason.REUSED_RECEIPT))
    assert (payment.status, payment.review_reason) == (Status.REVIEW, ReviewReason.REUSED_RECEIPT)


@pytest.mark.parametrize(("put", "unpaid"), [(in_review, True), (paid, False)])
def test_a_refund_from_review_has_no_confirmation(ledger: Ledger, put: Callable[[Ledger], str], unpaid: bool) -> None:
    transaction_id = put(ledger)
    assert ledger.case(transaction_id)[0].refunded_unpaid is False
    ledger.tell(transaction_id, OperatorRefunded(ANOTHER), AMINA)
    assert ledger.case(transaction_id)[0].refunded_unpaid is unpaid


def test_the_clock_is_the_databases_and_read_under_the_lock(ledger: Ledger) -> None:
    with ledger.open(pushed(ledger)) as case:
        row = case._tx.row("SELECT now() AS began, clock_timestamp() AS now")
        assert row is not None
        assert row["began"] < case.circumstances.now < row["now"]


@pytest.mark.parametrize(
    ("put", "event"),
    [
        (paid, Confirmed(None, KES, RECEIPT)),
        (paid, OperatorPaid(RECEIPT)),
        (in_review, OperatorRefunded(RECEIPT)),
        (in_review, Confirmed(None, KES, RECEIPT)),
    ],
)
def test_a_receipt_of_another_payment_or_refund_is_taken(
    ledger: Ledger, put: Callable[[Ledger], str], event: Confirmed | OperatorPaid | OperatorRefunded
) -> None:
    mine, other = put(ledger), pushed(ledger, 2)
    if put is in_review:
        ledger.tell(mine, OperatorRefunded(RECEIPT), AMINA)
    assert ledger.case(other, event)[1].receipt_taken is True
    assert ledger.case(other, replace(event, receipt=ANOTHER))[1].receipt_taken is False
    assert ledger.case(mine, event)[1].receipt_taken is False
    assert ledger.case(other)[1].receipt_taken is False


def test_ids_are_taken_where_either_belongs_to_another_payment(ledger: Ledger) -> None:
    mine, other = pushed(ledger, 1), ledger.admit()

    def taken(transaction_id: str, merchant: int, checkout: int) -> bool:
        told = replace(ids(merchant), checkout_request_id=ids(checkout).checkout_request_id)
        return ledger.case(transaction_id, UnknownCode(told))[1].ids_taken

    assert [taken(other, *pair) for pair in ((1, 1), (1, 2), (2, 1), (2, 2))] == [True, True, True, False]
    assert taken(mine, 1, 1) is False


def test_a_callback_is_already_judged_once_it_did_more_than_wait(ledger: Ledger) -> None:
    transaction_id, other = pushed(ledger, 1, amount_kes=LARGE), pushed(ledger, 2)
    first, second = (ledger.on_file(transaction_id).id for _ in range(2))

    def judged(inbox_id: str | None, about: str = transaction_id) -> bool:
        return ledger.case(about, inbox_id=inbox_id)[1].already_judged

    assert judged(first) is False
    ledger.tell(transaction_id, LARGE_SUCCESS, inbox_id=first)
    assert judged(first) is False
    ledger.tell(transaction_id, UnknownCode(OURS), inbox_id=second)
    assert judged(second) is True
    assert [judged(first), judged(None), judged(second, other)] == [False, False, False]


def test_the_ids_of_an_erased_person_are_read_as_a_callback_spells_them(ledger: Ledger) -> None:
    asked, erased = Ids("29115-1", "ws_CO_040520261200708374149"), Ids("29115-1", "ws_CO_040520261200012345678")
    transaction_id = ledger.admit("254708374149")
    ledger.tell(transaction_id, PushAccepted(asked))
    ledger.overwrite(
        "UPDATE transactions SET phone_number = '254012345678', checkout_request_id = :erased",
        erased=erased.checkout_request_id,
    )
    assert ledger.case(transaction_id, UnknownCode(asked))[0].ids == asked
    assert ledger.case(transaction_id, UnknownCode(ids(2)))[0].ids == erased
    assert ledger.case(transaction_id)[0].ids == erased


@pytest.mark.parametrize(
    ("order", "age_s", "duplicate"),
    [
        ({}, 0, True),
        ({}, 86_399 - 60, True),
        ({}, 86_400 + 1, False),
        ({"phone": PHONES[1]}, 0, False),
        ({"amount_kes": KES + 1}, 0, False),
        ({"account_reference": "INV00043"}, 0, False),
    ],
)
def test_a_duplicate_has_the_phone_amount_and_reference_of_one_paid_today(
    ledger: Ledger, order: dict[str, object], age_s: float, duplicate: bool
) -> None:
    first = paid(ledger, phone=PHONES[0])
    ledger.age(first, max(age_s, 200))
    if age_s == 0:
        ledger.overwrite("UPDATE transactions SET paid_at = now()")
    second = ledger.admit(**{"phone": PHONES[0], **order})  # type: ignore[arg-type]
    assert ledger.case(second)[1].duplicate_paid is duplicate
    assert ledger.case(first)[1].duplicate_paid is False


def test_beside_a_first_attempt_that_is_not_paid_there_is_no_duplicate(ledger: Ledger) -> None:
    ledger.age(pushed(ledger, phone=PHONES[0]), 3600)
    assert ledger.case(ledger.admit(PHONES[0]))[1].duplicate_paid is False


# What the push's answer writes ----------------------------------------------------------------------------------------


def test_an_accepted_push_writes_its_ids_and_its_answer(ledger: Ledger) -> None:
    transaction_id = ledger.admit()
    changes = ledger.changes(transaction_id, PushAccepted(OURS), "stkpush", **PUSH_ANSWER)
    assert changes.columns == {
        "status": "PENDING",
        "merchant_request_id": OURS.merchant_request_id,
        "checkout_request_id": OURS.checkout_request_id,
        **PUSH_ANSWER,
        "updated_at": at(changes),
        "next_query_at": ledger.payment(transaction_id)["created_at"] + timedelta(seconds=20),
    }
    assert audited(changes) == [("stkpush", "PushAccepted", "accepted", "INITIATED", "PENDING", None, None, None)]
    assert (changes.outbox, changes.answers) == ([], [])


def test_an_answer_to_the_push_that_comes_late_is_asked_about_at_once(ledger: Ledger) -> None:
    late, held = ledger.admit(), ledger.admit(amount_kes=LARGE)
    ledger.age(late, 60)
    assert asks_at_once(ledger, ledger.changes(late, PushAccepted(ids(2))))
    ledger.age(held, 91)
    ledger.tell(held, LARGE_SUCCESS)
    changes = ledger.changes(held, PushAccepted(OURS))
    assert (changes.columns["status"], changes.columns["ids_are_learnt"]) == ("PENDING", False)
    assert asks_at_once(ledger, changes)


def test_ids_for_a_review_that_a_query_can_end_are_asked_about(ledger: Ledger) -> None:
    fresh, old = in_review(ledger), in_review(ledger)
    changes = ledger.changes(fresh, PushAccepted(ids(1)))
    assert changes.columns["next_query_at"] == ledger.payment(fresh)["created_at"] + timedelta(seconds=20)
    ledger.age(old, 60)
    changes = ledger.changes(old, PushAccepted(ids(2)))
    assert asks_at_once(ledger, changes)
    assert changes.columns.keys() == {"merchant_request_id", "checkout_request_id", "next_query_at"}


def test_a_review_that_no_query_can_end_is_not_asked_about(ledger: Ledger) -> None:
    to_review = Decision(Status.REVIEW, Outcome.TO_REVIEW, ReviewReason.IDS_DISAGREE)
    assert ledger.changes_by(pushed(ledger), to_review).columns["next_query_at"] is None


def test_ids_that_only_a_callback_named_are_kept_as_learnt_and_not_asked_about(ledger: Ledger) -> None:
    transaction_id = ledger.admit()
    ledger.age(transaction_id, 91)
    changes = ledger.changes(transaction_id, UnknownCode(OURS), "callback")
    assert changes.columns == {
        "status": "REVIEW",
        "review_reason": "unknown_code",
        "merchant_request_id": OURS.merchant_request_id,
        "checkout_request_id": OURS.checkout_request_id,
        "ids_are_learnt": True,
        "updated_at": at(changes),
    }
    noted = stays(Status.REVIEW, Outcome.NOTED, ReviewReason.SILENCE)
    assert ledger.changes_by(transaction_id, noted).columns == {"review_reason": "silence"}
    changes = ledger.changes(transaction_id, PushAccepted(ids(2)))
    replaced = ("merchant_request_id", "checkout_request_id", "ids_are_learnt")
    assert [changes.columns[name] for name in replaced] == [
        ids(2).merchant_request_id,
        ids(2).checkout_request_id,
        False,
    ]


@pytest.mark.parametrize(("event", "outcome"), [(PushRefused(), "refused"), (PushNotSent(), "not_sent")])
def test_a_push_that_never_left_frees_its_key_and_its_phone(ledger: Ledger, event: Event, outcome: str) -> None:
    ledger.admit(key="another key")
    transaction_id = ledger.admit(key="a key")
    answer = {"response_code": "400.002.02", "response_message": "Bad Request"}
    changes = ledger.changes(transaction_id, event, "stkpush", **answer)
    assert changes.columns == {
        "status": "FAILED",
        "updated_at": at(changes),
        "failed_at": at(changes),
        "pushed_at": None,
        **answer,
    }
    assert audited(changes)[0][2:5] == (outcome, "INITIATED", "FAILED")
    assert [row["key"] for row in ledger.rows("SELECT key FROM idempotency_keys")] == ["another key"]


def test_an_unclear_push_keeps_its_key_and_its_phone(ledger: Ledger) -> None:
    transaction_id = ledger.admit(key="a key")
    changes = ledger.changes(transaction_id, PushUnanswered(), "stkpush", response_message="timed out")
    assert changes.columns == {"status": "UNCERTAIN", "updated_at": at(changes), "response_message": "timed out"}
    assert len(ledger.rows("SELECT key FROM idempotency_keys")) == 1


# What success writes --------------------------------------------------------------------------------------------------


def success_in(entry_id: str, **more: object) -> dict[str, Any]:
    """What is kept of a good callback."""
    return {
        "actor": "callback",
        "inbox_id": entry_id,
        "receipts_seen": (RECEIPT,),
        "result_code": "0",
        "result_desc": "The service request is processed successfully.",
        "transaction_date": FIVE_O_CLOCK,
        "payer": "254708374149",
        "balance_kes": Decimal("12.50"),
        **more,
    }


def in_inbox(ledger: Ledger, entry_id: str) -> Row:
    return ledger.row("SELECT * FROM callback_inbox WHERE id = CAST(:id AS uuid)", id=entry_id)


def confirmation_of(ledger: Ledger, transaction_id: str) -> Row:
    return ledger.row("SELECT * FROM payment_confirmations WHERE transaction_id = CAST(:id AS uuid)", id=transaction_id)


def test_a_callback_that_pays_writes_its_confirmation_invoice_and_inbox_entry(ledger: Ledger) -> None:
    transaction_id = pushed(ledger, customer_email="alice@example.com", customer_name="Alice")
    entry, other = ledger.on_file(transaction_id), ledger.on_file(transaction_id)
    ledger.gateway.inbox.put_back(entry, "tried before", ())
    changes = ledger.changes(transaction_id, SUCCESS, **success_in(entry.id, receipts_seen=(RECEIPT, ANOTHER)))
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
    assert audited(changes) == [("callback", "Confirmed", "paid", "PENDING", "PAID", None, entry.id, "0")]
    assert changes.outbox == [("sale", "paid"), ("webhook", "paid"), ("invoice", "settled")]
    assert changes.answers == []
    confirmation = confirmation_of(ledger, transaction_id)
    assert {name: value for name, value in confirmation.items() if name not in ("id", "received_at")} == {
        "transaction_id": payment["id"],
        "evidence": "callback",
        "inbox_id": changes.audit[0]["inbox_id"],
        "result_code": "0",
        "result_desc": "The service request is processed successfully.",
        "amount": KES,
        "mpesa_receipt_number": RECEIPT,
        "balance_amount": Decimal("12.50"),
        "statement_row_id": None,
        "transaction_date": FIVE_O_CLOCK,
        "phone_number": "254708374149",
    }
    invoice = ledger.row("SELECT * FROM invoices")
    assert (invoice["transaction_id"], invoice["amount"], invoice["status"]) == (payment["id"], KES, "PENDING")
    assert (invoice["customer_email"], invoice["customer_name"]) == ("alice@example.com", "Alice")
    assert invoice["customer_phone"] == payment["phone_number"]
    judged = in_inbox(ledger, entry.id)
    assert (judged["outcome"], judged["receipts"], judged["judged_at"]) == ("paid", [RECEIPT, ANOTHER], at(changes))
    assert (judged["next_try_at"], judged["last_error"]) == (None, None)
    assert in_inbox(ledger, other.id)["outcome"] is None


def test_without_an_address_there_is_no_invoice(ledger: Ledger) -> None:
    pushed(ledger, 2, customer_email="alice@example.com")
    assert ledger.changes(pushed(ledger), SUCCESS).outbox == [("sale", "paid"), ("webhook", "paid")]
    assert ledger.rows("SELECT id FROM invoices") == []


def test_a_payment_that_is_paid_after_it_failed_is_marked_late_and_stays_so(ledger: Ledger) -> None:
    transaction_id = pushed(ledger)
    ledger.tell(transaction_id, FAILS, result_code="1")
    failed_at = ledger.payment(transaction_id)["failed_at"]
    changes = ledger.changes(transaction_id, SUCCESS)
    assert [changes.columns[name] for name in ("status", "paid_late", "result_code")] == ["PAID", True, "0"]
    assert changes.outbox == [("alert", "late_payment"), ("sale", "paid_late"), ("webhook", "paid")]
    assert ledger.payment(transaction_id)["failed_at"] == failed_at
    assert ledger.changes(transaction_id, SUCCESS).columns == {}


def test_a_query_that_pays_is_kept_as_an_answer_and_names_no_receipt(ledger: Ledger) -> None:
    transaction_id = pushed(ledger)
    changes = ledger.changes(transaction_id, QueryConfirmed(), "sweep", result_code="0", result_desc="processed")
    (answer,) = changes.answers
    assert (answer["result_code"], answer["said"], answer["outcome"]) == ("0", "processed", "paid")
    assert audited(changes) == [("sweep", "QueryConfirmed", "paid", "PENDING", "PAID", None, None, "0")]
    assert "callback_received_at" not in changes.columns
    row = ledger.row("SELECT evidence, mpesa_receipt_number, inbox_id, result_desc FROM payment_confirmations")
    assert row == {"evidence": "query", "mpesa_receipt_number": None, "inbox_id": None, "result_desc": "processed"}


def test_the_callback_after_a_query_fills_in_what_a_query_cannot_say(ledger: Ledger) -> None:
    transaction_id, other = pushed(ledger, 1), pushed(ledger, 2)
    for each in (transaction_id, other):
        ledger.tell(each, QueryConfirmed(), "sweep", result_desc="as queried")
    entry = ledger.on_file(transaction_id)
    changes = ledger.changes(transaction_id, SUCCESS, **success_in(entry.id))
    assert changes.columns == {"callback_received_at": at(changes)}
    assert audited(changes)[0][2:5] == ("receipt_filled", "PAID", "PAID")
    filled = confirmation_of(ledger, transaction_id)
    assert (str(filled["inbox_id"]), filled["mpesa_receipt_number"], filled["evidence"]) == (entry.id, RECEIPT, "query")
    assert (filled["balance_amount"], filled["transaction_date"]) == (Decimal("12.50"), FIVE_O_CLOCK)
    assert (filled["phone_number"], filled["result_desc"]) == ("254708374149", "as queried")
    assert confirmation_of(ledger, other)["mpesa_receipt_number"] is None


def test_other_news_leaves_the_confirmation_of_a_query_as_it_is(ledger: Ledger) -> None:
    transaction_id = pushed(ledger)
    ledger.tell(transaction_id, QueryConfirmed())
    before = confirmation_of(ledger, transaction_id)
    for event in (FAILS, Confirmed(OURS, KES, None)):
        ledger.tell(transaction_id, event, **success_in(ledger.on_file(transaction_id).id))
    assert confirmation_of(ledger, transaction_id) == before


def test_a_receipt_that_is_there_is_never_written_over(ledger: Ledger) -> None:
    transaction_id = paid(ledger)
    before = confirmation_of(ledger, transaction_id)
    filling = Decision(Status.PAID, Outcome.RECEIPT_FILLED, fill_receipt=ANOTHER)
    ledger.record(transaction_id, filling, **success_in(ledger.on_file(transaction_id).id))
    assert confirmation_of(ledger, transaction_id) == before


def test_a_large_success_is_held_since_the_first_time_and_asked_about_at_once(ledger: Ledger) -> None:
    transaction_id = pushed(ledger, amount_kes=LARGE)
    kept = success_in(ledger.on_file(transaction_id).id)
    changes = ledger.changes(transaction_id, LARGE_SUCCESS, **kept)
    assert asks_at_once(ledger, changes)
    del changes.columns["next_query_at"]
    assert changes.columns == {"success_held_at": at(changes), "callback_received_at": at(changes)}
    assert audited(changes)[0][2:5] == ("waits_for_query", "PENDING", "PENDING")
    assert in_inbox(ledger, kept["inbox_id"])["outcome"] == "waits_for_query"
    assert ledger.rows("SELECT id FROM payment_confirmations") == []
    assert ledger.changes(transaction_id, LARGE_SUCCESS, **kept).columns.keys() == {"next_query_at"}


def test_a_held_success_stays_held_beside_a_failure_until_a_person_fails_it(ledger: Ledger) -> None:
    transaction_id = pushed(ledger, amount_kes=LARGE)
    ledger.tell(transaction_id, LARGE_SUCCESS)
    assert ledger.changes(transaction_id, FAILS).columns.keys() == {"next_query_at"}
    ledger.tell(transaction_id, QueryDeclined(Status.FAILED))
    assert ledger.payment(transaction_id)["success_held_at"] is not None
    changes = ledger.changes(transaction_id, OperatorFailed())
    assert (changes.columns["status"], changes.columns["success_held_at"]) == ("FAILED", None)


def test_callbacks_that_waited_for_a_query_are_judged_again_once_it_agrees(ledger: Ledger) -> None:
    mine, other = pushed(ledger, 1, amount_kes=LARGE), pushed(ledger, 2, amount_kes=LARGE)
    waiting, noted, others = ledger.on_file(mine), ledger.on_file(mine), ledger.on_file(other)
    ledger.tell(mine, LARGE_SUCCESS, **success_in(waiting.id))
    ledger.tell(other, Confirmed(ids(2), LARGE, ANOTHER), **success_in(others.id))
    ledger.tell(mine, FAILS, inbox_id=noted.id)
    assert in_inbox(ledger, waiting.id)["outcome"] == "waits_for_query"
    changes = ledger.changes(mine, QueryConfirmed())
    assert changes.columns["status"] == "PAID"
    again = in_inbox(ledger, waiting.id)
    assert (again["outcome"], again["tries"], again["next_try_at"]) == (None, 0, at(changes))
    assert in_inbox(ledger, others.id)["outcome"] == "waits_for_query"
    assert in_inbox(ledger, noted.id)["outcome"] == "contradicts"


def test_the_moment_of_the_first_callback_is_kept(ledger: Ledger) -> None:
    transaction_id = pushed(ledger)
    for kept in ({"callback_received_at"}, set()):
        entry = ledger.on_file(transaction_id)
        noted = stays(Status.PENDING, Outcome.NOTED)
        assert ledger.changes_by(transaction_id, noted, inbox_id=entry.id).columns.keys() == kept


# What failure, silence and people write -------------------------------------------------------------------------------


@pytest.mark.parametrize(("event", "again"), [(MAY_BE_TAKEN_BACK, timedelta(minutes=5)), (FAILS, None)])
def test_a_failure_is_asked_about_again_where_it_may_be_taken_back(
    ledger: Ledger, event: Event, again: timedelta | None
) -> None:
    transaction_id = pushed(ledger)
    changes = ledger.changes(transaction_id, event, "callback", result_code="1037", result_desc="DS timeout")
    assert changes.columns["next_query_at"] is None if again is None else asks_at_once(ledger, changes, after=again)
    del changes.columns["next_query_at"]
    assert changes.columns == {
        "status": "FAILED",
        "updated_at": at(changes),
        "failed_at": at(changes),
        "result_code": "1037",
        "result_desc": "DS timeout",
    }
    assert audited(changes) == [("callback", "Declined", "declined", "PENDING", "FAILED", None, None, "1037")]


def test_the_latest_failure_says_why_except_for_a_callback_judged_already(ledger: Ledger) -> None:
    transaction_id = pushed(ledger)
    kept = {"inbox_id": ledger.on_file(transaction_id).id, "result_code": "1037", "result_desc": "DS timeout"}
    ledger.tell(transaction_id, FAILS, **kept)
    changes = ledger.changes(transaction_id, QueryDeclined(Status.FAILED), result_code="1", result_desc="no balance")
    assert changes.columns == {"result_code": "1", "result_desc": "no balance"}
    assert changes.audit == []
    assert [answer["outcome"] for answer in changes.answers] == ["repeated"]
    assert ledger.changes(transaction_id, FAILS, **kept).columns == {}
    assert ledger.changes(transaction_id, FAILS).columns == {}  # it names no code


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
        ledger.tell(transaction_id, FAILS, result_code="1")
    assert ledger.changes_by(transaction_id, decision, result_code="7777", result_desc="new").columns == {}


def test_silence_raises_one_alert_and_is_then_reviewed(ledger: Ledger) -> None:
    transaction_id = pushed(ledger)
    ledger.age(transaction_id, 16 * 60)
    assert ledger.changes(transaction_id, TimePassed()).outbox == [("alert", "silence")]
    changes = ledger.changes(transaction_id, TimePassed())
    assert (changes.columns, changes.audit, changes.outbox) == ({}, [], [])
    ledger.age(transaction_id, 45 * 60)
    changes = ledger.changes(transaction_id, TimePassed(), "sweep")
    assert changes.columns == {"status": "REVIEW", "review_reason": "silence", "updated_at": at(changes)}
    assert audited(changes) == [("sweep", "TimePassed", "to_review", "PENDING", "REVIEW", "silence", None, None)]
    assert changes.outbox == [("webhook", "under_review")]


def test_each_alert_of_a_decision_is_queued_for_its_payment_only(ledger: Ledger) -> None:
    transaction_id, other = pushed(ledger, 1), pushed(ledger, 2)
    decision = stays(Status.PENDING, Outcome.NOTED, None, Alert.UNKNOWN_CODE, Alert.SECOND_RECEIPT)
    changes = ledger.changes_by(transaction_id, decision)
    assert changes.outbox == [("alert", "unknown_code"), ("alert", "second_receipt")]
    assert ledger.changes_by(other, stays(Status.PENDING, Outcome.NOTED)).outbox == []


def test_repetitions_and_more_silence_are_not_audited(ledger: Ledger) -> None:
    transaction_id = pushed(ledger)
    of_an_open_payment = set(Outcome) - {Outcome.PAID_LATE}  # the schema takes that for a paid one only
    rows = {each: ledger.changes_by(transaction_id, stays(Status.PENDING, each)).audit for each in of_an_open_payment}
    quiet = {Outcome.REPEATED, Outcome.STILL_WAITING, Outcome.WAITS_FOR_PUSH}
    assert {outcome for outcome in rows if rows[outcome] == []} == quiet


def test_a_repetition_is_audited_where_it_brings_ids_or_a_persons_reason(ledger: Ledger) -> None:
    transaction_id = in_review(ledger)
    ledger.tell(transaction_id, OperatorFailed())
    changes = ledger.changes(transaction_id, FAILS)
    assert (changes.columns["checkout_request_id"], changes.columns["ids_are_learnt"]) == (
        OURS.checkout_request_id,
        True,
    )
    assert audited(changes) == [("a test", "Declined", "repeated", "FAILED", "FAILED", None, None, None)]
    assert ledger.changes(transaction_id, FAILS).audit == []
    changes = ledger.changes(transaction_id, FAILS, AMINA, why="asked by the shop")
    assert audited(changes) == [(AMINA, "Declined", "repeated", "FAILED", "FAILED", "asked by the shop", None, None)]


def test_the_audit_log_has_the_reason_of_the_review_or_a_persons_own(ledger: Ledger) -> None:
    transaction_id = in_review(ledger, ReviewReason.SILENCE)
    changes = ledger.changes(transaction_id, OperatorFailed(), AMINA, why="not on the statement")
    assert (changes.columns["status"], changes.columns["review_reason"]) == ("FAILED", None)
    assert audited(changes) == [
        (AMINA, "OperatorFailed", "declined", "REVIEW", "FAILED", "not on the statement", None, None)
    ]
    changes = ledger.changes_by(transaction_id, stays(Status.FAILED, Outcome.NOTED, ReviewReason.SILENCE))
    assert changes.columns == {}
    assert audited(changes)[0][5] == "silence"


def test_a_person_who_saw_the_money_pays_with_its_receipt(ledger: Ledger) -> None:
    transaction_id = in_review(ledger)
    changes = ledger.changes(transaction_id, OperatorPaid(ANOTHER), AMINA, why="on the statement")
    assert (changes.columns["status"], changes.columns["paid_at"]) == ("PAID", at(changes))
    assert audited(changes)[0][7] == ANOTHER
    row = confirmation_of(ledger, transaction_id)
    assert (row["evidence"], row["mpesa_receipt_number"]) == ("operator", ANOTHER)


@pytest.mark.parametrize("put", [in_review, paid])
def test_a_refund_is_written_with_its_own_receipt(ledger: Ledger, put: Callable[[Ledger], str]) -> None:
    transaction_id = put(ledger)
    changes = ledger.changes(transaction_id, OperatorRefunded(ANOTHER), AMINA, why="sent back")
    changes.columns.pop("review_reason", None)
    assert changes.columns == {
        "status": "REFUNDED",
        "updated_at": at(changes),
        "refunded_at": at(changes),
        "refund_receipt": ANOTHER,
    }
    later = Confirmed(OURS, KES, "UE00000009")
    assert ledger.changes_by(transaction_id, stays(Status.REFUNDED, Outcome.NOTED), later).columns == {}


def test_what_is_settled_is_not_asked_about_any_more(ledger: Ledger) -> None:
    transaction_id = paid(ledger)
    ledger.overwrite("UPDATE transactions SET next_query_at = now()")
    assert ledger.changes(transaction_id, TimePassed()).columns == {"next_query_at": None}


def test_what_changes_nothing_leaves_the_next_query_where_it_was(ledger: Ledger) -> None:
    open_still, failed = pushed(ledger, 1), pushed(ledger, 2)
    ledger.tell(failed, Declined(ids(2), Status.FAILED, may_be_taken_back=True))
    for transaction_id, status in ((open_still, Status.PENDING), (failed, Status.FAILED)):
        assert ledger.payment(transaction_id)["next_query_at"] is not None
        noted = ledger.changes_by(transaction_id, stays(status, Outcome.NOTED), MAY_BE_TAKEN_BACK)
        assert noted.columns == {}


# The same invoice again -----------------------------------------------------------------------------------------------


def invoiced(ledger: Ledger, number: int = 1) -> str:
    """A paid payment whose invoice was sent."""
    transaction_id = paid(ledger, number, receipt=f"UE4JS31RB{number}", customer_email="alice@example.com")
    ledger.overwrite("UPDATE outbox SET sent_at = now(), next_try_at = NULL")
    ledger.overwrite("UPDATE invoices SET sent_at = now(), status = 'SENT'")
    return transaction_id


def resent(ledger: Ledger, transaction_id: str) -> object:
    """The answer when an operator wants the invoice sent again."""
    return ledger.gateway.invoices.send_again(transaction_id, Operator("amina", "never arrived"))


@pytest.mark.parametrize(("was", "is_now"), [("FAILED", "PENDING"), ("SENT", "SENT")])
def test_an_invoice_that_is_sent_again_is_queued_and_audited(ledger: Ledger, was: str, is_now: str) -> None:
    transaction_id, other = invoiced(ledger, 1), invoiced(ledger, 2)
    ledger.overwrite("UPDATE invoices SET status = :was", was=was)
    before, others = ledger.payment(transaction_id), ledger.payment(other)
    wanted = resent(ledger, transaction_id)
    (queued,) = ledger.rows("SELECT id, kind, topic, transaction_id FROM outbox WHERE next_try_at IS NOT NULL")
    assert wanted == Requested(queued["id"])
    assert (queued["kind"], queued["topic"], str(queued["transaction_id"])) == ("invoice", "resent", transaction_id)
    statuses = {str(row["transaction_id"]): row["status"] for row in ledger.rows("SELECT * FROM invoices")}
    assert statuses == {transaction_id: is_now, other: was}
    (noted,) = ledger.rows("SELECT * FROM audit_log WHERE outcome = 'noted'")
    assert (str(noted["transaction_id"]), noted["actor"], noted["event"]) == (transaction_id, AMINA, "InvoiceResent")
    assert (noted["from_status"], noted["to_status"], noted["reason"]) == ("PAID", "PAID", "never arrived")
    after = ledger.payment(transaction_id)
    assert after["audit_length"] == before["audit_length"] + 1
    assert {name for name in after if after[name] != before[name]} == {"audit_length", "audit_head"}
    assert ledger.payment(other) == others


def test_an_alert_that_waits_holds_up_no_invoice(ledger: Ledger) -> None:
    transaction_id = invoiced(ledger)
    ledger.tell(transaction_id, FAILS)
    assert isinstance(resent(ledger, transaction_id), Requested)


def test_a_settlement_finds_its_row_by_the_primary_key(ledger: Ledger) -> None:
    """Statistics from before a busy hour say that no payment is open: the index on status looks cheaper than it is."""
    filling = """
        INSERT INTO transactions (phone_number, amount, account_reference, status, paid_at,
                                  merchant_request_id, checkout_request_id)
        SELECT '254799999999', 10, 'FILL', '{status}', now(), '{status}' || n, '{status}' || n
        FROM generate_series(1, {n}) n
    """
    ledger.overwrite(filling.format(status="PAID", n=20_000))
    ledger.rows("ANALYZE transactions")
    ledger.overwrite(filling.format(status="PENDING", n=2_000))
    transaction_id = pushed(ledger)

    def scans() -> dict[str, int]:
        ledger.rows("SELECT pg_stat_force_next_flush()")
        ledger.rows("SELECT pg_stat_clear_snapshot()")
        used = ledger.rows("SELECT indexrelname AS name, idx_tup_read AS read FROM pg_stat_user_indexes")
        return {row["name"]: row["read"] for row in used}

    before = scans()
    ledger.tell(transaction_id, Confirmed(OURS, KES, RECEIPT))
    after = scans()
    assert after["transactions_pkey"] > before["transactions_pkey"]
    assert after["transactions_status"] - before["transactions_status"] < 100
    ledger.overwrite("DELETE FROM transactions WHERE account_reference = 'FILL'")
