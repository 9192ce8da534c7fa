"""A person's word about a payment: compared with the evidence on file, and taken back when it was wrong.

Every test ends with the invariants, the audit log's signatures and the replay (fixture `shop`).
"""

from __future__ import annotations

import json
import os
import uuid
from decimal import Decimal
from typing import Any

import pytest

from ops.__main__ import main
from ops.replay import replay
from shared.collaborators import collaborators
from shared.gateway.inbox import Entry
from tests.fixtures.shop import CUSTOMER, RECEIPT, Shop, callback_about

OTHER = "254722000000"
WHY = ("--why", "on the statement", "--who", "amina")


def in_review(shop: Shop, **order: Any) -> str:
    """A callback said something that nobody understands."""
    return shop.settled({"code": "7777", "desc": "new"}, **order)


def refund(shop: Shop, transaction_id: str, receipt: str = "UE5AA11BBC") -> None:
    assert shop.ops("review", "refunded", transaction_id, "--receipt", receipt, *WHY) == 0


def reopen(shop: Shop, transaction_id: str) -> int:
    return shop.ops("review", "reopen", transaction_id, "--why", "it was another payment", "--who", "amina")


# Reopening ------------------------------------------------------------------------------------------------------------


def test_a_refund_of_the_wrong_payment_is_taken_back_whole(shop: Shop) -> None:
    wrong, right = shop.settled(), shop.settled(phone_number=OTHER, account_reference="OTHER")
    kept = "SELECT paid_at, order_sent_at, paid_late FROM transactions WHERE id = CAST(:id AS uuid)"
    assert shop.ops("sent", wrong, "--who", "amina") == 0
    before, confirmed = shop.row(kept, id=wrong), shop.rows("SELECT * FROM payment_confirmations ORDER BY id")
    invoiced = shop.rows("SELECT id, invoice_number, amount FROM invoices ORDER BY id")
    refund(shop, wrong)
    assert reopen(shop, wrong) == 0
    payment = shop.payment(wrong)
    assert (payment["status"], payment["refunded_at"], payment["refund_receipt"]) == ("PAID", None, None)
    assert shop.row(kept, id=wrong) == before
    assert shop.rows("SELECT * FROM payment_confirmations ORDER BY id") == confirmed, "confirmed once, as it was"
    assert shop.rows("SELECT id, invoice_number, amount FROM invoices ORDER BY id") == invoiced
    refund(shop, right)
    assert shop.payment(right)["refund_receipt"] == "UE5AA11BBC", "the receipt is the right payment's now"
    steps = shop.rows(
        "SELECT event, said, from_status, to_status, reason FROM audit_log"
        " WHERE transaction_id = CAST(:id AS uuid) AND event LIKE 'Operator%' ORDER BY place",
        id=wrong,
    )
    assert [tuple(step.values()) for step in steps] == [
        ("OperatorRefunded", "UE5AA11BBC", "PAID", "REFUNDED", "on the statement"),
        ("OperatorReopened", None, "REFUNDED", "PAID", "it was another payment"),
    ]


def test_a_receipt_that_was_refused_while_another_refund_had_it_is_replayed_page_by_page(shop: Shop) -> None:
    """No column says any more that the first payment once had it."""
    first, second = shop.settled(), shop.settled(phone_number=OTHER, account_reference="OTHER")
    refund(shop, first)
    assert shop.ops("review", "refunded", second, "--receipt", "UE5AA11BBC", *WHY) == 1
    assert reopen(shop, first) == 0
    refund(shop, second)
    for most in (1, 2):
        assert replay(shop.books, Decimal(20_000), most=most)[1] == []


def test_the_shop_and_its_program_hear_that_it_stands_paid_again(shop: Shop) -> None:
    shop.configure(ORDER_WEBHOOK_URL="http://127.0.0.1:9/x", ORDER_WEBHOOK_SECRET="whsec_" + "c2VjcmV0" * 4)
    transaction_id = shop.settled()
    refund(shop, transaction_id)
    assert reopen(shop, transaction_id) == 0
    told = shop.rows("SELECT kind, topic FROM outbox WHERE kind IN ('sale', 'webhook') ORDER BY id")
    assert [(each["kind"], each["topic"]) for each in told if each["kind"] == "sale"] == [
        ("sale", "paid"), ("sale", "refunded"), ("sale", "paid"),
    ]  # fmt: skip


