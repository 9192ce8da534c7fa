"""Whether each balance follows from the one before. Rows stand newest first or oldest first: one of the two fits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import groupby
from operator import attrgetter

from ops.statements.statement import BalanceChain, Row, RowClass

LOOKED_THROUGH = 50
"""Rows of one second, for the next of them."""


def balance_chain(accounts: Iterable[Sequence[Row]], opening: Decimal | None, closing: Decimal | None) -> BalanceChain:
    """`accounts`: the completed rows of each account, in the file's order."""
    accounts = list(accounts)
    rows = [row for account in accounts for row in account]
    if opening is not None and closing is not None:
        if opening + sum(row.paid_in_kes - row.withdrawn_kes for row in rows) != closing:
            return "broken"
    elif all(row.balance_kes is None for row in rows):
        return "absent"
    without = [row for row in rows if row.balance_kes is None]
    if without:  # nothing proves a row without a balance beside rows that have one
        return "ok" if len(without) == len(rows) else "broken"
    whole = all(_follows(account, opening) or _follows(account[::-1], opening) for account in accounts)
    return "ok" if whole else "broken"


def _follows(rows: Sequence[Row], opening: Decimal | None) -> bool:
    """From the oldest to the newest row; those of one second stand in any order."""
    balances = [] if opening is None else [opening]
    for _, some in groupby(rows, key=attrgetter("at")):
        left = list(some)
        while left:
            fits = (place for place, row in enumerate(left[:LOOKED_THROUGH]) if _goes_on(balances, row, opening))
            if (place := next(fits, None)) is None:
                return False
            del left[place]
    return True


def _goes_on(balances: list[Decimal], row: Row, opening: Decimal | None) -> bool:
    """Changes `balances`. The new portal mixes two accounts: a sweep opens the second one."""
    assert row.balance_kes is not None
    before = row.balance_kes - row.paid_in_kes + row.withdrawn_kes
    if before in balances:
        balances[balances.index(before)] = row.balance_kes
        return True
    moves = row.row_class in (RowClass.SWEEP, RowClass.SETTLEMENT)
    begins = not balances or (len(balances) == 1 and opening is None and moves)
    if begins:
        balances.append(row.balance_kes)
    return begins
