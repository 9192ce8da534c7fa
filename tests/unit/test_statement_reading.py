"""Each family of Safaricom's statements is read to the same rows, in every form that a file takes on its way."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest

from ops.statements.classes import classify
from ops.statements.reading import read_statement
from ops.statements.statement import Row, RowClass, Statement
from shared.values import EAT
from tests.fixtures.statement_files import (
    CLASSIC,
    DAILY_NAME,
    DAILY_PAYBILL,
    DAILY_STORES,
    NEW,
    NEW_NAME,
    TILL,
    Table,
    as_csv,
    as_xls,
    as_xlsx,
    typed,
)


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Statement]:
    def read_bytes(data: bytes, name: str = "statement.csv") -> Statement:
        (tmp_path / name).write_bytes(data)
        return read_statement(tmp_path / name)

    return read_bytes


def brief(row: Row) -> str:
    money = f"{row.paid_in_kes:.2f} {row.withdrawn_kes:.2f}"
    return f"{row.receipt} {row.at:%d %H:%M:%S} {row.row_class} {money} {row.account}"


CLASSIC_ROWS = [
    "TJD0000B02 13 17:16:40 charge 0.00 3.24 None",
    "TJD0000B02 13 17:16:40 payment 1200.00 0.00 INV00042",
    "TJD0000A01 13 09:02:11 charge 0.00 20.70 None",
    "TJD0000A01 13 09:02:11 payment 7800.00 0.00 INV00041",
]
FORMS = {
    "csv": as_csv(CLASSIC),
    "csv, LF": as_csv(CLASSIC, end="\n"),
    "csv, CR": as_csv(CLASSIC, end="\r"),
    "csv, BOM": as_csv(CLASSIC, encoding="utf-8-sig"),
    "csv, UTF-16": as_csv(CLASSIC, encoding="utf-16"),
    "csv, UTF-16 without BOM": as_csv(CLASSIC, encoding="utf-16-le"),
    "csv, UTF-16 big end": as_csv(CLASSIC, encoding="utf-16-be"),
    "csv, semicolons": as_csv(CLASSIC, delimiter=";"),
    "csv, tabs": as_csv(CLASSIC, delimiter="\t"),
    "csv, bars": as_csv(CLASSIC, delimiter="|"),
    "xlsx, text": as_xlsx(CLASSIC),
    "xlsx, numbers and dates": as_xlsx(typed(CLASSIC)),
    "xls, text": as_xls(CLASSIC),
    "xls, numbers and dates": as_xls(typed(CLASSIC)),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_classic_portals_file_reads_the_same_in_every_form(form: str, read: Callable[..., Statement]) -> None:
    statement = read(FORMS[form], "downloaded")
    assert [brief(row) for row in statement.rows] == CLASSIC_ROWS
    assert [row.number for row in statement.rows] == [8, 9, 10, 11]
    assert (statement.family, statement.shortcode, statement.balance_chain) == ("A", "123456", "ok")
    assert (statement.opening_kes, statement.closing_kes) == (Decimal(0), Decimal("8976.06"))
    assert statement.starts == datetime(2025, 10, 10, tzinfo=EAT)
    assert statement.ends == datetime(2025, 10, 13, 23, 59, 59, tzinfo=EAT)
    assert statement.sha256 == hashlib.sha256(FORMS[form]).hexdigest()
    assert statement.made_at == datetime(2025, 10, 14, 7, tzinfo=EAT)
    assert statement.unknown == ()


def test_oldest_first_is_the_same_chain(read: Callable[..., Statement]) -> None:
    assert read(as_csv(CLASSIC[:7] + CLASSIC[:6:-1])).balance_chain == "ok"


def test_a_tills_file_has_no_accounts_and_keeps_what_failed(read: Callable[..., Statement]) -> None:
    statement = read(as_csv(TILL))
    assert [brief(row) for row in statement.rows] == [
        "TJD0000S03 13 03:31:12 sweep 0.00 29.85 None",
        "TJC0000M02 12 12:00:09 payment 55.00 0.00 None",
        "TJC0000M01 12 11:00:09 charge 0.00 0.15 None",
        "TJC0000M01 12 11:00:09 payment 30.00 0.00 None",
    ]
    assert [row.completed for row in statement.rows] == [True, False, True, True]
    assert statement.balance_chain == "ok"


@pytest.mark.parametrize("data", [as_csv(NEW), as_xlsx(NEW), as_xlsx(typed(NEW, 1))], ids=["csv", "xlsx", "typed"])
def test_the_new_portals_file_says_its_period_by_its_name_only(data: bytes, read: Callable[..., Statement]) -> None:
    statement = read(data, NEW_NAME.replace(".csv", " (1).csv"))
    assert [brief(row) for row in statement.rows] == [
        "UJ10000W01 01 23:09:30 settlement 0.00 3000.00 None",
        "UJ10000T02 01 23:09:07 sweep 3000.00 0.00 None",
        "UJ10000T02 01 23:09:07 sweep 0.00 3000.00 None",
        "UJ10000P02 01 16:15:18 payment 1100.00 0.00 INV00042",
        "UJ10000P01 01 16:14:48 payment 1900.00 0.00 bob shop",
    ]
    assert statement.rows[4].party == "07****222 - Bob Sample"
    assert (statement.family, statement.shortcode, statement.balance_chain) == ("B", None, "ok")
    assert (statement.shortcode_in_name, statement.period_in_name) == ("654321", True)
    assert statement.starts == datetime(2026, 10, 1, tzinfo=EAT)
    assert statement.ends == datetime(2026, 10, 1, 23, 59, 59, tzinfo=EAT)


def test_a_name_that_its_rows_contradict_states_no_period(read: Callable[..., Statement]) -> None:
    statement = read(as_csv(NEW), NEW_NAME.replace("10-01", "11-01"))
    assert (statement.starts, statement.ends, statement.period_in_name) == (None, None, False)


def test_a_row_a_little_outside_it_leaves_a_name_its_period(read: Callable[..., Statement]) -> None:
    rows = [NEW[0], [NEW[1][0], "02/10/2026 00:00:01", *NEW[1][2:]], *NEW[2:]]
    statement = read(as_csv(rows), NEW_NAME)
    assert (statement.starts, statement.period_in_name) == (datetime(2026, 10, 1, tzinfo=EAT), True)


def test_two_accounts_in_the_new_portals_file_are_one_chain(read: Callable[..., Statement]) -> None:
    """The settlement account begins with money of its own."""
    rows = [[*row] for row in NEW]
    rows[1][6], rows[2][6] = "5,000.00", "8,000.00"
    assert read(as_csv(rows)).balance_chain == "ok"
    rows[1][6] = "5,001.00"
    assert read(as_csv(rows)).balance_chain == "broken"


def without_first(rows: Table) -> Table:
    return [rows[0][1:], *rows[1:]]


@pytest.mark.parametrize(
    "data",
    [as_csv(DAILY_STORES), as_csv(without_first(DAILY_STORES)), as_xlsx(DAILY_STORES, "Mpesa_654321_20261001")],
    ids=["shifted", "straight", "xlsx"],
)
def test_a_header_that_is_one_name_too_long_is_seen(data: bytes, read: Callable[..., Statement]) -> None:
    statement = read(data, DAILY_NAME)
    assert [brief(row) for row in statement.rows] == [
        "UJ10000M01 01 08:00:01 payment 500.00 0.00 None",
        "UJ10000M02 01 08:00:05 payment 40.00 0.00 None",
        "UJ10000M01 01 08:00:01 charge 0.00 2.75 None",
    ]
    assert (statement.family, statement.balance_chain, statement.shortcode_in_name) == ("C", "ok", "654321")


def test_the_daily_file_of_a_paybill_has_commas_without_quotes(read: Callable[..., Statement]) -> None:
    statement = read(DAILY_PAYBILL.encode(), DAILY_NAME)
    assert [brief(row) for row in statement.rows] == [
        "UJ10000P01 01 08:00:01 payment 700.00 0.00 INV00041",
        "UJ10000P01 01 08:00:01 charge 0.00 5.00 None",
        "UJ10000R01 01 09:00:00 reversal 0.00 700.00 None",
        "UJ10000S01 01 10:00:00 settlement 0.00 100.00 None",
    ]
    assert statement.rows[0].party == "2547****111 - EXAMPLE, ALICE"
    assert [row.number for row in statement.rows] == [2, 4, 5, 6]
    assert (statement.family, statement.balance_chain) == ("C", "absent")
    assert statement.ends == datetime(2026, 10, 1, 23, 59, 59, tzinfo=EAT)


def test_the_row_is_kept_as_it_came(read: Callable[..., Statement]) -> None:
    assert json.loads(read(as_csv(NEW)).rows[0].raw) == NEW[1]
    assert json.loads(read(as_xlsx(typed(CLASSIC))).rows[1].raw)[5:8] == [1200.0, "", 8979.3]


@pytest.mark.parametrize(
    ("details", "reason", "money_out", "row_class"),
    [
        ("Pay Bill from 2547****1 - A Acc. 1", "Pay Utility", False, RowClass.PAYMENT),
        ("Pay Bill Online from 2547****1 - A Acc. 1", "Pay Bill Online", False, RowClass.PAYMENT),
        ("Small Business Pay Bill from 2547****1 - A Acc. 1", "", False, RowClass.PAYMENT),
        ("Standing Order Pay Bill from 2547****1", "Standing Order Pay Bill", False, RowClass.PAYMENT),
        ("Pay Utility with OD via STK", "", False, RowClass.PAYMENT),
        ("something new", "Pay Utility with OD Online", False, RowClass.PAYMENT),
        ("OD Payment Transfer from 2547****1", "", False, RowClass.PAYMENT),
        ("Customer Merchant Payment", "", False, RowClass.PAYMENT),
        ("Merchant Payment", "Pay Merchant", False, RowClass.PAYMENT),
        ("Customer Buy Goods Online", "", False, RowClass.PAYMENT),
        ("UJ10000P01  Pay Bill from  2547****1  - ANN   Account Number  X 1", "", False, RowClass.PAYMENT),
        ("Pay Bill from 2547****1 - LOAN CHARGE REVERSAL Acc. airtime", "Pay Utility", False, RowClass.PAYMENT),
        ("Pay Bill Charge", "Pay Utility", True, RowClass.CHARGE),
        ("Pay merchant Charge", "Pay Merchant", True, RowClass.CHARGE),
        ("Business Payment Charge", "", True, RowClass.CHARGE),
        ("Business Pay Bill Charge", "", True, RowClass.CHARGE),
        ("Pay Utility Reversal", "Pay Utility", True, RowClass.REVERSAL),
        ("Pay Utility Reversal by operator 12", "", True, RowClass.REVERSAL),
        ("Utility Account to Organization Settlement Account", "", True, RowClass.SWEEP),
        ("Merchant Account to Organization Settlement Account", "", True, RowClass.SWEEP),
        ("Organization Settlement Account to Organization MMF Account", "", True, RowClass.SWEEP),
        ("Merchant to Utility", "", True, RowClass.SWEEP),
        ("Agency Withdrawal of funds to Bank", "", True, RowClass.SETTLEMENT),
        ("Organization Settle to Bank", "", True, RowClass.SETTLEMENT),
        ("Organization Settlement", "Withdraw Funds to Bank", True, RowClass.SETTLEMENT),
        ("Real Time Settlement", "", True, RowClass.SETTLEMENT),
        ("Merchant Pay Utility Received from 123 - SHOP", "", False, RowClass.ORGANISATION),
        ("Business Pay Bill via API by 400200 - BANK Acc. 1", "", False, RowClass.ORGANISATION),
        ("FSI to Pay Bill by 400200 - BANK via WEB by X", "", False, RowClass.ORGANISATION),
        ("Organization To Organization Transfer", "", False, RowClass.ORGANISATION),
        ("Funds received from 400200", "", False, RowClass.ORGANISATION),
        ("Business Payment to 2547****1 - A", "", True, RowClass.B2C),
        ("Salary Payment to 2547****1 - A", "", True, RowClass.B2C),
        ("Promotion Payment to 2547****1 - A", "", True, RowClass.B2C),
        ("Loan Disbursement", "Pay Utility", False, RowClass.OTHER),
        ("Overdraft Repayment", "", True, RowClass.OTHER),
        ("Sell Airtime", "", False, RowClass.OTHER),
    ],
)
def test_details_decide_what_a_row_is(details: str, reason: str, money_out: bool, row_class: RowClass) -> None:
    assert classify(details, reason, "", money_out=money_out) == (row_class, None)


@pytest.mark.parametrize(
    ("details", "money_out", "kind"),
    [
        ("Pay Bill from 2547****111 - ALICE Acc. 1", True, "pay bill (out)"),
        ("Business Payment to 2547****111 - ALICE", False, "business payment (in)"),
        ("Pay Utility Reversal", False, "pay utility reversal (in)"),
        ("Lipa Mdogo Mdogo from 2547****111 - ALICE", False, "lipa mdogo mdogo"),
        ("M-PESA Ratiba Pay Bill from 2547****111 - ALICE Acc. 1", False, "m-pesa ratiba pay bill"),
        ("Organization Fine by 2547****111 - ALICE", True, "organization fine"),
        ("", False, "no words"),
    ],
)
def test_what_nobody_knows_is_counted_and_names_nobody(details: str, money_out: bool, kind: str) -> None:
    """Money that went out is never a payment, whatever the words say. What came in may be a customer's."""
    row_class = RowClass.OTHER if money_out else RowClass.ORGANISATION
    assert classify(details, "", "", money_out=money_out) == (row_class, kind)
