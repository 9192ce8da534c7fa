"""Rows of a statement as evidence: kept once, settled through the core, found again by replay, and erased with people.

Every test ends with the invariants, the audit log's signatures and the replay (fixture `shop`).
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ops.session import NotPossible, Session
from ops.statements import records
from ops.statements.statement import RowClass, Statement
from shared.gateway import Gateway
from shared.payments import Outcome
from tests.fixtures.shop import CUSTOMER, Shop
from tests.fixtures.statement_rows import statement
from tests.fixtures.statement_rows import statement_reversal as gone
from tests.fixtures.statement_rows import statement_row as row

OTHER = "254722000000"
NEVER = 10**6


@pytest.fixture
def gateway(shop: Shop) -> Iterator[Gateway]:
    """An operator's, with the shop's own CONFIRM_ABOVE_KES."""
    shop.sweep()  # the first function stamps the database
    session = Session({**os.environ, "DATABASE_URL": shop.database_url})
    yield session.gateway(argparse.Namespace(confirm_above_kes=None))
    session.close()


def settle(gateway: Gateway, transaction_id: str, on: Statement, number: int = 1) -> Outcome:
    """As `ops reconcile --write` does."""
    ids = records.keep(gateway.database, on, "amina")
    return records.settle_by_row(gateway, ids[number], transaction_id, "amina")


def silent(shop: Shop, **order: Any) -> str:
    """The customer paid; Safaricom never called back, and knows nothing when it is asked: REVIEW."""
    phone = str(order.get("phone_number", CUSTOMER))
    shop.simulator.client.script(phone, "pay", after_s=0, callback_count=0, query_stuck_s=NEVER)
    transaction_id = str(shop.pay(**order).body["transaction_id"])
    for _ in range(3):
        shop.age(3700)
        shop.sweep()
    assert shop.payment(transaction_id)["review_reason"] == "silence"
    return transaction_id


def books(shop: Shop) -> list[object]:
    """Everything that a second run must leave as it is."""
    return [
        shop.rows(f"SELECT * FROM {table} ORDER BY id")
        for table in ("transactions", "payment_confirmations", "invoices", "outbox", "audit_log", "statement_rows")
    ]


# A row settles --------------------------------------------------------------------------------------------------------


def test_a_row_pays_what_was_in_silence_and_the_file_stands_beside_it(shop: Shop, gateway: Gateway) -> None:
    transaction_id = silent(shop)
    at = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)
    assert settle(gateway, transaction_id, statement(row(1, "UE4JS31RBX", 1500, at))) is Outcome.PAID
    assert shop.status(transaction_id).body["mpesa_receipt_number"] == "UE4JS31RBX"
    confirmation = shop.row("SELECT c.*, r.row_number, r.transaction_id AS row_of FROM payment_confirmations c"
                            " JOIN statement_rows r ON r.id = c.statement_row_id")  # fmt: skip
    assert (confirmation["evidence"], confirmation["transaction_date"], confirmation["row_number"]) == (
        "statement",
        at,
        1,
    )
    assert str(confirmation["row_of"]) == transaction_id
    audit = shop.row("SELECT * FROM audit_log WHERE event = 'StatementPaid'")
    assert (audit["actor"], audit["said"], audit["reason"]) == (
        "operator amina",
        "UE4JS31RBX",
        "statement aaaaaaaaaaaa, row 1",
    )
    assert shop.row("SELECT invoice_number FROM invoices")
    told = shop.rows("SELECT kind, topic FROM outbox WHERE kind IN ('invoice', 'sale') ORDER BY kind")
    assert told == [{"kind": "invoice", "topic": "settled"}, {"kind": "sale", "topic": "paid"}]


def test_what_failed_and_stands_there_completed_is_paid_late(shop: Shop, gateway: Gateway) -> None:
    transaction_id = shop.settled("cancel")
    assert settle(gateway, transaction_id, statement(row(1, "UE4JS31RBX", 1500))) is Outcome.PAID_LATE
    assert shop.payment(transaction_id)["paid_late"]
    assert "late_payment" in shop.alerts(transaction_id)


def test_a_missing_receipt_is_filled_in_and_the_evidence_stays_the_querys(unhurried: Shop, gateway: Gateway) -> None:
    shop = unhurried
    shop.simulator.client.script(CUSTOMER, "pay", after_s=0, callback_count=0)
    transaction_id = str(shop.pay().body["transaction_id"])
    shop.age(60)
    shop.sweep()
    assert settle(gateway, transaction_id, statement(row(1, "UE4JS31RBX", 1500))) is Outcome.RECEIPT_FILLED
    confirmation = shop.row("SELECT evidence, mpesa_receipt_number, statement_row_id FROM payment_confirmations")
    assert (confirmation["evidence"], confirmation["mpesa_receipt_number"]) == ("query", "UE4JS31RBX")
    assert confirmation["statement_row_id"] is not None
    assert len(shop.rows("SELECT id FROM invoices")) == 1


def test_a_reversal_row_closes_a_refund(shop: Shop, gateway: Gateway) -> None:
    transaction_id = shop.settled()
    assert settle(gateway, transaction_id, statement(gone(1, "UE5RV00001", 1500))) is Outcome.REFUNDED
    assert shop.payment(transaction_id)["refund_receipt"] == "UE5RV00001"
    assert shop.row("SELECT topic FROM outbox WHERE kind = 'notice'") == {"topic": "refunded"}


def test_a_success_that_named_no_amount_is_completed_by_its_own_row_only(shop: Shop, gateway: Gateway) -> None:
    transaction_id = str(shop.settled({"code": "7777", "desc": "new"}))
    shop.overwrite(f"UPDATE transactions SET ids_are_learnt = true WHERE id = '{transaction_id}'")
    shop.history_is_made_up = True
    shop.calls_back(transaction_id, Amount=None, MpesaReceiptNumber="UE4JS31RBX")
    shop.overwrite("UPDATE transactions SET review_reason = 'incomplete_success'")
    assert settle(gateway, transaction_id, statement(row(1, "UE4JS31RBY", 1500))) is Outcome.NOTED
    assert settle(gateway, transaction_id, statement(row(1, "UE4JS31RBX", 1500), sha256="b" * 64)) is Outcome.PAID


def test_a_second_run_changes_nothing(shop: Shop, gateway: Gateway) -> None:
    transaction_id, file = silent(shop), statement(row(1, "UE4JS31RBX", 1500), gone(2, "UE5RV00001", 99))
    settle(gateway, transaction_id, file)
    before = books(shop)
    assert settle(gateway, transaction_id, file) is Outcome.REPEATED
    assert books(shop) == before


def test_a_run_that_was_broken_off_after_the_file_is_finished_by_the_next(shop: Shop, gateway: Gateway) -> None:
    transaction_id, file = silent(shop), statement(row(1, "UE4JS31RBX", 1500))
    records.keep(gateway.database, file, "amina")
    assert shop.payment(transaction_id)["status"] == "REVIEW"
    assert settle(gateway, transaction_id, file) is Outcome.PAID


# A row does not settle ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "on"),
    [
        (1500, statement(row(1, "UE4JS31RBX", 1499))),
        (1500, statement(row(1, "UE4JS31RBX", "1500.50"))),
        (25_000, statement(row(1, "UE4JS31RBX", 25_000))),
    ],
    ids=["another amount", "cents", "above CONFIRM_ABOVE_KES"],
)
def test_what_is_not_exact_or_large_is_noted_and_stays(
    shop: Shop, gateway: Gateway, amount: int, on: Statement
) -> None:
    transaction_id = silent(shop, amount=amount)
    assert settle(gateway, transaction_id, on) is Outcome.NOTED
    assert shop.payment(transaction_id)["status"] == "REVIEW"
    assert shop.row("SELECT transaction_id FROM statement_rows") == {"transaction_id": None}


@pytest.mark.parametrize(
    "on",
    [
        statement(row(1, "UE4JS31RBX", 1500, completed=False, status="Failed")),
        statement(row(1, "UE4JS31RBX", 1500), chain="broken"),
        statement(row(1, "UE4JS31RBX", 1500, row_class=RowClass.ORGANISATION)),
        statement(gone(1, "UE4JS31RBX", 1500, row_class=RowClass.CHARGE)),
    ],
    ids=["not completed", "a broken balance chain", "an organisation's", "a charge"],
)
def test_what_is_no_evidence_of_a_customers_money_is_refused(shop: Shop, gateway: Gateway, on: Statement) -> None:
    transaction_id = silent(shop)
    before = shop.payment(transaction_id)
    with pytest.raises(NotPossible):
        settle(gateway, transaction_id, on)
    assert shop.payment(transaction_id) == before


def test_one_row_settles_one_payment(shop: Shop, gateway: Gateway) -> None:
    first, second = silent(shop), silent(shop, account_reference="OTHER", phone_number=OTHER)
    file = statement(row(1, "UE4JS31RBX", 1500))
    assert settle(gateway, first, file) is Outcome.PAID
    assert settle(gateway, second, file) is Outcome.NOTED
    assert shop.payment(second)["status"] == "REVIEW"


def test_what_was_paid_twice_on_one_day_goes_to_review_also_when_the_statement_comes_a_week_later(
    shop: Shop, gateway: Gateway, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the days of the money, not by those of the comparison."""
    second = shop.settled("cancel")
    shop.age(900)
    shop.settled()
    shop.age(7 * 86_400)
    money = "SELECT coalesce(transaction_date, received_at) AS at FROM payment_confirmations"
    came_at = shop.row(money)["at"] + timedelta(hours=23)
    file = statement(row(1, "UE4JS31RBX", 1500, came_at))
    assert settle(gateway, second, file) is Outcome.TO_REVIEW
    assert shop.payment(second)["review_reason"] == "duplicate_payment"
    assert str(shop.row("SELECT transaction_id FROM statement_rows")["transaction_id"]) == second, (
        "its money is on file"
    )
    capsys.readouterr()
    assert shop.ops("--json", "review", "list") == 1
    (listed,) = json.loads(capsys.readouterr().out)["payments"]
    assert listed["receipts"] == ["UE4JS31RBX"]
    assert shop.ops("review", "refunded", second, "--receipt", "UE4JS31RBX", "--why", "sent back") == 1
    assert shop.ops("case", second) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "A statement says: KES 1,500 came in, payment, receipt UE4JS31RBX (file aaaaaaaaaaaa, row 1)." in told


