"""`ops reconcile` on real books: what statements say is compared, and what they name exactly is settled."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from simulator.entries import Entry, Kind, Organisation
from simulator.statements import FORMS, write
from tests.fixtures.shop import Shop

SHORTCODE = "174379"
EAT_TODAY = timedelta(hours=3)
ALICE, BOB, CAROL = "254708374149", "254722000000", "254700000007"
WRITE = ("--write", "--yes", "--who", "amina")
WHO = ("--who", "amina")


@dataclass
class Till:
    """The shop's account at M-Pesa, whose statement begins yesterday."""

    shop: Shop
    folder: Path
    entries: list[Entry] = field(default_factory=list)

    @property
    def now(self) -> datetime:
        found: datetime = self.shop.row("SELECT now() AS now")["now"]
        return found

    def moved(self, kind: Kind, receipt: str, kes: int | str, **more: Any) -> Entry:
        given: dict[str, Any] = {"at": self.now, "payer": ALICE, "name": "ALICE WANJIRU EXAMPLE"}
        entry = Entry(kind, receipt, amount_kes=Decimal(kes), **(given | more))
        self.entries.append(entry)
        return entry

    def has(self, transaction_id: str, receipt: str | None = None, **more: Any) -> str:
        """The row of a payment of the shop; its receipt."""
        row = self.shop.row(
            """
            SELECT t.amount, t.account_reference, t.created_at, coalesce(c.transaction_date, t.created_at) AS at,
                   c.mpesa_receipt_number AS receipt
            FROM transactions t LEFT JOIN payment_confirmations c ON c.transaction_id = t.id
            WHERE t.id = CAST(:id AS uuid)
            """,
            id=transaction_id,
        )
        receipt = receipt or row["receipt"]
        given = {"at": row["at"], "account": row["account_reference"]}
        self.moved(Kind.PAYMENT, receipt, row["amount"], **(given | more))
        return receipt

    def statement(self, form: str = "a.csv", name: str = "", days: int = 2, shortcode: str = SHORTCODE) -> str:
        """A file of these days, until tomorrow, so that nothing is near its edge; its path."""
        midnight = datetime.combine((self.now + EAT_TODAY).date(), time(), self.now.tzinfo) - EAT_TODAY
        starts, ends = midnight - timedelta(days=days - 1), midnight + timedelta(days=1, seconds=-1)
        path = self.folder / (name or f"statement.{form}")
        path.write_bytes(write(FORMS[form], Organisation(shortcode, "Duka la Mfano"), self.entries, starts, ends))
        return str(path)


@pytest.fixture
def till(shop: Shop, tmp_path: Path) -> Till:
    return Till(shop, tmp_path)


def document(shop: Shop, capsys: pytest.CaptureFixture[str], *arguments: str, code: int | None = None) -> Any:
    capsys.readouterr()
    ended = shop.ops("reconcile", *arguments, "--json")
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert code == ended if code is not None else "error" not in found, printed
    return found


def kinds(found: Any) -> list[tuple[str, str | None]]:
    return [(each["kind"], each["receipt"]) for each in found["differences"]]


def status(shop: Shop, transaction_id: str) -> str:
    return str(shop.payment(transaction_id)["status"])


def silent(shop: Shop, phone: str = BOB, **order: Any) -> str:
    """A payment of which nobody heard again."""
    shop.simulator.client.script(phone, "pay", after_s=0, callback_count=0, query=["still_processing"] * 9)
    reply = shop.pay(phone_number=phone, **order)
    assert reply.status == 202, reply.body
    return str(reply.body["transaction_id"])


@pytest.mark.parametrize("form", ["a.csv", "a.xlsx", "a.xls", "b.csv"])
def test_books_that_agree(shop: Shop, till: Till, capsys: pytest.CaptureFixture[str], form: str) -> None:
    for number, phone in enumerate((ALICE, BOB, CAROL)):
        receipt = till.has(shop.settled(phone_number=phone, account_reference=f"INV{number}"))
        till.moved(Kind.CHARGE, receipt, "3.24")
    till.moved(Kind.SWEEP, "TJD0000S01", 1000)
    found = document(shop, capsys, till.statement(form, "Statements for 174379.x" if form[0] == "b" else ""))
    assert (found["differences"], found["matched"], found["balance_chain"]) == ([], 3, "ok")
    assert found["classes"]["payment"]["count"] == 3
    assert found["classes"]["charge"]["out_kes"] == 9.72


