"""Money that came another way: booked from a statement's row or from a lost callback, or said to be no sale."""

from __future__ import annotations

import io
import json
import os
import sys
from contextlib import redirect_stdout
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ops.__main__ import main
from shared.database import DatabaseUnavailable, connection_settings
from shared.gateway.cases import Case, Cases
from shared.payments import Paid
from shared.values import EAT, HIDDEN_MSISDN
from simulator import bodies
from tests.fixtures.database_proxy import Fault, Proxy
from tests.fixtures.shop import CUSTOMER, NOBODY, RECEIPT, Shop, at_once, callback_about
from tests.fixtures.statement_rows import FILE, on_statement

pytestmark = pytest.mark.usefixtures("left_to_the_sweep")
BY_HAND = "UKA1B2C3D4"
WORD = ("--why", "paid by hand", "--who", "amina")
UNREACHABLE = {"code": "1037", "desc": "DS timeout user cannot be reached"}


def book(shop: Shop, *options: str, receipt: str = BY_HAND, yes: bool = True) -> int:
    return shop.ops("book", receipt, *options, *WORD, *(["--yes"] if yes else []))


def booked(shop: Shop) -> Any:
    """The payment that has this receipt."""
    return shop.row(
        """
        SELECT t.*, c.evidence, c.statement_row_id, c.inbox_id, c.transaction_date
        FROM transactions t JOIN payment_confirmations c ON c.transaction_id = t.id
        WHERE c.mpesa_receipt_number = :receipt
        """,
        receipt=BY_HAND,
    )


def counts(shop: Shop) -> Any:
    tables = ("transactions", "audit_log", "outbox", "payment_confirmations", "invoices")
    return {table: shop.row(f"SELECT count(*) AS n FROM {table}")["n"] for table in tables}


# From a statement -----------------------------------------------------------------------------------------------------


