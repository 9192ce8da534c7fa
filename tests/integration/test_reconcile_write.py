"""What `ops reconcile --write` keeps and settles, what it refuses, and the way out of a file that was wrong."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from ops import reconcile
from ops.statements import records
from ops.statements.reading import read_statement
from ops.statements.statement import Statement
from shared.database import Database
from shared.database.errors import Busy, DatabaseUnavailable
from simulator.entries import Entry, Kind
from tests.fixtures.shop import Shop
from tests.integration import test_reconcile as of_statements
from tests.integration.test_reconcile import BOB, WRITE, Till, document, kinds, status, vars_of

till, morning = of_statements.till, of_statements.morning
Output = pytest.CaptureFixture[str]


def yesterday(shop: Shop, till: Till) -> None:
    """A day of which the books and the statement share a payment."""
    till.has(shop.settled(account_reference="INVS"))
    shop.age(20 * 3600)
    till.entries = [Entry(**{**vars_of(each), "at": each.at - timedelta(hours=20)}) for each in till.entries]


def edited(path: str, change: Callable[[str], str]) -> str:
    Path(path).write_text(change(Path(path).read_text()))
    return path


def once(work: Callable[..., Any]) -> Callable[..., Any]:
    """It is done once; then the database is away."""
    left = [work]

    def call(*given: Any, **named: Any) -> Any:
        if not left:
            raise DatabaseUnavailable("There is no connection.")
        return left.pop()(*given, **named)

    return call


# Settled, and said ----------------------------------------------------------------------------------------------------


def test_a_good_file_settles_what_a_broken_one_brought_first(
    shop: Shop, till: Till, morning: dict[str, str], capsys: Output
) -> None:
    broken = edited(
        till.statement("a.csv", "b.csv"), lambda text: text.replace("Closing Balance:,", "Closing Balance:,1")
    )
    first = document(shop, capsys, broken, *WRITE)
    assert {each["written"] for each in first["differences"]} == {None}
    both = document(shop, capsys, broken, till.statement(), *WRITE)
    assert all(each["written"].startswith("written") for each in both["differences"])
    assert status(shop, morning["failed"]) == "PAID"
    (audit,) = shop.rows("SELECT reason FROM audit_log WHERE event = 'StatementRefunded'")
    assert ", as " in audit["reason"]


def test_what_a_person_took_back_and_a_reversal_without_a_receipt_of_its_own_stay_open(
    shop: Shop, till: Till, morning: dict[str, str], capsys: Output
) -> None:
    document(shop, capsys, till.statement(), *WRITE)
    assert shop.ops("review", "reopen", morning["reversed"], "--why", "the wrong payment", "--who", "amina") == 0
    (again,) = document(shop, capsys, till.statement(), *WRITE, code=1)["differences"]
    assert (again["written"], status(shop, morning["reversed"])) == (
        f"not settled: a person has to decide, or has taken it back; see `ops case {morning['reversed']}`",
        "PAID",
    )
    assert shop.ops("review", "refunded", morning["reversed"], "--receipt", "TJD0000R01", "--why", "it was right") == 0
    assert document(shop, capsys, till.statement(), *WRITE, code=0)["differences"] == []


def test_a_reversal_under_the_payments_own_receipt_is_a_persons(shop: Shop, till: Till, capsys: Output) -> None:
    yesterday(shop, till)
    till.moved(Kind.REVERSAL, till.entries[0].receipt, 1500, at=till.entries[0].at + timedelta(hours=2))
    for _ in range(2):
        (found,) = document(shop, capsys, till.statement(), *WRITE, code=1)["differences"]
        assert (found["kind"], found["settles"], found["written"]) == ("reversed", None, None)
        assert "--receipt REVERSAL " in found["do_now"]
    refunded = ("--receipt", "TJD0000R09", "--why", "the portal has it", "--yes", "--who", "amina")
    assert shop.ops("review", "refunded", str(shop.row("SELECT id FROM transactions")["id"]), *refunded) == 0
    assert document(shop, capsys, till.statement(), *WRITE, code=0)["differences"] == []


def test_what_was_settled_before_the_database_went_away_is_said(
    shop: Shop, till: Till, morning: dict[str, str], capsys: Output
) -> None:
    with mock.patch.object(reconcile, "settle_by_row", once(records.settle_by_row)):
        found = document(shop, capsys, till.statement(), *WRITE, code=1)
    said = [each["written"] for each in found["differences"]]
    assert [str(each)[:7] for each in sorted(said, key=str)] == ["None", "None", "not set", "written"]
    assert all(
        "written" in str(each["written"]) for each in document(shop, capsys, till.statement(), *WRITE)["differences"]
    )


def test_files_that_are_kept_before_the_database_goes_away_are_named(
    shop: Shop, till: Till, morning: dict[str, str], capsys: Output
) -> None:
    with mock.patch.object(reconcile, "keep", once(records.keep)):
        found = document(shop, capsys, till.statement(), till.statement("a.xlsx"), *WRITE, code=1)
    assert "1 of 2 files are kept and nothing is settled; run it again" in found["error"]["says"]
    assert shop.row("SELECT count(*) AS files FROM statement_files")["files"] == 1


def test_two_people_who_write_the_same_rows_in_another_order_both_succeed(shop: Shop, till: Till) -> None:
    yesterday(shop, till)
    for number in range(300):
        till.moved(Kind.PAYMENT, f"TJD{number:07}", 10, at=till.entries[0].at + timedelta(seconds=number))
    newest_first = read_statement(Path(till.statement()))
    oldest_first = replace(newest_first, sha256="b" * 64, rows=newest_first.rows[::-1])
    failed: list[Exception] = []

    def write(file: Statement) -> None:
        database = Database(shop.database_url)
        try:
            records.keep(database, file, "amina")
        except Busy as busy:
            failed.append(busy)
        finally:
            database.close()

    with mock.patch.multiple(records, AT_ONCE=3, TRIES=1):
        people = [threading.Thread(target=write, args=(file,)) for file in (newest_first, oldest_first)]
        for each in people:
            each.start()
        for each in people:
            each.join()
    assert failed == []
    assert shop.row("SELECT count(*) AS rows FROM statement_rows")["rows"] == 301


# Refused --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("Statements for 600000 from 2026-01-01 to 2026-01-02.csv", lambda text: text.split("\n", 6)[6], "by its name"),
        ("november.csv", lambda text: text.split("\n", 6)[6], "does not say whose it is"),
    ],
    ids=["another number in the name", "nobody knows"],
)
def test_a_file_of_nobody_known_is_not_written(
    shop: Shop, till: Till, capsys: Output, name: str, change: Callable[[str], str], says: str
) -> None:
    yesterday(shop, till)
    till.entries = []
    till.moved(Kind.PAYMENT, "TJD0000X01", 100, account="X", at=till.now - timedelta(hours=10))
    file = edited(till.statement("a.csv", name), change)
    assert says in " ".join(document(shop, capsys, file)["warnings"])
    assert says in document(shop, capsys, file, *WRITE, code=1)["error"]["says"]
    assert shop.row("SELECT count(*) AS files FROM statement_files")["files"] == 0
    ours = "600000" if "600000" in name else "174379"
    assert kinds(document(shop, capsys, file, *WRITE, "--shortcode", ours)) == [("missing_here", "TJD0000X01")]


def test_a_shortcode_in_its_labels_cell_is_read(shop: Shop, till: Till, capsys: Output) -> None:
    till.has(shop.settled())
    file = till.statement(shortcode="999999")
    edited(file, lambda text: text.replace("Short Code:,999999", "Short Code: 999999,"))
    assert "999999" in document(shop, capsys, file, code=2)["error"]["says"]


def test_a_table_that_cannot_be_written_stops_before_the_database_and_no_statement_is_overwritten(
    shop: Shop, till: Till, morning: dict[str, str], capsys: Output
) -> None:
    document(shop, capsys, till.statement(), *WRITE, "--csv", str(till.folder / "none" / "out.csv"), code=2)
    assert status(shop, morning["failed"]) == "FAILED"
    before = Path(till.statement()).read_bytes()
    found = document(shop, capsys, till.statement(), "--csv", f"{till.folder}/./statement.a.csv", code=2)
    assert "write over it" in found["error"]["says"]
    assert Path(till.statement()).read_bytes() == before


# A file that was wrong ------------------------------------------------------------------------------------------------


def test_an_amount_that_a_file_had_wrong_is_put_right_by_a_persons_word(shop: Shop, till: Till, capsys: Output) -> None:
    yesterday(shop, till)
    failed = shop.settled({"code": "1037", "desc": "x"}, phone_number=BOB, account_reference="INVB")
    shop.age(20 * 3600)
    till.entries = [Entry(**{**vars_of(each), "at": each.at - timedelta(hours=20)}) for each in till.entries]
    till.moved(Kind.PAYMENT, "TJD0000P05", 15, account="BYHAND", at=till.entries[0].at + timedelta(minutes=5))
    wrong = till.statement("a.csv", "wrong.csv", days=3)
    document(shop, capsys, wrong, *WRITE)
    till.entries[-1] = Entry(**{**vars_of(till.entries[-1]), "amount_kes": 1500})
    till.has(failed, "TJD0000P06")
    good = till.statement("a.csv", "good.csv", days=3)

    assert "several amounts" in document(shop, capsys, wrong, good, *WRITE, code=1)["error"]["says"]
    found = document(shop, capsys, good, *WRITE, code=1)
    assert [(each["kind"], each["written"]) for each in found["differences"]] == [
        ("state_differs", None), ("duplicate_row", None),
    ]  # fmt: skip
    assert "book TJD0000P05 --reference BYHAND --amount KES" in found["differences"][1]["do_now"]
    word = ("--why", "the first file was cut off", "--who", "amina")
    assert shop.ops("book", "TJD0000P05", "--reference", "BYHAND", "--yes", *word) == 1
    assert shop.ops("book", "TJD0000P05", "--reference", "BYHAND", "--amount", "1500", "--yes", *word) == 0
    (_, advice) = document(shop, capsys, good)["differences"]
    assert "receipts not-a-sale TJD0000P05" in advice["do_now"]
    assert shop.ops("receipts", "not-a-sale", "TJD0000P05", *word) == 0
    assert kinds(document(shop, capsys, good, *WRITE)) == [("state_differs", "TJD0000P06")]
    assert status(shop, failed) == "PAID"
    assert document(shop, capsys, wrong, good)["differences"] == document(shop, capsys, "--status")["differences"] == []


def test_a_reference_that_has_file_in_it_stays_as_it_is(shop: Shop, till: Till, capsys: Output) -> None:
    yesterday(shop, till)
    till.moved(Kind.PAYMENT, "TJD0000P01", 500, account="PROFILE7", at=till.entries[0].at + timedelta(hours=2))
    (found,) = document(shop, capsys, till.statement())["differences"]
    assert "--reference PROFILE7 " in found["do_now"]
    assert shop.ops("reconcile", till.statement()) == 1
    assert "--reference PROFILE7 " in capsys.readouterr().out
