"""Columns go by the names in the header, never by their position: Withdrawn may stand before Paid In."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ops.statements.cells import Cell, moment, text
from ops.statements.statement import Family, UnusableFile

NAMES = {
    "receipt": {"receiptno", "receiptnumber"},
    "completed_at": {"completiontime", "completiontimestamp", "endtimestamp", "completed"},
    "began_at": {"initiationtime", "starttimestamp", "time", "transactiontime"},
    "details": {"details"},
    "status": {"transactionstatus", "status"},
    "paid_in": {"paidin", "paidinkshs", "paidinkes", "creditamount"},
    "withdrawn": {"withdrawn", "withdrawnkshs", "withdrawnkes", "debitamount"},
    "balance": {"balance", "balancekshs", "balancekes"},
    "reason": {"reasontype", "transactiontype"},
    "party": {"otherpartyinfo", "otherparty", "transactionpartydetails"},
    "linked": {"linkedtransactionid"},
    "account": {"acno", "accountno", "accountnumber"},
    "currency": {"currency"},
    "store": {"storename"},
    "store_account": {"accounttypename"},
}
RECEIPT = re.compile(r"[A-Z][A-Z0-9]{7,15}")
"""Ten characters today; a letter comes first, so a phone number is none."""
EXPORT_AGAIN = (
    "Export the statement as CSV from the portal (Transaction, Account Statement, Export), and hand it over as it "
    "came: do not open it in another program before."
)


def plain(cell: Cell) -> str:
    """`Paid In (KSHs)` → `paidinkshs`."""
    return re.sub(r"[^a-z0-9]", "", text(cell).lower())


@dataclass(frozen=True, slots=True)
class Columns:
    """Where each column's cells are."""

    family: Family
    at: dict[str, int]
    width: int

    def cell(self, cells: Sequence[Cell], name: str) -> Cell:
        """None where the file has no such column, or the row ends before it."""
        where = self.at.get(name, -1)
        return cells[where] if 0 <= where < len(cells) else None

    def fit(self, rows: Sequence[Sequence[Cell]]) -> Columns:
        """The daily file's header may be one name too long at the left: what holds receipts is the receipt's column."""
        for shift in (0, -1, 1):
            shifted = replace(self, at={name: where + shift for name, where in self.at.items()})
            if any(map(shifted.is_transaction, rows)):
                return shifted
        return self

    def is_transaction(self, cells: Sequence[Cell]) -> bool:
        """It has a receipt, and a moment where one belongs."""
        if not is_receipt(self.cell(cells, "receipt")):
            return False
        try:
            return any(moment(self.cell(cells, name)) is not None for name in ("completed_at", "began_at"))
        except (ValueError, ArithmeticError):
            return False


def is_receipt(cell: Cell) -> bool:
    return RECEIPT.fullmatch(text(cell).upper()) is not None


def find_columns(cells: Sequence[Cell], row: int) -> Columns | None:
    """The columns, if this row is a header. Raises `UnusableFile` where one is there twice, or a needed one is not."""
    names = [plain(cell) for cell in cells]
    if {"receipt", "date", "details"} <= set(names):
        raise UnusableFile(
            "This is the layout of 2010 (“Account Statement”), which the portal no longer writes.", EXPORT_AGAIN, row
        )
    if not (NAMES["receipt"] & set(names) and len(set(names) & set().union(*NAMES.values())) >= 4):
        return None
    at: dict[str, int] = {}
    for column, known in NAMES.items():
        places = [where for where, name in enumerate(names) if name in known]
        if len(places) > 1:
            raise UnusableFile(f"The column {text(cells[places[1]])!r} is there twice.", EXPORT_AGAIN, row)
        at |= dict.fromkeys([column], places[0]) if places else {}
    missing = [
        title
        for title, either in (
            ("Completion Time", {"completed_at", "began_at"}),
            ("Details", {"details", "reason"}),
            ("Paid In", {"paid_in"}),
            ("Withdrawn", {"withdrawn"}),
        )
        if not either & at.keys()
    ]
    if missing:
        raise UnusableFile(f"A column is missing: {', '.join(missing)}.", EXPORT_AGAIN, row)
    shouted = text(cells[at["receipt"]]).isupper()
    family: Family = "C" if shouted else "B" if names[at["paid_in"]] == "paidinkshs" else "A"
    return Columns(family, at, len(cells))
