"""Virtual phones: a balance, messages, and at most one open prompt. Every number has a phone."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from simulator.payments import Payment

WRONG_PIN = "0000"
"""Every other four digits are the right PIN."""

PROMPT_LIMIT = 182
"""Characters of a prompt; a longer one fails with 1025 (Daraja portal, M-Pesa Express)."""


@dataclass(frozen=True)
class Message:
    """A text message from M-PESA."""

    at: datetime
    text: str


@dataclass
class Phone:
    msisdn: str
    balance_kes: int
    last_used_at: datetime
    payment: Payment | None = None
    """The payment that locks the subscriber, from the accepted push until its outcome."""
    messages: list[Message] = field(default_factory=list)

    @property
    def prompt(self) -> Payment | None:
        return self.payment if self.payment is not None and self.payment.prompt_open else None


def shillings(amount_kes: int | Decimal) -> str:
    return f"{Decimal(amount_kes):,.2f}"


def prompt_text(business: str, amount_kes: int, account_reference: str) -> str:
    """What the SIM toolkit shows (INF: wording from published checkout instructions, no capture)."""
    return f"Do you want to pay Ksh. {shillings(amount_kes)} to {business} Account no. {account_reference}?"


def paid_text(
    receipt: str, amount_kes: Decimal, business: str, account: str, at_eat: datetime, balance_kes: int
) -> str:
    """The customer's receipt by SMS. The account reference is printed in it (Daraja portal)."""
    hour = at_eat.hour % 12 or 12
    when = f"{at_eat.day}/{at_eat.month}/{at_eat:%y} at {hour}:{at_eat:%M %p}"
    to = f"sent to {business} for account {account}" if account else f"paid to {business}"
    return (
        f"{receipt} Confirmed. Ksh{shillings(amount_kes)} {to} on {when} "
        f"New M-PESA balance is Ksh{shillings(balance_kes)}. Transaction cost, Ksh0.00."
    )


def reversed_text(receipt: str, amount_kes: Decimal) -> str:
    """The SMS after a reversal (INF: wording)."""
    return f"Transaction {receipt} has been reversed. Ksh{shillings(amount_kes)} is in your M-PESA account again."


def failed_text(payment: Payment, code: str, balance_kes: int) -> str | None:
    """The SMS after a failure (INF: wording). There is none after cancelling and ignoring."""
    amount = f"Ksh{shillings(payment.push.amount_kes)}"
    match code:
        case "1":
            return (
                f"Failed. You do not have enough money in your M-PESA account to pay {amount} to "
                f"{payment.push.merchant.name}. Your M-PESA balance is Ksh{shillings(balance_kes)}."
            )
        case "2001":
            return f"Failed. You have entered a wrong PIN. {amount} was not sent to {payment.push.merchant.name}."
        case _:
            return None
