"""What a shopkeeper reads about sales, and who sends what: two packers never send one order twice."""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from ops.sales import harmless
from shared.values import EAT
from tests.fixtures.shop import CUSTOMER, Shop, at_once

ITEMS = [
    {"id": "nyeri-aa", "name": "Nyeri AA", "price_kes": 500, "quantity": 2},
    {"id": "tea", "name": "Kericho tea", "price_kes": 500, "quantity": 1},
]
TODAY = f"{datetime.now(EAT):%Y-%m-%d}"


def sold(shop: Shop, number: int = 0, items: object = None, **order: object) -> str:
    """A paid order, of these items where they are given."""
    one: dict[str, Any] = {"phone_number": f"25470837414{number}", "account_reference": f"INV{number:05}", **order}
    payment = shop.settled(**one)
    if items is not None:
        shop.overwrite(f"UPDATE transactions SET items = '{json.dumps(items)}' WHERE id = '{payment}'")
    return payment


def documents(shop: Shop, capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    capsys.readouterr()
    assert shop.ops(*arguments, "--json") in (0, 1)
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_the_days_sales_by_day_and_by_item_with_refunds(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    first = sold(shop, 1, ITEMS, customer_name="Amina", note="blue gate")
    second = sold(shop, 2, ITEMS)
    sold(shop, 3)
    assert shop.ops("review", "refunded", second, "--receipt", "UE4JREFUND", "--why", "gone", "--who", "asha") == 0
    found = documents(shop, capsys, "sales", "--day", TODAY)
    rows = found["rows"]
    assert isinstance(rows, list)
    assert [row["kind"] for row in rows] == ["sale", "sale", "sale", "refund"]
    assert rows[0]["transaction_id"] == first
    assert (rows[0]["customer_name"], rows[0]["note"], rows[0]["customer_phone"]) == (
        "Amina",
        "blue gate",
        "254708374141",
    )
    assert found["by_day"] == [
        {"day": TODAY, "sales": 3, "sales_kes": 4500, "refunds": 1, "refunds_kes": 1500, "left_kes": 3000}
    ]
    assert {item["id"]: (item["quantity"], item["sales_kes"]) for item in found["by_item"]} == {  # type: ignore[attr-defined]
        "nyeri-aa": (4, 2000),
        "tea": (2, 1000),
        None: (1, 1500),
    }


def test_a_sale_counts_on_its_day_in_nairobi(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    payment = sold(shop)
    shop.history_is_made_up = True
    shop.overwrite(f"UPDATE transactions SET paid_at = '2026-11-29 21:30+00' WHERE id = '{payment}'")
    assert len(documents(shop, capsys, "sales", "--day", "2026-11-30")["rows"]) == 1  # type: ignore[arg-type]
    assert documents(shop, capsys, "sales", "--to", "2026-11-29")["rows"] == []
    assert len(documents(shop, capsys, "sales", "--from", "2026-11-30")["rows"]) == 1  # type: ignore[arg-type]


def test_pages_of_sales_are_read_whole(
    shop: Shop, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    paid = {sold(shop, number) for number in range(5)}
    shop.history_is_made_up = True
    shop.overwrite("UPDATE transactions SET paid_at = date_trunc('minute', now())")
    monkeypatch.setattr("ops.sales.PAGE", 2)
    rows = documents(shop, capsys, "sales", "--from", "2000-01-01")["rows"]
    assert [row["transaction_id"] for row in rows] == sorted(paid)  # type: ignore[attr-defined]


def test_nothing_sold_is_said(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert shop.ops("sales") == 0
    assert "none" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ("--day", TODAY, "--from", TODAY),
        ("--from", TODAY, "--to", "2000-01-01"),
        ("--day", "30/11/2026"),
        ("--csv", "--json"),
    ],
)
def test_days_that_cannot_be_are_refused(shop: Shop, arguments: tuple[str, ...]) -> None:
    assert shop.ops("sales", *arguments) == 2


def test_a_spreadsheet_runs_nothing_that_a_customer_typed(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    payment = sold(shop, 1, ITEMS, customer_name='=HYPERLINK("x")', note="@SUM(A1)", transaction_desc="+1")
    capsys.readouterr()
    assert shop.ops("sales", "--csv") == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert row["transaction_id"] == payment
    assert row["customer_name"] == '\'=HYPERLINK("x")'
    assert (row["note"], row["description"]) == ("'@SUM(A1)", "'+1")
    assert row["items"] == "2 \u00d7 Nyeri AA, KES 1,000; 1 \u00d7 Kericho tea, KES 500"
    assert row["amount_kes"] == "1500"


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@A1", "\t=1", "\r=1", "\n=1", " \t=1"])
def test_whatever_begins_like_a_formula_is_text(text: str) -> None:
    assert str(harmless(text)).startswith("'") or str(harmless(text)).startswith(" ")
    assert harmless("Amina") == "Amina"
    assert harmless(-1500) == -1500


# Who sends it ---------------------------------------------------------------------------------------------------------


def test_an_order_is_marked_as_sent_once_and_leaves_the_packers_list(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = sold(shop, 1), sold(shop, 2)
    assert shop.ops("sent", first, "--who", "asha") == 0
    waiting = documents(shop, capsys, "sales", "--unsent")["rows"]
    assert [row["transaction_id"] for row in waiting] == [second]  # type: ignore[attr-defined]
    assert shop.ops("sent", first, "--who", "brian") == 1
    assert "marked as sent by asha" in capsys.readouterr().err
    assert documents(shop, capsys, "sent", first, "--who", "brian")["error"]["sent_by"] == "asha"  # type: ignore[index]
    assert shop.ops("sent", first, "--who", "brian", "--why", "the first parcel came back") == 0
    rows = shop.rows("SELECT actor, reason FROM audit_log WHERE event = 'OrderSent' ORDER BY id")
    assert [(row["actor"], row["reason"]) for row in rows] == [
        ("operator asha", None),
        ("operator brian", "the first parcel came back"),
    ]


def test_of_two_packers_at_once_the_second_hears_who_was_first(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    paid = sold(shop)
    capsys.readouterr()
    codes = at_once(("asha", "brian", "carol", "david"), lambda who: shop.ops("sent", paid, "--who", who))
    assert sorted(codes) == [0, 1, 1, 1]
    said = capsys.readouterr()
    assert said.err.count("was marked as sent by") == 3
    assert len(shop.rows("SELECT id FROM audit_log WHERE event = 'OrderSent'")) == 1


def test_only_a_paid_order_is_sent(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    failed = shop.settled("cancel")
    assert shop.ops("sent", failed, "--who", "asha") == 1
    assert "CANCELLED" in capsys.readouterr().err
    assert shop.ops("sent", "0c9e8f1a-0b1c-4d2e-8f3a-5b6c7d8e9f00", "--who", "asha") == 1


def test_the_reference_of_an_order_that_was_tried_twice_names_the_paid_one(shop: Shop) -> None:
    shop.settled("cancel", account_reference="TWICE")
    shop.age(200)
    paid = shop.settled(account_reference="TWICE")
    assert shop.ops("sent", "TWICE", "--who", "asha") == 0
    assert shop.payment(paid)["order_sent_at"] is not None


def test_the_functions_role_cannot_say_that_an_order_was_sent_before(shop: Shop) -> None:
    from shared import collaborators
    from shared.database import DatabaseError

    paid = sold(shop)
    database = collaborators.collaborators().gateway.database
    with pytest.raises(DatabaseError):
        database.run(
            "UPDATE transactions SET order_sent_at = :at WHERE id = CAST(:id AS uuid)",
            id=paid,
            at=datetime.now(EAT) - timedelta(days=1),
        )


def test_a_case_says_what_to_send_to_whom_and_how_to_reach_them(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    paid = sold(shop, 9, ITEMS, customer_name="Amina", note="blue gate, Moi Avenue")
    capsys.readouterr()
    assert shop.ops("case", paid) == 0
    said = capsys.readouterr().out
    for part in (
        "2 \u00d7 Nyeri AA",
        "Amina",
        f"+{CUSTOMER}",
        "alice@example.com",
        "blue gate, Moi Avenue",
        "ops sent",
    ):
        assert part in said
    assert shop.ops("sent", paid, "--who", "asha") == 0
    assert shop.ops("case", paid) == 0
    assert "operator asha marked the order as sent" in capsys.readouterr().out


# The note -------------------------------------------------------------------------------------------------------------


def test_a_note_is_exported_to_whoever_typed_it_and_erased(
    shop: Shop, capsys: pytest.CaptureFixture[str], tmp_path: object
) -> None:
    from pathlib import Path

    folder = Path(str(tmp_path))
    paid = sold(shop, 9, note="blue gate, Moi Avenue 7")
    for person, has_it in (("alice@example.com", True), (CUSTOMER, False)):
        file = folder / f"{has_it}.json"
        assert shop.ops("privacy", "export", person, "--out", str(file)) == 0
        assert ("blue gate" in file.read_text()) is has_it
    shop.age(3 * 24 * 3600)
    assert shop.ops("privacy", "erase", CUSTOMER, "--why", "asked", "--who", "asha") == 0
    assert shop.payment(paid)["note"] is None
    assert "blue gate" not in "\n".join(shop.logged)
