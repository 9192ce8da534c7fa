"""What a row is, by its wording: the one place that knows Safaricom's kinds of transaction."""

from __future__ import annotations

import re

from ops.statements.statement import RowClass

# Source: about twenty public readers of real statements, read in November 2026. The first line that fits decides. The
# money must go in the direction that it names, else nobody knows it. Money in that nobody knows may be a customer's.

_TABLE: tuple[tuple[str, RowClass, str], ...] = (
    (r".*\bcharges?\b", RowClass.CHARGE, "in out"),
    (r".*\breversal\b", RowClass.REVERSAL, "out"),
    (r".*\baccount to organi[sz]ation\b|merchant to utility\b|utility account$", RowClass.SWEEP, "in out"),
    (r".*withdraw(al)?\b.*\bbank\b|organi[sz]ation settle|real time\b", RowClass.SETTLEMENT, "in out"),
    (r".*\b(loan|overdraft|airtime)\b", RowClass.OTHER, "in out"),
    (
        r"merchant pay utility|business pay ?bill|fsi to pay ?bill|organi[sz]ation to organi[sz]ation|funds received",
        RowClass.ORGANISATION,
        "in",
    ),
    (r"(business|salary|promotion) payment\b", RowClass.B2C, "out"),
    (
        r"(small business |standing order )?pay ?bill\b|pay utility\b|(customer )?merchant payment\b|pay merchant\b"
        r"|(customer )?buy goods\b|od payment transfer\b",
        RowClass.PAYMENT,
        "in",
    ),
)
_CLASSES = tuple((re.compile(pattern), row_class, directions) for pattern, row_class, directions in _TABLE)
_RECEIPT_BEFORE = re.compile(r"^[A-Z][A-Z0-9]{9}\s+(?=\D)")
_END_OF_THE_KIND = re.compile(r"\s(?:from|by|to(?=\s+\d))\b|[0-9*]|\s-\s|\bacc(?:ount number|\.)")
_ACCOUNT = re.compile(r"\bAcc(?:\.|ount Number\b)", re.IGNORECASE)
_CHANNEL = re.compile(r"\bvia \S+ by ", re.IGNORECASE)
_PARTY = re.compile(r"\s(?:from|by|to(?=\s+\d))\s", re.IGNORECASE)


def classify(details: str, reason: str, party: str, *, money_out: bool) -> tuple[RowClass, str | None]:
    """The class, and the kind's own words where nobody knows them. Details decide before the Reason Type."""
    unknown = RowClass.OTHER if money_out else RowClass.ORGANISATION
    if re.fullmatch(
        r"(?i)(business )?pay ?(merchant|bill|ment) charge", party
    ):  # the daily file names the fee in the party's column
        return RowClass.CHARGE, None
    for kind in filter(None, (_kind(details), _kind(reason))):
        for pattern, row_class, directions in _CLASSES:
            if pattern.match(kind):
                known = ("out" if money_out else "in") in directions
                return (row_class, None) if known else (unknown, f"{kind} ({'out' if money_out else 'in'})")
    return unknown, _kind(details) or _kind(reason) or "no words"


def _kind(words: str) -> str:
    """`Pay Bill Online from 2547… - …` → `pay bill online`: who paid, and what they typed, decides nothing."""
    words = _RECEIPT_BEFORE.sub("", words[:200]).lower()
    return _END_OF_THE_KIND.split(words, maxsplit=1)[0].strip(" .-")


def account_in(details: str) -> str | None:
    """`… Acc. INV00042 via …` → `INV00042`."""
    _, *typed = _ACCOUNT.split(details, maxsplit=1)
    return _CHANNEL.split(typed[0], maxsplit=1)[0].strip() or None if typed else None


def party_in(details: str) -> str | None:
    """`Pay Bill from 2547****111 - ALICE EXAMPLE Acc. 42` → `2547****111 - ALICE EXAMPLE`."""
    _, *rest = _PARTY.split(_ACCOUNT.split(details, maxsplit=1)[0], maxsplit=1)
    return _CHANNEL.split(rest[0], maxsplit=1)[0].strip() or None if rest else None
