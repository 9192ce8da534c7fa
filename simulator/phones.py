"""Virtual phones: a balance, messages, and at most one open prompt. Every number has a phone."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

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


def shillings(amount_kes: int) -> str:
    return f"{amount_kes:,}.00"


def prompt_text(business: str, amount_kes: int, account_reference: str) -> str:
    """What the SIM toolkit shows (INF: wording from published checkout instructions, no capture)."""
    return f"Do you want to pay Ksh. {shillings(amount_kes)} to {business} Account no. {account_reference}?"


def paid_text(payment: Payment, at_eat: datetime, balance_kes: int) -> str:
    """The customer's receipt by SMS. The account reference is printed in it (Daraja portal)."""
    hour = at_eat.hour % 12 or 12
    when = f"{at_eat.day}/{at_eat.month}/{at_eat:%y} at {hour}:{at_eat:%M %p}"
    return (
        f"{payment.receipt} Confirmed. Ksh{shillings(payment.amount_moved_kes or 0)} sent to "
        f"{payment.push.merchant.name} for account {payment.push.account_reference} on {when} "
        f"New M-PESA balance is Ksh{shillings(balance_kes)}. Transaction cost, Ksh0.00."
    )


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
