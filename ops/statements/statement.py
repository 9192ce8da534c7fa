"""A statement of M-Pesa, as the rest of Lipa knows it. Nothing of Safaricom's wording passes this border.

`ops.statements.reading.read_statement` makes one from a file.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Literal

Family = Literal["A", "B", "C"]
"""A: the classic organisation portal. B: the new business portal. C: the daily file by SFTP or mail."""
BalanceChain = Literal["ok", "broken", "absent"]


class RowClass(StrEnum):
    """What a row is. Money that went out is never a payment."""

    PAYMENT = "payment"
    """A customer paid: by STK, at the paybill or till, by Fuliza, by a standing order."""
    CHARGE = "charge"
    """Safaricom's fee; it carries the receipt of its payment."""
    REVERSAL = "reversal"
    """Money of a payment that went back."""
    SWEEP = "sweep"
    """Between the shop's own accounts: neither in nor out."""
    SETTLEMENT = "settlement"
    """To the shop's bank."""
    ORGANISATION = "organisation"
    """An organisation paid in, or money came under unknown words. Customers of banks and of Airtel arrive so: a person
    decides.
    """
    B2C = "b2c"
    """The shop paid a person; may be a refund."""
    OTHER = "other"
    """Known to be no sale (loans, airtime), or unknown money out: then `Statement.unknown` counts it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row. Amounts are in KES, never negative, and come from their column, never from a sign."""

    number: int
    """Where it stands in the file, from 1."""
    receipt: str
    """In upper case."""
    at: datetime
    """Completion, in East Africa Time. Of a row that was not completed: when it began, if nothing else is said."""
    details: str
    status: str
    """As written in the file; empty where the file has no such column."""
    completed: bool
    """Money moved. Nothing else may be counted."""
    paid_in_kes: Decimal
    """May have cents: bank apps send them."""
    withdrawn_kes: Decimal
    balance_kes: Decimal | None
    account: str | None
    """What the customer typed as account number; a till has none."""
    account_is_number: bool
    """A spreadsheet kept it as a number: leading zeros may be lost, so it suggests and never decides."""
    party: str | None
    """The other side, masked by Safaricom."""
    linked_receipt: str | None
    row_class: RowClass
    raw: str
    """The row's cells as the file has them: one JSON list."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One file, read whole."""

    sha256: str
    name: str
    """The file's own name, without its folder."""
    family: Family
    shortcode: str | None
    """None where the file does not say it."""
    starts: datetime | None
    """The first moment of the period that the file states, in East Africa Time."""
    ends: datetime | None
    """The last moment of it (23:59:59)."""
    rows: tuple[Row, ...]
    """In the file's order."""
    balance_chain: BalanceChain
    """Whether each balance follows from the one before, and the closing balance from the opening one."""
    opening_kes: Decimal | None
    closing_kes: Decimal | None
    unknown: tuple[tuple[str, int], ...]
    """Kinds of transaction that the table of classes does not know, with the number of their rows."""
    period_in_name: bool = False
    """`starts` and `ends` come from the file's name: new portal and daily file state them nowhere else."""
    shortcode_in_name: str | None = None
    """A hint, no more: anybody can rename a file."""
    made_at: datetime | None = None
    """When the file was made (*Date of Report*); None where it does not say."""


class UnusableFile(Exception):
    """Nothing of this file is used: `says` why, `do_now` is the remedy, `row` where it is about one row."""

    def __init__(self, says: str, do_now: str, row: int | None = None) -> None:
        super().__init__(f"{f'row {row}: ' if row else ''}{says} {do_now}")
        self.says, self.do_now, self.row = says, do_now, row
