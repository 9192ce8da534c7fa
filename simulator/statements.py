"""Statements of a paybill or till as Safaricom exports them: one list of entries, written as a file of any family.

A: the classic portal (.csv, .xlsx, .xls). B: the new business portal (.csv, .xlsx). C: the daily file of a head office
or till (its header is one name too long at the left), and that of a paybill, 2019 (commas without quotes, the header
again and again). No public file is genuine: layouts and wording are those of parsers that were written against real
exports. INF: the time formats of C, the sign of its amounts, what stands in a row that failed, a till's reversal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal

from simulator.clock import EAT
from simulator.entries import MONEY_IN, ZERO, Entry, Kind, Organisation, Way
from simulator.sheets import Cell, Cells, Typed, csv_file, xls_file, xlsx_file


@dataclass(frozen=True, slots=True)
class Form:
    """A family and how it is written."""

    family: Literal["A", "B", "C", "C-2019"]
    file: Literal["csv", "xlsx", "xls"] = "csv"
    encoding: Literal["utf-8", "utf-8-sig", "cp1252", "utf-16"] = "utf-8"
    delimiter: Literal[",", ";"] = ","
    cells: Typed = "text"
    """A's spreadsheets only. Typed: amounts, and accounts that look like numbers, are number cells."""
    sweep_pairs: bool = True
    """A sweep is out of one account and into the other. Else it is one row: the file is of the first account alone."""


FORMS = {
    "a.csv": Form("A", sweep_pairs=False),
    "a.xlsx": Form("A", "xlsx", cells="dates", sweep_pairs=False),
    "a.xls": Form("A", "xls", sweep_pairs=False),
    "b.csv": Form("B"),
    "b.xlsx": Form("B", "xlsx"),
    "c.csv": Form("C", sweep_pairs=False),
    "c-2019.csv": Form("C-2019", sweep_pairs=False),
}
"""As they are downloaded. `c.csv` is a till's, `c-2019.csv` a paybill's."""

A_HEADER = (
    "Receipt No.", "Completion Time", "Initiation Time", "Details", "Transaction Status", "Paid In", "Withdrawn",
    "Balance", "Balance Confirmed", "Reason Type", "Other Party Info", "Linked Transaction ID", "A/C No.", "Currency",
)  # fmt: skip
B_HEADER = (
    "Receipt No", "Completion Time", "Details", "Transaction Status", "Paid In (KSHs)", "Withdrawn (KSHs)",
    "Balance (KSHs)",
)  # fmt: skip
C_HEADER = (
    "ORGANIZATION_NAME", "STORE_NAME", "RECEIPT_NUMBER", "ACCOUNT_TYPE_NAME", "TRANSACTION_TYPE", "START_TIMESTAMP",
    "TRANSACTION_PARTY_DETAILS", "CREDIT_AMOUNT", "DEBIT_AMOUNT", "BALANCE", "LINKED_TRANSACTION_ID",
)  # fmt: skip
C_2019_HEADER = ("RECEIPT_NUMBER", "COMPLETION_TIME", "DETAILS", "STATUS", "WITHDRAWN", "PAID_IN")
C_2019_HEADER_EVERY = 25


@dataclass(frozen=True, slots=True)
class Line:
    entry: Entry
    details: str
    reason: str
    party: str
    paid_in_kes: Decimal
    withdrawn_kes: Decimal
    balance_kes: Decimal


