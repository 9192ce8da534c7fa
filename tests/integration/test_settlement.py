"""From evidence to settlement: how each message is read, how often it is tried, and when Daraja is asked again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from shared import deadline
from shared.daraja.answers import NoAnswerYet, QueryAnswered, QueryDeclined, QuerySucceeded
from shared.daraja.callback_address import Source
from shared.daraja.callback_reader import CallbackUnreadable, read_message
from shared.database.errors import (
    Busy,
    CommitUnknown,
    ConstraintBroken,
    DatabaseError,
    DatabaseUnavailable,
    StatementFailed,
)
from shared.deadline import Deadline
from shared.gateway.cases import Case, Report
from shared.gateway.daraja import QueryDue
from shared.gateway.inbox import Entry
from shared.payments import (
    Confirmed,
    Declined,
    Ids,
    OperatorRefunded,
    Outcome,
    PushAccepted,
    QueryConfirmed,
    Status,
    TimePassed,
    UnknownCode,
)
from shared.query_schedule import Budget
from shared.settlement import ask, check_age, judge, remember, reported, settle
from tests.fixtures.ledger import PHONES, Ledger, ids

KES = Decimal(1500)
RECEIPT = "UE4JS31RBV"
NOWHERE = "0c9e8f1a-0b1c-4d2e-8f3a-5b6c7d8e9f00"
OURS = ids(1)
SOON = Deadline.after(600)
BUSY, BROKEN = Busy("busy"), ConstraintBroken("broken", constraint="a rule", sqlstate="23505")
UNKNOWN, UNAVAILABLE = CommitUnknown("unknown"), DatabaseUnavailable("unavailable")


def pushed(ledger: Ledger, number: int = 1, **order: object) -> str:
    transaction_id = ledger.admit(**order)  # type: ignore[arg-type]
    ledger.tell(transaction_id, PushAccepted(ids(number)))
    return transaction_id


def status(ledger: Ledger, transaction_id: str) -> str:
    return str(ledger.payment(transaction_id)["status"])


def callback(code: object = 0, named: Ids | None = OURS, **items: object) -> bytes:
    """A callback's body. `items` go over the metadata of a good success."""
    body: dict[str, Any] = {"ResultCode": code, "ResultDesc": "what Safaricom says"}
    if named is not None:
        body |= {"MerchantRequestID": named.merchant_request_id, "CheckoutRequestID": named.checkout_request_id}
    if code == 0:
        usual = {
            "Amount": 1500,
            "MpesaReceiptNumber": RECEIPT,
            "TransactionDate": 20260504170000,
            "PhoneNumber": 254708374149,
        }
        metadata = [{"Name": name, "Value": value} for name, value in {**usual, **items}.items()]
        body["CallbackMetadata"] = {"Item": metadata}
    return json.dumps({"Body": {"stkCallback": body}}).encode()


# Tries ----------------------------------------------------------------------------------------------------------------


@dataclass
class Stumbling:
    """A part of the gateway that fails a few times before it works."""

    works: Callable[..., Any]
    failures: list[DatabaseError]
    tries: int = 0

    def __call__(self, *arguments: Any) -> Any:
        self.tries += 1
        if self.failures:
            raise self.failures.pop(0)
        return self.works(*arguments)


def stumbling(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, *failures: DatabaseError) -> Stumbling:
    """Cases that cannot be opened so many times."""
    stumbles = Stumbling(ledger.gateway.cases.open, list(failures))
    monkeypatch.setattr(ledger.gateway.cases, "open", stumbles)
    return stumbles


@pytest.mark.parametrize("failures", [(), (BUSY,), (BROKEN, UNKNOWN)])
def test_a_lost_race_is_repeated_twice(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, failures: tuple[DatabaseError, ...]
) -> None:
    transaction_id = pushed(ledger)
    stumbles = stumbling(ledger, monkeypatch, *failures)
    settled = settle(ledger.gateway, transaction_id, Report(Confirmed(OURS, KES, RECEIPT), "a test"))
    assert stumbles.tries == len(failures) + 1
    assert settled is not None
    assert settled.decision.status == status(ledger, transaction_id) == "PAID"


@pytest.mark.parametrize("failure", [BUSY, BROKEN, UNKNOWN])
def test_the_third_lost_race_is_raised(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, failure: DatabaseError) -> None:
    transaction_id = pushed(ledger)
    stumbles = stumbling(ledger, monkeypatch, failure, failure, failure)
    with pytest.raises(type(failure)):
        check_age(ledger.gateway, transaction_id)
    assert stumbles.tries == 3


