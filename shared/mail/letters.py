"""The letters a customer gets: the invoice, which is also the notice of a payment, and notices of what else matters.

Each in English and Swahili, as HTML and as plain text. The whole phone number is in none, and whatever the customer
typed is shown as text only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Literal, TypeAlias

from shared.mail.mailer import Email

Lang: TypeAlias = Literal["en", "sw"]
OnBroken: TypeAlias = Callable[[str, str], None]
"""Called with a shop's own template that could not be used, like `sw/invoice.html`, and where and why it broke."""


class Kind(StrEnum):
    """What a letter tells."""

    INVOICE = "invoice"
    """Paid."""
    FAILED = "failed"
    """Not paid: why, and what to do now."""
    PAID_LATE = "paid_late"
    """We had said that it failed, or nothing at all; it went through after all."""
    UNDER_REVIEW = "under_review"
    """Do not pay again: it is on record, and a person looks."""
    REFUNDED = "refunded"
    """The whole amount went back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """All that a letter of any kind says; what a kind does not need, or is not known, is None. Times are aware."""

    kind: Kind
    lang: Lang
    transaction_id: str
    customer_name: str | None = field(repr=False)
    customer_email: str = field(repr=False)
    customer_phone: str = field(repr=False)
    amount_kes: Decimal
    account_reference: str
    description: str | None = field(repr=False)
    at: datetime
    """When what it tells of happened."""
    receipt: str | None = None
    """M-Pesa's, of the payment; None while it is not known yet."""
    refund_receipt: str | None = None
    result_code: str | None = None
    """Why it failed, in Daraja's code."""
    invoice_number: str | None = None
    invoice_date: datetime | None = None
    shop_name: str
    shop_address: str | None
    shop_tax_pin: str | None
    reply_to: str


def write(letter: Letter, on_broken: OnBroken) -> Email:
    """The e-mail to send. `on_broken` is told of a shop's own template that could not be used; a letter comes anyway."""
    if letter.kind is Kind.INVOICE:
        from shared.mail.invoice import render

        return render(letter)
    from shared.mail.notices import notice

    return notice(letter)
