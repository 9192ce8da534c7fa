"""Which order money belongs to that a customer sent by hand. Pure.

On a paybill they type the order's reference as the account number, as people type. A till takes no reference: there
only the amount and the time speak, and only where they leave no choice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from unicodedata import normalize

LONGEST_REFERENCE = 12
PAID_WITHIN = timedelta(hours=2)
"""So long after the order a customer pays a till by hand."""
CLOCKS_DIFFER = timedelta(minutes=2)


def cleaned(account: str | None) -> str:
    """What was typed, without spaces and punctuation: `inv 00042.` and `INV-00042` are the same order but for case."""
    kept = [letter for letter in normalize("NFKC", account or "") if letter.isalnum()]
    return "".join(kept)


def is_reference(text: str) -> bool:
    """Whether an order may be called so."""
    return 1 <= len(text) <= LONGEST_REFERENCE and text.isascii() and text.isalnum()


def same_reference(one: str | None, other: str | None) -> bool:
    """The same order, without case, spaces and punctuation. Nothing is the same as nothing typed."""
    return cleaned(one) != "" and cleaned(one).lower() == cleaned(other).lower()


@dataclass(frozen=True, slots=True)
class Unpaid:
    """An attempt at an order that is not paid. Several attempts at one order have one reference."""

    transaction_id: str
    reference: str
    amount_kes: Decimal
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ToTill:
    """Money that came to a till and names no order."""

    receipt: str
    amount_kes: Decimal
    at: datetime


def orders_of_till(payments: Iterable[ToTill], orders: Sequence[Unpaid]) -> dict[str, Unpaid]:
    """By receipt the newest attempt at the one order that fits: of exactly this amount, at most two hours before.

    Nothing is proposed where two orders fit a payment, or two payments fit an order.
    """
    fits: dict[str, Mapping[str, Unpaid]] = {}
    wanted: dict[str, int] = defaultdict(int)
    of_amount: dict[Decimal, list[Unpaid]] = defaultdict(list)
    for order in sorted(orders, key=lambda each: each.created_at):
        of_amount[order.amount_kes].append(order)
    for money in payments:
        fits[money.receipt] = {
            order.reference.lower(): order
            for order in of_amount[money.amount_kes]
            if -CLOCKS_DIFFER <= money.at - order.created_at <= PAID_WITHIN
        }
        for reference in fits[money.receipt]:
            wanted[reference] += 1
    return {
        receipt: order
        for receipt, found in fits.items()
        for reference, order in found.items()
        if len(found) == 1 and wanted[reference] == 1
    }