@pytest.mark.parametrize("word", ["fail", "refunded"])
def test_what_a_person_ended_is_in_review_again_for_the_reason_of_before(shop: Shop, word: str) -> None:
    shop.simulator.client.script(CUSTOMER, "pay", after_s=0, callback_amount_told=7)
    transaction_id = shop.called_back()
    receipt = ("--receipt", "UE5AA11BBC") if word == "refunded" else ()
    assert shop.ops("review", word, transaction_id, *receipt, *WHY) == 0
    assert reopen(shop, transaction_id) == 0
    payment = shop.payment(transaction_id)
    assert (payment["status"], payment["review_reason"]) == ("REVIEW", "amount_mismatch")
    assert reopen(shop, transaction_id) == 1, "it is done"
    shop.sweep()
    assert shop.status(transaction_id).body["status"] == "under_review"


def test_the_reason_of_before_is_known_also_where_a_person_had_the_callback_judged(shop: Shop) -> None:
    """The person's words stand in the audit row, after the reason."""
    transaction_id = shop.settled("cancel")
    body = callback_about(shop.payment(transaction_id), Amount=7)
    entry = Entry(str(uuid.uuid4()), transaction_id, body)
    collaborators().gateway.inbox.remember(entry, "127.0.0.1")
    assert shop.ops("inbox", "retry", entry.id, *WHY) == 0
    audit = shop.row("SELECT reason FROM audit_log WHERE to_status = 'REVIEW'")
    assert audit["reason"] == "amount_mismatch: on the statement"
    assert shop.ops("review", "fail", transaction_id, *WHY) == 0
    assert reopen(shop, transaction_id) == 0
    assert shop.payment(transaction_id)["review_reason"] == "amount_mismatch"


def test_reopened_silence_is_asked_about_again(shop: Shop) -> None:
    transaction_id = in_review(shop)
    assert shop.ops("review", "fail", transaction_id, *WHY) == 0
    shop.age(3600)
    assert reopen(shop, transaction_id) == 0
    assert shop.payment(transaction_id)["next_query_at"] is not None


@pytest.mark.parametrize("outcome", ["cancel", "pay"])
def test_what_no_person_ended_is_not_reopened(shop: Shop, outcome: str, capsys: pytest.CaptureFixture[str]) -> None:
    transaction_id = shop.settled(outcome)
    assert reopen(shop, transaction_id) == 1
    assert "nothing to take back" in capsys.readouterr().err


def test_a_payment_that_failed_by_itself_after_a_reopening_is_not_reopened_again(shop: Shop) -> None:
    """The last word counts: money that came after a person's `fail` is not undone."""
    transaction_id = in_review(shop)
    assert shop.ops("review", "fail", transaction_id, *WHY) == 0
    shop.calls_back(transaction_id)
    assert shop.payment(transaction_id)["status"] == "PAID"
    assert reopen(shop, transaction_id) == 1


def test_an_order_that_was_paid_again_meanwhile_is_alerted_as_paid_twice(shop: Shop) -> None:
    first = shop.settled()
    refund(shop, first)
    shop.age(900)
    second = shop.settled()
    assert shop.payment(second)["status"] == "PAID"
    assert reopen(shop, first) == 0
    assert shop.payment(first)["status"] == "PAID"
    assert "order_paid_twice" in shop.alerts(first)


