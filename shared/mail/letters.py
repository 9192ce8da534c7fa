"""The letters to customers: the invoice, which also confirms the payment, and the notices (shared/notices.py).

Each in English and Swahili, as HTML and as plain text. None contains the whole phone number. What the customer typed is
shown as text only. English reasons of a failure are in shared/daraja/result_codes.py, Swahili ones are here.
Another letter needs a `Notice` or another reason to send it (shared/notices.py), a `Kind` here, its templates in `en`
and `sw`, and a migration: the schema knows the topics of notices.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

from shared.daraja.result_codes import describe
from shared.mail.mailer import Email, mail_line
from shared.prices import Priced
from shared.values import EAT, JOINERS, Lang, in_words, masked

OnBroken: TypeAlias = Callable[[str, str], None]
"""Called with a broken template of the shop's own, like `sw/invoice.html`, and the line and problem."""
SHOPS_OWN = Path(__file__).parent / "shop_templates"
"""A shop's own templates, which replace the built-in ones; the folder is deployed with the functions."""
LONGEST_TYPED = 100
MOST_MARKS = 3
"""Accents on one letter: more than any language needs, too few to cover the lines above."""
FIRST_STRONG_ISOLATE, END_OF_ISOLATE = "\u2068", "\u2069"
DOTS = ".\u2024\u3002\uff0e\uff61@"
"""What joins the parts of an address: `@`, and all that browsers read as a full stop."""
RIGHT_TO_LEFT = {"R", "AL", "AN"}
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
    """The invoice, or one of the notices."""

    INVOICE = "invoice"
    FAILED = "failed"
    PAID_LATE = "paid_late"
    UNDER_REVIEW = "under_review"
    REFUNDED = "refunded"


AFTER_A_PAYMENT = frozenset({Kind.INVOICE, Kind.PAID_LATE, Kind.REFUNDED})
"""These alone show what the customer typed: anybody can have the others sent to any address, without paying."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """What a letter of any kind says. None: not needed for this kind, or not known. Times have a zone."""

    kind: Kind
    lang: Lang
    transaction_id: str
    customer_name: str | None = field(repr=False)
    customer_email: str = field(repr=False)
    customer_phone: str = field(repr=False)
    amount_kes: Decimal
    account_reference: str
    description: str | None = field(repr=False)
    items: tuple[Priced, ...] = ()
    at: datetime
    """When it happened."""
    receipt: str | None = None
    """M-Pesa's, of the payment; None while it is not known yet."""
    refund_receipt: str | None = None
    refunded_kes: Decimal | None = None
    """None where the amount that came in, and went back, may differ from what was asked for."""
    result_code: str | None = None
    """Why it failed, in Daraja's code."""
    invoice_number: str | None = None
    invoice_date: datetime | None = None
    shop_name: str
    shop_address: str | None
    shop_tax_pin: str | None
    reply_to: str


def write(letter: Letter, on_broken: OnBroken, own_folder: Path = SHOPS_OWN) -> Email:
    """The e-mail to send, in any case: the built-in one where a template of the shop's own is broken."""
    from shared.mail.templating import BrokenTemplate, built_in, shops_own

    shown = values(letter)
    try:
        written = (shops_own(own_folder) or built_in()).write(letter.kind, letter.lang, shown)
    except BrokenTemplate as broken:
        on_broken(broken.template, broken.where)
        written = built_in().write(letter.kind, letter.lang, shown)
    return Email(
        to_address=letter.customer_email,
        to_name=typed(letter.customer_name) if letter.kind in AFTER_A_PAYMENT else None,
        subject=written.subject,
        text=written.text,
        html=written.html,
        from_name=mail_line(letter.shop_name),
    )


