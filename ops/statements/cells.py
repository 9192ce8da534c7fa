"""What stands in one cell: an amount, a moment, an account number, words. ValueError says what is wrong with it."""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TypeAlias

from shared.values import EAT, one_line

Cell: TypeAlias = str | Decimal | bool | datetime | date | time | None
"""As the file has it: in a text file every cell is text."""

TOO_LARGE_KES = Decimal(10) ** 10
_FIRST_YEAR, _LAST_YEAR = 2007, 2099
"""M-Pesa began in 2007."""
_FIRST_SERIAL = datetime(1899, 12, 30, tzinfo=EAT)
_CLOCK = r"(\d{1,2}):(\d{2})(?::(\d{2})(?:\.\d+)?)?"
_DAY_FIRST = re.compile(rf"(\d{{1,2}})([-/.])(\d{{1,2}})\2(\d{{4}})(?:[ T]+{_CLOCK})?", re.ASCII)
_YEAR_FIRST = re.compile(rf"(\d{{4}})([-/.])(\d{{1,2}})\2(\d{{1,2}})(?:[ T]+{_CLOCK})? ?(Z|[+-]\d\d:?\d\d)?", re.ASCII)
_TIME = re.compile(_CLOCK, re.ASCII)
_SERIAL = re.compile(r"\d{1,5}(?:\.\d+)?", re.ASCII)
_PLAIN_AMOUNT = re.compile(r"(?:\d+|\d{1,3}(?:,\d{3})+)(?:\.\d{1,2})?", re.ASCII)
_DECIMAL_COMMA = re.compile(r"(?:\d+|\d{1,3}(?:\.\d{3})+),\d{1,2}", re.ASCII)
_NOT_OF_AN_AMOUNT = re.compile(r"\s|KES|KSHS?\.?")
_NUMBER_IN_TEXT = re.compile(r"\d+\.0+|\d(?:\.\d+)?E\+\d+", re.ASCII | re.IGNORECASE)


def text(cell: Cell) -> str:
    """As one line; a whole number without its `.0`."""
    if isinstance(cell, str):
        return cell.strip() if cell.isprintable() and "  " not in cell else one_line(cell)
    if isinstance(cell, Decimal):
        return f"{cell:f}".removesuffix(".0")
    return "" if cell is None else str(cell)


def amount_kes(cell: Cell) -> Decimal | None:
    """With its sign and at most two decimals; None where there is none (empty, or a dash)."""
    if isinstance(cell, bool | date | time):
        raise ValueError(f"{text(cell)!r} is no amount")
    if isinstance(cell, Decimal):
        if not cell.is_finite() or abs(cell) >= TOO_LARGE_KES or abs(round(cell, 2) - cell) > Decimal("0.0001"):
            raise ValueError(f"{cell:.9g} is no amount: too large, or more than two decimals")
        signed = round(cell, 2)
    else:
        digits = _NOT_OF_AN_AMOUNT.sub("", (cell or "").upper()).replace("\u2212", "-")
        negative = digits.startswith(("-", "(")) or digits.endswith("-")
        digits = digits.strip("-()")
        if _PLAIN_AMOUNT.fullmatch(digits):
            digits = digits.replace(",", "")
        elif _DECIMAL_COMMA.fullmatch(digits):
            digits = digits.replace(".", "").replace(",", ".")
        elif digits in ("", "\u2013"):
            return None
        else:
            raise ValueError(f"{text(cell)[:40]!r} is no amount")
        signed = Decimal(f"-{digits}" if negative else digits)
    if abs(signed) >= TOO_LARGE_KES:
        raise ValueError(f"{signed} is no amount that an account holds")
    return signed + 0  # no -0


def moment(cell: Cell) -> datetime | date | time | None:
    """In East Africa Time, to the second; a date or a time alone as such; None for an empty cell."""
    found: datetime | date | time | None
    match cell:
        case datetime():
            found = (cell + timedelta(microseconds=500_000)).replace(microsecond=0, tzinfo=EAT)
        case date():  # how the library hands over a cell whose time is midnight
            found = datetime.combine(cell, time(), EAT)
        case None | time():
            found = cell
        case bool():
            raise ValueError(f"{cell} is no date")
        case Decimal():
            found = _serial(cell)
        case _:
            found = _moment_in_text(text(cell))
    if isinstance(found, date) and not _FIRST_YEAR <= found.year <= _LAST_YEAR:
        raise ValueError(f"{text(cell)[:40]!r} lies outside the years of M-Pesa")
    return found


def _moment_in_text(words: str) -> datetime | date | time | None:
    offset = None
    if not words:
        return None
    if found := _DAY_FIRST.fullmatch(words):
        day, _, month, year, *clock = found.groups()
        if int(month) > 12:
            raise ValueError(f"{words!r} has the month before the day: another program has rewritten the dates")
    elif found := _YEAR_FIRST.fullmatch(words):
        year, _, month, day, *clock, offset = found.groups()
    elif found := _TIME.fullmatch(words):
        return time.fromisoformat(_clock(*found.groups()))
    elif _SERIAL.fullmatch(words):
        return _serial(Decimal(words))
    else:
        raise ValueError(f"{words[:40]!r} is no date")
    try:
        on = date(int(year), int(month), int(day))
        if clock[0] is None:
            return on
        at = datetime.fromisoformat(f"{on}T{_clock(*clock)}{offset or '+03:00'}")
    except ValueError:
        raise ValueError(f"{words!r} is no date of the calendar") from None
    return at.astimezone(EAT)


def _clock(hour: str, minute: str, second: str | None) -> str:
    return f"{hour:0>2}:{minute}:{second or '00'}"


def _serial(number: Decimal) -> datetime | time:
    """A spreadsheet's number: days since the end of 1899. Below one it is a time alone."""
    if not (number.is_finite() and 0 <= number < 100_000):
        raise ValueError(f"{number} is no date")
    at = _FIRST_SERIAL + timedelta(seconds=round(number * 86_400))
    return at.time() if number < 1 else at


def account(cell: Cell, in_details: str | None) -> tuple[str | None, bool]:
    """What the customer typed, and whether it is known only as a number, which may have lost leading zeros.

    The same number in Details is text, and was never turned into a number: it is believed.
    """
    words = text(cell)
    as_number = (isinstance(cell, Decimal | date | time)) or _NUMBER_IN_TEXT.fullmatch(words) is not None
    if not words or (as_number and in_details):
        return in_details or None, False
    return re.sub(r"\.0+$", "", words) if as_number else words, as_number