def test_a_decision_that_was_not_recorded_is_rolled_back_and_taken_again(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    transaction_id = pushed(ledger)
    really, recorded = Case.record, iter([False, True])
    monkeypatch.setattr(Case, "record", lambda case, decision: really(case, decision) and next(recorded))
    settled = settle(ledger.gateway, transaction_id, Report(Confirmed(OURS, KES, RECEIPT), "a test"))
    assert settled is not None
    assert settled.decision.outcome is Outcome.PAID, "not REPEATED: the first try left nothing behind"
    assert list(recorded) == [], "there was a second try"


def test_a_decision_that_is_never_recorded_raises_busy(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    transaction_id = pushed(ledger)
    monkeypatch.setattr(Case, "record", lambda case, decision: False)
    with pytest.raises(Busy, match="Rolled back: somebody else changed the payment"):
        check_age(ledger.gateway, transaction_id)


@pytest.mark.parametrize("failure", [UNAVAILABLE, StatementFailed("wrong", sqlstate="42601")])
def test_what_trying_again_cannot_help_is_raised_at_once(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, failure: DatabaseError
) -> None:
    transaction_id = pushed(ledger)
    stumbles = stumbling(ledger, monkeypatch, failure)
    with pytest.raises(type(failure)):
        check_age(ledger.gateway, transaction_id)
    assert stumbles.tries == 1


def test_a_lost_answer_to_commit_is_resolved_by_reading(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written is written once: the second try reads it and repeats nothing."""
    transaction_id = pushed(ledger, customer_email="alice@example.com")
    really, answers_lost = ledger.gateway.cases.open, iter([True, False])

    @contextmanager
    def losing(*arguments: Any) -> Iterator[Case | None]:
        with really(*arguments) as case:
            yield case
        if next(answers_lost):
            raise UNKNOWN

    monkeypatch.setattr(ledger.gateway.cases, "open", losing)
    entry = ledger.on_file(transaction_id, callback())
    assert judge(ledger.gateway, entry, "callback").outcome == "repeated"
    assert status(ledger, transaction_id) == "PAID"
    for table in ("payment_confirmations", "invoices"):
        assert len(ledger.rows(f"SELECT id FROM {table}")) == 1


@dataclass
class Clock:
    """Time that passes only while somebody sleeps."""

    now_s: float = 1000.0
    slept: list[float] = field(default_factory=list)

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    ticking = Clock()
    monkeypatch.setattr(deadline, "time", ticking)
    return ticking


def test_bytes_that_cannot_be_stored_are_tried_soon_and_then_every_two_seconds(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    stumbles = Stumbling(ledger.gateway.inbox.remember, [UNAVAILABLE] * 100)
    monkeypatch.setattr(ledger.gateway.inbox, "remember", stumbles)
    with pytest.raises(DatabaseUnavailable):
        remember(ledger.gateway, Entry(NOWHERE, NOWHERE, b"bytes"), None, Deadline.after(4))
    assert clock.slept == sorted(clock.slept)  # some hosts lock out who is refused a login too often
    assert (clock.slept[0], len(clock.slept), max(clock.slept) <= 2) == (0.2, 6, True)
    assert stumbles.tries == len(clock.slept) + 1


def test_without_patience_bytes_are_tried_once(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    monkeypatch.setattr(ledger.gateway.inbox, "remember", Stumbling(ledger.gateway.inbox.remember, [UNAVAILABLE] * 9))
    with pytest.raises(DatabaseUnavailable):
        remember(ledger.gateway, Entry(NOWHERE, NOWHERE, b"bytes"), None, Deadline.after(0))
    assert clock.slept == []


def test_bytes_are_stored_once_the_database_is_back_with_where_they_came_from(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    stumbles = Stumbling(ledger.gateway.inbox.remember, [UNAVAILABLE, UNKNOWN])
    monkeypatch.setattr(ledger.gateway.inbox, "remember", stumbles)
    remember(ledger.gateway, Entry(NOWHERE, NOWHERE, b"\xff bytes"), "196.201.214.200", Deadline.after(4))
    assert stumbles.tries == 3
    row = ledger.row("SELECT body, source_address FROM callback_inbox")
    assert row == {"body": b"\xff bytes", "source_address": "196.201.214.200"}


# Callbacks ------------------------------------------------------------------------------------------------------------


def test_a_callback_on_file_is_judged_and_its_outcome_named(ledger: Ledger) -> None:
    transaction_id = pushed(ledger)
    assert judge(ledger.gateway, ledger.on_file(transaction_id, callback()), "callback").outcome == "paid"
    assert judge(ledger.gateway, ledger.on_file(transaction_id, callback()), "sweep").outcome == "repeated"
    assert status(ledger, transaction_id) == "PAID"
    (audit,) = ledger.rows("SELECT actor, event FROM audit_log WHERE to_status = 'PAID'")
    assert audit == {"actor": "callback", "event": "Confirmed"}


def test_why_a_person_has_a_callback_judged_again_is_in_the_audit_log(ledger: Ledger) -> None:
    transaction_id = pushed(ledger)
    entry = ledger.on_file(transaction_id, callback())
    assert judge(ledger.gateway, entry, "operator amina", "the customer called").outcome == "paid"
    audit = ledger.row("SELECT actor, reason FROM audit_log WHERE to_status = 'PAID'")
    assert audit == {"actor": "operator amina", "reason": "the customer called"}


@pytest.mark.parametrize(
    ("outcome", "known", "source", "body"),
    [
        ("unreadable", True, None, callback()[:-1]),
        ("unknown_transaction", False, None, callback()),
        ("held", True, Source.HELD, callback()),
        ("held", True, Source.HELD, callback()[:-1]),
    ],
)
def test_a_callback_that_settles_nothing_is_closed_with_the_receipts_in_it(
    ledger: Ledger, outcome: str, known: bool, source: Source | None, body: bytes
) -> None:
    transaction_id = pushed(ledger)
    entry = replace(ledger.on_file(transaction_id if known else NOWHERE, body), source=source)
    assert judge(ledger.gateway, entry, "callback").outcome == outcome
    row = ledger.row("SELECT outcome, receipts FROM callback_inbox")
    assert row == {"outcome": outcome, "receipts": [RECEIPT]}
    assert status(ledger, transaction_id) == "PENDING"


@pytest.mark.parametrize(
    ("source", "alerts"), [(None, []), (Source.LISTED, []), (Source.UNLISTED, ["unlisted_address"])]
)
def test_a_callback_from_an_unlisted_address_is_judged_and_raises_an_alert(
    ledger: Ledger, source: Source | None, alerts: list[str]
) -> None:
    transaction_id = pushed(ledger)
    entry = replace(ledger.on_file(transaction_id, callback()), source=source)
    assert judge(ledger.gateway, entry, "callback").outcome == "paid"
    assert [row["topic"] for row in ledger.rows("SELECT topic FROM outbox WHERE kind = 'alert'")] == alerts


def read(body: bytes) -> Report:
    message, receipts = read_message(body)
    assert not isinstance(message, CallbackUnreadable)
    return reported(message, "callback", inbox_id="an entry", receipts_seen=receipts, why="a reason")


def test_all_that_a_success_says_is_kept() -> None:
    assert read(callback(Balance=12)) == Report(
        Confirmed(OURS, KES, RECEIPT),
        "callback",
        inbox_id="an entry",
        receipts_seen=(RECEIPT,),
        result_code="0",
        result_desc="what Safaricom says",
        transaction_date=datetime(2026, 5, 4, 14, 0, tzinfo=UTC),
        payer="254708374149",
        balance_kes=Decimal("12.00"),
        why="a reason",
    )
    assert read(callback().replace(b"what Safaricom says", b"")).result_desc is None


@pytest.mark.parametrize(
    ("code", "event"),
    [
        ("1032", Declined(OURS, Status.CANCELLED)),
        ("1037", Declined(OURS, Status.FAILED, may_be_taken_back=True)),
        ("1019", Declined(OURS, Status.EXPIRED, may_be_taken_back=True)),
        ("SFC_IC9999", UnknownCode(OURS)),
        ("9" * 50, UnknownCode(OURS)),
    ],
)
def test_all_that_a_failure_or_an_unknown_code_says_is_kept(code: str, event: Declined | UnknownCode) -> None:
    assert read(callback(code)) == Report(
        event,
        "callback",
        inbox_id="an entry",
        result_code=code,
        result_desc="what Safaricom says",
        why="a reason",
    )


@pytest.mark.parametrize("missing", ["MerchantRequestID", "CheckoutRequestID"])
def test_a_callback_that_names_only_one_of_two_ids_names_none(missing: str) -> None:
    body = json.loads(callback())
    del body["Body"]["stkCallback"][missing]
    report = read(json.dumps(body).encode())
    assert (report.event, report.ids) == (Confirmed(None, KES, RECEIPT), None)


def test_a_report_has_its_name_ids_and_receipt_from_its_event() -> None:
    for event, name, ids_named, receipt in (
        (Confirmed(OURS, KES, RECEIPT), "Confirmed", OURS, RECEIPT),
        (PushAccepted(OURS), "PushAccepted", OURS, None),
        (OperatorRefunded(RECEIPT), "OperatorRefunded", None, RECEIPT),
        (TimePassed(), "TimePassed", None, None),
    ):
        report = Report(event, "a test")
        assert (report.name, report.ids, report.receipt) == (name, ids_named, receipt)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (99_999_999.99, Decimal("99999999.99")),
        (0, Decimal(0)),
        (12.5, Decimal("12.50")),
        (100_000_000, None),
        (-1, None),
        ("12", None),
        (None, None),
    ],
)
def test_a_balance_is_kept_where_the_column_can_hold_it_and_never_costs_the_payment(
    ledger: Ledger, said: object, kept: Decimal | None
) -> None:
    transaction_id = pushed(ledger)
    assert judge(ledger.gateway, ledger.on_file(transaction_id, callback(Balance=said)), "callback").outcome == "paid"
    assert ledger.row("SELECT balance_amount FROM payment_confirmations") == {"balance_amount": kept}


# Queries --------------------------------------------------------------------------------------------------------------


@dataclass
class Answers:
    """A Daraja that answers one thing."""

    answer: QueryAnswered
    asked: list[tuple[str, Deadline]] = field(default_factory=list)

    def query(self, checkout_request_id: str, deadline: Deadline) -> QueryAnswered:
        self.asked.append((checkout_request_id, deadline))
        return self.answer


def due(ledger: Ledger, transaction_id: str) -> QueryDue:
    """The payment as the sweep takes it, its query due and leased for a minute."""
    ledger.overwrite(
        "UPDATE transactions SET next_query_at = now() - interval '1 second' WHERE id = CAST(:id AS uuid)",
        id=transaction_id,
    )
    ledger.overwrite("UPDATE query_budget SET next_slot_at = now() - interval '1 second'")
    taken = ledger.gateway.queries.take(Budget(12))
    assert isinstance(taken, QueryDue)
    assert taken.payment.id == transaction_id
    return taken


def asks(ledger: Ledger, about: QueryDue, answer: QueryAnswered) -> str:
    daraja = Answers(answer)
    outcome = ask(ledger.gateway, daraja, about, SOON)  # type: ignore[arg-type]
    assert daraja.asked == [(about.checkout_request_id, SOON)]
    return outcome


def test_a_query_that_says_paid_pays_and_keeps_what_was_said(ledger: Ledger) -> None:
    transaction_id = pushed(ledger)
    assert asks(ledger, due(ledger, transaction_id), QuerySucceeded("processed")) == "paid"
    assert status(ledger, transaction_id) == "PAID"
    answer = ledger.row("SELECT result_code, said, outcome FROM query_answers")
    assert answer == {"result_code": "0", "said": "processed", "outcome": "paid"}
    assert ledger.row("SELECT actor, event FROM audit_log WHERE to_status = 'PAID'") == {
        "actor": "sweep",
        "event": "QueryConfirmed",
    }
    assert ledger.payment(transaction_id)["next_query_at"] is None


@pytest.mark.parametrize(
    ("code", "becomes", "again"), [("1037", "FAILED", timedelta(minutes=5)), ("1032", "CANCELLED", None)]
)
def test_a_query_that_says_no_fails_and_is_repeated_where_it_may_be_taken_back(
    ledger: Ledger, code: str, becomes: str, again: timedelta | None
) -> None:
    transaction_id = pushed(ledger)
    assert asks(ledger, due(ledger, transaction_id), QueryDeclined(code, "no answer")) == "declined"
    row = ledger.payment(transaction_id)
    assert (row["status"], row["result_code"], row["result_desc"]) == (becomes, code, "no answer")
    assert ledger.row("SELECT actor, event, said FROM audit_log WHERE outcome = 'declined'") == {
        "actor": "sweep",
        "event": "QueryDeclined",
        "said": code,
    }
    answer = ledger.row("SELECT result_code, said, outcome FROM query_answers")
    assert answer == {"result_code": code, "said": "no answer", "outcome": "declined"}
    if again is None:
        assert row["next_query_at"] is None
    else:
        assert again <= row["next_query_at"] - row["failed_at"] < again + timedelta(minutes=5)


def test_no_answer_yet_settles_nothing_and_is_asked_again_by_the_schedule(ledger: Ledger) -> None:
    transaction_id = pushed(ledger)
    about = due(ledger, transaction_id)
    assert asks(ledger, about, NoAnswerYet("HTTP 500 4999")) == "no_answer_yet"
    row = ledger.payment(transaction_id)
    assert (row["status"], row["next_query_at"]) == ("PENDING", about.asked_at + timedelta(seconds=60))
    assert ledger.row("SELECT said, outcome FROM query_answers") == {
        "said": "HTTP 500 4999",
        "outcome": "no_answer_yet",
    }
    assert slot_in(ledger) < timedelta(seconds=15)


def slot_in(ledger: Ledger) -> timedelta:
    """From the last query to the moment when any instance may send the next."""
    row = ledger.row("SELECT max(b.next_slot_at) - max(t.last_query_at) AS wait FROM query_budget b, transactions t")
    wait = row["wait"]
    assert isinstance(wait, timedelta)
    return wait


def test_after_a_429_all_instances_wait_a_minute(ledger: Ledger) -> None:
    transaction_id = pushed(ledger)
    ledger.age(transaction_id, 16 * 60)  # the schedule alone would wait 15 minutes
    about = due(ledger, transaction_id)
    assert asks(ledger, about, NoAnswerYet("HTTP 429", throttled=True)) == "no_answer_yet"
    assert slot_in(ledger) >= timedelta(seconds=60)
    assert ledger.payment(transaction_id)["next_query_at"] == about.asked_at + timedelta(seconds=60)


def test_a_failure_that_a_query_repeats_is_asked_about_again(ledger: Ledger) -> None:
    transaction_id = pushed(ledger)
    ledger.tell(transaction_id, Declined(OURS, Status.FAILED, may_be_taken_back=True), result_code="1037")
    failed_at = ledger.payment(transaction_id)["failed_at"]
    about = due(ledger, transaction_id)
    assert asks(ledger, about, QueryDeclined("1037", "no answer")) == "repeated"
    assert ledger.payment(transaction_id)["next_query_at"] == failed_at + timedelta(minutes=5)


def test_a_query_that_is_only_noted_is_asked_again_by_the_schedule(ledger: Ledger) -> None:
    """A query declines a silent payment: a person decides, and money may still come."""
    transaction_id = pushed(ledger)
    ledger.age(transaction_id, 3601)
    assert check_age(ledger.gateway, transaction_id) == "to_review"
    about = due(ledger, transaction_id)
    assert asks(ledger, about, QueryDeclined("1032", "cancelled")) == "noted"
    assert ledger.payment(transaction_id)["next_query_at"] == about.asked_at + timedelta(minutes=15)


def test_a_query_that_contradicts_leaves_the_schedule_to_what_it_led_to(ledger: Ledger) -> None:
    transaction_id = pushed(ledger)
    about = due(ledger, transaction_id)
    ledger.tell(transaction_id, Confirmed(OURS, KES, RECEIPT))
    assert asks(ledger, about, QueryDeclined("1032", "cancelled")) == "contradicts"
    assert (status(ledger, transaction_id), ledger.payment(transaction_id)["next_query_at"]) == ("PAID", None)


def test_a_duplicate_that_a_query_uncovers_is_not_asked_about_again(ledger: Ledger) -> None:
    first = pushed(ledger, 1, phone=PHONES[0])
    ledger.age(first, 3601)
    check_age(ledger.gateway, first)
    second = pushed(ledger, 2, phone=PHONES[0])
    ledger.tell(second, Confirmed(ids(2), KES, RECEIPT))
    assert asks(ledger, due(ledger, first), QuerySucceeded("processed")) == "to_review"
    row = ledger.payment(first)
    assert (row["review_reason"], row["next_query_at"]) == ("duplicate_payment", None)


def test_a_query_about_a_payment_that_is_not_there_changes_nothing(ledger: Ledger) -> None:
    transaction_id = pushed(ledger)
    about = due(ledger, transaction_id)
    gone = replace(about, payment=replace(about.payment, id=NOWHERE))
    assert asks(ledger, gone, QuerySucceeded("processed")) == "unknown_transaction"
    assert status(ledger, transaction_id) == "PENDING"


# Time -----------------------------------------------------------------------------------------------------------------


def test_the_age_of_a_payment_is_checked_in_the_sweeps_name(ledger: Ledger) -> None:
    transaction_id = pushed(ledger)
    assert check_age(ledger.gateway, transaction_id) == "still_waiting"
    ledger.age(transaction_id, 3601)
    assert check_age(ledger.gateway, transaction_id) == "to_review"
    assert ledger.row("SELECT actor, event FROM audit_log WHERE to_status = 'REVIEW'") == {
        "actor": "sweep",
        "event": "TimePassed",
    }
    assert check_age(ledger.gateway, NOWHERE) == "unknown_transaction"


def test_the_same_query_twice_pays_once(ledger: Ledger) -> None:
    transaction_id = pushed(ledger)
    outcomes = [ledger.tell(transaction_id, QueryConfirmed(), "sweep").outcome for _ in range(2)]
    assert outcomes == ["paid", "repeated"]
