"""The books as `ops replay` has them by now: each payment, and what payments share.

Nothing here reads the database.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from shared.database import Row
from shared.payments import Ids, Payment, ReviewReason, Status


@dataclass
class Replayed:
    """A payment as the replay has it by now."""

    row: Row
    payment: Payment
    paid_at: datetime | None = None
    push_ids: Ids | None = field(default=None)
    judged: set[str] = field(default_factory=set)
    """Callbacks that were judged, and not only put off until a query."""
    was_erased: bool = False
    codes: set[str | None] = field(default_factory=lambda: {None, "0"})
    """The result codes that the evidence names."""
    receipts: set[str] = field(default_factory=set)
    """Receipts that judged callbacks named."""
    came_at: datetime | None = None
    """When the money came, where a callback or a statement says so."""
    review_reason: ReviewReason | None = None
    """The last one."""


class World:
    """All payments, and which of them share an order, a receipt or an id: asked for every decision, so kept at hand."""

    def __init__(self, rows: Iterable[Row], erased: set[str], statement_rows: Iterable[Row] = ()) -> None:
        self.payments = {str(row["id"]): Replayed(row, _as_ordered(row), push_ids=_push_ids(row)) for row in rows}
        for it in self.payments.values():
            it.was_erased = it.payment.id in erased
            it.codes |= set(it.row["answered_codes"])
        self.on_statements: dict[str, list[Row]] = defaultdict(list)
        for row in statement_rows:
            self.on_statements[row["receipt"]].append(row)
        self._orders: dict[object, list[Replayed]] = defaultdict(list)
        self._named: dict[tuple[str, str], set[str]] = defaultdict(set)
        for it in self.payments.values():
            self._orders[_order(it.row)].append(it)

    def becomes(self, it: Replayed, payment: Payment) -> None:
        for name in _names(it.payment.ids, it.payment.receipt):
            self._named[name].discard(payment.id)
        for name in _names(payment.ids, payment.receipt):
            self._named[name].add(payment.id)
        it.payment = payment

    def names_money_that_went_back(self, it: Replayed, receipt: str) -> None:
        """No other payment has this receipt from now on. (`becomes` forgets what a payment was named before.)"""
        self._named["receipt", receipt].add(it.payment.id)

    def forgets_what_went_back(self, it: Replayed) -> None:
        """Its refund was taken back, so another payment may have that receipt."""
        for holders in self._named.values():
            holders.discard(it.payment.id)

    def twins(self, it: Replayed) -> list[Replayed]:
        """The other payments for the same reference, phone and amount."""
        return [other for other in self._orders[_order(it.row)] if other is not it]

    def taken(self, it: Replayed, *, ids: Ids | None = None, receipt: str | None = None) -> bool:
        """Another payment has one of these ids, or this receipt."""
        return any(self._named.get(name, set()) - {it.payment.id} for name in _names(ids, receipt))


def _as_ordered(row: Row) -> Payment:
    pushed = row["pushed_at"] is not None
    return Payment(str(row["id"]), Status.INITIATED, row["amount"], row["created_at"], pushed=pushed)


def _push_ids(row: Row) -> Ids | None:
    if row["checkout_request_id"] is None or row["ids_are_learnt"]:
        return None
    return Ids(row["merchant_request_id"], row["checkout_request_id"])


def _names(ids: Ids | None, receipt: str | None) -> list[tuple[str, str]]:
    """What no two payments may share."""
    both = [("merchant", ids.merchant_request_id), ("checkout", ids.checkout_request_id)] if ids else []
    return [*both, *([("receipt", receipt)] if receipt is not None else [])]


def _order(row: Row) -> object:
    return row["phone_number"], row["amount"], row["account_reference"].lower()
