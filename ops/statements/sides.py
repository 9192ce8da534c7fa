"""What is compared, and what a comparison finds: values only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import TypeAlias

from ops.statements.coverage import Clock, Period
from ops.statements.statement import BalanceChain, Row, RowClass, Statement
from shared.payments import ReviewReason, Status

NOTHING = Decimal(0)


class Kind(StrEnum):
    """How the books and Safaricom can differ."""

    MISSING_HERE = "missing_here"
    MISSING_THERE = "missing_there"
    AMOUNT_DIFFERS = "amount_differs"
    RECEIPT_MISSING = "receipt_missing"
    DOUBLED = "doubled"
    REVERSED = "reversed"
    REFUND_UNSEEN = "refund_unseen"
    REFUND_UNKNOWN = "refund_unknown"
    STATE_DIFFERS = "state_differs"
    TIMING = "timing"
    DUPLICATE_ROW = "duplicate_row"


# Our side -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Booked:
    """A payment of our books."""

    transaction_id: str
    status: Status
    amount_kes: Decimal
    reference: str
    created_at: datetime
    paid_at: datetime | None = None
    """When it became paid here. Null where it never was, also where it was refunded straight from review."""
    receipt: str | None = None
    """Of its confirmation."""
    money_at: datetime | None = None
    """When M-Pesa says that the money moved."""
    by_callback: bool = False
    """A callback brought the receipt: not a statement, and not a person."""
    refund_receipt: str | None = None
    refunded_at: datetime | None = None
    """When the refund was recorded here: after the money went back."""
    review_reason: ReviewReason | None = None
    named: tuple[str, ...] = ()
    """Receipts that callbacks named for it, and that confirm no payment."""
    paid_twice_with: str | None = None
    """Another payment of the same order that stands PAID, where the shop was alerted of this one."""


@dataclass(frozen=True)
class BooksView:
    """The books, as far as the statements' periods and receipts need them."""

    payments: Sequence[Booked]
    now: datetime
    confirm_above_kes: Decimal
    begin: date | None = None
    """The day of the first payment."""
    kept: Sequence[Statement] = ()
    """Statements that were written before."""
    no_sales: frozenset[str] = frozenset()
    """Receipts of which a person said that they are no sale."""
    strays: frozenset[str] = frozenset()
    """Receipts that callbacks named for payments which are not in the books."""
    references_are_reusable: bool = False


# What is found --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FillReceipt:
    """The payment is paid without a receipt; the row names it."""

    transaction_id: str
    row: Row


@dataclass(frozen=True, slots=True)
class Settle:
    """The payment is not paid here, and its row is completed."""

    transaction_id: str
    row: Row


@dataclass(frozen=True, slots=True)
class Refund:
    """The row took the whole amount of the payment back."""

    transaction_id: str
    row: Row


Settlement: TypeAlias = FillReceipt | Settle | Refund


@dataclass(frozen=True, slots=True)
class Difference:
    """One fact in which the sides do not agree."""

    kind: Kind
    amount_kes: Decimal
    at: datetime
    says: str
    do_now: str
    """A command to copy; FILE stands for the statement."""
    receipt: str | None = None
    transaction_id: str | None = None
    rows: tuple[Row, ...] = ()
    """The rows that it explains; none where Safaricom has none."""
    settlement: Settlement | None = None
    """What `--write` does about it. None: a person decides."""


@dataclass
class Total:
    """Of rows: how many, and how much came in and went out."""

    count: int = 0
    in_kes: Decimal = NOTHING
    out_kes: Decimal = NOTHING

    def add(self, row: Row) -> None:
        self.count += 1
        self.in_kes += row.paid_in_kes
        self.out_kes += row.withdrawn_kes


@dataclass(frozen=True)
class File:
    """One statement among those that were compared."""

    statement: Statement
    period: Period | None
    clock: Clock

    @property
    def dated(self) -> Statement:
        """With the period of which it speaks."""
        period = self.period
        starts, ends = (period.starts, period.ends) if period else (None, None)
        return replace(self.statement, starts=starts, ends=ends)

    @property
    def settles(self) -> bool:
        """Its rows may settle payments: rule 5."""
        return self.statement.balance_chain == "ok" and self.clock.off is not None and not self.clock.says


@dataclass(frozen=True)
class Reconciliation:
    """What the comparison of some statements with the books gave."""

    files: tuple[File, ...]
    period: Period | None
    differences: tuple[Difference, ...]
    """Those about Safaricom's rows in their order, then those about payments that have none."""
    days_covered: tuple[date, ...]
    days_not_covered: tuple[date, ...]
    classes: Mapping[RowClass, Total] = field(default_factory=dict)
    """Of completed rows, each counted once."""
    matched: Total = field(default_factory=Total)
    """Rows that a payment or a refund of the books explains."""
    returned: Total = field(default_factory=Total)
    """Money that came and went back, of payments that are not in the books, or not paid there."""
    no_sale: Total = field(default_factory=Total)
    """By their class, or by a person's word."""
    not_judged: Total = field(default_factory=Total)
    """Rows of files whose clock is wrong: only receipts are compared."""
    not_completed: int = 0

    @property
    def settlements(self) -> tuple[Settlement, ...]:
        """What `--write` does, in the order in which it has to be done."""
        found = [each.settlement for each in self.differences if each.settlement is not None]
        return tuple(sorted(found, key=lambda each: isinstance(each, Refund)))

    @property
    def refuses(self) -> tuple[str, ...]:
        """Why nothing may be written; empty: it may. A file that only disagrees with one on file is evidence too."""
        return tuple(
            [f"{file.statement.name}: {file.clock.says}" for file in self.files if file.clock.says]
            + [
                f"receipt {each.receipt}: {each.says}"
                for each in self.differences
                if each.kind is Kind.DUPLICATE_ROW and len(each.rows) > 1
            ]
        )

    @property
    def balance_chain(self) -> BalanceChain:
        found = {file.statement.balance_chain for file in self.files}
        return "broken" if "broken" in found else "absent" if "absent" in found or not found else "ok"

    @property
    def agrees(self) -> bool:
        """Nobody has to act: nothing differs, but for what the next file explains, and every day is covered."""
        return (
            not [each for each in self.differences if each.kind is not Kind.TIMING]
            and not self.days_not_covered
            and not [file for file in self.files if file.clock.says or file.statement.unknown]
            and self.balance_chain != "broken"
        )
