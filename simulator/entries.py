"""One movement on an organisation's account at M-PESA: what a statement's rows are made of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

ZERO = Decimal(0)


class Kind(StrEnum):
    PAYMENT = "payment"
    CHARGE = "charge"
    """Of a payment, under its receipt."""
    REVERSAL = "reversal"
    SWEEP = "sweep"
    """To the organisation's settlement account."""
    SETTLEMENT = "settlement"
    """To the bank."""
    ORGANISATION = "organisation"
    """From a bank's app, a till or another organisation: maybe a customer's."""
    B2C = "b2c"
    OTHER = "other"


MONEY_IN = {Kind.PAYMENT, Kind.ORGANISATION}


class Way(StrEnum):
    """How a customer paid: it shows in the wording."""

    MENU = "menu"
    """SIM menu or STK push."""
    APP = "app"
    BANK = "bank"
    TILL = "till"
    API = "api"


@dataclass(frozen=True, slots=True)
class Entry:
    """One movement on the organisation's account. Times are aware, the amount is positive."""

    kind: Kind
    receipt: str
    at: datetime
    amount_kes: Decimal
    payer: str = ""
    """A customer's number, 254…, or an organisation's shortcode."""
    name: str = ""
    account: str = ""
    """As it was typed: only a paybill has one."""
    linked_receipt: str = ""
    way: Way = Way.MENU
    fuliza: bool = False
    status: str = "Completed"

    @property
    def change_kes(self) -> Decimal:
        """What it does to the account that customers pay into. A settlement leaves the other one."""
        if self.status != "Completed" or self.kind is Kind.SETTLEMENT:
            return ZERO
        return self.amount_kes if self.kind in MONEY_IN else -self.amount_kes


@dataclass(frozen=True, slots=True)
class Organisation:
    shortcode: str
    name: str
    till: bool = False

    @property
    def account(self) -> str:
        return "Merchant Account" if self.till else "Utility Account"
