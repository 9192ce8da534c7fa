"""Money that really moved, apart from what callbacks and queries say."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Entry:
    """One movement of money. Amounts are whole shillings."""

    receipt: str
    amount_kes: int
    msisdn: str
    shortcode: str
    account_reference: str
    at: datetime
    checkout_request_id: str
    balance_after_kes: int


class Ledger:
    """Entries are only added."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []

    def record(self, entry: Entry) -> None:
        self._entries.append(entry)

    def entries(self) -> list[Entry]:
        """Newest first."""
        return self._entries[::-1]
