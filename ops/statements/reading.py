"""One statement file, read whole or refused: a file that is half read would hide a payment."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, time, timedelta
from decimal import Decimal
from itertools import chain, groupby, islice
from operator import attrgetter
from pathlib import Path

from ops.statements.balance import balance_chain
from ops.statements.cells import Cell, account, amount_kes, moment, text
from ops.statements.classes import account_in, classify, party_in
from ops.statements.columns import EXPORT_AGAIN, NAMES, Columns, find_columns, is_receipt, plain
from ops.statements.files import File, Line, open_file
from ops.statements.preamble import LABELS, Preamble, read_preamble, said_by_name
from ops.statements.statement import Row, Statement, UnusableFile
from shared.values import EAT

HEADER_WITHIN = 60
"""Rows. A preamble has six."""
LOOKED_AT = 50
"""Rows after the header that show which column holds the receipts."""
PROGRESS_EVERY = 1000
NOT_COMPLETED = {"failed", "declined", "cancelled", "canceled", "expired", "rejected", "pending"}
AMOUNTS = {"paid_in", "withdrawn", "balance"}
END_COUNTS = {*AMOUNTS, "account", "linked"}
"""Columns whose cells are other ones without their end, and as good."""
_EDGE = timedelta(days=1)
"""How far a row may lie outside the file's period: it completed just after it, or began just before."""
_TOTALS = re.compile(r"(grand ?)?totals?\b|(opening|closing|available) balance\b", re.IGNORECASE)


def read_statement(path: Path, progress: Callable[[int], None] = lambda rows: None) -> Statement:
    """The statement in a file of Safaricom's. `progress` hears the number of rows read so far.

    Raises `UnusableFile`.
    """
    file = open_file(path)
    reader = None
    for sheet, lines in groupby(file.lines, key=attrgetter("sheet")):
        above: list[Line] = []
        for line in islice(lines, HEADER_WITHIN):
            if columns := find_columns(line.cells, line.number):
                if reader is not None:
                    raise UnusableFile("Two sheets hold a statement.", "Save each as a file of its own.")
                reader = _Reader(columns, read_preamble(above), sheet, line)
                reader.read(lines, progress)  # noqa: B031 - the loop ends here
                break
            above.append(line)
    if reader is None:
        raise UnusableFile("No row names the columns (Receipt No., Completion Time, Details …).", EXPORT_AGAIN)
    if not file.may_be_cut_off:
        return reader.statement(file, path.name)
    doubtful = "" if file.last_cell_is_quoted else reader.may_be_longer
    reader.doubt_the_last(doubtful)
    statement = reader.statement(file, path.name)
    if reader.last_is_shorter or (doubtful in AMOUNTS and statement.balance_chain != "ok"):
        raise UnusableFile("The file is cut off in this row.", EXPORT_AGAIN, reader.last_number)
    return statement


def _unusable(where: Line | Row, says: str) -> UnusableFile:
    return UnusableFile(says, EXPORT_AGAIN, where.number)


