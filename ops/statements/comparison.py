"""Our books, Safaricom's rows and the orders, compared by receipt; amounts to the shilling. Pure.

Each completed row is counted once, whatever the number of files that hold it, and is one of: a row that a payment or a
refund of the books explains; no sale, by its class or by a person's word; money that came and went back, of which the
books know nothing; a part of exactly one difference. A payment of the books without a row differs only where the files
had to hold its row. Times decide nothing where a receipt does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta

from ops.statements.coverage import (
    EDGE,
    Period,
    clock_of,
    covered_by,
    days_between,
    joined,
    period_of,
    surely_within,
    touches,
    whole_days,
    within,
)
from ops.statements.explanations import OPS, do_now, says
from ops.statements.pairing import AFTER_THE_ORDER, Pair, account_of, comparable, may_be_paid, of_earlier_files, pair
from ops.statements.rows import BACK, NEVER_A_SALE, SALES, Reversal, Rows, reversals
from ops.statements.sides import (
    Booked,
    BooksView,
    Difference,
    File,
    FillReceipt,
    Kind,
    Reconciliation,
    Refund,
    Settle,
    Settlement,
    Total,
)
from ops.statements.statement import Row, RowClass, Statement
from shared.payments import SETTLED, ReviewReason, Status
from shared.values import EAT

HERE = frozenset({Status.PAID, Status.REVIEW})
"""Payments whose money a reversal can take back."""


def compare(statements: Sequence[Statement], books: BooksView) -> Reconciliation:
    """What of these statements agrees with the books, what differs, and what may be settled. Changes nothing."""
    return _Comparison(statements, books).result()


class _Comparison:
    def __init__(self, statements: Sequence[Statement], books: BooksView) -> None:
        self._books = books
        self._paid = {each.receipt: each for each in books.payments if each.receipt}
        self._refunded = {each.refund_receipt: each for each in books.payments if each.refund_receipt}
        self._named: dict[str, list[Booked]] = defaultdict(list)
        for each in books.payments:
            for name in each.named:
                self._named[name].append(each)
        self._files = tuple(self._file(statement) for statement in statements)
        self._rows = Rows(self._files, books.kept)
        self._differences: list[Difference] = []
        self._totals = {name: Total() for name in ("matched", "returned", "no_sale", "not_judged")}
        self._pairs: dict[str, Pair] = {}
        self._reversals: dict[str, Reversal] = {}
        self._disputed: set[str] = set()

    def _file(self, statement: Statement) -> File:
        """Only what callbacks brought vouches for it: else it would vouch for itself once somebody books from it."""
        shared = [
            (row.at, _came_at(payment))
            for row in statement.rows
            if row.completed and row.paid_in_kes and (payment := self._paid.get(row.receipt)) and payment.by_callback
        ]
        return File(statement, period_of(statement, self._books.now), clock_of(shared))

    def result(self) -> Reconciliation:
        classes = {each: Total() for each in RowClass}
        came: list[Row] = []
        unknown: list[Row] = []
        went: list[Row] = []
        doubles: dict[tuple[str, bool], list[Row]] = defaultdict(list)
        for row in self._rows.completed:
            classes[row.row_class].add(row)
            if row.row_class in NEVER_A_SALE or self._is_of_a_wrong_file(row):
                self._explain("no_sale", row)
            elif self._rows.has_several_amounts(row) and row.receipt not in self._books.no_sales:
                doubles[row.receipt, row.paid_in_kes > 0].append(row)
            elif row.paid_in_kes and (row.receipt in self._paid or row.receipt in self._named):
                came.append(row)
            elif row.withdrawn_kes and (row.receipt in self._refunded or row.row_class in BACK):
                went.append(row)
            elif row.receipt in self._books.no_sales or not (row.paid_in_kes and row.row_class in SALES):
                self._explain("no_sale", row)
            elif not self._rows.is_judged(row):
                self._explain("not_judged", row)
            else:
                unknown.append(row)
        without_receipt = (
            each
            for each in self._books.payments
            if each.receipt is None and not any(name in self._rows.came for name in each.named)
        )
        self._pairs = {each.row.receipt: each for each in pair(unknown, without_receipt)}
        self._reversals = reversals(went, self._rows, self._paid.keys() | self._named.keys())
        self._back = {id(each.row): each for each in self._reversals.values()}
        self._amounts_disagree = bool(doubles)
        for some in doubles.values():
            self._differs(Kind.DUPLICATE_ROW, some[-1], self._paid.get(some[-1].receipt), None, *some[:-1])
        for row in came:
            self._row_of_known_receipt(row)
        orders = self._orders_paid()
        for row in unknown:
            self._row_of_unknown_receipt(row, orders)
        for row in went:
            self._row_that_went_back(row)
        place = {id(row): number for number, row in enumerate(self._rows.completed)}
        self._differences.sort(key=lambda each: place[id(each.rows[0])])
        self._compare_payments()
        return self._reconciliation(classes)

    def _is_of_a_wrong_file(self, row: Row) -> bool:
        """Its receipt has several amounts, and a person said that what the books do not have of it is no money."""
        put_right = self._rows.has_several_amounts(row) and row.receipt in self._books.no_sales
        payment = (self._paid if row.paid_in_kes else self._refunded).get(row.receipt)
        return put_right and (payment is None or payment.amount_kes != (row.paid_in_kes or row.withdrawn_kes))

    def _reconciliation(self, classes: dict[RowClass, Total]) -> Reconciliation:
        books, periods = self._books, [file.period for file in self._files if file.period]
        covered = self._covered()
        days = whole_days(covered)
        first = books.begin or (covered[0].starts.astimezone(EAT).date() if covered else None)
        wanted = days_between(first, books.now.astimezone(EAT).date() - timedelta(days=1)) if first else []
        return Reconciliation(
            files=self._files,
            period=Period(min(each.starts for each in periods), max(each.ends for each in periods))
            if periods
            else None,
            differences=tuple(self._differences),
            days_covered=tuple(days),
            days_not_covered=tuple(day for day in wanted if day not in set(days)),
            classes=classes,
            not_completed=len(self._rows.not_completed),
            **self._totals,
        )

    def _covered(self) -> list[Period]:
        """By these files and by those that were written before."""
        return joined([*self._given(), *covered_by(self._books.kept, self._books.now)])

    def _given(self) -> list[Period]:
        """A file whose clock is wrong, or whose balances do not add up, covers nothing."""
        return covered_by((file.statement for file in self._files if not file.clock.says), self._books.now)

    # Safaricom's rows ---------------------------------------------------------------------------------------------

    def _row_of_known_receipt(self, row: Row) -> None:
        """The books have the receipt: of a payment that it confirms, or only named by a callback."""
        if (payment := self._paid.get(row.receipt)) is not None:
            if row.paid_in_kes != payment.amount_kes:
                self._differs(Kind.AMOUNT_DIFFERS, row, payment)
            elif payment.paid_twice_with and payment.status is Status.PAID and row.receipt not in self._reversals:
                self._differs(Kind.DOUBLED, row, payment)
            else:
                self._explain("matched", row)
            return
        payment, *others = self._named[row.receipt]
        if row.paid_in_kes != payment.amount_kes:
            self._differs(Kind.AMOUNT_DIFFERS, row, payment)
        elif payment.receipt is not None:
            self._returned_or(Kind.DOUBLED, row, payment)
        else:
            self._row_of(row, payment, exact=not others)

    def _row_of_unknown_receipt(self, row: Row, orders: dict[str, Booked]) -> None:
        """The row of a payment that has no receipt yet, of an order that was paid already, or of nothing."""
        found = self._pairs.get(row.receipt)
        order = orders.get(comparable(account_of(row)))
        if found is not None and (found.payment.status in SETTLED or order in (None, found.payment)):
            self._row_of(row, found.payment, exact=found.exact and not self._books.references_are_reusable)
        elif order is not None:
            self._returned_or(Kind.DOUBLED, row, order)
        else:
            self._returned_or(Kind.MISSING_HERE, row, None)

    def _row_of(self, row: Row, payment: Booked, *, exact: bool) -> None:
        """The row of a payment that has no receipt yet."""
        if payment.status is Status.REFUNDED and payment.paid_at is None:
            self._explain("matched", row)
        elif payment.status in SETTLED:
            kind = Kind.DOUBLED if payment.paid_twice_with else Kind.RECEIPT_MISSING
            fills = FillReceipt(payment.transaction_id, row) if self._is_exact(row, exact) else None
            self._differs(kind, row, payment, fills)
        elif payment.status is Status.REVIEW and row.receipt in self._reversals:
            self._explain("matched", row)
        elif payment.review_reason is ReviewReason.DUPLICATE_PAYMENT:
            self._differs(Kind.DOUBLED, row, payment)
        else:
            small = payment.amount_kes <= self._books.confirm_above_kes
            settles = small and self._is_exact(row, exact) and may_be_paid(payment, row)
            settlement = Settle(payment.transaction_id, row) if settles else None
            self._returned_or(Kind.STATE_DIFFERS, row, payment, settlement)

    def _row_that_went_back(self, row: Row) -> None:
        own, back = self._paid.get(row.receipt), self._back.get(id(row))  # a reversal may have no receipt of its own
        refund = self._refunded.get(row.receipt) or (own if own and own.status is Status.REFUNDED else None)
        self._disputed |= {refund.transaction_id} if refund else set()
        payment = self._payment_of(back.receipt) if back else None
        if refund and row.withdrawn_kes == refund.amount_kes:
            self._explain("matched", row)
        elif row.receipt in self._books.no_sales:
            self._explain("no_sale", row)
        elif refund:
            self._differs(Kind.AMOUNT_DIFFERS, row, refund)
        elif payment and back and payment.status is Status.REFUNDED and payment.receipt in (None, back.receipt):
            self._disputed.add(payment.transaction_id)
            self._differs(Kind.REFUND_UNKNOWN, row, payment)
        elif back and self._came_and_went(back, payment):
            self._explain("returned", row)
        elif payment is None and not self._rows.is_judged(row):
            self._explain("not_judged", row)
        elif row.row_class is RowClass.REVERSAL:
            self._differs(Kind.REVERSED, row, payment, self._refund(back, payment))
        else:
            self._differs(Kind.REFUND_UNKNOWN, row, None)

    def _payment_of(self, receipt: str) -> Booked | None:
        """The payment under a receipt that came in, also where only a row or a callback says so."""
        found = self._pairs.get(receipt)
        named = self._named.get(receipt) or ([found.payment] if found else [])
        return self._paid.get(receipt) or next(iter(named), None)

    def _came_and_went(self, back: Reversal, payment: Booked | None) -> bool:
        """All of it, and the books do not say that it is here."""
        if payment is not None and payment.status in HERE and payment.receipt in (None, back.receipt):
            return False
        came = self._rows.came.get(back.receipt)
        return came is not None and came.paid_in_kes == back.row.withdrawn_kes

    def _refund(self, back: Reversal | None, payment: Booked | None) -> Refund | None:
        """What may be settled: the whole amount of a payment whose receipt the reversal names."""
        if back is None or payment is None or payment.status not in HERE:
            return None
        found = self._pairs.get(back.receipt)
        of_its_own = back.row.receipt != back.receipt
        exact = (
            back.named and of_its_own and (found is None or found.exact) and len(self._named.get(back.receipt, [])) <= 1
        )
        whole = back.row.withdrawn_kes == payment.amount_kes <= self._books.confirm_above_kes
        return Refund(payment.transaction_id, back.row) if whole and self._is_exact(back.row, exact) else None

    def _returned_or(self, kind: Kind, row: Row, payment: Booked | None, settlement: Settlement | None = None) -> None:
        back = self._reversals.get(row.receipt)
        if back is not None and back.row.withdrawn_kes == row.paid_in_kes:
            self._explain("returned", row)
        else:
            self._differs(kind, row, payment, settlement)

    def _orders_paid(self) -> dict[str, Booked]:
        """By reference: the payment that stands PAID, or whose row was found."""
        if self._books.references_are_reusable:
            return {}
        found = {comparable(each.payment.reference): each.payment for each in self._pairs.values()}
        paid = {comparable(each.reference): each for each in self._books.payments if each.status is Status.PAID}
        return found | paid

    # Payments that have no row ------------------------------------------------------------------------------------

    def _compare_payments(self) -> None:
        given, covered = self._given(), self._covered()
        paired = {each.payment.transaction_id for each in self._pairs.values()}
        known = self._paid.keys() | self._named.keys() | self._books.no_sales
        before = [row for row in self._rows.kept if row.receipt not in known]
        paired |= of_earlier_files(before, (each for each in self._books.payments if each.transaction_id not in paired))
        for payment in sorted(self._books.payments, key=lambda each: each.created_at):
            receipts = {payment.receipt} if payment.receipt else set(payment.named)
            has_row = payment.transaction_id in paired or any(each in self._rows.came for each in receipts)
            if payment.paid_at and not has_row:
                came = _came_at(payment)
                last = min(payment.paid_at, payment.created_at + AFTER_THE_ORDER)
                money = Period(came or payment.created_at, came or last)
                if touches(money, given):
                    kind = Kind.MISSING_THERE if surely_within(money, covered) else Kind.TIMING
                    self._has_no_row(kind, payment, payment.receipt, came or payment.paid_at)
            if payment.refunded_at and payment.refund_receipt not in self._rows.went:
                back = Period(_came_at(payment) or payment.created_at, payment.refunded_at)
                if payment.transaction_id not in self._disputed and touches(back, given) and within(back, covered):
                    kind = Kind.REFUND_UNSEEN if surely_within(back, covered) else Kind.TIMING
                    self._has_no_row(kind, payment, payment.refund_receipt, payment.refunded_at)

    def _has_no_row(self, kind: Kind, payment: Booked, receipt: str | None, at: datetime) -> None:
        failed = any(row.receipt == receipt for row in self._rows.not_completed)
        difference = Difference(
            kind=kind,
            amount_kes=payment.amount_kes,
            at=at,
            says=says(kind, None, payment, "The statement has it as not completed." if failed else ""),
            do_now=do_now(kind, None, payment, None),
            receipt=receipt,
            transaction_id=payment.transaction_id,
        )
        self._differences.append(difference)

    # What becomes of a row ----------------------------------------------------------------------------------------

    def _is_exact(self, row: Row, exact: bool) -> bool:
        """What an organisation paid is a person's to judge; so is all while files have several amounts of a receipt."""
        given = row.row_class is not RowClass.ORGANISATION and not self._amounts_disagree
        return exact and given and self._rows.may_settle(row)

    def _explain(self, how: str, row: Row) -> None:
        self._totals[how].add(row)

    def _differs(
        self, kind: Kind, row: Row, payment: Booked | None, settlement: Settlement | None = None, *more: Row
    ) -> None:
        stray = row.receipt in self._books.strays
        notes = ["A callback named it for a payment that is not in the books."] if stray else []
        if disputed := any(map(self._rows.is_disputed, (row, *more))):
            notes.append("The files disagree about its account, time or linked receipt: compare it with the portal.")
        difference = Difference(
            kind=kind,
            amount_kes=row.paid_in_kes or row.withdrawn_kes,
            at=row.at,
            says=says(kind, row, payment, " ".join(notes)),
            do_now=f"{OPS} receipts find {row.receipt}" if disputed else do_now(kind, row, payment, settlement),
            receipt=row.receipt,
            transaction_id=payment.transaction_id if payment else None,
            rows=(row, *more),
            settlement=settlement,
        )
        self._differences.append(difference)


def _came_at(payment: Booked) -> datetime | None:
    """When its money came. A callback's own time holds only where it fits the order: a forged one may name any."""
    at, settled_at = payment.money_at, payment.paid_at or payment.refunded_at
    if at is None or settled_at is None or not payment.by_callback:
        return at
    return at if payment.created_at - EDGE <= at <= settled_at + EDGE else None