# Files ----------------------------------------------------------------------------------------------------------------


def test_a_file_is_kept_once_and_so_is_a_row_that_two_files_hold(shop: Shop, gateway: Gateway) -> None:
    one, two = row(1, "UE4JS31RBX", 1500), row(2, "UE4JS31RBY", 700, raw='["a\x00b"]')
    first = records.keep(gateway.database, statement(one, two), "amina")
    assert records.keep(gateway.database, statement(one, two), "otieno") == first
    again = records.keep(
        gateway.database, statement(row(1, "UE4JS31RBY", 700), row(9, "UE4JS31RBZ", 5), sha256="b" * 64), "o"
    )
    assert again[1] == first[2]
    kept = shop.rows("SELECT receipt, row_number, raw, left(sha256, 1) AS file FROM statement_rows ORDER BY id")
    assert [(each["receipt"], each["row_number"], each["file"]) for each in kept] == [
        ("UE4JS31RBX", 1, "a"), ("UE4JS31RBY", 2, "a"), ("UE4JS31RBZ", 9, "b"),
    ]  # fmt: skip
    assert [kept[0]["raw"], kept[1]["raw"]] == [one.raw, '["ab"]']
    assert shop.rows("SELECT who, row_count FROM statement_files ORDER BY sha256") == [
        {"who": "amina", "row_count": 2},
        {"who": "o", "row_count": 2},
    ]