def values(letter: Letter) -> dict[str, object]:
    """The values of a template, by name: text that is ready to be shown, empty where it is not known."""
    why = reason(letter.result_code, letter.lang)
    paid = letter.kind in AFTER_A_PAYMENT
    there = letter.at.astimezone(EAT)
    return {
        "lang": letter.lang,
        "shop_name": mail_line(letter.shop_name),
        "shop_address": mail_line(letter.shop_address or ""),
        "shop_tax_pin": mail_line(letter.shop_tax_pin or ""),
        "reply_to": mail_line(letter.reply_to),
        "customer_name": typed(letter.customer_name) if paid else "",
        "phone": masked(letter.customer_phone),
        "amount": in_words(letter.amount_kes),
        "description": typed(letter.description) if paid else "",
        "items": [(typed(line.what), in_words(line.cost_kes)) for line in letter.items] if paid else [],
        "reference": typed(letter.account_reference),
        "transaction_id": mail_line(letter.transaction_id),
        "date": _day(letter.at, letter.lang),
        "time": f"{there:%H:%M} EAT",
        "receipt": mail_line(letter.receipt or ""),
        "refund_receipt": mail_line(letter.refund_receipt or ""),
        "refunded_amount": in_words(letter.refunded_kes) if letter.refunded_kes is not None else "",
        "invoice_number": mail_line(letter.invoice_number or ""),
        "invoice_date": _day(letter.invoice_date or letter.at, letter.lang),
        "result_code": mail_line(letter.result_code or ""),
        "reason": why.message,
        "next_step": why.next_step,
        "may_still_arrive": why.may_still_arrive,
    }


def typed(text: str | None, longest: int = LONGEST_TYPED) -> str:
    """What a customer typed, as a letter shows it: one line that no mail program makes a link of, and that keeps the
    direction of other text. Anybody can have a letter with any text sent to any address.
    """
    kept: list[str] = []
    marks = 0
    for character in mail_line(text or "", longest + 1):
        marks = marks + 1 if unicodedata.category(character) in ("Mn", "Me") else 0
        if marks > MOST_MARKS:
            continue
        before = kept[-1] if kept else " "
        if character in JOINERS and before in DOTS:
            continue
        if (before in DOTS and character.isalpha()) or before + character == ":/":
            kept.append(" ")  # evil.example is a link in many a mail program; evil. example in none
        kept.append(character)
    line = "".join(kept)
    if len(line) > longest:
        line = line[: longest - 1].rstrip() + "…"
    if RIGHT_TO_LEFT & {unicodedata.bidirectional(character) for character in line}:
        return f"{FIRST_STRONG_ISOLATE}{line}{END_OF_ISOLATE}"
    return line


def _day(moment: datetime, lang: Lang) -> str:
    there = moment.astimezone(EAT)
    return f"{there.day} {MONTHS[lang][there.month - 1]} {there.year}"


# Why a payment failed and what the customer does now, by Daraja's result code -----------------------------------------


@dataclass(frozen=True, slots=True)
class Reason:
    message: str
    next_step: str
    may_still_arrive: bool = False
    """Money has been seen to move after this answer, or there was none: nobody may say that none did."""


_TRY_AGAIN = "Unaweza kujaribu tena sasa."
_ASK_THE_SHOP = "Tafadhali wasiliana na duka. Kujaribu tena hakutasaidia hadi duka litakaporekebisha tatizo hili."
_WAIT_THEN_TRY = "Subiri dakika mbili, kisha ujaribu tena."
_PHONE_ON_THEN_TRY = (
    "Hakikisha kwamba simu yako imewashwa, skrini imefunguliwa na ina mtandao, kisha ujaribu tena. "
    "Ukipata SMS ya M-Pesa inayosema kwamba umelipa, usilipe tena: duka pia litaona malipo hayo."
)
_PIN_WITH_CARE = "Jaribu tena na uweke PIN yako ya M-Pesa kwa makini."
_NO_PROMPT = "M-Pesa haikuweza kutuma ombi la malipo kwenye simu yako."
_TRY_THEN_ASK = "Jaribu tena. Ikitokea tena, wasiliana na duka."
_CARE_OR_OTHER_NUMBER = "Uliza huduma kwa wateja ya Safaricom kuhusu {}, au ulipe kwa nambari nyingine ya M-Pesa."

