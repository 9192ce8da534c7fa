"""The letters a customer gets: the invoice, which is also the notice of a payment, and notices of what else matters.

Each in English and Swahili, as HTML and as plain text. The whole phone number is in none, and whatever the customer
typed is shown as text only.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import TypeAlias

from shared.east_africa_time import EAT
from shared.language import Lang
from shared.mail.mailer import Email, one_line
from shared.mail.reasons import reason
from shared.money import in_words
from shared.phone import masked

OnBroken: TypeAlias = Callable[[str, str], None]
"""Called with a shop's own template that could not be used, like `sw/invoice.html`, and where and why it broke."""
SHOPS_OWN = Path(__file__).parent / "shop_templates"
"""Where a shop keeps the templates that it has in place of the built-in ones; it travels with the functions."""
LONGEST_TYPED = 100
MOST_MARKS = 3
"""On one letter: more than any language needs, and too few to cover the lines above."""
FIRST_STRONG_ISOLATE, END_OF_ISOLATE = "\u2068", "\u2069"
DOTS = ".\u3002\uff0e\uff61@"
"""What joins the parts of an address: `@`, and whatever browsers take for a full stop."""
MONTHS: Mapping[Lang, tuple[str, ...]] = {
    "en": (
        "January", "February", "March", "April", "May", "June",
        "July", "August", "September", "October", "November", "December",
    ),
    "sw": (
        "Januari", "Februari", "Machi", "Aprili", "Mei", "Juni",
        "Julai", "Agosti", "Septemba", "Oktoba", "Novemba", "Desemba",
    ),
}  # fmt: skip


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
    refunded_kes: Decimal | None = None
    """None where another sum may have come in than was asked for: what came went back."""
    result_code: str | None = None
    """Why it failed, in Daraja's code."""
    invoice_number: str | None = None
    invoice_date: datetime | None = None
    shop_name: str
    shop_address: str | None
    shop_tax_pin: str | None
    reply_to: str


def write(letter: Letter, on_broken: OnBroken, own_folder: Path = SHOPS_OWN) -> Email:
    """The e-mail to send, always. `on_broken` is told of a shop's own template that could not be used."""
    from shared.mail.templating import BrokenTemplate, built_in, shops_own

    said = values(letter)
    written = None
    own = shops_own(own_folder)
    if own is not None:
        try:
            written = own.write(letter.kind, letter.lang, said)
        except BrokenTemplate as broken:
            on_broken(broken.template, broken.where)
    if written is None:
        written = built_in().write(letter.kind, letter.lang, said)
    return Email(
        to_address=letter.customer_email,
        to_name=letter.customer_name,
        subject=written.subject,
        text=written.text,
        html=written.html,
        from_name=one_line(letter.shop_name),
    )


def values(letter: Letter) -> dict[str, str | bool]:
    """What a template can say, by name: text that is ready to be shown, empty where it is not known."""
    why = reason(letter.result_code, letter.lang)
    there = letter.at.astimezone(EAT)
    return {
        "lang": letter.lang,
        "shop_name": one_line(letter.shop_name),
        "shop_address": one_line(letter.shop_address or ""),
        "shop_tax_pin": one_line(letter.shop_tax_pin or ""),
        "reply_to": one_line(letter.reply_to),
        "customer_name": typed(letter.customer_name),
        "phone": masked(letter.customer_phone),
        "amount": in_words(letter.amount_kes),
        "description": typed(letter.description),
        "reference": typed(letter.account_reference),
        "transaction_id": one_line(letter.transaction_id),
        "date": _day(letter.at, letter.lang),
        "time": f"{there:%H:%M} EAT",
        "receipt": one_line(letter.receipt or ""),
        "refund_receipt": one_line(letter.refund_receipt or ""),
        "refunded_amount": in_words(letter.refunded_kes) if letter.refunded_kes is not None else "",
        "invoice_number": one_line(letter.invoice_number or ""),
        "invoice_date": _day(letter.invoice_date or letter.at, letter.lang),
        "result_code": one_line(letter.result_code or ""),
        "reason": why.message,
        "next_step": why.next_step,
        "may_still_arrive": why.may_still_arrive,
    }


def typed(text: str | None) -> str:
    """What a customer typed, as a letter shows it: one line that no mail program takes for a link, and that turns
    nobody else's writing round. The checkout takes any text, and any address to send it to.
    """
    kept: list[str] = []
    marks = 0
    for character in one_line(text or "", LONGEST_TYPED + 1):
        marks = marks + 1 if unicodedata.category(character) in ("Mn", "Me") else 0
        if marks > MOST_MARKS:
            continue
        before = kept[-1] if kept else " "
        if (before in DOTS and character.isalpha()) or before + character == ":/":
            kept.append(" ")  # evil.example is a link in many a mail program; evil. example in none
        kept.append(character)
    line = "".join(kept)
    if len(line) > LONGEST_TYPED:
        line = line[: LONGEST_TYPED - 1].rstrip() + "…"
    if any(unicodedata.bidirectional(character) in ("R", "AL", "AN") for character in line):
        return f"{FIRST_STRONG_ISOLATE}{line}{END_OF_ISOLATE}"
    return line


def _day(moment: datetime, lang: Lang) -> str:
    there = moment.astimezone(EAT)
    return f"{there.day} {MONTHS[lang][there.month - 1]} {there.year}"
