"""`ops close`: a month is closed once, with a row and a report that nobody changes unseen."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ops import close
from ops.statements.coverage import midnight
from ops.statements.months import Compared, Month
from shared.values import EAT
from simulator.entries import Entry, Kind, Organisation
from simulator.statements import FORMS, write
from tests.fixtures.shop import Shop
from tests.integration.test_reconcile import WRITE, Till, lost, till, vars_of

__all__ = ["till"]
WORD = ("--yes", "--who", "amina")


@pytest.fixture
def last_month(shop: Shop, till: Till) -> Month:
    """Books that began in the middle of last month, with one payment and one by hand."""
    today = datetime.now(EAT).date()
    month = Month((today.replace(day=1) - timedelta(days=1)).replace(day=1))
    paid = shop.settled(account_reference="INV1")
    middle = midnight(month.first) + timedelta(days=14, hours=12)
    shop.age((till.now - middle).total_seconds())
    till.has(paid)
    till.moved(Kind.PAYMENT, "TJD0000P02", 500, account="WHO", at=till.entries[0].at + timedelta(hours=1))
    return month


def statement(
    till: Till, month: Month, name: str = "month.csv", *, starts: datetime | None = None, ends: datetime | None = None
) -> str:
    """Of the whole month, or of a part of it."""
    path = till.folder / name
    starts, ends = starts or month.starts, (ends or month.ends) - timedelta(seconds=1)
    path.write_bytes(
        write(FORMS["a.csv"], Organisation("174379", "Duka"), till.entries, starts, ends, reported_at=ends)
    )
    return str(path)


def statement_to(till: Till, month: Month, ends: datetime, starts: datetime) -> str:
    """Until this midnight by what it states, with the rows of the five seconds after it."""
    file = Path(statement(till, month, "outside.csv", starts=starts, ends=ends + timedelta(seconds=6)))
    stated = (f"{ends:%d-%m-%Y} 00:00:05", f"{ends - timedelta(days=1):%d-%m-%Y} 23:59:59")
    file.write_text(file.read_text().replace(*stated))
    return str(file)


def ops(shop: Shop, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
    capsys.readouterr()
    code = shop.ops(*arguments, "--json")
    return code, json.loads(capsys.readouterr().out)


def test_a_month_is_closed_with_what_is_open_and_why(
    shop: Shop, till: Till, last_month: Month, capsys: pytest.CaptureFixture[str]
) -> None:
    report = till.folder / "report.html"
    close = ("close", str(last_month), "--to", str(report), *WORD)
    code, refused = ops(shop, capsys, *close)
    assert (code, f"covers {last_month.first} to {last_month.last}" in refused["error"]["says"]) == (1, True)
    shop.ops("reconcile", statement(till, last_month), *WRITE)
    code, refused = ops(shop, capsys, *close)
    assert (code, "1 difference open" in refused["error"]["says"], report.exists()) == (1, True, False)
    code, closed = ops(shop, capsys, *close, "--why", "the owner looks for it")
    assert (code, closed["closed"]) == (0, True)
    facts = closed["facts"]
    assert (facts["books"]["sales"], facts["matched"]["count"], facts["days_not_covered"]) == (1, 1, [])
    assert [each["kind"] for each in facts["differences"]] == ["missing_here"]
    text = report.read_text("utf-8")
    assert "the owner looks for it" in text
    assert "Closed by amina" in text
    assert "WHO" not in text + json.dumps(facts)
    assert shop.ops("audit", "verify", "--report", str(report)) == 0
    assert ops(shop, capsys, "reconcile", "--status")[1]["differences"] == []


def test_a_month_that_is_not_over_is_not_closed(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.settled()
    code, refused = ops(shop, capsys, "close", f"{datetime.now(EAT):%Y-%m}", "--why", "early", *WORD)
    assert (code, "not over yet" in refused["error"]["says"]) == (1, True)
    assert shop.ops("close", "2026-13") == 2


def test_a_month_whose_balances_do_not_add_up_is_not_covered_and_its_report_says_so(
    shop: Shop, till: Till, last_month: Month, capsys: pytest.CaptureFixture[str]
) -> None:
    """A row was taken out."""
    file = Path(statement(till, last_month))
    file.write_text("".join(line for line in file.read_text().splitlines(keepends=True) if "TJD0000P02" not in line))
    assert shop.ops("reconcile", str(file), *WRITE) == 1
    assert "is NOT KES" in capsys.readouterr().out
    report = till.folder / "report.html"
    shut = ("close", str(last_month), "--to", str(report), *WORD)
    code, refused = ops(shop, capsys, *shut)
    assert (code, "whose balances add up" in refused["error"]["says"]) == (1, True)
    code, done = ops(shop, capsys, *shut, "--why", "the portal gives no other")
    assert (code, [each["balance_chain"] for each in done["facts"]["files"]]) == (0, ["broken"])
    assert (len(done["facts"]["days_not_covered"]), "<td>broken</td>" in report.read_text("utf-8")) == (
        len(last_month.days),
        True,
    )
    shop.ops("reconcile", statement(till, last_month, "whole.csv"), *WRITE)
    assert ops(shop, capsys, "reconcile", "--status")[1]["last_day_covered"] == str(last_month.last)


def test_status_names_the_days_between_that_nobody_checked(
    shop: Shop, till: Till, last_month: Month, capsys: pytest.CaptureFixture[str]
) -> None:
    last = midnight(last_month.last)
    shop.ops("reconcile", statement(till, last_month, starts=last - timedelta(days=2)), *WRITE)
    code, found = ops(shop, capsys, "reconcile", "--status")
    days = [str(day) for day in last_month.days[14:-3]]
    assert (code, found["differences"], found["days_not_covered"]) == (1, [], days)
    assert shop.ops("reconcile", "--status") == 1
    assert f"NOT covered before it, so not checked: {days[0]} to {days[-1]}" in capsys.readouterr().out
    shop.ops("close", str(last_month), "--to", str(till.folder / "report.html"), "--why", "lost", *WORD)
    code, found = ops(shop, capsys, "reconcile", "--status")
    assert (code, found["days_not_covered"]) == (0, [])


def test_a_row_outside_the_period_of_its_file_is_of_the_month_in_which_it_moved(
    shop: Shop, till: Till, last_month: Month, capsys: pytest.CaptureFixture[str]
) -> None:
    """Portals put what completed just after midnight into the file of the day before."""
    till.moved(Kind.PAYMENT, "TJD0000P03", 700, account="LATE", at=last_month.ends + timedelta(seconds=3))
    shop.ops("reconcile", statement_to(till, last_month, last_month.ends, last_month.starts), *WRITE)
    code, found = ops(shop, capsys, "reconcile", "--status")
    assert (code, [each["receipt"] for each in found["differences"]]) == (1, ["TJD0000P02", "TJD0000P03"])
    shut = ("close", str(last_month), "--to", str(till.folder / "report.html"), "--why", "known", *WORD)
    code, done = ops(shop, capsys, *shut)
    assert (code, [each["receipt"] for each in done["facts"]["differences"]]) == (0, ["TJD0000P02"])
    code, found = ops(shop, capsys, "reconcile", "--status")
    assert (code, [each["receipt"] for each in found["differences"]]) == (1, ["TJD0000P03"])


def test_a_refund_is_seen_in_whatever_file_its_row_is(
    shop: Shop, till: Till, last_month: Month, capsys: pytest.CaptureFixture[str]
) -> None:
    till.entries, until = till.entries[:1], last_month.starts + timedelta(days=18)
    receipt, back = till.entries[0].receipt, until + timedelta(days=5)
    amount = int(till.entries[0].amount_kes)
    till.moved(Kind.REVERSAL, "TJD0000R01", amount, at=back, linked_receipt=receipt)
    paid = str(shop.row("SELECT id FROM transactions")["id"])
    assert shop.ops("review", "refunded", paid, "--receipt", "TJD0000R01", "--why", "wanted", *WORD) == 0
    shop.overwrite(f"UPDATE transactions SET refunded_at = '{back + timedelta(hours=1)}'")
    one, two = statement(till, last_month, "one.csv", ends=until), statement(till, last_month, "two.csv", starts=until)
    for file in (one, two):
        assert ops(shop, capsys, "reconcile", file, *WRITE)[1]["differences"] == []
    assert ops(shop, capsys, "reconcile", one)[1]["differences"] == []


def test_a_row_that_names_no_order_is_seen_in_the_next_file(
    shop: Shop, till: Till, unhurried: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a payment that a query found out, just before the file ends."""
    month = Month((datetime.now(EAT).date().replace(day=1) - timedelta(days=1)).replace(day=1))
    until = month.starts + timedelta(days=18)
    shared, found_out = shop.settled(account_reference="INVS"), lost(shop, account_reference="INVA")
    shop.age((till.now - until).total_seconds() + 300)
    till.has(shared)
    till.has(found_out, "TJD0000P00", at=until + timedelta(minutes=40), account="")
    shop.overwrite(f"UPDATE transactions SET paid_at = '{until + timedelta(minutes=41)}' WHERE id = '{found_out}'")
    shop.history_is_made_up = True
    one, two = statement(till, month, "one.csv", ends=until), statement(till, month, "two.csv", starts=until)
    assert [each["kind"] for each in ops(shop, capsys, "reconcile", one, *WRITE)[1]["differences"]] == ["timing"]
    ops(shop, capsys, "reconcile", two, *WRITE)
    assert ops(shop, capsys, "reconcile", one)[1]["differences"] == []
    kinds = [each["kind"] for each in ops(shop, capsys, "reconcile", "--status")[1]["differences"]]
    assert kinds == ["receipt_missing"]