def write(
    form: Form,
    of: Organisation,
    entries: Sequence[Entry],
    starts: datetime,
    ends: datetime,
    *,
    reported_at: datetime | None = None,
) -> bytes:
    """The file for a period, newest first. `entries` are all since the account was opened, in any order."""
    lines = list(_lines(form, of, entries))
    opening_kes = next((line.balance_kes for line in reversed(lines) if line.entry.at < starts), ZERO)
    shown = [line for line in lines if starts <= line.entry.at <= ends]
    match form.family:
        case "A":
            preamble = _classic_preamble(of, shown, opening_kes, starts, ends, reported_at or ends)
            rows = [*preamble, A_HEADER, *(_classic(form, of, line) for line in reversed(shown))]
        case "B":
            rows = [B_HEADER, *(_business(line) for line in reversed(shown))]
        case "C":
            rows = [C_HEADER, *(_daily(line, of) for line in reversed(shown) if line.entry.status == "Completed")]
        case _:
            rows = [_daily_2019(line) for line in reversed(shown)]
            for position in range(len(rows) // C_2019_HEADER_EVERY, -1, -1):
                rows.insert(position * C_2019_HEADER_EVERY, C_2019_HEADER)
    match form.file:
        case "csv":
            return csv_file(rows, form.encoding, form.delimiter, quoted=form.family != "C-2019")
        case "xlsx":
            return xlsx_file(rows, form.cells)
        case "xls":
            return xls_file(rows, form.cells)


def file_name(form: Form, of: Organisation, starts: datetime, ends: datetime) -> str:
    first, last = starts.astimezone(EAT), ends.astimezone(EAT)
    match form.family:
        case "A":
            return f"ORG_{of.shortcode}_Statement.{form.file}"
        case "B":
            return f"Statements for {of.shortcode} from {first:%Y-%m-%d} to {last:%Y-%m-%d}.{form.file}"
        case _:
            return f"Mpesa_{of.shortcode}_{last:%Y%m%d}235959.{form.file}"


# Entries as lines -----------------------------------------------------------------------------------------------------


def _lines(form: Form, of: Organisation, entries: Sequence[Entry]) -> Iterator[Line]:
    """Oldest first, with running balances."""
    balance_kes = ZERO
    for entry in sorted(entries, key=lambda one: one.at):
        if entry.kind is Kind.SETTLEMENT and not form.sweep_pairs:
            continue  # it left the other account
        details, reason = _details(entry, form, of), _reason(entry, of)
        moves = [(entry.amount_kes, ZERO)] if entry.kind in MONEY_IN else [(ZERO, entry.amount_kes)]
        if entry.kind is Kind.SWEEP and form.sweep_pairs:
            moves.append((entry.amount_kes, ZERO))
        for paid_in_kes, withdrawn_kes in moves:
            if entry.status == "Completed":
                balance_kes += paid_in_kes - withdrawn_kes
            yield Line(entry, details, reason, _party(entry, form, of), paid_in_kes, withdrawn_kes, balance_kes)


def _details(entry: Entry, form: Form, of: Organisation) -> str:
    party = _party(entry, form, of)
    account = "" if of.till else f" Acc. {entry.account}".rstrip()
    match entry.kind:
        case Kind.PAYMENT if of.till:
            return "Merchant Payment" if form.family == "A" else f"Customer Merchant Payment from {party}"
        case Kind.PAYMENT:
            fuliza = form.family != "A" and entry.fuliza  # A says so in its reason
            how = "Pay Utility with OD via STK" if fuliza else "Pay Bill Online" if entry.way is Way.APP else "Pay Bill"
            return f"{how} from {party}{account}"
        case Kind.CHARGE:
            return "Pay merchant Charge" if of.till else "Pay Bill Charge"
        case Kind.REVERSAL:
            return "Pay Utility Reversal by operator1"
        case Kind.SWEEP:
            return f"{of.account} to Organization Settlement Account"
        case Kind.SETTLEMENT:
            return {
                "A": "Organization Settle to Bank",
                "B": "Agency Withdrawal of funds to Bank",
                "C": "Withdraw Funds to Bank",
                "C-2019": "Real Time Settlement of funds to Bank",
            }[form.family]
        case Kind.ORGANISATION if of.till:
            return f"Funds received from {party}"
        case Kind.ORGANISATION:
            match entry.way:
                case Way.TILL:
                    return f"Merchant Pay Utility Received from {party}{account}"
                case Way.API:
                    return f"Business Pay Bill via API by {party}{account}"
                case _:
                    return f"FSI to Pay Bill by {party}{account} via WEB by {entry.payer}\\B2BUser1"
        case Kind.B2C:
            return f"Business Payment to {party}"
        case Kind.OTHER:
            return "Sell Airtime"


def _reason(entry: Entry, of: Organisation) -> str:
    match entry.kind:
        case Kind.PAYMENT | Kind.CHARGE:
            if of.till:
                return "OD Payment Transfer" if entry.fuliza else "Pay Merchant"
            if entry.fuliza:
                return "Pay Utility with OD Online" if entry.way is Way.APP else "Pay Utility with OD via STK"
            return "Pay Bill Online" if entry.way is Way.APP else "Pay Utility"
        case Kind.REVERSAL:
            return "Pay Utility Reversal"
        case Kind.SWEEP:
            return f"{of.account} to Organization Settlement Account"
        case Kind.SETTLEMENT:
            return "Withdraw Funds to Bank"
        case Kind.ORGANISATION:
            return "Organization To Organization Transfer"
        case Kind.B2C:
            return "Business Payment"
        case Kind.OTHER:
            return "Sell Airtime"


def _party(entry: Entry, form: Form, of: Organisation) -> str:
    """Numbers are masked, and in A the middle name."""
    match entry.kind:
        case Kind.CHARGE:
            return "SP"
        case Kind.SWEEP | Kind.SETTLEMENT | Kind.OTHER:
            return f"{of.shortcode} - {of.name}"
    number, names = entry.payer, entry.name.split()
    if len(number) == 12:
        known = number if form.family == "B" or not of.till else f"0{number[3:]}"
        shown = {"A": 2 if of.till else 5, "B": 4}.get(form.family, 4)
        number = f"{known[:shown]}****{known[-3:]}"
        if form.family == "A" and len(names) > 2:
            names = [names[0], "****", names[-1]]
    return f"{number} - {' '.join(names)}" if names else number


# Lines as rows --------------------------------------------------------------------------------------------------------


def _classic_preamble(
    of: Organisation,
    lines: Sequence[Line],
    opening_kes: Decimal,
    starts: datetime,
    ends: datetime,
    reported_at: datetime,
) -> list[Cells]:
    moved = [line for line in lines if line.entry.status == "Completed"]
    paid_in_kes = sum((line.paid_in_kes for line in moved), ZERO)
    withdrawn_kes = sum((line.withdrawn_kes for line in moved), ZERO)
    totals: list[Cell] = ["Available Balance:", "", "Total Paid In:", paid_in_kes, "Total Withdrawn:", -withdrawn_kes]
    closing_kes = opening_kes + paid_in_kes - withdrawn_kes
    rows: list[list[Cell]] = [
        ["Account Holder:", of.name],
        ["Short Code:", of.shortcode],
        ["Account:", of.account],
        ["Time Period:", "From", starts, "To", ends],
        ["Operator:", "operator1", "Organization:", of.name, "Date of Report:", reported_at],
        ["Opening Balance:", opening_kes, "Closing Balance:", closing_kes, *([] if of.till else totals)],
    ]
    return [[*row, *[""] * (len(A_HEADER) - len(row))] for row in rows]


def _classic(form: Form, of: Organisation, line: Line) -> Cells:
    entry = line.entry
    account: Cell = entry.account if entry.kind in MONEY_IN and not of.till else ""
    if form.cells != "text" and entry.account.isdecimal() and not entry.account.startswith("0") and account:
        account = Decimal(entry.account)
    return [
        entry.receipt, entry.at, entry.at - timedelta(seconds=2), line.details, entry.status, line.paid_in_kes or "",
        -line.withdrawn_kes or "", line.balance_kes, "true", line.reason, line.party, entry.linked_receipt, account,
        "KES",
    ]  # fmt: skip


def _business(line: Line) -> Cells:
    amounts = (line.paid_in_kes, -line.withdrawn_kes or ZERO, line.balance_kes)
    at = f"{line.entry.at.astimezone(EAT):%d/%m/%Y %H:%M:%S}"
    return [line.entry.receipt, at, line.details, line.entry.status, *(f"{amount:,.2f}" for amount in amounts)]


def _daily(line: Line, of: Organisation) -> Cells:
    """A till's. There is no status: what failed is not in it. Charges and sweeps are told by the party alone."""
    entry = line.entry
    kind = "Customer Merchant Payment" if entry.kind in (Kind.PAYMENT, Kind.CHARGE) else line.reason
    party = line.party if entry.kind in (Kind.PAYMENT, Kind.ORGANISATION, Kind.B2C) else line.details
    amounts = (line.paid_in_kes, line.withdrawn_kes)
    return [
        of.name, entry.receipt, of.account, kind, f"{entry.at.astimezone(EAT):%Y-%m-%d %H:%M:%S}", party,
        *(f"{amount:.2f}" if amount else "" for amount in amounts), f"{line.balance_kes:.2f}", entry.linked_receipt, "",
    ]  # fmt: skip


def _daily_2019(line: Line) -> Cells:
    at = f"{line.entry.at.astimezone(EAT):%Y-%m-%d %H:%M:%S}"
    amounts = (f"{amount:f}" if amount % 1 else f"{amount:.0f}" for amount in (line.withdrawn_kes, line.paid_in_kes))
    return [line.entry.receipt, at, line.details, line.entry.status, *amounts]
