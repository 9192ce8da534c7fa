"""What a file says about itself: in the rows above its header, or only in its name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal

from ops.statements.cells import Cell, amount_kes, moment, text
from ops.statements.columns import EXPORT_AGAIN, plain
from ops.statements.files import Line
from ops.statements.statement import UnusableFile
from shared.values import EAT

_SHORTCODE = ("shortcode", "paybill", "paybillnumber", "till", "tillnumber", "businessshortcode")
_PERIOD = ("timeperiod", "statementperiod", "period")
LABELS = {"accountholder", "organizationname", "organisationname", *_SHORTCODE, *_PERIOD}
"""Where one of them stands below the header, a second statement begins."""
_DATE = re.compile(r"[0-9]{1,4}[-/.][0-9]{1,2}[-/.][0-9]{1,4}(?:[ T]+[0-9]{1,2}:[0-9:]+)?")
_NAMES = (
    re.compile(r"Statements? for (\d+) from (\d{4}-\d\d-\d\d) to (\d{4}-\d\d-\d\d)", re.IGNORECASE),
    re.compile(r"Mpesa_(\d+)_(?=(\d{8}))(\d{8})", re.IGNORECASE),  # the day is the first and the last one
    re.compile(r"(?:ORG|Mpesa)_(\d+)_()()", re.IGNORECASE),
)


@dataclass(frozen=True, slots=True)
class Preamble:
    shortcode: str | None
    starts: datetime | None
    ends: datetime | None
    opening_kes: Decimal | None
    closing_kes: Decimal | None
    made_at: datetime | None


def read_preamble(lines: Iterable[Line]) -> Preamble:
    """A value stands in its label's cell after a colon, else in the next cell that is not empty.

    Raises `UnusableFile`.
    """
    after: dict[str, list[Cell]] = {}
    for line in lines:
        cells = [cell for cell in line.cells if text(cell)]
        for at, cell in enumerate(cells, start=1):
            after.setdefault(plain(cell), cells[at:] or [None])
            label, colon, value = text(cell).partition(":")
            if colon and value.strip():
                after.setdefault(plain(label), [value.strip(), *cells[at:]])

    def values(*labels: str) -> list[Cell]:
        return next((after[label] for label in labels if label in after), [None])

    account = text(values("account")[0])
    if re.search(r"(?i)\baccount\b(?<!utility account)(?<!merchant account)", account):
        raise UnusableFile(
            f"This is the statement of the {account[:60]}: customers do not pay into it.",
            "Export the statement of the Utility Account (paybill) or the Merchant Account (till).",
        )
    try:
        starts, ends = _period(values(*_PERIOD))
        made_at = moment(values("dateofreport")[0])
        return Preamble(
            shortcode=shortcode[0] if (shortcode := re.search("[0-9]{4,10}", text(values(*_SHORTCODE)[0]))) else None,
            starts=starts,
            ends=ends,
            opening_kes=amount_kes(values("openingbalance")[0]),
            closing_kes=amount_kes(values("closingbalance")[0]),
            made_at=made_at if isinstance(made_at, datetime) else None,
        )
    except (ValueError, ArithmeticError) as why:
        raise UnusableFile(f"The rows above the header cannot be read: {why}.", EXPORT_AGAIN) from None


def _period(cells: list[Cell]) -> tuple[datetime | None, datetime | None]:
    """From the first moment to the last one. A day without a time is the whole day."""
    found = [at for part in _parts(cells) if (at := moment(part)) is not None]
    if not found:
        return None, None
    starts, ends = _at(found[0], time()), _at(found[-1], time(23, 59, 59))
    if len(found) != 2 or starts is None or ends is None or starts > ends:
        raise ValueError("the period has no beginning and end in this order")
    return starts, ends


def _parts(cells: list[Cell]) -> Iterator[Cell]:
    """`From 10-10-2025 00:00:00` → the moment in it."""
    for cell in cells:
        yield from _DATE.findall(cell) if isinstance(cell, str) else [cell]


def _at(found: datetime | date | time | None, at: time) -> datetime | None:
    if isinstance(found, datetime):
        return found
    return datetime.combine(found, at, EAT) if isinstance(found, date) else None


def said_by_name(name: str) -> tuple[str | None, datetime | None, datetime | None]:
    """Shortcode, beginning and end of the period, as the portals name their files. Browsers add ` (1)`."""
    found = next((found for pattern in _NAMES if (found := pattern.search(name))), None)
    if found is None:
        return None, None, None
    try:
        first, last = (date.fromisoformat(day) for day in found.groups()[1:])
    except ValueError:
        return found[1], None, None
    return found[1], datetime.combine(first, time(), EAT), datetime.combine(last, time(23, 59, 59), EAT)
