"""What a customer's browser sends, read once into an `Order`: every field checked, every wrong one named."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from shared.edge import Request
from shared.email_address import is_email_address
from shared.gateway.admissions import IdempotencyKey, Order
from shared.language import DEFAULT_LANG, read_lang
from shared.money import read_amount_kes
from shared.phone import read_msisdn
from shared.problems import FieldError, Kind, Problem

T = TypeVar("T")
FIELDS = ("phone_number", "amount", "account_reference", "transaction_desc", "customer_email", "customer_name", "lang")
LONGEST_NAME = 100
LONGEST_DESCRIPTION = 100
NOT_IN_A_LINE = ("Cc", "Cf", "Co", "Cs", "Zl", "Zp", "Zs")
ENDINGS = (
    *(
        "com",
        "net",
        "org",
        "info",
        "biz",
        "app",
        "dev",
        "shop",
        "store",
        "site",
        "online",
        "xyz",
        "top",
        "link",
        "live",
    ),
    *("click", "club", "vip", "win", "bet", "co", "ke", "io", "ly", "me", "gg", "cc", "tv", "tk", "ru", "cn"),
)
"""Of addresses that people write bare, and mail programs make links of. A title before a name ("Dr.Otieno") is none."""
WEB_ADDRESS = (
    r"://|(^|[^A-Za-z0-9])[Ww][Ww][Ww]\.|[A-Za-z0-9-]\.[A-Za-z]{2,}/|[A-Za-z0-9-]{2}\.("
    + "|".join("".join(f"[{letter.upper()}{letter}]" for letter in ending) for ending in ENDINGS)
    + r")([^A-Za-z0-9]|$)"
)
"""What a mail program makes a link of: nobody advertises through a shop's invoices. JavaScript reads it alike."""
REFERENCE = r"[A-Za-z0-9]{1,12}"
IDEMPOTENCY_KEY = r"[!-~]{1,255}"


def read_order(body: dict[str, object]) -> Order:
    """Raises a 422 `Problem` that names every field that cannot be used."""
    errors = unknown_fields(body, FIELDS, "is not a field of a payment")

    def read(name: str, reader: Callable[[object], T]) -> T | None:
        try:
            return reader(body.get(name))
        except ValueError as refused:
            errors.append(FieldError(name, str(refused)))
            return None

    msisdn = read("phone_number", read_msisdn)
    amount_kes = read("amount", read_amount_kes)
    reference = read("account_reference", read_reference)
    description = read("transaction_desc", lambda value: _read_line(value, LONGEST_DESCRIPTION))
    email = read("customer_email", read_email)
    name = read("customer_name", lambda value: _read_line(value, LONGEST_NAME))
    lang = read("lang", read_lang)
    if errors or msisdn is None or amount_kes is None or reference is None or lang is None:
        raise Problem(Kind.INVALID, *errors)
    return Order(msisdn, amount_kes, reference, description, email, name, lang)


def unknown_fields(body: Mapping[str, object], known: Iterable[str], detail: str) -> list[FieldError]:
    """Fields that nobody asked for, named where they look like names: an answer quotes nothing else that was sent."""
    named = [name if re.fullmatch(r"[a-z][A-Za-z_]{0,39}", name) else "?" for name in set(body) - set(known)]
    return [FieldError(name, detail) for name in sorted(set(named))[:5]]


def read_idempotency_key(request: Request, order: Order) -> IdempotencyKey | None:
    """The Idempotency-Key with a fingerprint of the order as we understood it. Raises a 422 `Problem`."""
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not re.fullmatch(IDEMPOTENCY_KEY, key):
        raise Problem(Kind.INVALID, FieldError("Idempotency-Key", "must be 1 to 255 visible ASCII characters"))
    understood = [
        order.msisdn,
        str(order.amount_kes),
        order.account_reference,
        order.transaction_desc,
        order.customer_email,
        order.customer_name,
        *([order.lang] if order.lang != DEFAULT_LANG else []),  # keys that are older than the field stay good
    ]
    return IdempotencyKey(key, hashlib.sha256(json.dumps(understood).encode()).hexdigest())


def read_reference(value: object) -> str:
    """What the customer sees in the prompt and on the statement. Daraja prints at most 12 characters."""
    if isinstance(value, str) and re.fullmatch(REFERENCE, value, re.ASCII):
        return value
    raise ValueError("must be 1 to 12 letters and digits, like INV00042")


def read_email(value: object) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, str) and is_email_address(value.strip()):
        return value.strip()
    raise ValueError("must be an e-mail address, like name@example.com")


def _read_line(value: object, longest: int) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > longest or any(map(_breaks_a_line, value)):
        raise ValueError(f"must be one line of at most {longest} characters")
    if re.search(WEB_ADDRESS, value):
        raise ValueError("must hold no web address")
    return value.strip() or None


def _breaks_a_line(character: str) -> bool:
    """Control, format and private characters, halves of pairs, separators but the space. What Unicode has assigned
    since this Python was made is none of these."""
    return character != " " and unicodedata.category(character) in NOT_IN_A_LINE