def lost(shop: Shop, phone: str = BOB, **order: Any) -> str:
    """The customer paid, its callback got lost, and a query found out."""
    transaction_id = silent(shop, phone, **order)
    shop.simulator.client.make_peace()
    shop.age(25)
    shop.sweep()
    assert status(shop, transaction_id) == "PAID"
    return transaction_id


@pytest.fixture
def morning(shop: Shop, till: Till, unhurried: Shop) -> dict[str, str]:
    """One of each that a statement settles, a day ago, and one whose receipt both sides hold."""
    named = {"shared": shop.settled(account_reference="INVS")}
    named["filled"] = lost(shop, BOB, account_reference="INVA")
    named["failed"] = shop.settled(
        {"code": "1037", "desc": "No response"}, phone_number=CAROL, account_reference="INVB"
    )
    named["silent"] = silent(shop, "254711000001", account_reference="INVC")
    named["reversed"] = shop.settled(phone_number="254711000002", account_reference="INVD")
    shop.age(20 * 3600)
    till.has(named["shared"])
    for number, name in enumerate(("filled", "failed", "silent")):
        till.has(named[name], f"TJD0000P0{number}")
    back = till.has(named["reversed"])
    till.moved(Kind.REVERSAL, "TJD0000R01", 1, at=till.now - timedelta(hours=19), linked_receipt=back)
    amount = shop.payment(named["reversed"])["amount"]
    till.entries[-1] = Entry(**{**vars_of(till.entries[-1]), "amount_kes": amount})
    return named


def vars_of(entry: Entry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in Entry.__slots__}


EXACT = [
    ("receipt_missing", "TJD0000P00"),
    ("reversed", "TJD0000R01"),
    ("state_differs", "TJD0000P01"),
    ("state_differs", "TJD0000P02"),
]