def test_a_payment_by_hand_is_booked_like_any_other(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.settled(account_reference="OTHER")
    row_id = on_statement(shop, BY_HAND, account="inv 00042.")
    assert book(shop, "--reference", "INV-00042", "--email", "jane@example.com", "--name", "Jane") == 0
    payment = booked(shop)
    assert (payment["status"], payment["account_reference"], int(payment["amount"])) == ("PAID", "INV00042", 1500)
    assert (payment["evidence"], payment["statement_row_id"], payment["phone_number"]) == (
        "statement", row_id, HIDDEN_MSISDN,
    )  # fmt: skip
    assert shop.row("SELECT transaction_id FROM statement_rows")["transaction_id"] == payment["id"]
    shop.sweep()
    sent = {row["kind"] for row in shop.rows("SELECT kind FROM outbox WHERE transaction_id = :id", id=payment["id"])}
    assert sent == {"sale", "invoice", "webhook"}
    assert [mail for mail in shop.letters() if "jane@example.com" in str(mail["to"])]
    assert shop.status(str(payment["id"])).body["mpesa_receipt_number"] == BY_HAND
    capsys.readouterr()
    assert shop.ops("case", BY_HAND) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "operator amina put this payment on file: its money came another way." in told
    assert "operator amina said: this money is of this payment, receipt UKA1B2C3D4. Why: paid by hand" in told
    assert "Whoever paid named this amount" in told
    assert "Name: Jane Reach them: jane@example.com" in told


def test_the_order_is_what_the_payer_typed_where_nobody_says_otherwise(shop: Shop) -> None:
    shop.settled(account_reference="OTHER")
    on_statement(shop, BY_HAND, account="inv 00042.", party=f"{CUSTOMER} - JANE DOE")
    assert book(shop) == 0
    assert (booked(shop)["account_reference"], booked(shop)["phone_number"]) == ("inv00042", CUSTOMER)


@pytest.mark.parametrize("account", [None, "School fees for Jane", "..."])
def test_an_account_that_can_be_no_order_has_to_be_said(
    shop: Shop, account: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.settled(account_reference="OTHER")
    on_statement(shop, BY_HAND, account=account)
    assert book(shop) == 1
    assert "--reference ORDER" in capsys.readouterr().err
    assert book(shop, "--reference", "TOO LONG FOR AN ORDER") == 2
    assert book(shop, "--reference", "INV00042") == 0


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"kes": "1500.50"}, "It has cents, and Lipa books whole shillings"),
        ({"class": "sweep"}, "a transfer between the shop's own accounts"),
        ({"class": "other", "kes": "0", "withdrawn": "1500"}, "a transaction that Lipa does not know"),
        ({"class": "reversal", "kes": "0", "withdrawn": "1500"}, "was reversed"),
        ({"completed": False, "status": "Failed"}, "did not go through: the statement says Failed"),
        ({"kes": "250001"}, "more than one payment can be"),
        ({"receipt": "UKOTHER111"}, "nothing on file names"),
    ],
)
def test_what_is_no_whole_payment_is_refused_with_the_reason(
    shop: Shop, row: dict[str, Any], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.settled(account_reference="OTHER")
    on_statement(shop, **{"receipt": BY_HAND, **row})
    before = counts(shop)
    assert book(shop, "--reference", "INV00042") == 1
    assert why in capsys.readouterr().err
    assert counts(shop) == before


def test_money_of_a_kind_that_lipa_does_not_know_is_booked_knowingly(
    shop: Shop, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.settled(account_reference="OTHER")
    on_statement(shop, BY_HAND, **{"class": "other"})
    assert shop.ops("case", BY_HAND) == 1
    assert f"python -m ops book {BY_HAND} --reference INV00042" in capsys.readouterr().out
    monkeypatch.setattr(sys, "stdin", Terminal("yes\n"))
    assert book(shop, yes=False) == 0
    assert "Lipa does not know this kind of transaction" in capsys.readouterr().err
    assert booked(shop)["status"] == "PAID"


def test_of_what_went_back_in_part_the_whole_is_booked(
    shop: Shop, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.settled(account_reference="OTHER")
    on_statement(shop, BY_HAND)
    on_statement(shop, "UKB1B2C3D4", "0", withdrawn="50", linked_receipt=BY_HAND, **{"class": "reversal"})
    monkeypatch.setattr(sys, "stdin", Terminal("yes\n"))
    assert book(shop, yes=False) == 0
    assert "KES 50 of it went back since" in capsys.readouterr().err
    assert int(booked(shop)["amount"]) == 1500
    assert shop.ops("receipts", "not-a-sale", "UKB1B2C3D4", *WORD) == 0


def test_what_was_reversed_is_not_booked(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.settled(account_reference="OTHER")
    on_statement(shop, BY_HAND)
    for receipt in ("UKB1B2C3D4", "UKB1B2C3D5"):
        on_statement(shop, receipt, "0", withdrawn="750", linked_receipt=BY_HAND, **{"class": "reversal"})
    assert book(shop) == 1
    assert "was reversed" in capsys.readouterr().err


def test_a_receipt_that_a_payment_has_is_refused(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """As its own, as the receipt of a refund, or in evidence that did not fit."""
    paid = shop.settled(account_reference="OTHER")
    shop.calls_back(paid, MpesaReceiptNumber="UKEVIDENCE1")
    own = shop.row("SELECT mpesa_receipt_number AS r FROM payment_confirmations")["r"]
    assert shop.ops("review", "refunded", paid, "--receipt", "UKREFUND111", *WORD) == 0
    before = counts(shop)
    for receipt in (own, "UKEVIDENCE1", "UKREFUND111"):
        on_statement(shop, receipt)
        assert book(shop, "--reference", "OTHER", receipt=receipt) == 1
        assert f"see `ops case {paid}`" in capsys.readouterr().err
    assert counts(shop) == before


def test_another_amount_than_expected_is_refused(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.settled(account_reference="OTHER")
    on_statement(shop, BY_HAND)
    assert book(shop, "--amount", "1400") == 1
    assert "is of KES 1,500, not of KES 1,400" in capsys.readouterr().err
    assert book(shop, "--amount", "1500") == 0


def test_the_same_booking_twice_says_that_it_is_booked(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.settled(account_reference="OTHER")
    on_statement(shop, BY_HAND)
    assert book(shop) == 0
    before = counts(shop)
    capsys.readouterr()
    assert book(shop, "--reference", "inv-00042", yes=False) == 0
    assert f"{BY_HAND} is booked already\npayment {booked(shop)['id']} is PAID" in capsys.readouterr().out
    assert book(shop, "--reference", "INV00043") == 1
    assert counts(shop) == before


def test_an_order_that_is_paid_already_is_asked_and_alerted(
    shop: Shop, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = shop.settled()
    on_statement(shop, BY_HAND)
    assert book(shop, "--reference", "inv00042", yes=False) == 1  # nobody to ask
    capsys.readouterr()
    monkeypatch.setattr(sys, "stdin", Terminal("yes\n"))
    assert book(shop, "--reference", "inv00042", yes=False) == 0
    printed = capsys.readouterr()
    assert f"This order is paid already, so it is paid twice, with an alert: {first}" in printed.err
    assert f"the order is paid twice: {first}" in printed.out
    assert booked(shop)["account_reference"] == "INV00042"
    assert shop.alerts(str(booked(shop)["id"])) == {"order_paid_twice"}


def test_where_references_are_of_no_single_order_nothing_is_paid_twice(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.settled()
    on_statement(shop, BY_HAND)
    monkeypatch.setenv("REFERENCES", "reusable")
    monkeypatch.setattr(sys, "stdin", Terminal("yes\n"))
    assert book(shop, yes=False) == 0
    assert "twice" not in "".join(capsys.readouterr())
    assert shop.alerts(str(booked(shop)["id"])) == set()


def test_a_row_of_a_file_that_does_not_add_up_is_booked_only_knowingly(
    shop: Shop, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.settled(account_reference="OTHER")
    on_statement(shop, BY_HAND, account="INV00041")
    shop.overwrite("UPDATE statement_files SET balance_chain = 'broken'")
    monkeypatch.setattr(sys, "stdin", Terminal("no\n"))
    assert book(shop, "--reference", "INV00042", yes=False) == 1
    shown = capsys.readouterr().err
    assert "running balance does not add up" in shown
    assert "The payer typed another account: INV00041." in shown
    assert "No invoice goes out" in shown


def test_an_order_that_is_paid_twice_by_hand_is_two_payments(shop: Shop) -> None:
    shop.settled(account_reference="OTHER")
    on_statement(shop, BY_HAND)
    on_statement(shop, "UKB1B2C3D4")
    assert book(shop, receipt="UKB1B2C3D4") == 0
    assert book(shop) == 0
    assert shop.alerts(str(booked(shop)["id"])) == {"order_paid_twice"}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


# Onto a payment of ours -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("account", ["INV 00042", None, "INV00024"])
def test_a_failed_payment_that_the_row_names_is_paid_late(shop: Shop, account: str | None) -> None:
    """A till's row names none, and a payer mistypes one: there the person does."""
    failed = shop.settled(UNREACHABLE)
    on_statement(shop, BY_HAND, account=account)
    assert book(shop, *([] if account == "INV 00042" else ["--reference", "INV00042"])) == 0
    assert (str(booked(shop)["id"]), booked(shop)["paid_late"]) == (failed, True)
    assert shop.alerts(failed) == {"late_payment"}
    assert shop.status(failed).body["status"] == "paid"
    assert shop.row("SELECT count(*) AS n FROM transactions")["n"] == 1
    assert book(shop, "--reference", "inv00042") == 0


@pytest.mark.parametrize(("party", "own"), [("2547******49 - JANE DOE", True), (f"{CUSTOMER} - JANE DOE", False)])
def test_where_references_are_of_no_single_order_the_number_has_to_be_named_too(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, party: str, own: bool
) -> None:
    failed = shop.settled(UNREACHABLE)
    on_statement(shop, BY_HAND, party=party)
    monkeypatch.setenv("REFERENCES", "reusable")
    assert book(shop) == 0
    assert (str(booked(shop)["id"]) != failed) == own


def test_another_amount_than_was_asked_is_a_payment_of_its_own(shop: Shop) -> None:
    failed = shop.settled(UNREACHABLE)
    on_statement(shop, BY_HAND, kes="1400")
    assert book(shop, "--reference", "INV00042") == 0
    assert str(booked(shop)["id"]) != failed
    assert shop.payment(failed)["status"] == "FAILED"


def test_a_payment_that_safaricom_may_still_answer_is_left_alone(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.simulator.client.script(CUSTOMER, "ignore", after_s=900)
    shop.pay()
    on_statement(shop, BY_HAND)
    before = counts(shop)
    assert book(shop) == 1
    assert "Safaricom may still answer" in capsys.readouterr().err
    assert counts(shop) == before


def paid_without_a_receipt(shop: Shop, reference: str = "INV00042") -> str:
    """A query said so; the callback was lost."""
    shop.simulator.client.script(CUSTOMER, "pay", after_s=0, callback_count=0)
    transaction_id = str(shop.pay(account_reference=reference).body["transaction_id"])
    shop.age(25)
    shop.sweep()
    assert shop.payment(transaction_id)["status"] == "PAID"
    return transaction_id


@pytest.mark.parametrize(
    ("reference", "row"),
    [("INV00042", {}), ("INV00042", {"account": None}), ("00042", {"account": "42"}), ("00042", {"account": "42.0"})],
)
def test_a_payment_that_is_paid_without_a_receipt_gets_it(
    shop: Shop, reference: str, row: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    paid = paid_without_a_receipt(shop, reference)
    assert shop.row("SELECT mpesa_receipt_number AS r FROM payment_confirmations")["r"] is None
    row_id = on_statement(shop, BY_HAND, **row)
    before = counts(shop)
    for _ in range(2):
        assert book(shop, "--reference", reference) == 0
        payment = booked(shop)
        assert (str(payment["id"]), payment["status"], payment["evidence"]) == (paid, "PAID", "query")
        assert payment["statement_row_id"] == row_id
        assert counts(shop) == {**before, "audit_log": before["audit_log"] + 1}
    assert f"{BY_HAND} is booked already" in capsys.readouterr().out
    assert shop.alerts(paid) == set()


@pytest.mark.parametrize(("party", "own"), [("2547******50 - JOHN DOE", True), ("2547******49 - JANE DOE", False)])
def test_where_references_are_of_no_single_order_the_digits_that_a_row_shows_say_whose_receipt_it_is_not(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, party: str, own: bool
) -> None:
    paid = paid_without_a_receipt(shop)
    on_statement(shop, BY_HAND, party=party)
    monkeypatch.setenv("REFERENCES", "reusable")
    assert book(shop) == 0
    assert (str(booked(shop)["id"]) != paid) == own


def test_where_references_are_of_no_single_order_money_that_a_prompt_may_have_brought_waits_for_its_answer(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.simulator.client.script(CUSTOMER, "ignore", after_s=900)
    shop.pay()
    on_statement(shop, BY_HAND)
    monkeypatch.setenv("REFERENCES", "reusable")
    assert book(shop) == 1
    assert "Safaricom may still answer" in capsys.readouterr().err


def test_while_another_attempt_at_the_order_is_open_nothing_is_booked_onto_the_one_that_failed(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    """The answer to the open one may be that this very money is its own."""
    shop.simulator.client.script("254733000333", "ignore", after_s=900)
    assert shop.pay(phone_number="254733000333", account_reference="INV00042").status == 202
    shop.settled(UNREACHABLE)
    on_statement(shop, BY_HAND, account=None)
    assert book(shop, "--reference", "INV00042") == 1
    assert "Safaricom may still answer" in capsys.readouterr().err


# From a callback ------------------------------------------------------------------------------------------------------


def lost(shop: Shop, **items: object) -> bytes:
    """A callback for a payment that these books do not have."""
    about = {"amount": 1500, "merchant_request_id": "29115-34620561-1", "checkout_request_id": "ws_CO_1"}
    return callback_about(about, 0, **{"MpesaReceiptNumber": BY_HAND, **items})


def test_a_callback_without_a_payment_is_booked_under_its_own_id(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.settled(account_reference="OTHER")
    body = lost(shop)
    for _ in range(2):
        assert shop.call("callback", "POST", shop.callback_path(NOBODY), raw=body).status == 200
    assert shop.outcomes(NOBODY) == ["unknown_transaction"] * 2
    shop.ops("inbox", "list")
    assert f"to book it: python -m ops book {BY_HAND} --reference ORDER" in capsys.readouterr().out
    assert shop.ops("case", BY_HAND) == 1
    told = capsys.readouterr().out
    assert f"for payment {NOBODY}, which is not in the books" in told
    assert f"python -m ops book {BY_HAND} --reference ORDER" in told
    assert book(shop) == 1
    assert "it names no order. Say which it paid" in capsys.readouterr().err
    assert book(shop, "--reference", "INV00042", "--email", "jane@example.com") == 0
    payment = booked(shop)
    assert (str(payment["id"]), payment["phone_number"], payment["evidence"]) == (NOBODY, CUSTOMER, "operator")
    assert payment["inbox_id"] is not None
    assert shop.status(NOBODY).body["status"] == "paid"
    shop.sweep()
    assert sorted(shop.outcomes(NOBODY)) == ["paid", "repeated"]
    assert shop.call("callback", "POST", shop.callback_path(NOBODY), raw=body).status == 200
    assert shop.outcomes(NOBODY)[-1] == "repeated"


def test_a_row_whose_callback_got_lost_is_booked_under_the_callbacks_id(shop: Shop) -> None:
    """So that the customer's page works."""
    shop.settled(account_reference="OTHER")
    shop.call("callback", "POST", shop.callback_path(NOBODY), raw=lost(shop))
    row_id = on_statement(shop, BY_HAND)
    assert book(shop) == 0
    payment = booked(shop)
    assert (str(payment["id"]), payment["statement_row_id"], payment["phone_number"]) == (NOBODY, row_id, CUSTOMER)
    shop.sweep()
    assert shop.outcomes(NOBODY) == ["repeated"]


def test_amounts_that_disagree_are_booked_by_nobody(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.settled(account_reference="OTHER")
    shop.call("callback", "POST", shop.callback_path(NOBODY), raw=lost(shop, Amount=1))
    on_statement(shop, BY_HAND)
    assert book(shop) == 1
    assert "on file with several amounts, KES 1 and KES 1,500" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("items", "why"), [({"Amount": None}, "names no amount"), ({"Amount": "1500"}, "names no amount")]
)
def test_a_callback_that_says_too_little_books_nothing(
    shop: Shop, items: dict[str, object], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.settled(account_reference="OTHER")
    shop.call("callback", "POST", shop.callback_path(NOBODY), raw=lost(shop, **items))
    assert book(shop, "--reference", "INV00042") == 1
    assert why in capsys.readouterr().err


def test_a_failure_without_a_payment_books_nothing(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.settled(account_reference="OTHER")
    body = bodies.callback("1", "ws_CO_1", 1032, f"cancelled, receipt {BY_HAND}", None)
    shop.call("callback", "POST", shop.callback_path(NOBODY), raw=body)
    assert book(shop, "--reference", "INV00042") == 1
    assert BY_HAND in capsys.readouterr().err


def test_a_callback_that_only_the_database_knows_books_nothing(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever can write into the database has no key for the seal."""
    shop.settled(account_reference="OTHER")
    shop.call("callback", "POST", shop.callback_path(NOBODY), raw=lost(shop))
    shop.overwrite("UPDATE callback_inbox SET seal = repeat('0', 64) WHERE transaction_id = :id", id=NOBODY)
    assert book(shop, "--reference", "INV00042") == 1
    assert "has no seal" in capsys.readouterr().err


# Whole, or not at all -------------------------------------------------------------------------------------------------


def test_a_crash_leaves_nothing_half(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.settled(account_reference="OTHER")
    on_statement(shop, BY_HAND)
    before = counts(shop)

    def dies(_: Case, __: Paid) -> None:
        raise DatabaseUnavailable("Nothing was done: a test")

    with monkeypatch.context() as patch:
        patch.setattr(Case, "_confirm", dies)
        assert book(shop) == 2
    assert counts(shop) == before
    assert book(shop) == 0


@pytest.mark.parametrize("fault", ["cut before it arrives", "cut after it was done"])
@pytest.mark.parametrize("by_callback", [True, False])
def test_a_booking_whose_commit_was_not_answered_is_done_once(
    shop: Shop, fault: Fault, by_callback: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.settled(account_reference="OTHER")
    if by_callback:
        shop.call("callback", "POST", shop.callback_path(NOBODY), raw=lost(shop))
    else:
        on_statement(shop, BY_HAND)
    server, within, tries = connection_settings(shop.database_url), Cases.within, []

    def first_commit_meets_the_fault(self: Cases, *of: Any) -> Case | None:
        tries.append(of)
        network.fault = fault if len(tries) == 1 else "none"
        return within(self, *of)

    monkeypatch.setattr(Cases, "within", first_commit_meets_the_fault)
    with Proxy(Path(str(server.socket_path))) as network:
        network.trigger = b"COMMIT\0"
        through_it = {**os.environ, "DATABASE_URL": network.url(server.database)}
        assert main(["book", BY_HAND, "--reference", "INV00042", *WORD, "--yes"], through_it) == 0
    assert len(tries) == 2
    assert booked(shop)["status"] == "PAID"
    assert shop.row("SELECT count(*) AS n FROM transactions")["n"] == 2


def test_of_two_bookings_at_once_one_is_written(shop: Shop) -> None:
    shop.settled(account_reference="OTHER")
    on_statement(shop, BY_HAND)
    ended = at_once(["INV00042", "INV00043", "INV00042"], lambda order: book(shop, "--reference", order))
    assert 0 in ended
    assert shop.row("SELECT count(*) AS n FROM transactions")["n"] == 2


# No sale --------------------------------------------------------------------------------------------------------------


def test_money_that_is_no_sale_is_said_once_and_can_be_taken_back(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.settled(account_reference="OTHER")
    on_statement(shop, BY_HAND)
    for _ in range(2):
        assert shop.ops("receipts", "not-a-sale", BY_HAND.lower(), *WORD) == 0
    assert book(shop) == 1
    assert f"{BY_HAND} is no sale, says amina: paid by hand" in capsys.readouterr().err
    assert shop.ops("receipts", "find", BY_HAND) == 0
    assert "Not a sale, says amina" in capsys.readouterr().out
    assert shop.ops("receipts", "not-a-sale", BY_HAND, "--undo", *WORD) == 0
    said = shop.rows("SELECT kind, subject FROM reconciliation_log ORDER BY id")
    assert [(row["kind"], row["subject"]) for row in said] == [
        ("not_a_sale", BY_HAND), ("a_sale_after_all", BY_HAND),
    ]  # fmt: skip
    assert book(shop) == 0
    assert shop.ops("receipts", "not-a-sale", BY_HAND, *WORD) == 1


def test_what_nobody_has_seen_cannot_be_no_sale(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.settled(account_reference="OTHER")
    assert shop.ops("receipts", "not-a-sale", BY_HAND, *WORD) == 1
    assert "nothing on file says that money moved" in capsys.readouterr().err


def test_what_went_out_is_no_refund_where_a_person_says_so(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """Wages; a part that went back. What took a payment back whole is its refund."""
    paid = shop.settled()
    own = shop.row("SELECT mpesa_receipt_number AS r FROM payment_confirmations")["r"]
    went = {"linked_receipt": own, "class": "reversal"}
    on_statement(shop, "UKWAGES111", "0", withdrawn="200", **{"class": "b2c"})
    on_statement(shop, "UKPART1111", "0", withdrawn="750", **went)
    on_statement(shop, "UKWHOLE111", "0", withdrawn="1500", **went)
    on_statement(shop, "UKCHARGE11", "0", withdrawn="5", **{"class": "charge"})
    for receipt in ("UKWAGES111", "UKPART1111"):
        assert shop.ops("receipts", "not-a-sale", receipt, *WORD) == 0
    for receipt, why in (("UKWHOLE111", f"ops review refunded {paid} --receipt UKWHOLE111"), ("UKCHARGE11", "nothing")):
        assert shop.ops("receipts", "not-a-sale", receipt, *WORD) == 1
        assert why in capsys.readouterr().err


# Where a receipt is ---------------------------------------------------------------------------------------------------


def test_a_receipt_is_found_wherever_it_is_on_file(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    paid = shop.settled()
    own = shop.row("SELECT mpesa_receipt_number AS r FROM payment_confirmations")["r"]
    assert shop.ops("receipts", "find", own.lower()) == 0
    assert f"In the books: {paid}" in capsys.readouterr().out
    shop.call("callback", "POST", shop.callback_path(NOBODY), raw=lost(shop, MpesaReceiptNumber=RECEIPT))
    assert shop.ops("receipts", "find", RECEIPT) == 1
    assert "In the inbox since" in (told := capsys.readouterr().out)
    assert NOBODY in told
    on_statement(shop, BY_HAND, account="\x1b[2J[bold]INV\u202e")
    assert shop.ops("receipts", "find", BY_HAND) == 1
    told = capsys.readouterr().out
    assert f"On a statement, file {FILE[:12]}, row 1 (written by amina" in told
    assert "KES 1,500 in, Completed, account [2J[bold]INV" in told
    assert "\x1b" not in told


def test_a_receipt_that_nobody_sent_is_called_so(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.settled()
    assert shop.ops("receipts", "find", "UKFORGED11") == 1
    told = capsys.readouterr().out
    assert "In none: not in the books, in no callback, in no statement" in told
    assert "Do now: Do not deliver yet." in told
    assert shop.ops("case", "UKFORGED11") == 1
    assert "nothing is known about UKFORGED11" in capsys.readouterr().err


def test_other_commands_say_where_such_a_receipt_is(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.settled()
    on_statement(shop, BY_HAND)
    assert shop.ops("review", "fail", BY_HAND, *WORD) == 1
    assert f"`ops receipts find {BY_HAND}`" in capsys.readouterr().err
    assert shop.ops("case", BY_HAND, "--json") == 1
    document = json.loads(capsys.readouterr().out)
    assert document["receipt"]["statement_rows"][0]["paid_in_kes"] == 1500
    assert "ops book" in document["receipt"]["commands"][0]["command"]


def test_an_order_that_only_a_payer_typed_is_answered_with_the_receipt(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.settled(account_reference="OTHER")
    on_statement(shop, BY_HAND, account="inv 00042.")
    assert shop.ops("case", "INV00042") == 1
    assert f"{BY_HAND} came for it, on a statement: `ops receipts find {BY_HAND}`" in capsys.readouterr().err
    assert shop.ops("case", "INV000421") == 1
    assert "nothing is known about INV000421" in capsys.readouterr().err


# People ---------------------------------------------------------------------------------------------------------------


def test_who_paid_by_hand_is_forgotten_in_time(shop: Shop) -> None:
    """Also the name in the statement's row."""
    shop.settled(account_reference="OTHER")
    on_statement(shop, BY_HAND)
    assert book(shop) == 0
    shop.sweep()
    shop.age(8 * 366 * 86_400)
    assert shop.ops("privacy", "purge", *WORD[2:]) == 0
    assert booked(shop)["phone_number"] != HIDDEN_MSISDN
    assert shop.row("SELECT raw, account FROM statement_rows") == {"raw": None, "account": None}


def test_two_whose_numbers_are_hidden_are_not_one_person(shop: Shop) -> None:
    shop.settled(account_reference="OTHER", customer_email=None)
    for receipt, mail in ((BY_HAND, "jane@example.com"), ("UKB1B2C3D4", "bob@example.com")):
        on_statement(shop, receipt)
        assert book(shop, "--email", mail, receipt=receipt) == 0
    shop.sweep()
    shop.age(3 * 86_400)
    assert shop.ops("privacy", "erase", "jane@example.com", *WORD) == 0
    kept = shop.rows("SELECT customer_email FROM transactions WHERE account_reference = 'INV00042' ORDER BY 1")
    assert [row["customer_email"] for row in kept] == ["bob@example.com", "erased@erased.invalid"]


def test_a_hidden_number_is_nobodys_and_the_person_is_erased_all_the_same(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.settled(account_reference="OTHER", customer_email=None)
    shop.call("callback", "POST", shop.callback_path(NOBODY), raw=lost(shop, PhoneNumber="2547******49"))
    assert book(shop, "--reference", "INV00042", "--email", "jane@example.com") == 0
    shop.sweep()
    shop.age(3 * 86_400)
    assert shop.ops("privacy", "purge", *WORD[2:]) == 0
    assert shop.row("SELECT count(*) AS n FROM callback_inbox WHERE erased_sha256 IS NOT NULL")["n"] == 0
    assert booked(shop)["phone_number"] == HIDDEN_MSISDN
    capsys.readouterr()
    assert shop.ops("case", BY_HAND) == 0
    assert "from 254*********" in capsys.readouterr().out
    assert shop.ops("privacy", "erase", "jane@example.com", *WORD) == 0
    assert booked(shop)["phone_number"] not in (HIDDEN_MSISDN, CUSTOMER)
    assert booked(shop)["phone_number"].startswith("2540")
    assert booked(shop)["customer_email"] == "erased@erased.invalid"


# With the statement itself --------------------------------------------------------------------------------------------


def reconciled(shop: Shop, folder: Path, *options: str) -> tuple[int, Any]:
    """The statement of the simulator's paybill, until today; the exit code and the document."""
    today = datetime.now(EAT).date()
    file = folder / "statement.csv"
    file.write_bytes(shop.simulator.client.statement("174379", today - timedelta(days=1), today))
    with redirect_stdout(io.StringIO()) as printed:
        code = shop.ops("reconcile", str(file), "--json", "--who", "amina", *options)
    return code, json.loads(printed.getvalue())


def test_what_came_by_hand_is_found_booked_and_explained(shop: Shop, tmp_path: Path) -> None:
    shop.settled(account_reference="OTHER")
    failed = shop.settled(UNREACHABLE, phone_number="254722000000", account_reference="LATE1", amount=700)
    pay = shop.simulator.client.pay
    own = pay("254700000007", "174379", 900, "inv 77")
    pay("254722000000", "174379", 700, "late-1")
    rent = pay("254700000007", "174379", 5000, "rent")
    cents = pay("254700000007", "174379", "100.50", "INV78", way="bank")
    bank = pay("254700000007", "174379", 1200, "INV79", way="bank")
    code, found = reconciled(shop, tmp_path, "--write", "--yes")
    assert code == 1
    assert book(shop, "--reference", "INV79", receipt=bank) == 0
    assert book(shop, "--reference", "INV77", receipt=own) == 0
    assert shop.ops("receipts", "not-a-sale", rent, *WORD) == 0
    assert shop.ops("receipts", "not-a-sale", cents, *WORD) == 0
    _, found = reconciled(shop, tmp_path)
    assert found["differences"] == []
    assert shop.payment(failed)["status"] == "PAID"
    assert shop.row("SELECT count(*) AS n FROM transactions")["n"] == 4