# The rows -------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Reader:
    columns: Columns
    preamble: Preamble
    sheet: str
    header: Line
    rows: list[Row] = field(default_factory=list)
    accounts: dict[tuple[str, str], list[Row]] = field(default_factory=dict)
    """Completed rows by account: a head office's file has those of many stores."""
    unknown: Counter[str] = field(default_factory=Counter)
    days_as_dates: set[int] = field(default_factory=set)
    days_as_text: set[int] = field(default_factory=set)
    last_number: int = 0
    last_is_shorter: bool = False
    may_be_longer: str = ""
    """The column of the last cell, where it may have lost its end: `15` is an amount as `1500` is."""

    def read(self, lines: Iterator[Line], progress: Callable[[int], None]) -> None:
        head = list(islice(lines, LOOKED_AT))
        self.columns = self.columns.fit([line.cells for line in head])
        names, width = [plain(cell) for cell in self.header.cells], 0
        for line in chain(head, lines):
            self.last_number, self.last_is_shorter, width = line.number, len(line.cells) < width, len(line.cells)
            self.may_be_longer = self._may_be_longer(line.cells)
            if self._is_no_transaction(line, names):
                continue
            try:
                row = self._row(line)
            except (ValueError, ArithmeticError) as why:
                raise _unusable(line, f"{str(why)[:1].upper()}{str(why)[1:]}.") from None
            self.rows.append(row)
            if row.completed:
                account_of = (self._words(line, "store"), self._words(line, "store_account"))
                self.accounts.setdefault(account_of, []).append(row)
            if len(self.rows) % PROGRESS_EVERY == 0:
                progress(len(self.rows))
        progress(len(self.rows))

    def _may_be_longer(self, cells: Sequence[Cell]) -> str:
        """An amount with two decimals is whole."""
        last = min(len(cells), self.columns.width) - 1  # the daily file has unquoted commas
        end = next((name for name, at in self.columns.at.items() if at == last), "")
        return end if end in END_COUNTS and re.fullmatch(r"|.*\d\.\d\d", text(cells[-1])) is None else ""

    def doubt_the_last(self, column: str) -> None:
        """Some programs end no last line, so it is not refused: its account only suggests, its link says nothing."""
        if self.rows and self.rows[-1].number == self.last_number:
            if column == "account":
                self.rows[-1] = replace(self.rows[-1], account_is_number=True)
            elif column == "linked":
                self.rows[-1] = replace(self.rows[-1], linked_receipt=None)

    def _words(self, line: Line, column: str) -> str:
        return text(self.columns.cell(line.cells, column))

    def _is_no_transaction(self, line: Line, names: Sequence[str]) -> bool:
        """Empty rows, the header again, totals, a footer. What has an amount or a date and no receipt is refused."""
        said, filled = self._words(line, "receipt"), [cell for cell in line.cells if text(cell)]
        is_a_word = said.isalpha() and len(filled) == 1
        if is_receipt(said) and plain(said) not in NAMES["receipt"] and not is_a_word:
            return False
        labels = {plain(cell) for cell in line.cells}
        if labels & NAMES["receipt"]:
            if labels != set(names):
                raise _unusable(line, "Here other columns begin: these are two statements in one file.")
            return True
        if labels & LABELS:
            raise _unusable(line, "Here a second statement begins: each must be a file of its own.")
        if any(_TOTALS.match(text(cell)) for cell in line.cells):
            return True
        paid, said_of_it, dated = (
            any(self._words(line, column) for column in columns)
            for columns in (("paid_in", "withdrawn"), ("details", "status", "balance"), ("completed_at", "began_at"))
        )
        is_printed_at = len(filled) <= 2 and not said_of_it  # "Printed: <date>"
        if paid or (dated and not is_printed_at):
            raise _unusable(line, f"{said[:40]!r} is no receipt number." if said else "This row has no receipt number.")
        return True

    def _row(self, line: Line) -> Row:
        cells = self._whole(line.cells)
        cell = self.columns.cell
        words = {
            name: text(cell(cells, name)) for name in ("details", "status", "reason", "party", "linked", "currency")
        }
        completed = words["status"].lower() == "completed" or "status" not in self.columns.at
        if words["currency"].upper() not in ("", "KES", "KSH"):
            raise ValueError(f"{words['currency']!r} is not Kenya's currency")
        paid_in, withdrawn = amount_kes(cell(cells, "paid_in")), amount_kes(cell(cells, "withdrawn"))
        if completed and paid_in is None and withdrawn is None:
            raise ValueError("this row has no amount")
        into, out = paid_in or Decimal(0), abs(withdrawn or Decimal(0))
        if into < 0:  # a minus under Paid In is money that went out
            into, out = Decimal(0), out - into
        if into and out:
            raise ValueError("this row has money in and money out")
        details = words["details"] or words["reason"]
        row_class, unknown = classify(words["details"], words["reason"], words["party"], money_out=out > 0)
        if unknown:
            self.unknown[unknown] += 1
        if not completed and words["status"].lower() not in NOT_COMPLETED:
            self.unknown[f"status {words['status'] or '(empty)'}"] += 1
        typed, is_number = account(cell(cells, "account"), account_in(details))
        return Row(
            number=line.number,
            receipt=text(cell(cells, "receipt")).upper(),
            at=self._at(cells, completed=completed),
            details=details,
            status=words["status"],
            completed=completed,
            paid_in_kes=into,
            withdrawn_kes=out,
            balance_kes=amount_kes(cell(cells, "balance")),
            account=typed,
            account_is_number=is_number,
            party=words["party"] or party_in(details),
            linked_receipt=words["linked"].upper() or None,
            row_class=row_class,
            raw=line.raw,
        )

    def _whole(self, cells: list[Cell]) -> list[Cell]:
        """The daily file has unquoted commas: a name with one makes Details into two cells."""
        at, width = self.columns.at.get("details"), self.columns.width
        more = len(cells) - width
        if self.sheet or all(text(cell) in ("", "KES") for cell in cells[width:]):
            return cells
        if at is not None:
            cells = [*cells[:at], ",".join(map(str, cells[at : at + more + 1])), *cells[at + more + 1 :]]
        if text(self.columns.cell(cells, "status")).lower() not in NOT_COMPLETED | {"completed"}:
            raise ValueError("this row has more cells than there are columns: an amount or a name has a comma")
        return cells

    def _at(self, cells: Sequence[Cell], *, completed: bool) -> datetime:
        """A pass through Excel may leave only the time of the completion: the day is that of the beginning."""
        of_completion = self.columns.cell(cells, "completed_at")
        of_beginning = self.columns.cell(cells, "began_at")
        if not text(of_completion) and (not completed or "completed_at" not in self.columns.at):
            of_completion = of_beginning
        at = moment(of_completion)
        if isinstance(at, time):
            began = moment(of_beginning)
            if not isinstance(began, datetime):
                raise ValueError(f"{text(of_completion)!r} is a time without a day")
            at = datetime.combine(began.date(), at, EAT)
            if at < began - timedelta(minutes=1):
                at += timedelta(days=1)
        if at is None:
            raise ValueError("this row has no completion time")
        if not isinstance(at, datetime):
            raise ValueError(f"{text(of_completion)!r} is a day without a time")
        (self.days_as_text if isinstance(of_completion, str) else self.days_as_dates).add(at.day)
        return at

    def statement(self, file: File, name: str) -> Statement:
        said = self.preamble
        shortcode_in_name, starts, ends = said_by_name(name) if not self.sheet else said_by_name(f"{self.sheet} {name}")
        if said.starts and said.ends:
            for row in self.rows:
                if not said.starts - _EDGE <= row.at <= said.ends + _EDGE:
                    says = f"{row.at:%d %B %Y} lies outside the file's period: day and month may have changed places."
                    raise _unusable(row, says)
        elif starts and ends and any(not starts - _EDGE <= row.at <= ends + _EDGE for row in self.rows):
            starts = ends = None
        if self.days_as_dates and self.days_as_text and max(self.days_as_dates) <= 12 < min(self.days_as_text):
            raise UnusableFile(
                "A spreadsheet program took days for months where it could: only those after the 12th are still text.",
                EXPORT_AGAIN,
            )
        accounts = self.accounts.values()
        return Statement(
            sha256=file.sha256,
            name=name,
            family=self.columns.family,
            shortcode=said.shortcode,
            starts=said.starts or starts,
            ends=said.ends or ends,
            rows=tuple(self.rows),
            balance_chain=balance_chain(accounts, said.opening_kes, said.closing_kes),
            opening_kes=said.opening_kes,
            closing_kes=said.closing_kes,
            unknown=tuple(self.unknown.most_common()),
            period_in_name=not said.starts and starts is not None,
            shortcode_in_name=shortcode_in_name,
            made_at=said.made_at,
        )