def test_a_row_whose_receipt_the_books_have_is_of_that_payment_from_the_start(shop: Shop, gateway: Gateway) -> None:
    transaction_id = shop.settled()
    receipt = str(shop.status(transaction_id).body["mpesa_receipt_number"])
    charge = gone(2, receipt, 8, row_class=RowClass.CHARGE)
    records.keep(gateway.database, statement(row(1, receipt, 1500), charge, row(3, "UE4JS31RBY", 5)), "amina")
    linked = shop.rows("SELECT row_number FROM statement_rows WHERE transaction_id IS NOT NULL ORDER BY 1")
    assert [each["row_number"] for each in linked] == [1, 2]
    assert settle(gateway, transaction_id, statement(row(1, receipt, 1500))) is Outcome.REPEATED


def test_a_file_is_written_whole_or_not_at_all(shop: Shop, gateway: Gateway) -> None:
    wrong = row(2, "UE4JS31RBY", 700, datetime(1999, 1, 1, tzinfo=UTC))
    with pytest.raises(Exception, match="moments_are_real"):
        records.keep(gateway.database, statement(row(1, "UE4JS31RBX", 1500), wrong), "amina")
    assert shop.rows("SELECT sha256 FROM statement_files") == shop.rows("SELECT receipt FROM statement_rows") == []


