"""What a reconciliation has to find, and to explain."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from shared.database import Row
from simulator.entries import Entry
from simulator.statements import Form

FORMS = (
    Form("A", sweep_pairs=False),
    Form("A", "xlsx", cells="dates", sweep_pairs=False),
    Form("A", "xlsx", cells="serials"),
    Form("A", "xls"),
    Form("A", "xls", cells="dates", sweep_pairs=False),
    Form("A", encoding="cp1252", delimiter=";"),
    Form("A", encoding="utf-16"),
    Form("B"),
    Form("B", encoding="utf-8-sig"),
    Form("B", "xlsx"),
    Form("C-2019", sweep_pairs=False),
)
PLANTS = (
    "missing_here", "missing_there", "amount_differs", "doubled", "reversed", "refund_unseen", "refund_unknown",
    "state_differs", "timing", "duplicate_row",
)  # fmt: skip
"""Receipts are missing on every hostile day by themselves."""
CAME = ("missing_here", "amount_differs", "receipt_missing", "doubled", "state_differs")
"""Differences that are about a row of money that came."""
WENT = ("reversed", "refund_unknown")


@dataclass
class Planted:
    """What the reconciliation has to find, and the entries that make it so."""

    expected: Counter[tuple[str, str]]
    """By kind and receipt. A kind with "|" is either: money moved for several payments of the order."""
    entries: list[Entry]

    def expect(self, kind: str, of: str) -> None:
        self.expected[kind, of] += 1


def left_by_the_day(row: Row, entry: Entry, alerts: set[str]) -> str | None:
    """How the books differ from money that moved, by what they say of its payment."""
    match row["status"]:
        case "PAID" if "order_paid_twice" in alerts:
            return "doubled"
        case "PAID":
            return "receipt_missing" if row["confirmed_receipt"] is None else None
        case "REVIEW" if row["review_reason"] == "duplicate_payment":
            return "doubled"
        case "REVIEW" if entry.amount_kes != row["amount"]:
            return "amount_differs"
        case "REVIEW" | "FAILED" | "CANCELLED" | "EXPIRED":
            return "state_differs"
        case _:
            return None


def named(found: dict[str, Any]) -> Counter[tuple[str, str]]:
    return Counter((one["kind"], one["receipt"] or one["transaction_id"]) for one in found["differences"])


def nothing_is_unexplained(found: dict[str, Any]) -> None:
    """To the cent: what came, and what went, is a payment or refund of the books, no sale, or a difference."""
    for way, kinds in (("in_kes", CAME), ("out_kes", WENT)):
        moved = sum(_cents(each[way]) for each in found["classes"].values())
        explained = sum(_cents(each[way]) for each in found["explained"].values())
        differs = sum(_cents(one["amount_kes"]) for one in found["differences"] if one["kind"] in kinds)
        assert moved == explained + differs, f"{(moved - explained - differs) / 100} KES are unexplained ({way})"


def _cents(amount_kes: float) -> int:
    return round(amount_kes * 100)
