"""The values that cross our borders: amounts, phone numbers, e-mail and web addresses, ids, languages, the time zone.

Each is read strictly, stored in one form and shown in one way. Standard library only.
"""

from __future__ import annotations

import os
import re
import time
import uuid
from datetime import timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeGuard, get_args
from unicodedata import category, normalize

if TYPE_CHECKING:
    from shared.payments import Ids

# Amounts: Decimal, whole shillings ------------------------------------------------------------------------------------

# Source of the limits: Daraja portal, M-Pesa Express FAQ 5 (no decimals; 250,000 per transaction, 500,000 a day).

SMALLEST_KES = Decimal(1)
LARGEST_KES = Decimal(250_000)
LARGEST_DAY_KES = Decimal(500_000)
"""What one customer's account moves in a day."""
AMOUNT_MUST_BE = "must be a number of whole shillings, like 1500"


def read_amount_kes(value: object) -> Decimal:
    """A JSON number, or the same as text (`1500`, `1500.00`), as whole shillings. ValueError says what is accepted."""
    if (isinstance(value, str) and re.fullmatch(r"[0-9]{1,7}(\.0{1,2})?", value)) or (
        isinstance(value, int | Decimal) and not isinstance(value, bool)
    ):
        amount_kes = Decimal(value)
    else:
        raise ValueError(AMOUNT_MUST_BE)
    if not amount_kes.is_finite() or not SMALLEST_KES <= amount_kes <= LARGEST_KES:
        raise ValueError(f"must be between {SMALLEST_KES} and {LARGEST_KES:,} shillings")
    if amount_kes != amount_kes.to_integral_value():
        raise ValueError("must be whole shillings: M-Pesa takes no cents")
    return amount_kes.quantize(Decimal(1))


def in_words(amount_kes: Decimal) -> str:
    """`KES 1,500`, as customers and operators read it."""
    return f"KES {amount_kes:,.0f}"


# Phone numbers (MSISDNs) ----------------------------------------------------------------------------------------------

# Read as people write and paste them, stored as `254…`, shown masked. Only the shape is checked: `254`, `7` or `1`,
# then eight digits. Only Safaricom knows whether it is an M-Pesa line: numbers move between networks, and new prefixes
# appear (018x and 014x in August 2026). The page reads them alike: both are tested with tests/cases/phones.json.

PHONE_MUST_BE = "must be a Kenyan mobile number, like 0712345678 or +254712345678"
LONGEST_PHONE = 60
_FILLING = frozenset(".()/\u00b7\u2022\u2212\t\r\n")
_FILLING_CATEGORIES = frozenset(("Zs", "Zl", "Zp", "Pd", "Cf"))
"""Spaces, dashes, and the invisible marks that a contact list puts around a number."""
_KENYAN = re.compile(r"(?:tel:)?(?:(?:\+|00?)?254(?:0)?|0)?([71][0-9]{8})", re.ASCII | re.IGNORECASE)


def read_msisdn(value: object) -> str:
    """`0712 345 678`, `712345678`, `+254 (0) 712…`, `00254712…` → `254712345678`. ValueError says what is accepted."""
    if isinstance(value, Decimal) and value.is_finite() and 0 < value < 10**12 and value == int(value):
        value = int(value)  # 712345678.0 is the same number in JSON
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        value = str(value)
    if isinstance(value, str) and len(value) <= LONGEST_PHONE:
        found = _KENYAN.fullmatch("".join([letter for letter in normalize("NFKC", value) if not _is_filling(letter)]))
        if found:
            return "254" + found[1]
    raise ValueError(PHONE_MUST_BE)


def _is_filling(letter: str) -> bool:
    return letter in _FILLING or category(letter) in _FILLING_CATEGORIES


def masked(msisdn: str) -> str:
    """`2547*****678`: a customer recognises it, and nobody can call it. An erased number says so."""
    if msisdn == HIDDEN_MSISDN:
        return "254*********"
    if msisdn.startswith("2540"):
        return "an erased number"
    return f"{msisdn[:4]}*****{msisdn[-3:]}"


# What stands where a person was erased --------------------------------------------------------------------------------

# `python -m ops privacy erase` writes nine digits that begin with 0 in place of a person's number: `254712345678`
# becomes `2540…`, which is nobody's (after 254 no Kenyan number begins with 0). A CheckoutRequestID that ended in the
# number then ends in the same digits.
#
# A callback that comes later still names the push by the id with the number in it. It is the same push when the stored
# ids equal the named ones in everything but these digits. The number need not be kept for that.

# The number of nobody that no erasure gives stands where M-Pesa hides the payer's, in money that a person booked.

