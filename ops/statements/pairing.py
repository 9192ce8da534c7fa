"""Which row belongs to which payment that has no receipt: by reference, amount and time. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from ops.references import cleaned
from ops.statements.sides import Booked
from ops.statements.statement import Row
from shared.payments import QUERY_CAN_RESOLVE, SETTLED, ReviewReason, Status

BEFORE_THE_ORDER, AFTER_THE_ORDER = timedelta(minutes=2), timedelta(hours=24)
WITHOUT_AN_ACCOUNT = timedelta(hours=2)
"""A till's rows name no order: only what came soon after it may be its payment."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A row and its payment. `exact`: no other row fits the payment, and no other payment the row."""

    row: Row
    payment: Booked
    exact: bool


def comparable(reference: str) -> str:
    """As references are compared: without case, spaces and punctuation."""
    return cleaned(reference).lower()


def pair(rows: Iterable[Row], payments: Iterable[Booked]) -> list[Pair]:
    """Each row and each payment at most once. What the books know as paid comes first: its money must be there."""
    by_account, tills = _by_account(rows)
    expected: dict[object, list[Booked]] = defaultdict(list)
    for payment in sorted(payments, key=lambda each: each.created_at):
        expected[payment.amount_kes, _key(payment.reference)].append(payment)
    pairs: list[Pair] = []
    for key, some in by_account.items():
        pairs += _by_reference(some, expected.get(key, []))
    paired = {each.payment.transaction_id for each in pairs}
    left: dict[Decimal, list[Booked]] = defaultdict(list)
    for each in expected.values():
        for payment in each:
            if payment.transaction_id not in paired:
                left[payment.amount_kes].append(payment)
    for amount_kes, some in tills.items():
        pairs += _by_amount(some, sorted(left.get(amount_kes, []), key=lambda each: each.created_at))
    return pairs


def of_earlier_files(rows: Iterable[Row], payments: Iterable[Booked]) -> set[str]:
    """Payments without a receipt, by id, whose row such a file may have: the comparison of that file speaks of them."""
    return {
        each.payment.transaction_id
        for each in pair(rows, (payment for payment in payments if not payment.receipt))
        if each.payment.paid_at and each.row.at <= each.payment.paid_at + BEFORE_THE_ORDER
    }


def may_be_paid(payment: Booked, row: Row) -> bool:
    """As the core decides: what is in review for another reason than silence is a person's to settle."""
    reason = payment.review_reason if payment.status is Status.REVIEW else None
    completes = reason is ReviewReason.INCOMPLETE_SUCCESS and row.receipt in payment.named
    return reason is None or reason in QUERY_CAN_RESOLVE or completes


def _by_account(rows: Iterable[Row]) -> tuple[dict[object, list[Row]], dict[Decimal, list[Row]]]:
    """By amount and reference; and those that name no account, by amount."""
    by_account: dict[object, list[Row]] = defaultdict(list)
    tills: dict[Decimal, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row.at):
        if row.account and comparable(row.account):
            by_account[row.paid_in_kes, _key(account_of(row))].append(row)
        else:
            tills[row.paid_in_kes].append(row)
    return by_account, tills


def account_of(row: Row) -> str:
    """What the customer typed."""
    account = row.account or ""
    return account.removesuffix(".0") if row.account_is_number else account


def _key(reference: str) -> str:
    """The same with and without leading zeros: a spreadsheet may have lost them."""
    return comparable(reference).lstrip("0")


def _by_reference(rows: list[Row], payments: list[Booked]) -> list[Pair]:
    fits = _Fits(rows, payments, AFTER_THE_ORDER, _names)
    return [
        Pair(row, payment, fits.only_one(row, payment) and not row.account_is_number)
        for row, payment in [*fits.take_turns(paid=True), *fits.take_turns(paid=False)]
    ]


def _by_amount(rows: list[Row], payments: list[Booked]) -> list[Pair]:
    """Suggestions. An order that is not paid has to be the only one that fits, and the row too."""
    known = _Fits(rows, payments, WITHOUT_AN_ACCOUNT, lambda *_: True).take_turns(paid=True)
    taken = {id(row) for row, _ in known}
    waiting = [payment for payment in payments if payment.status not in SETTLED]
    rest = _Fits([row for row in rows if id(row) not in taken], waiting, WITHOUT_AN_ACCOUNT, lambda *_: True)
    alone = [(row, payment) for row, payment in rest.take_turns(paid=False) if rest.only_one_order(row, payment)]
    return [Pair(row, payment, exact=False) for row, payment in known + alone]


class _Fits:
    """Rows and payments of one amount, in order of time: which of them may belong together."""

    def __init__(
        self, rows: list[Row], payments: list[Booked], after: timedelta, names: Callable[[Row, Booked], bool]
    ) -> None:
        self._rows = rows
        self._of_row: dict[int, list[Booked]] = {}
        self._rows_of: Counter[str] = Counter()
        self._taken: set[object] = set()
        began = [payment.created_at for payment in payments]
        for row in rows:
            first, last = bisect_left(began, row.at - after), bisect_right(began, row.at + BEFORE_THE_ORDER)
            fits = [payment for payment in payments[first:last] if names(row, payment)]
            self._of_row[id(row)] = fits
            self._rows_of.update(payment.transaction_id for payment in fits)

    def only_one(self, row: Row, payment: Booked) -> bool:
        return len(self._of_row[id(row)]) == self._rows_of[payment.transaction_id] == 1

    def only_one_order(self, row: Row, payment: Booked) -> bool:
        """The same, where attempts at one order are one: the customer tried, and then paid by hand."""
        orders = {comparable(each.reference) for each in self._of_row[id(row)]}
        return len(orders) == self._rows_of[payment.transaction_id] == 1

    def take_turns(self, *, paid: bool) -> list[tuple[Row, Booked]]:
        """As many pairs as possible: each row, in its turn, takes the oldest payment that is paid and still has no row;
        of those that are not paid, the last before it.
        """
        pairs = []
        for row in self._rows:
            fits = self._of_row[id(row)] if id(row) not in self._taken else []
            left = [
                each for each in fits if (each.status in SETTLED) is paid and each.transaction_id not in self._taken
            ]
            if left:
                payment = left[0 if paid else -1]
                self._taken |= {id(row), payment.transaction_id}
                pairs.append((row, payment))
        return pairs


def _names(row: Row, payment: Booked) -> bool:
    account = comparable(account_of(row))
    reference = comparable(payment.reference)
    return account == reference or (row.account_is_number and account.lstrip("0") == reference.lstrip("0"))