def test_it_is_shown_and_asked_before(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    transaction_id = shop.settled()
    refund(shop, transaction_id)
    environ = {"DATABASE_URL": shop.database_url}
    arguments = ["review", "reopen", transaction_id, "--why", "x", "--who", "amina"]
    assert main(arguments, {**os.environ, **environ}) == 1
    assert "add --yes" in capsys.readouterr().err
    assert shop.payment(transaction_id)["status"] == "REFUNDED"


# Evidence on file -----------------------------------------------------------------------------------------------------


def test_a_person_who_says_something_else_than_the_evidence_has_to_say_so(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    """The callback on file says KES 7 under this receipt."""
    shop.simulator.client.script(CUSTOMER, "pay", after_s=0, callback_amount_told=7)
    transaction_id = shop.called_back()
    (receipt,) = shop.row("SELECT receipts FROM callback_inbox")["receipts"]
    pay = ("review", "pay", transaction_id, *WHY)
    for said, names in ((receipt, "KES 7 under"), ("UE4JS31RBX", f"name the receipt {receipt}, not UE4JS31RBX")):
        assert shop.ops(*pay, "--receipt", said) == 1
        assert names in capsys.readouterr().err
    assert shop.payment(transaction_id)["status"] == "REVIEW"
    assert shop.ops(*pay, "--receipt", receipt, "--against-evidence") == 0
    assert shop.payment(transaction_id)["status"] == "PAID"
    assert shop.row("SELECT reason FROM audit_log WHERE event = 'OperatorPaid'")["reason"] == (
        "against the evidence on file: on the statement"
    )


def test_evidence_about_another_payment_speaks_too(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    first = in_review(shop)
    shop.calls_back(first, Amount=7, MpesaReceiptNumber=RECEIPT)
    second = in_review(shop, phone_number=OTHER, account_reference="OTHER")
    assert shop.ops("review", "pay", second, "--receipt", RECEIPT, *WHY) == 1
    assert f"a callback about another payment names {RECEIPT}" in capsys.readouterr().err
    assert shop.ops("review", "refunded", second, "--receipt", RECEIPT, *WHY) == 1
    assert "as money that came in" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("paid_in", "withdrawn", "word", "says"),
    [
        (1499, 0, "pay", "a statement says KES 1,499"),
        (0, 1500, "pay", "money went out"),
        (0, 1499, "refunded", "KES 1,499"),
        (1500, 0, "refunded", "money came in"),
        (1500, 0, "pay", None),
        (0, 1500, "refunded", None),
    ],
)
def test_statement_rows_are_evidence_too(
    shop: Shop, capsys: pytest.CaptureFixture[str], paid_in: int, withdrawn: int, word: str, says: str | None
) -> None:
    transaction_id = in_review(shop)
    with shop.books.transaction() as tx:
        tx.run(
            "INSERT INTO statement_files (sha256, family, row_count, balance_chain, who)"
            " VALUES (repeat('a', 64), 'A', 1, 'ok', 'x')"
        )
        tx.run(
            "INSERT INTO statement_rows (sha256, row_number, receipt, at, class, status, completed, paid_in, withdrawn)"
            " VALUES (repeat('a', 64), 1, 'UE4JS31RBX', now(), :kind, 'Completed', true, :paid_in, :withdrawn)",
            kind="payment" if paid_in else "reversal",
            paid_in=paid_in,
            withdrawn=withdrawn,
        )
    assert shop.ops("review", word, transaction_id, "--receipt", "UE4JS31RBX", *WHY) == (1 if says else 0)
    assert says is None or says in capsys.readouterr().err


@pytest.mark.parametrize("receipt", ["0712000001", "UE0712000001", "UE4", "UE4JS31RB!", "A" * 21, ""])
@pytest.mark.parametrize("word", ["pay", "refunded"])
def test_a_receipt_has_the_form_of_a_receipt(shop: Shop, word: str, receipt: str) -> None:
    """A phone number would stand in the audit log for ever."""
    transaction_id = in_review(shop)
    assert shop.ops("review", word, transaction_id, "--receipt", receipt, *WHY) == 2
    assert shop.payment(transaction_id)["status"] == "REVIEW"


# What is told of it ---------------------------------------------------------------------------------------------------


def test_money_that_came_after_a_refund_is_said_in_the_case(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    transaction_id = in_review(shop)
    shop.calls_back(transaction_id, Amount=7, MpesaReceiptNumber="UE4JS31RBX")
    refund(shop, transaction_id)
    shop.calls_back(transaction_id, MpesaReceiptNumber="UE4JS31RBY")
    assert "second_receipt" in shop.alerts(transaction_id)
    capsys.readouterr()
    assert shop.ops("case", transaction_id) == 0
    assert "after the refund a message told of other money" in " ".join(capsys.readouterr().out.split())


def test_a_late_payment_is_one_story(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """What is said of the customer's knowledge in one place is not denied in another."""
    transaction_id = shop.settled("cancel")
    shop.calls_back(transaction_id)
    shop.age(3600)
    shop.sweep()
    capsys.readouterr()
    assert shop.ops("case", transaction_id) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "the customer never heard that it failed" in told
    assert "the customer had seen that it failed" not in told
    assert "it had failed, and then the money came" in told


def test_the_case_tells_the_whole_story(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    transaction_id = shop.settled()
    refund(shop, transaction_id)
    assert reopen(shop, transaction_id) == 0
    capsys.readouterr()
    assert shop.ops("case", transaction_id) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "operator amina said: that was wrong, look again. Why: it was another payment" in told
    assert "It was REFUNDED and became PAID." in told
    assert "It went back under" not in told
    assert shop.ops("--json", "case", transaction_id) == 0
    assert json.loads(capsys.readouterr().out)["case"]["refund_receipt"] is None