def test_what_a_person_takes_back_after_the_closing_is_open_at_once(
    shop: Shop, till: Till, last_month: Month, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.ops("reconcile", statement(till, last_month), *WRITE)
    word = ("receipts", "not-a-sale", "TJD0000P02", "--who", "amina", "--why", "a gift")
    assert shop.ops(*word) == 0
    assert shop.ops("close", str(last_month), "--to", str(till.folder / "report.html"), *WORD) == 0
    assert ops(shop, capsys, "reconcile", "--status")[0] == 0
    assert shop.ops(*word, "--undo") == 0
    code, found = ops(shop, capsys, "reconcile", "--status")
    assert (code, [each["receipt"] for each in found["differences"]]) == (1, ["TJD0000P02"])


def test_of_two_who_close_a_month_at_once_one_is_refused(
    shop: Shop, till: Till, last_month: Month, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.ops("reconcile", statement(till, last_month), *WRITE)
    shut = ("close", str(last_month), "--why", "known", *WORD, "--to")
    may_close = close._may_close
    with pytest.MonkeyPatch.context() as patched:

        def meanwhile(found: Compared, why: str | None) -> None:
            patched.undo()
            assert ops(shop, capsys, *shut, str(till.folder / "first.html"))[0] == 0
            may_close(found, why)

        patched.setattr(close, "_may_close", meanwhile)
        code, refused = ops(shop, capsys, *shut, str(till.folder / "second.html"))
    assert (code, "somebody else" in refused["error"]["says"]) == (1, True)
    assert not (till.folder / "second.html").exists()
    assert len(shop.rows("SELECT id FROM reconciliation_log")) == 1


@pytest.fixture
def closed(shop: Shop, till: Till, last_month: Month) -> Path:
    """Last month, closed; its report."""
    report = till.folder / "report.html"
    shop.ops("reconcile", statement(till, last_month), *WRITE)
    assert shop.ops("close", str(last_month), "--to", str(report), "--why", "known", *WORD) == 0
    return report


def test_a_late_row_opens_a_difference_now_and_changes_no_report(
    shop: Shop, till: Till, last_month: Month, closed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = closed.read_bytes()
    till.moved(Kind.PAYMENT, "TJD0000P03", 70, account="LATE", at=till.entries[0].at + timedelta(hours=2))
    code, found = ops(shop, capsys, "reconcile", statement(till, last_month, "late.csv"), *WRITE)
    assert (code, {each["receipt"] for each in found["differences"]}) == (1, {"TJD0000P02", "TJD0000P03"})
    code, found = ops(shop, capsys, "reconcile", "--status")
    assert (code, [each["receipt"] for each in found["differences"]]) == (1, ["TJD0000P03"])
    again = till.folder / "again.html"
    assert shop.ops("close", str(last_month), "--to", str(again)) == 0
    assert again.read_bytes() == before
    assert ops(shop, capsys, "close", str(last_month), *WORD)[0] == 1


def test_a_late_row_in_the_file_of_another_month_opens_a_difference_too(
    shop: Shop, till: Till, last_month: Month, closed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    till.moved(Kind.PAYMENT, "TJD0000P04", 80, account="LATE", at=last_month.starts + timedelta(seconds=3))
    before = statement_to(till, last_month, last_month.starts, last_month.starts - timedelta(days=3))
    shop.ops("reconcile", before, *WRITE)
    found = ops(shop, capsys, "reconcile", "--status")[1]
    assert [each["receipt"] for each in found["differences"]] == ["TJD0000P04"]


def test_a_month_is_opened_and_closed_again(
    shop: Shop, till: Till, last_month: Month, closed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reopen = ("close", str(last_month), "--reopen", *WORD)
    assert shop.ops(*reopen) == 2
    assert shop.ops(*reopen, "--why", "a file was missing") == 0
    assert shop.ops(*reopen, "--why", "a file was missing") == 1
    assert [each["receipt"] for each in ops(shop, capsys, "reconcile", "--status")[1]["differences"]] == ["TJD0000P02"]
    second = till.folder / "second.html"
    assert shop.ops("close", str(last_month), "--to", str(second), "--why", "known", *WORD) == 0
    kinds = shop.rows("SELECT kind FROM reconciliation_log ORDER BY id")
    assert [row["kind"] for row in kinds] == ["closed", "reopened", "closed"]
    assert shop.ops("audit", "verify", "--report", str(closed), "--report", str(second)) == 0


@pytest.mark.parametrize("what", ["report", "row", "gone"])
def test_who_changes_a_report_or_its_row_is_seen(
    shop: Shop, till: Till, last_month: Month, closed: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    kept = shop.copy_of("reconciliation_log")
    if what == "report":
        closed.write_text(closed.read_text("utf-8").replace("amina", "nobody"), encoding="utf-8")
    elif what == "row":
        shop.overwrite("UPDATE reconciliation_log SET facts = jsonb_set(facts, '{books,sales_kes}', '1')")
    else:
        shop.overwrite("DELETE FROM reconciliation_log")
    code, found = ops(shop, capsys, "audit", "verify", "--report", str(closed))
    assert (code, bool(found["findings"])) == (1, True)
    if what == "row":
        assert shop.ops("close", str(last_month), "--to", str(till.folder / "again.html")) == 1
    shop.put_back(kept)


def test_a_report_runs_nothing_that_somebody_typed(
    shop: Shop, till: Till, last_month: Month, capsys: pytest.CaptureFixture[str]
) -> None:
    till.entries[1] = Entry(**{**vars_of(till.entries[1]), "account": "<script>"})
    shop.ops("reconcile", statement(till, last_month), *WRITE)
    report = till.folder / "report.html"
    assert shop.ops("close", str(last_month), "--to", str(report), "--why", "<b>it</b>", *WORD) == 0
    assert "<script" not in report.read_text("utf-8")
    assert "&lt;b&gt;it" in report.read_text("utf-8")
    assert shop.ops("close", str(last_month), "--to", str(report), *WORD) == 0