def test_a_dry_run_changes_nothing_and_says_what_would_be_settled(
    shop: Shop, till: Till, morning: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    tables = ("transactions", "payment_confirmations", "audit_log", "outbox", "statement_files", "statement_rows")
    before = shop.copy_of(*tables)
    found = document(shop, capsys, till.statement(), code=1)
    assert sorted(kinds(found)) == EXACT
    assert {each["settles"] for each in found["differences"]} == {"fills_receipt", "pays", "refunds"}
    assert all(each["do_now"].endswith("statement.a.csv --write") for each in found["differences"])
    assert shop.copy_of(*tables) == before
    assert shop.ops("reconcile", till.statement()) == 1
    assert "Nothing was written" in capsys.readouterr().out


def test_what_is_exact_is_settled_once_and_by_name(
    shop: Shop, till: Till, morning: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    written = document(shop, capsys, till.statement(), *WRITE)
    assert {each["written"] for each in written["differences"]} == {
        "written: the receipt is filled in",
        "written: PAID",
        "written: PAID, late",
        "written: REFUNDED",
    }
    assert [status(shop, morning[name]) for name in ("filled", "failed", "silent", "reversed")] == [
        "PAID", "PAID", "PAID", "REFUNDED",
    ]  # fmt: skip
    assert "late_payment" in shop.alerts(morning["failed"])
    actors = shop.rows("SELECT DISTINCT actor FROM audit_log WHERE event LIKE 'Statement%'")
    assert [row["actor"] for row in actors] == ["operator amina"]
    tables = ("transactions", "payment_confirmations", "audit_log", "outbox", "statement_files", "statement_rows")
    after = shop.copy_of(*tables)
    again = document(shop, capsys, till.statement(), *WRITE)
    assert (again["differences"], shop.copy_of(*tables)) == ([], after)
    assert document(shop, capsys, till.statement("a.xlsx"), till.statement("b.csv", "more.csv"))["differences"] == []


@pytest.mark.parametrize("made", ["UTC", "two amounts"])
def test_what_cannot_be_trusted_is_refused_and_nothing_is_written(
    shop: Shop, till: Till, morning: dict[str, str], capsys: pytest.CaptureFixture[str], made: str
) -> None:
    if made == "UTC":
        till.entries = [Entry(**{**vars_of(each), "at": each.at - timedelta(hours=3)}) for each in till.entries]
    else:
        till.moved(Kind.PAYMENT, till.entries[0].receipt, 7, at=till.entries[0].at)
    found = document(shop, capsys, till.statement(), *WRITE, code=1)
    assert ("3 h off: the file is in UTC" if made == "UTC" else "several amounts") in found["error"]["says"]
    assert shop.row("SELECT count(*) AS files FROM statement_files")["files"] == 0
    assert status(shop, morning["failed"]) == "FAILED"


def test_a_statement_of_another_environment_is_not_written(
    shop: Shop, till: Till, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    till.has(shop.settled())
    monkeypatch.setenv("MPESA_ENV", "production")
    found = document(shop, capsys, till.statement(), *WRITE, code=1)
    assert "the database is of sandbox" in found["error"]["says"]
    assert shop.row("SELECT count(*) AS files FROM statement_files")["files"] == 0
    monkeypatch.undo()


def test_another_shortcode_and_a_file_that_is_none_are_refused(
    shop: Shop, till: Till, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    till.moved(Kind.PAYMENT, "TJD0000P01", 500)
    other = document(shop, capsys, till.statement(shortcode="600000"), code=2)
    assert "600000" in other["error"]["says"]
    assert document(shop, capsys, till.statement(shortcode="600000"), "--shortcode", "600000", code=1)
    picture = tmp_path / "picture.xlsx"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    unusable = document(shop, capsys, till.statement(), str(picture), code=2)
    assert (unusable["error"]["code"], "picture.xlsx" in unusable["error"]["says"]) == ("unusable_statement", True)
    assert document(shop, capsys, str(tmp_path / "none.csv"), code=2)["error"]["code"] == "unusable_statement"
    assert document(shop, capsys, code=2)["error"]["code"] == "wrong_use"


def test_a_direct_payment_is_missing_here_and_large_ones_are_proposed(
    shop: Shop, till: Till, capsys: pytest.CaptureFixture[str]
) -> None:
    till.has(shop.settled())
    shop.settled({"code": "1032", "desc": "cancelled"}, phone_number=BOB, account_reference="BIG", amount=30_000)
    shop.age(7200)
    till.entries[0] = Entry(**{**vars_of(till.entries[0]), "at": till.entries[0].at - timedelta(hours=2)})
    till.moved(Kind.PAYMENT, "TJD0000P02", 30_000, account="big", at=till.now - timedelta(hours=1, minutes=50))
    till.moved(Kind.PAYMENT, "TJD0000P03", 500, account="=HYPERLINK(1)", at=till.now - timedelta(hours=1))
    found = document(shop, capsys, till.statement(), *WRITE, code=1)
    assert kinds(found) == [("missing_here", "TJD0000P03"), ("state_differs", "TJD0000P02")]
    assert [each["settles"] for each in found["differences"]] == [None, None]
    assert found["differences"][0]["age_days"] == 0
    assert shop.ops("reconcile", till.statement(), "--csv", str(till.folder / "out.csv")) == 1
    assert "Write the statement before you book" in capsys.readouterr().out
    assert shop.ops("reconcile", till.statement(), "--csv", str(till.folder / "none" / "out.csv")) == 2
    with open(till.folder / "out.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["kind"], row["amount_kes"]) for row in rows] == [("missing_here", "500"), ("state_differs", "30000")]
    assert not [cell for row in rows for cell in row.values() if cell[:1] in ("=", "+", "-", "@")]


def test_a_payment_without_its_row_is_the_worst_that_can_be(
    shop: Shop, till: Till, capsys: pytest.CaptureFixture[str]
) -> None:
    till.has(shop.settled())
    forged = shop.settled(phone_number=BOB)
    shop.age(20 * 3600)
    till.entries[0] = Entry(**{**vars_of(till.entries[0]), "at": till.entries[0].at - timedelta(hours=20)})
    (missing,) = document(shop, capsys, till.statement(), code=1)["differences"]
    assert (missing["kind"], missing["transaction_id"]) == ("missing_there", forged)


def earlier(till: Till, shop: Shop, age_s: int) -> None:
    shop.age(age_s)
    till.entries = [Entry(**{**vars_of(each), "at": each.at - timedelta(seconds=age_s)}) for each in till.entries]


def books_by_hand(shop: Shop, receipt: str, *more: str) -> int:
    return shop.ops("book", receipt, *more, "--why", "by hand", "--yes", "--who", "amina")


def test_a_file_does_not_vouch_for_itself_nor_against_a_better_one(
    shop: Shop, till: Till, capsys: pytest.CaptureFixture[str]
) -> None:
    """A receipt is shared where a callback brought it, and not where somebody booked it from this file."""
    shared = till.has(shop.settled(account_reference="INVS"))
    failed = shop.settled({"code": "1037", "desc": "No response"}, phone_number=CAROL, account_reference="INVB")
    earlier(till, shop, 20 * 3600)
    mine = till.entries.pop()
    till.has(failed, "TJD0000P01")
    for number, ago in ((2, timedelta(hours=18)), (3, timedelta(hours=18)), (4, timedelta(minutes=5))):
        till.moved(Kind.PAYMENT, f"TJD0000P0{number}", 10, account=f"HAND{number}", at=till.now - ago)
    right = list(till.entries)
    in_utc = [Entry(**{**vars_of(each), "at": each.at - timedelta(hours=3)}) for each in right]
    till.entries = [right[0], *in_utc[1:3], right[3]]
    document(shop, capsys, till.statement(days=3), *WRITE, code=1)
    for number in (2, 3, 4):
        assert books_by_hand(shop, f"TJD0000P0{number}") == 0
    again = document(shop, capsys, till.statement(days=3), *WRITE, code=1)
    assert [(each["receipt"], each["settles"]) for each in again["differences"]] == [
        ("TJD0000P01", None),
        (shared, None),
    ]
    assert status(shop, failed) == "FAILED"
    till.entries = [mine, *right]
    written = document(shop, capsys, till.statement(days=3), *WRITE)
    assert (written["files"][0]["clock"], status(shop, failed)) == (None, "PAID")


def test_a_receipt_that_a_statement_filled_in_vouches_for_no_statement(
    shop: Shop, till: Till, unhurried: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    till.has(shop.settled(account_reference="INVS"))
    filled = lost(shop, BOB, account_reference="INVA")
    failed = shop.settled({"code": "1037", "desc": "No response"}, phone_number=CAROL, account_reference="INVB")
    earlier(till, shop, 20 * 3600)
    till.has(filled, "TJD0000P00")
    (fills,) = document(shop, capsys, till.statement(), *WRITE)["differences"]
    assert fills["settles"] == "fills_receipt"
    del till.entries[0]
    till.has(failed, "TJD0000P01")
    found = document(shop, capsys, till.statement(), code=1)["differences"]
    assert [(each["kind"], each["settles"]) for each in found] == [("state_differs", None)]


def test_money_that_nobody_knows_and_a_banks_payment_are_booked_by_a_person(
    shop: Shop, till: Till, capsys: pytest.CaptureFixture[str]
) -> None:
    till.has(shop.settled(account_reference="INVS"))
    failed = shop.settled({"code": "1037", "desc": "No response"}, phone_number=CAROL, account_reference="INVB")
    earlier(till, shop, 20 * 3600)
    amount = shop.payment(failed)["amount"]
    later = till.now - timedelta(hours=19)
    till.moved(Kind.ORGANISATION, "TJD0000P01", amount, account="INVB", payer="247247", name="A BANK", at=later)
    till.moved(Kind.PAYMENT, "TJD0000P02", 9000, account="ORDER5", at=later)
    path = Path(till.statement())
    rows = path.read_text(encoding="utf-8").splitlines()
    new = [each.replace("Pay Bill from", "Send to Shop from").replace("Pay Utility", "Send to Shop") for each in rows]
    both = [other if "TJD0000P02" in each else each for each, other in zip(rows, new, strict=True)]
    path.write_text("\n".join(both) + "\n", encoding="utf-8")
    found = document(shop, capsys, str(path), *WRITE, code=1)
    assert sorted(kinds(found)) == [("missing_here", "TJD0000P02"), ("state_differs", "TJD0000P01")]
    assert found["files"][0]["unknown"] == {"send to shop": 1}
    assert sorted(kinds(document(shop, capsys, "--status", code=1))) == sorted(kinds(found))
    for each in found["differences"]:
        assert f"book {each['receipt']} --reference" in each["do_now"]
        assert books_by_hand(shop, each["receipt"]) == 0
    assert (status(shop, failed), document(shop, capsys, str(path))["differences"]) == ("PAID", [])


def test_a_receipt_that_is_not_exact_is_filled_by_the_command_that_is_shown(
    shop: Shop, till: Till, unhurried: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    """A till's row names no order. Booked, it was once a second payment of the same money."""
    till.has(shop.settled(account_reference="INVS"))
    till.has(lost(shop, account_reference="INVA"), "TJD0000P00", account="")
    (difference,) = document(shop, capsys, till.statement(), *WRITE)["differences"]
    assert (difference["kind"], difference["settles"]) == ("receipt_missing", None)

    assert shop.ops("book", "TJD0000P00", "--reference", "INVA", "--yes", *WHO, "--why", "as shown") == 0
    assert difference["do_now"].startswith("python -m ops book TJD0000P00 --reference INVA ")
    assert shop.row("SELECT count(*) AS n FROM transactions")["n"] == 2
    assert kinds(document(shop, capsys, till.statement())) == []


def test_a_persons_word_closes_what_is_no_payments(shop: Shop, till: Till, capsys: pytest.CaptureFixture[str]) -> None:
    """Wages, two parts of one payment that went back, and a payment more under an order that was paid."""
    receipt = till.has(shop.settled(account_reference="INVS"))
    till.moved(Kind.B2C, "TJD0000B01", 200)
    for part in ("TJD0000R01", "TJD0000R02"):
        till.moved(Kind.REVERSAL, part, 750, linked_receipt=receipt)
    till.moved(Kind.PAYMENT, "TJD0000P01", 300, account="INVS")
    assert len(document(shop, capsys, till.statement(), *WRITE)["differences"]) == 4
    assert shop.ops("book", "TJD0000P01", "--reference", "INVS", "--yes", *WHO, "--why", "delivery") == 0
    found = document(shop, capsys, till.statement())["differences"]
    assert {each["kind"] for each in found} == {"refund_unknown", "reversed"}
    for each in found:
        assert each["do_now"] == f'python -m ops receipts not-a-sale {each["receipt"]} --why "…"'
        assert shop.ops("receipts", "not-a-sale", each["receipt"], *WHO, "--why", "a word") == 0
    assert kinds(document(shop, capsys, till.statement())) == []


def test_a_refund_of_another_amount_is_closed_by_a_persons_word_too(
    shop: Shop, till: Till, capsys: pytest.CaptureFixture[str]
) -> None:
    paid = shop.settled(account_reference="INVS")
    receipt = till.has(paid)
    till.moved(Kind.REVERSAL, "TJD0000R01", 750, linked_receipt=receipt)
    document(shop, capsys, till.statement(), *WRITE)
    refund = ("review", "refunded", paid, "--receipt", "TJD0000R01", *WHO, "--why", "half in cash")
    assert shop.ops(*refund, "--against-evidence") == 0
    (difference,) = document(shop, capsys, till.statement())["differences"]
    assert (difference["kind"], "not-a-sale TJD0000R01" in difference["do_now"]) == ("amount_differs", True)
    assert shop.ops("receipts", "not-a-sale", "TJD0000R01", *WHO, "--why", "half in cash") == 0
    assert kinds(document(shop, capsys, till.statement())) == []


def test_money_that_came_and_went_back_stays_explained_when_the_statement_names_no_receipt(
    shop: Shop, till: Till, capsys: pytest.CaptureFixture[str]
) -> None:
    till.has(shop.settled())
    till.moved(Kind.PAYMENT, "TJD0000P02", 700, account="WRONG")
    till.moved(Kind.REVERSAL, "TJD0000R02", 700, at=till.now + timedelta(seconds=1))
    shop.age(60)
    till.entries = [Entry(**{**vars_of(each), "at": each.at - timedelta(seconds=60)}) for each in till.entries]
    assert document(shop, capsys, till.statement(), *WRITE)["differences"] == []
    assert document(shop, capsys, "--status")["differences"] == []


def test_status_says_until_when_and_what_is_open_by_age(
    shop: Shop, till: Till, morning: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert document(shop, capsys, "--status", code=1)["last_day_covered"] is None
    till.moved(Kind.PAYMENT, "TJD0000P09", 500, account="WHO", at=till.now - timedelta(hours=18))
    document(shop, capsys, till.statement(), *WRITE, code=1)
    found = document(shop, capsys, "--status", code=1)
    assert kinds(found) == [("missing_here", "TJD0000P09")]
    assert found["open_by_age_days"] == {"0-1": 1, "2-7": 0, "8-30": 0, "> 30": 0}
    shop.age(40 * 86400)
    assert document(shop, capsys, "--status", code=1)["open_by_age_days"]["> 30"] == 1
    assert shop.ops("reconcile", "--status") == 1
