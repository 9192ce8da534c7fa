"""Whether each balance follows from the one before. Rows stand newest first or oldest first: one of the two fits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from ops.statements.statement import BalanceChain, Row, RowClass


def balance_chain(accounts: Iterable[Sequence[Row]], opening: Decimal | None, closing: Decimal | None) -> BalanceChain:
    """`accounts`: the completed rows of each account, in the file's order."""
    accounts = list(accounts)
    rows = [row for account in accounts for row in account]
    if opening is not None and closing is not None:
        if opening + sum(row.paid_in_kes - row.withdrawn_kes for row in rows) != closing:
            return "broken"
    elif all(row.balance_kes is None for row in rows):
        return "absent"
    whole = all(_follows(account, opening) or _follows(account[::-1], opening) for account in accounts)
    return "ok" if whole else "broken"


def _follows(rows: Sequence[Row], opening: Decimal | None) -> bool:
    """From the oldest to the newest row. The new portal mixes two accounts: a sweep opens the second one."""
    balances = [] if opening is None else [opening]
    for row in rows:
        change = row.paid_in_kes - row.withdrawn_kes
        if row.balance_kes is None:
            balances = [balances[0] + change, *balances[1:]] if balances else []
            continue
        before = row.balance_kes - change
        if before in balances:
            balances[balances.index(before)] = row.balance_kes
        elif not balances or (
            len(balances) == 1 and opening is None and row.row_class in (RowClass.SWEEP, RowClass.SETTLEMENT)
        ):
            balances.append(row.balance_kes)
        else:
            return False
    return True
