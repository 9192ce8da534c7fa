"""The rows of several files, each counted once, and the reversals among them. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TypeAlias

from ops.references import cleaned
from ops.statements.columns import RECEIPT
from ops.statements.sides import File
from ops.statements.statement import Row, RowClass, Statement

SALES = frozenset({RowClass.PAYMENT, RowClass.ORGANISATION})
"""What came in by them has to be in the books."""
BACK = frozenset({RowClass.REVERSAL, RowClass.B2C})
"""What went out by them has to be a refund of the books."""
NEVER_A_SALE = frozenset({RowClass.CHARGE, RowClass.SWEEP, RowClass.SETTLEMENT})
"""A charge carries its payment's receipt."""
Key: TypeAlias = tuple[str, RowClass, Decimal, Decimal, bool]
"""Two rows that agree in it are one, in one file or in several."""
A_MINUTE = timedelta(minutes=1)
"""Some files leave the seconds out."""


def key_of(row: Row) -> Key:
    return (row.receipt, row.row_class, row.paid_in_kes, row.withdrawn_kes, row.completed)


class Rows:
    """`kept` are of files that were written before: they say what is on file, and are not judged again."""

    def __init__(self, files: Iterable[File], kept: Sequence[Statement]) -> None:
        rows: dict[Key, Row] = {}
        self._may_settle: set[Key] = set()
        self._judged: set[Key] = set()
        self._linked: dict[Key, str] = {}
        self._accounts: dict[Key, str] = {}
        self._disputed: set[Key] = set()
        twice: dict[tuple[Key, Decimal | None], Row] = {}
        for file in files:
            balances: dict[Key, Decimal | None] = {}
            for row in file.statement.rows:
                key = key_of(row)
                first = rows.setdefault(key, row)
                if abs(first.at - row.at) >= A_MINUTE:
                    self._disputed.add(key)
                if _moved_twice(file, row, balances.setdefault(key, row.balance_kes), first.balance_kes):
                    twice.setdefault((key, row.balance_kes), row)
                self._hear(key, row)
                if file.settles:
                    self._may_settle.add(key)
                if not file.clock.says:
                    self._judged.add(key)
        self.completed = [row for row in (*rows.values(), *twice.values()) if row.completed]
        self.not_completed = [row for row in rows.values() if not row.completed]
        self.kept: list[Row] = []
        """Money that may be of a sale, in files that were written before and in none of these."""
        for statement in kept:
            for row in statement.rows:
                if rows.setdefault(key_of(row), row) is row and row.row_class in SALES and row.completed:
                    self.kept.append(row)
                self._hear(key_of(row), row)
        moved = [row for row in rows.values() if row.completed and row.row_class not in NEVER_A_SALE]
        self.came = {row.receipt: row for row in moved if row.paid_in_kes}
        """By receipt: money that came."""
        self.went = {row.receipt for row in moved if row.withdrawn_kes}
        """Receipts of money that went out."""
        amounts: dict[tuple[str, bool], set[Decimal]] = defaultdict(set)
        for row in moved:
            if row.row_class in SALES | BACK:
                amounts[_way(row)].add(row.paid_in_kes or row.withdrawn_kes)
        self._doubles = {way for way, some in amounts.items() if len(some) > 1} | {_way(row) for row in twice.values()}

    def _hear(self, key: Key, row: Row) -> None:
        """What this file says of the row, where not every file says it. The first one holds, unless another differs."""
        account = cleaned((row.account or "").removesuffix(".0")).lower().lstrip("0")
        linked = row.linked_receipt if row.linked_receipt and RECEIPT.fullmatch(row.linked_receipt) else None
        for said, value in ((self._accounts, account), (self._linked, linked)):
            if value and said.setdefault(key, value) != value:
                self._disputed.add(key)

    def may_settle(self, row: Row) -> bool:
        """A file that holds it meets the conditions of rule 5, and no file says otherwise."""
        return key_of(row) in self._may_settle and not self.is_disputed(row)

    def is_disputed(self, row: Row) -> bool:
        """Two files, or two lines of one, have another account, time or linked receipt for it."""
        return key_of(row) in self._disputed

    def is_judged(self, row: Row) -> bool:
        """A file that holds it has the right time."""
        return key_of(row) in self._judged

    def linked(self, row: Row) -> str | None:
        """The receipt that it takes back. Not every family says it, so any file that holds the row does. Empty: the
        files disagree.
        """
        return "" if self.is_disputed(row) else self._linked.get(key_of(row))

    def has_several_amounts(self, row: Row) -> bool:
        return _way(row) in self._doubles


def _way(row: Row) -> tuple[str, bool]:
    return row.receipt, row.paid_in_kes > 0


def _moved_twice(file: File, row: Row, in_this_file: Decimal | None, first: Decimal | None) -> bool:
    """The file's balances follow from each other only where this row and the one before it both count."""
    proven = file.statement.balance_chain == "ok" and row.completed and row.row_class in SALES | BACK
    return proven and None not in (row.balance_kes, in_this_file) and row.balance_kes not in (in_this_file, first)


@dataclass(frozen=True, slots=True)
class Reversal:
    """A row that takes money back."""

    row: Row
    receipt: str
    """Of the payment that it takes back."""
    named: bool
    """The statement names the receipt; else amount and party fit."""


def reversals(rows: Iterable[Row], known: Rows, in_the_books: Container[str]) -> dict[str, Reversal]:
    """By the receipt that each takes back: the linked one, else of the only payment of the same party and amount.

    Where the linked one names nothing that is known, only a payment of the books may be meant: money that came and is
    not in the books is not explained by it.
    """
    came = known.came
    of_party: dict[tuple[Decimal, str | None], list[Row]] = defaultdict(list)
    for row in came.values():
        of_party[row.paid_in_kes, row.party].append(row)
    found: dict[str, Reversal] = {}
    for row in rows:
        if row.row_class is not RowClass.REVERSAL:
            continue
        linked = known.linked(row)
        names = [each for each in (linked, row.receipt) if each and (each in came or each in in_the_books)]
        receipt = names[0] if names else None
        named = receipt is not None
        if receipt is None and row.party is not None:
            before = [each for each in of_party[row.withdrawn_kes, row.party] if each.at <= row.at]
            may_be = [each.receipt for each in before if linked is None or each.receipt in in_the_books]
            fits = [each for each in may_be if each not in found]
            receipt = fits[0] if len(fits) == 1 else None
        if receipt is not None and receipt not in found:
            found[receipt] = Reversal(row, receipt, named)
    return found
