"""What M-PESA books on a paybill or till: customers' money, its own charges, and a sweep to the bank each night."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from decimal import Decimal

from simulator.clock import EAT, Clock
from simulator.entries import MONEY_IN, ZERO, Entry, Kind, Organisation, Way
from simulator.ids import Ids
from simulator.settings import Merchant, MerchantKind

SWEPT_AT = time(3, 31, 7, tzinfo=EAT)
FREE_UP_TO_KES = 200
CHARGE = Decimal("0.0055")
"""INF: 0.55 %, free up to KES 200, is Safaricom's tariff of a business bouquet."""

FIRST_NAMES = ("ALICE", "BOB", "CAROL", "DAVID", "EVE", "FRANK", "GRACE")
MIDDLE_NAMES = ("WANJIRU", "OTIENO", "", "MUTUA", "AKINYI")
LAST_NAMES = ("EXAMPLE", "SAMPLE", "MFANO")


def name_of(msisdn: str) -> str:
    """A made-up name, always the same for a number."""
    number = int(msisdn)
    parts = (names[number % len(names)] for names in (FIRST_NAMES, MIDDLE_NAMES, LAST_NAMES))
    return " ".join(part for part in parts if part)


class NotReversible(Exception):
    """No payment has this receipt, or it was reversed already."""


@dataclass
class Account:
    of: Organisation
    clock: Clock
    ids: Ids
    opened_at: datetime
    _entries: list[Entry] = field(default_factory=list)
    _swept_at: datetime | None = None

    @classmethod
    def of_merchant(cls, merchant: Merchant, clock: Clock, ids: Ids) -> Account:
        of = Organisation(merchant.receives, merchant.name, till=merchant.kind is MerchantKind.TILL)
        return cls(of, clock, ids, clock.now().replace(microsecond=0))

    def entries(self) -> list[Entry]:
        """Until now, oldest first."""
        self._sweep()
        return list(self._entries)

    def book(self, entry: Entry) -> None:
        """With what M-PESA takes for it."""
        self._sweep()
        self._entries.append(entry)
        if entry.kind is Kind.PAYMENT and entry.status == "Completed" and entry.amount_kes > FREE_UP_TO_KES:
            charge_kes = (entry.amount_kes * CHARGE).quantize(Decimal("0.01"))
            self._entries.append(
                Entry(Kind.CHARGE, entry.receipt, entry.at, charge_kes, way=entry.way, fuliza=entry.fuliza)
            )

    def receive(
        self,
        kind: Kind,
        amount_kes: Decimal,
        payer: str,
        name: str,
        account: str,
        *,
        receipt: str = "",
        way: Way = Way.MENU,
        fuliza: bool = False,
        status: str = "Completed",
    ) -> Entry:
        """Book what somebody pays now."""
        typed = "" if self.of.till else account
        receipt = receipt or self.ids.receipt(self.clock.now_eat())
        entry = Entry(kind, receipt, self._now(), amount_kes, payer, name, typed, "", way, fuliza, status)
        self.book(entry)
        return entry

    def reverse(self, receipt: str) -> Entry:
        """The payment that goes back; its charge stays."""
        if any(one.linked_receipt == receipt for one in self._entries):
            raise NotReversible(receipt)
        for one in self._entries:
            if one.receipt == receipt and one.kind in MONEY_IN and one.status == "Completed":
                own = self.ids.receipt(self.clock.now_eat())
                back = Entry(Kind.REVERSAL, own, self._now(), one.amount_kes, one.payer, one.name, "", receipt)
                self.book(back)
                return one
        raise NotReversible(receipt)

    def clear(self) -> None:
        self.opened_at = self._now()
        self._entries.clear()
        self._swept_at = None

    def _now(self) -> datetime:
        return self.clock.now().replace(microsecond=0)

    def _sweep(self) -> None:
        """Everything there is, each night until now; the next minute it goes to the bank."""
        now = self.clock.now()
        while self._entries:
            night = _next_night(self._swept_at or self._entries[0].at)
            if night > now:
                return
            self._swept_at = night
            there_kes = sum((one.change_kes for one in self._entries if one.at < night), ZERO)
            if there_kes > 0:
                for kind, at in ((Kind.SWEEP, night), (Kind.SETTLEMENT, night + timedelta(seconds=23))):
                    self._entries.append(Entry(kind, self.ids.receipt(at.astimezone(EAT)), at, there_kes))


def _next_night(after: datetime) -> datetime:
    night = datetime.combine(after.astimezone(EAT), SWEPT_AT)
    return night if night > after else night + timedelta(days=1)