HIDDEN_MSISDN = "254000000000"
ERASED_EMAIL = "erased@erased.invalid"
"""Where an invoice had been sent. `.invalid` is nobody's, for ever (RFC 2606)."""
_ERASED = re.compile(r"254(0(?!00000000)[0-9]{8})", re.ASCII)


def is_erased(msisdn: str) -> bool:
    """Whether this stands where a phone number was erased."""
    return _ERASED.fullmatch(msisdn) is not None


def as_named(stored: Ids | None, named: Ids | None, msisdn: str) -> Ids | None:
    """The stored ids of a payment, spelt as the evidence spells them where only the erased digits differ."""
    digits = _ERASED.fullmatch(msisdn)
    if stored is None or named is None or digits is None:
        return stored
    kept = [re.escape(part) for part in _together(stored).split(digits[1])]
    found = re.fullmatch("([0-9]{9})".join(kept), _together(named), re.ASCII)
    return named if found and len(set(found.groups())) == 1 else stored


def _together(ids: Ids) -> str:
    return f"{ids.merchant_request_id} {ids.checkout_request_id}"


# E-mail addresses -----------------------------------------------------------------------------------------------------

# One plain address that is safe in a mail header: no display name, no list.

EMAIL_ADDRESS = (
    r"(?!\.|.*(?:\.\.|\.@|=\?))[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}"
    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}"
)
"""Not taken: a dot at either end of the name, two dots in a row, and `=?`, which mail programs decode."""
LONGEST_EMAIL_ADDRESS = 254


def is_email_address(value: str) -> bool:
    """True for one plain address."""
    return len(value) <= LONGEST_EMAIL_ADDRESS and re.fullmatch(EMAIL_ADDRESS, value) is not None


# A line of text -------------------------------------------------------------------------------------------------------

LONGEST_LINE = 100
JOINERS = "\u200c\u200d"
"""Parts of words and of emoji, though they are format characters."""


def one_line(text: str) -> str:
    """What separates words, ends a line or is no character becomes a space; invisible marks go."""
    if text.isprintable():
        return " ".join(text.split())
    kept = []
    for letter in text:
        kind = category(letter)
        if kind in ("Cc", "Co", "Cs", "Zl", "Zp", "Zs"):
            kept.append(" ")
        elif kind != "Cf" or letter in JOINERS:
            kept.append(letter)
    return " ".join("".join(kept).split())


def read_line(text: str) -> str | None:
    """A name or a description as one line, cut at 100 characters: no text is refused. None where nothing is left."""
    return one_line(text)[:LONGEST_LINE].rstrip(f" {JOINERS}") or None


# A payment link's token -----------------------------------------------------------------------------------------------

LONGEST_TOKEN = 2000
"""What it says: shared/links.py."""


# A payment's own id ---------------------------------------------------------------------------------------------------

# A UUID in lower case, exactly as it was given out. Who holds the id may read the payment, so it is compared as text:
# an id in capitals belongs to no payment.

TRANSACTION_ID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


def is_transaction_id(value: object) -> TypeGuard[str]:
    """True for the right form. Only the database knows whether there is such a payment."""
    return isinstance(value, str) and re.fullmatch(TRANSACTION_ID, value, re.ASCII) is not None


def new_id() -> str:
    """A UUID version 7 (RFC 9562): 48 bits of milliseconds, then 74 random bits.

    Keys that grow with time keep an index's new entries on one page: a callback in large books writes less than half of
    the log that random keys would cost.
    """
    return _uuid7(time.time_ns() // 1_000_000)


TEST = "test"
"""The outcome of a callback to a test id (`ops doctor` sends one): it reaches no payment and raises no alert."""


def new_test_id() -> str:
    """The id of no payment, for a callback that only tests the way. A payment's own begins so in the year 10889."""
    return _uuid7(0xFFFF_FFFF_0000)


def is_test_id(transaction_id: str) -> bool:
    return transaction_id.startswith("ffffffff-0000-7")


def _uuid7(milliseconds: int) -> str:
    number = milliseconds << 80 | int.from_bytes(os.urandom(10), "big")
    number = number & ~(0xF << 76) | 0x7 << 76  # version
    number = number & ~(0b11 << 62) | 0b10 << 62  # variant
    return str(uuid.UUID(int=number))


# Language and time of day ---------------------------------------------------------------------------------------------

Lang: TypeAlias = Literal["en", "sw"]
LANGS: tuple[Lang, ...] = get_args(Lang)
"""By ISO 639-1: English and Swahili."""
DEFAULT_LANG: Lang = "en"

EAT = timezone(timedelta(hours=3), "EAT")
"""East Africa Time, the only zone that Daraja knows: UTC+3 all the year, since 1960."""