# People ---------------------------------------------------------------------------------------------------------------


def test_an_export_lists_rows_and_an_erasure_empties_what_names_somebody(
    shop: Shop, gateway: Gateway, tmp_path: Any
) -> None:
    transaction_id = shop.settled()
    receipt = str(shop.status(transaction_id).body["mpesa_receipt_number"])
    named = row(2, "UE4JS31RBY", 700, account="0708374149")
    stranger = row(3, "UE4JS31RBZ", 5, account="SOMEBODY")
    records.keep(gateway.database, statement(row(1, receipt, 1500), named, stranger), "amina")
    shop.sweep()
    shop.age(49 * 3600)
    shop.sweep()
    out = tmp_path / "theirs.json"
    assert shop.ops("privacy", "export", CUSTOMER, "--out", str(out)) == 0
    found = json.loads(out.read_text(encoding="utf-8"))
    (listed,) = found["payments"][0]["statement_rows"]
    assert (listed["receipt"], listed["account"]) == (receipt, "INV00042")
    assert [each["receipt"] for each in found["statement_rows_of_no_payment"]] == ["UE4JS31RBY"]
    money = shop.rows("SELECT receipt, at, paid_in, transaction_id FROM statement_rows ORDER BY id")
    assert shop.ops("privacy", "erase", CUSTOMER, "--why", "asked", "--who", "amina") == 0
    assert shop.rows("SELECT receipt, at, paid_in, transaction_id FROM statement_rows ORDER BY id") == money
    left = shop.rows("SELECT raw, account FROM statement_rows ORDER BY row_number")
    assert [each["raw"] and each["account"] for each in left] == [
        None, None, "SOMEBODY",
    ]  # fmt: skip
    records.keep(gateway.database, statement(row(1, receipt, 1500), named, sha256="b" * 64), "amina")
    assert len(shop.rows("SELECT id FROM statement_rows WHERE raw IS NOT NULL")) == 1, "nothing came back"


def test_an_address_that_somebody_typed_as_account_goes_with_its_owner(shop: Shop, gateway: Gateway) -> None:
    """By the address, and nobody's with a longer one."""
    shop.settled()
    typed, other = (
        row(1, "UE4JS31RBY", 700, account="Alice@Example.com"),
        row(2, "UE4JS31RBZ", 5, account="not-alice@example.com"),
    )
    records.keep(gateway.database, statement(typed, other), "amina")
    shop.sweep()
    shop.age(49 * 3600)
    shop.sweep()
    assert shop.ops("privacy", "erase", "alice@example.com", "--why", "asked", "--who", "amina") == 0
    left = shop.rows("SELECT account FROM statement_rows ORDER BY id")
    assert [each["account"] for each in left] == [None, "not-alice@example.com"]


def test_rows_of_no_payment_lose_what_names_somebody_after_seven_years(shop: Shop, gateway: Gateway) -> None:
    old, young = datetime.now(UTC) - timedelta(days=7 * 366), datetime.now(UTC) - timedelta(days=6 * 365)
    records.keep(gateway.database, statement(row(1, "UE4JS31RBY", 700, old), row(2, "UE4JS31RBZ", 5, young)), "amina")
    assert shop.ops("privacy", "purge", "--who", "amina") == 0
    left = shop.rows("SELECT account, raw IS NULL AS emptied FROM statement_rows ORDER BY id")
    assert left == [{"account": None, "emptied": True}, {"account": "INV00042", "emptied": False}]
