"""The simulator's statement: what it books, and that each family's file has the form that the facts describe."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from simulator import Simulator
from simulator.client import ControlError
from simulator.clock import EAT
from simulator.entries import Entry, Kind, Organisation, Way
from simulator.statements import FORMS, Form, file_name, write
from tests.fixtures.simulator import PHONE, DarajaCaller

PAYBILL = Organisation("123456", "Fictional Traders Ltd - Testville")
TILL = Organisation("600584", "Duka la Mfano", till=True)
DAY = datetime(2026, 10, 1, tzinfo=EAT)
ENDS = DAY + timedelta(hours=23, minutes=59, seconds=59)


def at(clock: str, day: int = 1) -> datetime:
    return datetime.fromisoformat(f"2026-10-{day:02}T{clock}+03:00").astimezone(UTC)


def entry(kind: Kind, receipt: str, clock: str, amount: str, **more: object) -> Entry:
    return Entry(kind, receipt, at(clock), Decimal(amount), **more)  # type: ignore[arg-type]


BOB = {"payer": "254700000222", "name": "BOB OTIENO SAMPLE"}
ALICE = {"payer": "254700000111", "name": "ALICE EXAMPLE"}
ENTRIES = [
    Entry(Kind.PAYMENT, "TIU0000A01", at("16:00:00", 1) - timedelta(days=1), Decimal(500), "254700000111"),
    entry(Kind.PAYMENT, "UJ10000P01", "09:02:11", "1900", account="INV00041", **ALICE),
    entry(Kind.CHARGE, "UJ10000P01", "09:02:11", "10.45"),
    entry(Kind.PAYMENT, "UJ10000P02", "10:00:00", "1100", account="inv 42", way=Way.APP, fuliza=True, **BOB),
    entry(Kind.PAYMENT, "UJ10000F01", "10:05:00", "70", account="INV00043", status="Failed", **BOB),
    entry(Kind.ORGANISATION, "UJ10000P03", "11:00:00", "99.50", payer="300600", name="BENKI", account="INV 9"),
    entry(Kind.REVERSAL, "UJ10000R01", "12:00:00", "1100", linked_receipt="UJ10000P02", **BOB),
    entry(Kind.SWEEP, "UJ10000T01", "23:09:07", "2489.05"),
    entry(Kind.SETTLEMENT, "UJ10000W01", "23:09:30", "2489.05"),
]


def rows(form: Form, of: Organisation = PAYBILL, starts: datetime = DAY) -> list[list[str]]:
    text = write(form, of, ENTRIES, starts, ENDS).decode(form.encoding)
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=form.delimiter))


def test_the_classic_portals_file_has_a_preamble_whose_sums_agree_with_its_rows() -> None:
    preamble, header, lines = rows(FORMS["a.csv"])[:6], rows(FORMS["a.csv"])[6], rows(FORMS["a.csv"])[7:]
    assert preamble[1][:2] == ["Short Code:", "123456"]
    assert preamble[3][:5] == ["Time Period:", "From", "01-10-2026 00:00:00", "To", "01-10-2026 23:59:59"]
    assert preamble[5][:4] == ["Opening Balance:", "500.00", "Closing Balance:", "0.00"]
    assert preamble[5][6:10] == ["Total Paid In:", "3099.50", "Total Withdrawn:", "-3599.50"]
    assert header[0] == "Receipt No."
    assert {len(line) for line in [*preamble, *lines]} == {14}
    assert [line[0] for line in lines] == [one.receipt for one in reversed(ENTRIES[1:-1])], "newest first"
    assert lines[-1] == [
        "UJ10000P01", "01-10-2026 09:02:11", "01-10-2026 09:02:09",
        "Pay Bill from 25470****111 - ALICE EXAMPLE Acc. INV00041", "Completed", "1900.00", "", "2400.00", "true",
        "Pay Utility", "25470****111 - ALICE EXAMPLE", "", "INV00041", "KES",
    ]  # fmt: skip
    assert lines[-2][3:8] == ["Pay Bill Charge", "Completed", "", "-10.45", "2389.55"]
    assert lines[-3][9:13] == ["Pay Utility with OD Online", "25470****222 - BOB **** SAMPLE", "", "inv 42"]
    assert lines[-4][4:8] == ["Failed", "70.00", "", "3489.55"], "what failed moves no balance"
    assert lines[1][3:12] == [
        "Pay Utility Reversal by operator1", "Completed", "", "-1100.00", "2489.05", "true", "Pay Utility Reversal",
        "25470****222 - BOB **** SAMPLE", "UJ10000P02",
    ]  # fmt: skip


def test_a_tills_payments_have_no_account_and_a_local_number() -> None:
    lines = rows(FORMS["a.csv"], TILL)
    assert lines[2][:2] == ["Account:", "Merchant Account"]
    assert lines[5] == ["Opening Balance:", "500.00", "Closing Balance:", "0.00", *[""] * 10]
    assert lines[-1][3] == "Merchant Payment"
    assert lines[-1][9:13] == ["Pay Merchant", "07****111 - ALICE EXAMPLE", "", ""]
    assert lines[-2][3] == "Pay merchant Charge"


def test_the_new_portals_file_has_text_cells_and_sweeps_in_pairs() -> None:
    header, *lines = rows(FORMS["b.csv"])
    assert header == [
        "Receipt No", "Completion Time", "Details", "Transaction Status", "Paid In (KSHs)", "Withdrawn (KSHs)",
        "Balance (KSHs)",
    ]  # fmt: skip
    assert lines[0] == [
        "UJ10000W01", "01/10/2026 23:09:30", "Agency Withdrawal of funds to Bank", "Completed", "0.00", "-2,489.05",
        "0.00",
    ]  # fmt: skip
    assert [line[4:] for line in lines[1:3]] == [["2,489.05", "0.00", "2,489.05"], ["0.00", "-2,489.05", "0.00"]]
    assert lines[-1][2] == "Pay Bill from 2547****111 - ALICE EXAMPLE Acc. INV00041"
    assert lines[4][2] == "FSI to Pay Bill by 300600 - BENKI Acc. INV 9 via WEB by 300600\\B2BUser1"


def test_the_daily_files_header_is_one_name_too_long_at_the_left() -> None:
    header, *lines = rows(FORMS["c.csv"], TILL)
    assert {row.index("UJ10000P01") for row in lines if "UJ10000P01" in row} == {header.index("RECEIPT_NUMBER") - 1}
    assert lines[-2][5:8] == ["Pay merchant Charge", "", "10.45"]
    assert "UJ10000F01" not in str(lines), "there is no status, so nothing that failed"


def test_the_daily_file_of_2019_repeats_its_header_and_quotes_no_commas() -> None:
    many = [entry(Kind.PAYMENT, f"UJ1{n:07}", "09:00:00", "10", name="A, B", payer="254700000111") for n in range(60)]
    text = write(FORMS["c-2019.csv"], PAYBILL, many, DAY, ENDS).decode()
    assert [line.split(",")[2] for line in text.splitlines()].count("DETAILS") == 3
    assert text.splitlines()[1] == (
        "UJ10000059,2026-10-01 09:00:00,Pay Bill from 2547****111 - A, B Acc.,Completed,0,10"
    )


@pytest.mark.parametrize("name", FORMS)
def test_every_form_is_a_file_with_a_name_of_its_family(name: str) -> None:
    form = FORMS[name]
    content = write(form, TILL, ENTRIES, DAY, ENDS)
    begins = {"xlsx": b"PK", "xls": b"\xd0\xcf\x11\xe0", "csv": b""}[form.file]
    assert content.startswith(begins)
    assert file_name(form, TILL, DAY, ENDS).endswith(form.file)
    assert "600584" in file_name(form, TILL, DAY, ENDS)


def test_money_that_moved_is_on_the_statement_with_its_charge(caller: DarajaCaller) -> None:
    client = caller.simulator.client
    client.script(PHONE, "pay", after_s=0)
    client.wait_for_callback(caller.accepted(Amount=1000, AccountReference="INV1"))
    client.script(PHONE, "no_funds", after_s=0)
    client.wait_for_callback(caller.accepted(Amount=300, AccountReference="INV2"))
    by_hand = client.pay(PHONE, "174379", 250, "inv-1")
    client.pay(PHONE, "174379", "99.50", "INV 3", way="bank")
    client.reverse("174379", by_hand)
    with pytest.raises(ControlError, match="409"):
        client.reverse("174379", by_hand)
    booked = client.account("174379", *today(caller.simulator))
    assert [(one["kind"], one["status"], one["change"]) for one in reversed(booked)] == [
        ("payment", "Completed", 1000), ("charge", "Completed", -5.5), ("payment", "Failed", 0),
        ("payment", "Completed", 250), ("charge", "Completed", -1.38), ("organisation", "Completed", 99.5),
        ("reversal", "Completed", -250),
    ]  # fmt: skip
    assert client.phone(PHONE)["balance"] == 500_000 - 1000
    assert b"inv-1" in client.statement("174379", *today(caller.simulator))


def test_each_night_the_account_is_swept_to_the_bank(caller: DarajaCaller) -> None:
    client = caller.simulator.client
    client.pay(PHONE, "174379", 150)
    client.advance(24 * 3600)
    client.pay(PHONE, "174379", 160)
    client.advance(48 * 3600)
    first, last = today(caller.simulator)
    booked = client.account("174379", first - timedelta(days=5), last)
    assert [(one["kind"], one["amount"]) for one in reversed(booked)] == [
        ("payment", 150), ("sweep", 150), ("settlement", 150), ("payment", 160), ("sweep", 160), ("settlement", 160),
    ]  # fmt: skip
    again = client.account("174379", first - timedelta(days=5), last)
    assert again == booked, "an overlapping export has the same rows"


def test_fuliza_pays_what_is_missing_and_the_statement_says_so(caller: DarajaCaller) -> None:
    client = caller.simulator.client
    client.set_balance(PHONE, 50)
    checkout_request_id = caller.accepted(Amount=100)
    client.wait_for_prompt(PHONE)
    client.answer(PHONE, "fuliza")
    assert client.wait_for_callback(checkout_request_id)["state"] == "paid"
    assert client.account("174379", *today(caller.simulator))[0]["fuliza"] is True


def test_a_lost_morning_has_money_and_no_callbacks(caller: DarajaCaller) -> None:
    client = caller.simulator.client
    client.behave(callbacks_lost=True)
    client.script(PHONE, "pay", after_s=0)
    paid = caller.accepted()
    client.wait_for(lambda: client.payment(paid)["receipt"], "the money", 60)
    client.behave(callbacks_lost=False)
    client.script(PHONE, "pay", after_s=0)
    client.wait_for_callback(caller.accepted())
    assert client.payment(paid)["callbacks"] == []
    assert len(client.ledger()) == 2


@pytest.mark.parametrize(
    "wrong",
    [{"amount_kes": "99.50"}, {"amount_kes": 0}, {"amount_kes": 250_001}, {"way": "cheque"}, {"account": "x" * 21}],
)
def test_what_no_customer_can_pay_is_refused(caller: DarajaCaller, wrong: dict[str, object]) -> None:
    asked = {"msisdn": PHONE, "shortcode": "174379", "amount_kes": 10, "account": "A", **wrong}
    with pytest.raises(ControlError) as refused:
        caller.simulator.client._object("POST", "/control/account/pay", asked)
    assert refused.value.http_status == 422


def today(simulator: Simulator) -> tuple[date, date]:
    now = datetime.fromisoformat(simulator.client.info()["now"].replace("Z", "+00:00")).astimezone(EAT)
    return now.date(), now.date()
