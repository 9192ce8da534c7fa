"""What becomes of a request to pay, before M-Pesa hears of it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from shared.limits import MoneyLimit, Scope
from shared.payments import Status


@dataclass(frozen=True)
class Admitted:
    """A new row, committed: push now, once."""

    transaction_id: str


@dataclass(frozen=True)
class Asked:
    """A payment that was asked for: the key's own, wherever it is by now."""

    transaction_id: str
    status: Status
    checkout_request_id: str | None
    amount_kes: Decimal
    account_reference: str


@dataclass(frozen=True)
class KeyMismatch:
    """The key was used for another order."""


@dataclass(frozen=True)
class AskFirst:
    """Payments like this one are still open after 15 minutes, and nobody has asked since what became of them."""

    transaction_ids: tuple[str, ...]


@dataclass(frozen=True)
class AlreadyPaid:
    """The same order was paid, and is not refunded."""


@dataclass(frozen=True)
class TooSoon:
    """A push for the same phone with the same amount or reference, or for the same link, may still be paid."""

    retry_after_s: int


@dataclass(frozen=True)
class TooMany:
    """So many pushes for this phone, from this address or in this shop that one more has to wait."""

    scope: Scope
    retry_after_s: int


@dataclass(frozen=True)
class AboveLimit:
    """The amount, or what it would make of the day's sum, is more than the shop allows."""

    limit: MoneyLimit
    most_kes: Decimal | None
    """None: what the whole shop takes in a day is not for customers to read."""
    retry_after_s: int | None
    """Until tomorrow in Nairobi; None: waiting does not help."""


@dataclass(frozen=True)
class Recovering:
    """The books were restored from a backup, and what came since is not found again yet: nobody is asked to pay."""


Admission = Admitted | AskFirst | Asked | KeyMismatch | Recovering | AlreadyPaid | TooSoon | TooMany | AboveLimit
