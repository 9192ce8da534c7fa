"""After a restore nobody is asked to pay, everything else goes on, and what was lost is found again or said."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ops.recovery import InvoiceNumber, begin
from shared.collaborators import collaborators
from shared.values import EAT
from tests.fixtures.shop import CUSTOMER, NOBODY, OTHER_CUSTOMER, Shop, broken_invariants, callback_about
from tests.fixtures.statement_rows import on_statement

SHA256 = "a" * 64
LOST = timedelta(hours=2)


def restored(shop: Shop, *last_invoices: InvoiceNumber, lost: timedelta = LOST) -> None:
    """The shop's database is a backup's from now on, as far as anybody can see."""
    with shop.books.transaction() as tx:
        begin(tx, SHA256, datetime.now(UTC) - lost, "amina", last_invoices)


def numbers(shop: Shop) -> list[int]:
    return [int(row["invoice_number"][9:]) for row in shop.rows("SELECT invoice_number FROM invoices ORDER BY 1")]


def this_year() -> int:
    return datetime.now(EAT).year


# Nobody is asked to pay -----------------------------------------------------------------------------------------------


def test_nobody_is_asked_to_pay_until_the_restore_is_finished(shop: Shop) -> None:
    shop.settled()
    pushes = len(shop.simulator.client.payments())
    restored(shop)
    for key in ("k1", "k1", None):
        reply = shop.pay(key, phone_number=OTHER_CUSTOMER)
        assert (reply.status, reply.body["code"], reply.headers["retry-after"]) == (503, "recovering", "900")
    assert len(shop.simulator.client.payments()) == pushes
    shop.rows("UPDATE recoveries SET finished_at = now(), finished_by = 'amina', facts = '{}' RETURNING id")
    assert shop.pay("k1", phone_number=OTHER_CUSTOMER).status == 202


def test_a_payment_that_was_asked_for_before_is_answered_as_ever(shop: Shop) -> None:
    first = shop.pay("k1")
    restored(shop)
    again = shop.pay("k1")
    assert (again.status, again.body["transaction_id"]) == (202, first.body["transaction_id"])
    assert shop.pay("k1", amount=7).body["code"] == "idempotency_mismatch"


def test_callbacks_status_invoices_and_the_sweep_go_on(shop: Shop) -> None:
    payment = prompted(shop, CUSTOMER)
    restored(shop, InvoiceNumber(this_year(), 0))
    pays(shop, payment)
    assert shop.status(payment).body["status"] == "paid"
    assert shop.call("invoice", "POST", "/api/pay/invoice", {"transaction_id": payment}).status == 202
    assert shop.sweep().status == 200


def test_asking_costs_no_round_trip_more(shop: Shop) -> None:
    shop.settled()
    restored(shop)
    before = collaborators().gateway.database.round_trips
    assert shop.pay(phone_number=OTHER_CUSTOMER).status == 503
    assert collaborators().gateway.database.round_trips - before <= 2


def test_a_restore_that_is_not_finished_is_said(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.settled()
    assert shop.ops("alerts") == 0
    restored(shop)
    assert shop.ops("alerts") == 1
    assert "nobody can pay since the restore of" in capsys.readouterr().out


# Invoice numbers ------------------------------------------------------------------------------------------------------


def test_a_number_that_may_have_been_mailed_is_never_given_again(shop: Shop) -> None:
    shop.settled()
    waiting = [prompted(shop, phone) for phone in (OTHER_CUSTOMER, "254711000000")]
    restored(shop)
    pays(shop, waiting[0])
    second = numbers(shop)[1]
    assert second > LOST.total_seconds()
    gap = shop.row("SELECT first_number, last_number, who FROM invoice_gaps")
    assert gap == {"first_number": 2, "last_number": second - 1, "who": "lipa"}
    pays(shop, waiting[1])
    assert numbers(shop) == [1, second, second + 1]


@pytest.mark.parametrize(("last", "given"), [(41, [1, 42]), (1, [1, 2]), (0, [1, 2])])
def test_numbers_go_on_after_the_last_that_was_mailed(shop: Shop, last: int, given: list[int]) -> None:
    shop.settled()
    waiting = prompted(shop, OTHER_CUSTOMER)
    restored(shop, InvoiceNumber(this_year(), last))
    pays(shop, waiting)
    assert numbers(shop) == given


def test_a_gap_that_no_restore_has_left_breaks_the_books(shop: Shop) -> None:
    shop.settled()
    restored(shop, InvoiceNumber(this_year(), 5))
    assert broken_invariants(shop.books) == []
    kept = shop.copy_of("invoice_gaps")
    shop.overwrite("DELETE FROM invoice_gaps")
    assert broken_invariants(shop.books) == ["invoice_numbers_have_no_gap"]
    shop.put_back(kept)


def prompted(shop: Shop, phone: str) -> str:
    shop.simulator.client.script(phone, "ignore")
    return str(shop.pay(phone_number=phone).body["transaction_id"])


def pays(shop: Shop, payment: str) -> None:
    shop.calls_back(payment, MpesaReceiptNumber=f"UE{payment[-8:].upper()}")
    assert shop.payment(payment)["status"] == "PAID"


# Finishing ------------------------------------------------------------------------------------------------------------

LOST_RECEIPT = "UKA1B2C3D4"
NO_INVOICE = ("--last-invoice", "none")


def finish(shop: Shop, capsys: pytest.CaptureFixture[str], *options: str, code: int = 0) -> Any:
    capsys.readouterr()
    assert shop.ops("restore", "finish", "--who", "amina", "--json", "--yes", *options) == code
    return json.loads(capsys.readouterr().out)


def missing(document: Any) -> list[str]:
    return [each["what"] for each in document["missing"]]


def covered(shop: Shop, *, until: timedelta = timedelta()) -> None:
    """A statement of all the time that was lost is on file, or of less."""
    shop.overwrite(
        """
        INSERT INTO statement_files (sha256, family, row_count, balance_chain, who, starts, ends)
        VALUES (repeat('b', 64), 'A', 0, 'ok', 'amina', now() - interval '1 day', now() - CAST(:until AS interval))
        """,
        until=until,
    )


def test_a_restore_is_finished_when_nothing_is_missing(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.settled()
    restored(shop)
    document = finish(shop, capsys, code=1)
    assert (document["finished"], missing(document)) == (False, ["invoices", "statement"])
    covered(shop)
    assert missing(finish(shop, capsys, code=1)) == ["invoices"]
    document = finish(shop, capsys, "--last-invoice", f"INV-{this_year()}-000007")
    assert (document["finished"], document["missing"]) == (True, [])
    assert shop.pay(phone_number=OTHER_CUSTOMER).status == 202
    shop.sweep()
    row = shop.row("SELECT finished_by, why, facts FROM recoveries")
    assert row == {
        "finished_by": "amina",
        "why": None,
        "facts": {"missing": [], "last_invoices": [f"INV-{this_year()}-000007"]},
    }
    assert shop.row("SELECT last_number FROM invoice_years") == {"last_number": 7}
    assert shop.ops("restore", "finish", "--who", "amina") == 1
    assert "no restore is waiting" in capsys.readouterr().err


def test_a_statement_that_ends_before_the_restore_does_not_cover_what_was_lost(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.settled()
    restored(shop, InvoiceNumber(this_year(), 1))
    covered(shop, until=timedelta(hours=1))
    document = finish(shop, capsys, code=1)
    assert missing(document) == ["statement"]
    assert "one does until" in document["missing"][0]["says"]


def test_money_that_came_in_the_lost_time_is_booked_or_declared_first(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.settled()
    restored(shop, InvoiceNumber(this_year(), 1))
    covered(shop)
    on_statement(shop, LOST_RECEIPT, account="LOST1")
    on_statement(shop, "UKRENT0001", account="RENT")
    document = finish(shop, capsys, code=1)
    assert missing(document) == ["missing_here", "missing_here"]
    assert "ops book UKA1B2C3D4" in document["missing"][0]["do_now"]
    word = ("--why", "after the restore", "--who", "amina", "--yes")
    assert shop.ops("book", LOST_RECEIPT, *word) == 0
    assert shop.ops("receipts", "not-a-sale", "UKRENT0001", "--why", "rent", "--who", "amina") == 0
    assert finish(shop, capsys)["finished"]
    assert shop.pay(phone_number=OTHER_CUSTOMER, account_reference="lost1").body["code"] == "already_paid"


def test_money_that_only_a_callback_names_is_booked_first(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    paid = shop.settled()
    restored(shop, InvoiceNumber(this_year(), 1))
    covered(shop)
    body = callback_about(shop.payment(paid), MpesaReceiptNumber=LOST_RECEIPT)
    assert shop.call("callback", "POST", shop.callback_path(NOBODY), raw=body).status == 200
    document = finish(shop, capsys, code=1)
    assert missing(document) == ["callback"]
    assert LOST_RECEIPT in document["missing"][0]["says"]
    word = ("--why", "after the restore", "--who", "amina", "--yes")
    assert shop.ops("book", LOST_RECEIPT, "--reference", "LOST1", *word) == 0
    assert finish(shop, capsys)["finished"]
    shop.sweep()


def test_a_person_may_say_why_it_is_finished_without_a_statement_but_never_without_the_number(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.settled()
    restored(shop)
    why = ("--why", "nobody paid in that night")
    assert missing(finish(shop, capsys, *why, code=1)) == ["invoices", "statement"]
    document = finish(shop, capsys, *why, *NO_INVOICE)
    assert (document["finished"], missing(document)) == (True, ["statement"])
    row = shop.row("SELECT why, facts -> 'missing' -> 0 ->> 'what' AS what FROM recoveries")
    assert row == {"why": "nobody paid in that night", "what": "statement"}


def test_it_is_asked_first(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.settled()
    restored(shop)
    covered(shop)
    assert shop.ops("restore", "finish", "--who", "amina", *NO_INVOICE) == 1
    assert "add --yes" in capsys.readouterr().err
    assert shop.pay(phone_number=OTHER_CUSTOMER).status == 503


@pytest.mark.parametrize("number", ["INV-26-1", "12", "INV-2026-1", "all"])
def test_what_is_no_invoice_number_is_refused(shop: Shop, number: str) -> None:
    assert shop.ops("restore", "finish", "--last-invoice", number) == 2