SWAHILI: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "1": (
            "Salio lako la M-Pesa halikutosha.",
            "Ongeza pesa kwenye akaunti yako ya M-Pesa, kisha ujaribu tena.",
        ),
        "2": (
            "Kiasi hiki ni kidogo kuliko kiwango cha chini ambacho M-Pesa inaruhusu kwa malipo haya.",
            "Lipa kiasi kikubwa zaidi, au uliza duka kuhusu njia nyingine ya kulipa.",
        ),
        "3": (
            "Kiasi hiki ni kikubwa kuliko kiwango cha juu ambacho M-Pesa inaruhusu kwa mara moja.",
            "Uliza duka kama unaweza kulipa kidogo kidogo.",
        ),
        "4": (
            "Kwa malipo haya ungepita kiwango chako cha M-Pesa cha siku ya leo.",
            "Jaribu tena kesho, au ulipe kwa nambari nyingine ya M-Pesa.",
        ),
        "8": ("Akaunti ya M-Pesa ya duka haiwezi kupokea malipo haya kwa sasa.", _ASK_THE_SHOP),
        "17": ("M-Pesa haikubali kiasi kile kile mara mbili ndani ya dakika mbili.", _WAIT_THEN_TRY),
        "26": ("M-Pesa ina shughuli nyingi kwa sasa.", _WAIT_THEN_TRY),
        "1001": (
            "Kuna muamala mwingine wa M-Pesa unaoendelea kwenye simu yako.",
            "Ukamilishe au uughairi, subiri dakika mbili, kisha ujaribu tena.",
        ),
        "1019": ("Muda wa ombi la malipo uliisha kabla ya malipo kukamilika.", _PHONE_ON_THEN_TRY),
        "1025": (_NO_PROMPT, _TRY_THEN_ASK),
        "1031": ("Ulighairi malipo kwenye simu yako.", _TRY_AGAIN),
        "1032": ("Malipo yalighairiwa kwenye simu yako.", _TRY_AGAIN),
        "1036": ("Simu yako haikupatikana.", _PHONE_ON_THEN_TRY),
        "1037": ("Simu yako haikujibu ombi la malipo.", _PHONE_ON_THEN_TRY),
        "1101": (_NO_PROMPT, _TRY_THEN_ASK),
        "1102": (_NO_PROMPT, _TRY_THEN_ASK),
        "2001": ("PIN ya M-Pesa haikuwa sahihi, au nambari hii haijasajiliwa kwa M-Pesa.", _PIN_WITH_CARE),
        "2006": (
            "Akaunti hii ya M-Pesa haiwezi kutumika kwa malipo haya.",
            _CARE_OR_OTHER_NUMBER.format("akaunti yako"),
        ),
        "2008": ("M-Pesa haikuweza kuthibitisha kwamba ni wewe.", _PIN_WITH_CARE),
        "2026": ("Muda wa M-Pesa kwenye simu yako uliisha kabla hujamaliza.", _TRY_AGAIN),
        "2028": ("Duka halijawezeshwa kupokea malipo ya aina hii.", _ASK_THE_SHOP),
        "8006": (
            "PIN yako ya M-Pesa imefungwa.",
            "Pigia simu huduma kwa wateja ya Safaricom ili ifunguliwe, kisha ujaribu tena.",
        ),
        "9999": (_NO_PROMPT, _PHONE_ON_THEN_TRY),
        "E3008": (
            "M-Pesa haikuweza kupokea malipo haya kutoka kwa laini yako.",
            _CARE_OR_OTHER_NUMBER.format("laini yako"),
        ),
        "SFC_IC0003": ("M-Pesa haitambui nambari ya till au paybill ya duka.", _ASK_THE_SHOP),
    }
)
NOT_TAKEN: Mapping[Lang, Reason] = MappingProxyType(
    {
        "en": Reason(
            "M-Pesa did not take the payment.",
            "You can try again. But if an M-Pesa SMS says that you paid, do not: answer this email.",
            may_still_arrive=True,
        ),
        "sw": Reason(
            "M-Pesa haikupokea malipo haya.",
            "Unaweza kujaribu tena. Lakini ukipata SMS ya M-Pesa inayosema kwamba umelipa, usilipe tena: "
            "jibu barua pepe hii.",
            may_still_arrive=True,
        ),
    }
)
"""No code of Safaricom's that anybody has explained: a person said so, who can be wrong about what left a phone."""


def reason(code: str | None, lang: Lang) -> Reason:
    """For a failing code; where there is none, or nobody has explained it, in general."""
    known = describe(code) if code else None
    if known is None:
        return NOT_TAKEN[lang]
    words = SWAHILI[known.code] if lang == "sw" else (known.message, known.next_action)
    return Reason(*words, known.may_be_taken_back)
