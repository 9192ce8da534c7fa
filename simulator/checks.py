"""What is wrong with a request, in Daraja's order: each function returns the refusal, or what it read.

The order is inferred (INF); each single refusal is documented or was seen, unless a line says otherwise.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from urllib.parse import urlsplit

from simulator.bodies import (
    INVALID_ACCESS_TOKEN,
    INVALID_AUTHENTICATION_HEADER,
    MERCHANT_DOES_NOT_EXIST,
    WRONG_CREDENTIALS,
    Refusal,
    invalid,
    method_not_allowed,
)
from simulator.payments import Push
from simulator.settings import Merchant, MerchantKind
from simulator.tokens import Tokens

HIGHEST_AMOUNT_KES = 250_000
"""A transaction's limit (Daraja portal, M-Pesa Express FAQ 5)."""

_MSISDN = re.compile(r"254[17]\d{8}")
_SHORTCODE = re.compile(r"\d{5,7}")
_BANNED_WORDS = re.compile(r"m-?pesa|safaricom|exec?|cmd|sql|query", re.IGNORECASE)
_TYPE_OF = {MerchantKind.PAYBILL: "CustomerPayBillOnline", MerchantKind.TILL: "CustomerBuyGoodsOnline"}

Fields = Mapping[str, object]
Merchants = Mapping[str, Merchant]


def caller(method: str, authorization: str | None, tokens: Tokens) -> Refusal | None:
    """Method, header, token: checked before the body."""
    if method != "POST":
        return method_not_allowed(method)
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        return INVALID_AUTHENTICATION_HEADER
    if not tokens.accepts(token.strip()):
        return INVALID_ACCESS_TOKEN
    return None


def fields(content_type: str, body: bytes) -> Fields | Refusal:
    """A wrong content type reads as no fields at all, so the first one is missing (M-Pesa Express FAQ 9)."""
    if content_type == "application/json":
        with suppress(ValueError, RecursionError):
            content = json.loads(body, parse_float=Decimal)
            if isinstance(content, dict):
                return content
    return invalid("BusinessShortCode")


def push(fields: Fields, merchants: Merchants, *, refuse_banned_words: bool) -> Push | Refusal:
    """Each field in the order of the official request, then the merchant, then the password."""
    refusal = _first_wrong_field(
        [
            ("BusinessShortCode", _is(_SHORTCODE, fields.get("BusinessShortCode"))),
            ("Password", bool(_text(fields.get("Password")))),
            ("Timestamp", _is_timestamp(fields.get("Timestamp"))),  # INF: this message was never seen
            ("TransactionType", _is_transaction_type(fields, merchants)),
            ("Amount", _is_amount(fields.get("Amount"))),
            ("PartyA", _is(_MSISDN, fields.get("PartyA"))),
            ("PartyB", _is(_SHORTCODE, fields.get("PartyB"))),
            ("PhoneNumber", _is(_MSISDN, fields.get("PhoneNumber"))),
            ("CallBackURL", _is_callback_url(fields.get("CallBackURL"), refuse_banned_words)),
            ("AccountReference", bool(_text(fields.get("AccountReference")))),  # INF; its length is not enforced
            ("Remarks", bool(_text(fields.get("TransactionDesc")))),  # the misleading name is Daraja's own
        ]
    )
    if refusal is not None:
        return refusal
    merchant = _merchant(fields, merchants)
    if isinstance(merchant, Refusal):
        return merchant
    return Push(
        merchant=merchant,
        amount_kes=int(_text(fields["Amount"])),
        msisdn=_text(fields["PhoneNumber"]),
        party_b=_text(fields["PartyB"]),
        callback_url=_text(fields["CallBackURL"]),
        account_reference=_text(fields["AccountReference"]),
        transaction_desc=_text(fields["TransactionDesc"]),
    )


def query(fields: Fields, merchants: Merchants) -> str | Refusal:
    """The CheckoutRequestID. Its form is not checked: an unknown one has its own answers."""
    refusal = _first_wrong_field(
        [
            ("BusinessShortCode", _is(_SHORTCODE, fields.get("BusinessShortCode"))),
            ("Password", bool(_text(fields.get("Password")))),
            ("Timestamp", _is_timestamp(fields.get("Timestamp"))),  # INF, as above
            ("CheckoutRequestID", bool(_text(fields.get("CheckoutRequestID")))),
        ]
    )
    if refusal is not None:
        return refusal
    merchant = _merchant(fields, merchants)
    return merchant if isinstance(merchant, Refusal) else _text(fields["CheckoutRequestID"])


def _first_wrong_field(found: Sequence[tuple[str, bool]]) -> Refusal | None:
    return next((invalid(name) for name, right in found if not right), None)


def _merchant(fields: Fields, merchants: Merchants) -> Merchant | Refusal:
    merchant = merchants.get(_text(fields["BusinessShortCode"]))
    if merchant is None:
        return MERCHANT_DOES_NOT_EXIST
    expected = f"{merchant.shortcode}{merchant.passkey}{_text(fields['Timestamp'])}"
    try:
        password = base64.b64decode(_text(fields["Password"]), validate=True)
    except (binascii.Error, ValueError):
        return WRONG_CREDENTIALS
    return merchant if password == expected.encode() else WRONG_CREDENTIALS


def _text(value: object) -> str:
    """Numbers and numeric strings are both accepted in every field (observed); anything else reads as empty."""
    match value:
        case bool():
            return ""
        case int():
            return str(value)
        case str():
            return value
        case _:
            return ""


def _is(pattern: re.Pattern[str], value: object) -> bool:
    return pattern.fullmatch(_text(value)) is not None


def _is_timestamp(value: object) -> bool:
    """Fourteen digits that are a date. That Daraja checks it was never proven."""
    text = _text(value)
    if not re.fullmatch(r"\d{14}", text):
        return False
    try:
        datetime.strptime(text + "+0300", "%Y%m%d%H%M%S%z")
    except ValueError:
        return False
    return True


def _is_transaction_type(fields: Fields, merchants: Merchants) -> bool:
    """The sandbox's paybill refuses CustomerBuyGoodsOnline (observed 2026-10-06)."""
    asked = _text(fields.get("TransactionType"))
    merchant = merchants.get(_text(fields.get("BusinessShortCode")))
    return asked in _TYPE_OF.values() if merchant is None else asked == _TYPE_OF[merchant.kind]


def _is_amount(value: object) -> bool:
    """Whole shillings. INF: that more than the limit is refused here and not by a callback."""
    text = _text(value)
    return re.fullmatch(r"\d{1,12}", text) is not None and 1 <= int(text) <= HIGHEST_AMOUNT_KES


def _is_callback_url(value: object, refuse_banned_words: bool) -> bool:
    """The sandbox takes plain http and hosts that do not resolve; localhost, a placeholder and nothing it refuses.

    INF: numeric loopback addresses are taken, since on a laptop there is no other.
    """
    url = _text(value)
    if any(character.isspace() or character in "<>" for character in url):
        return False
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or not host or host == "localhost":
        return False
    return not (refuse_banned_words and _BANNED_WORDS.search(url))
