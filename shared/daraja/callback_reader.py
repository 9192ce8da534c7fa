"""Daraja's callbacks, read once into values. Reading never raises: every way of being wrong is an outcome.

Standard library only. The callback function reads its one message here, and its start must stay cheap: pydantic would
cost it nearly as much again as all the rest. So strictness is spelt out by hand, for these few fields. What Daraja
answers to our own calls is read by pydantic models, in calls.py, which takes JSON, codes and prose from here.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, DecimalException
from typing import Any, NoReturn, TypeAlias

from shared.daraja.result_codes import CALLBACK_FAILURES
from shared.values import EAT

# What a callback says -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CallbackIds:
    """Daraja's two names for the push; None where the callback does not name one. Never to be logged."""

    merchant_request_id: str | None
    checkout_request_id: str | None


@dataclass(frozen=True, slots=True)
class CallbackSuccess:
    """Result code 0. Everything else is None where it is absent or not of the one form that can be believed."""

    ids: CallbackIds
    amount_kes: Decimal | None
    amount_said: Decimal | None
    """A number in another form, where there is no `amount_kes`: in text, or one that no ledger holds."""
    receipt: str | None
    transaction_date: datetime | None
    phone: str | None
    balance_kes: Decimal | None
    description: str


@dataclass(frozen=True, slots=True)
class CallbackFailure:
    """A failing code of the closed callback table."""

    ids: CallbackIds
    code: str
    description: str


@dataclass(frozen=True, slots=True)
class CallbackUnknownCode:
    """A code nobody has explained: it settles nothing."""

    ids: CallbackIds
    code: str
    description: str


@dataclass(frozen=True, slots=True)
class CallbackUnreadable:
    """Not a callback of Daraja's form. `reason` never quotes it."""

    reason: str


CallbackRead: TypeAlias = CallbackSuccess | CallbackFailure | CallbackUnknownCode | CallbackUnreadable


def read_message(body: bytes) -> tuple[CallbackRead, tuple[str, ...]]:
    """What an STK callback says, and every receipt number in its bytes, also where they cannot be read. Never raises.

    A receipt is money that somebody paid, so it is looked for in all of the message: also one that is broken, that is
    no callback, or that says two things. At most 20, each once.
    """
    try:
        message = read_object(body)
    except Unreadable as why:
        return CallbackUnreadable(str(why)), _receipts(_receipts_in_broken(body))
    receipts = _receipts(_receipts_within(message))
    try:
        return _read_callback(message), receipts
    except Unreadable as why:
        return CallbackUnreadable(str(why)), receipts


def read_callback(body: bytes) -> CallbackRead:
    """What an STK callback says. Never raises, whatever the bytes."""
    return read_message(body)[0]


def receipts_seen(body: bytes) -> tuple[str, ...]:
    """Every receipt number in a message. Never raises."""
    return read_message(body)[1]


# One field each -------------------------------------------------------------------------------------------------------


def _read_callback(message: dict[str, Any]) -> CallbackRead:
    outer = _object(message, "Body")
    callback = _object(outer, "stkCallback")
    ids = CallbackIds(_id(callback, "MerchantRequestID"), _id(callback, "CheckoutRequestID"))
    code = result_code(callback.get("ResultCode"))
    if code is None:
        raise Unreadable("ResultCode is missing or no code")
    description = prose(callback.get("ResultDesc"))
    if code in CALLBACK_FAILURES:
        return CallbackFailure(ids, code, description)
    if code != "0":
        return CallbackUnknownCode(ids, code, description)
    items = _items(callback)
    return CallbackSuccess(
        ids=ids,
        amount_kes=(amount_kes := _kes(items.get("Amount"))),
        amount_said=_number(items.get("Amount")) if amount_kes is None else None,
        receipt=_receipt(items.get("MpesaReceiptNumber")),
        transaction_date=_moment(items.get("TransactionDate")),
        phone=_phone(items.get("PhoneNumber")),
        balance_kes=_kes(items.get("Balance")),
        description=description,
    )


def _object(parent: dict[str, Any], name: str) -> dict[str, Any]:
    value = parent.get(name)
    if not isinstance(value, dict):
        raise Unreadable(f"{name} is missing or not an object")
    return value


def _id(callback: dict[str, Any], name: str) -> str | None:
    value = callback.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or not re.fullmatch(ID, value):
        raise Unreadable(f"{name} is not an id")
    return value


def _items(callback: dict[str, Any]) -> dict[str, Any]:
    """The metadata by name. Their order has no meaning, a value may be missing, and so may all of it."""
    metadata = callback.get("CallbackMetadata")
    if metadata is None:
        return {}
    if not isinstance(metadata, dict):
        raise Unreadable("CallbackMetadata is not an object")
    entries = metadata.get("Item")
    if entries is None:
        return {}
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise Unreadable("CallbackMetadata's Item is not a list of objects")
    items: dict[str, Any] = {}
    for entry in entries:
        name, value = entry.get("Name"), entry.get("Value")
        if not isinstance(name, str):
            continue
        if name in items and not _same(items[name], value):
            raise Unreadable("CallbackMetadata says one thing in two ways")
        items[name] = value
    return items


def _same(one: object, other: object) -> bool:
    return type(one) is type(other) and one == other


def _kes(value: object) -> Decimal | None:
    """A JSON number that the ledger can hold exactly. Text is no amount, and neither is true."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    if not 0 <= value < 100_000_000:
        return None
    amount = Decimal(value)
    return amount if amount == round(amount, 2) else None


def _number(value: object) -> Decimal | None:
    """Any number, also in text: `"5000"`, `"5,000.00"`."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        return None
    try:
        number = Decimal(value.replace(",", "").strip()[:50] if isinstance(value, str) else value)
    except DecimalException:
        return None
    return number if number.is_finite() else None


def _receipt(value: object) -> str | None:
    """In capitals, as Safaricom writes it: in small letters it is the same receipt. It is kept for ever, so what could
    be a phone number or an e-mail address is no receipt.
    """
    text = value.strip().upper() if isinstance(value, str) else ""
    return text if re.fullmatch(r"[!-?A-~]{1,50}", text) and not PHONE_NUMBER.search(text) else None


def _moment(value: object) -> datetime | None:
    """20251003030427, as a number in every capture; one tutorial shows text like 2025-10-03 03:04:27."""
    if not isinstance(value, int | str):
        return None
    digits = re.fullmatch(r"(20\d\d)-?(\d\d)-?(\d\d)[ T]?(\d\d):?(\d\d):?(\d\d)", str(value), re.ASCII)
    if not digits:
        return None
    try:
        return datetime(*(int(part) for part in digits.groups()), tzinfo=EAT)  # type: ignore[misc,arg-type]
    except ValueError:
        return None


def _phone(value: object) -> str | None:
    """Full or masked, number or text. Kept for people to read, never compared."""
    if not isinstance(value, int | str):
        return None
    text = str(value).strip()
    return text if re.fullmatch(r"\+?[0-9*]{4,19}", text) else None


_RECEIPT_IN_TEXT = (
    re.compile(r'"MpesaReceiptNumber"\s{0,20},\s{0,20}"Value"\s{0,20}:\s{0,20}"(?P<receipt>[^"\\]{1,60})"'),
    re.compile(r'"Value"\s{0,20}:\s{0,20}"(?P<receipt>[^"\\]{1,60})"\s{0,20},\s{0,20}"Name"\s{0,20}:\s{0,20}"MpesaReceiptNumber"'),
    re.compile(r'"TransID"\s{0,20}:\s{0,20}"(?P<receipt>[^"\\]{1,60})"'),
)  # fmt: skip


def _receipts(found: Iterable[object]) -> tuple[str, ...]:
    texts = (str(each) if type(each) is int else each for each in found)
    return tuple(dict.fromkeys(receipt for text in texts if (receipt := _receipt(text))))[:20]


def _receipts_within(value: object) -> Iterator[object]:
    unread = [value]
    while unread:
        match unread.pop():
            case {"Name": "MpesaReceiptNumber", "Value": receipt} | {"TransID": receipt}:  # the second in a C2B message
                yield receipt
            case dict() as some:
                unread.extend(reversed(some.values()))
            case list() as some:
                unread.extend(reversed(some))


def _receipts_in_broken(body: bytes) -> Iterator[object]:
    """By the letter too: both of two values, and what stands before the end of a message that broke off."""
    text = body[:LONGEST_MESSAGE_BYTES].decode("utf-8", "replace")
    with contextlib.suppress(ValueError, RecursionError):
        yield from _receipts_within(json.loads(text.removeprefix("\ufeff"), parse_int=str))
    for pattern in _RECEIPT_IN_TEXT:
        yield from (match["receipt"] for match in pattern.finditer(text))


# JSON, codes and prose, read strictly ---------------------------------------------------------------------------------

LONGEST_MESSAGE_BYTES = 256 * 1024
"""A callback of 2025 has 435 bytes. Longer than this is not read."""

ID = r"^[!-~]{1,255}$"
"""An id of Daraja's: it can be stored and compared, and means nothing to us."""

PHONE_NUMBER = re.compile(r"(?<![0-9])(?:254|0)?[17][0-9]{8}(?![0-9])")


class Unreadable(ValueError):
    """Bytes that are not what they should be. Its text says what is wrong and never quotes them."""


def read_object(body: bytes) -> dict[str, Any]:
    """A JSON object, strictly: UTF-8, no key twice, no NaN; numbers are int or Decimal. Raises only `Unreadable`."""
    if len(body) > LONGEST_MESSAGE_BYTES:
        raise Unreadable("longer than any message of Daraja's")
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Unreadable("not UTF-8") from None
    try:
        value = json.loads(text, parse_float=_decimal, parse_constant=_no_constant, object_pairs_hook=_each_key_once)
    except RecursionError:
        raise Unreadable("nested too deeply") from None
    except Unreadable:
        raise
    except ValueError:  # not JSON, or an integer of more digits than Python converts
        raise Unreadable("not JSON") from None
    if not isinstance(value, dict):
        raise Unreadable("not a JSON object")
    return value


def result_code(value: object) -> str | None:
    """A result code as text, from a JSON number or text. 0.0 is not 0, True is not 1, and nothing is converted.

    It goes into the audit log, for ever: what could be a phone number is no code.
    """
    match value:
        case bool():
            return None
        case int():
            text = str(value)
        case Decimal():  # 0e0 is no 0 either, though Decimal shows it as one
            text = str(value) if "." in str(value) else f"{value}.0"
        case str():
            text = value
        case _:
            return None
    return text if re.fullmatch(r"[A-Za-z0-9_.+-]{1,50}", text) and not PHONE_NUMBER.search(text) else None


def prose(value: object) -> str:
    """Daraja's words for people: printable, not too long, without whatever could be a phone number or a token."""
    if not isinstance(value, str):
        return ""
    printable = "".join([character if character.isprintable() else " " for character in value[:300]])
    return re.sub(r"[0-9*]{9,}|[A-Za-z0-9_]{24,}", "…", printable).strip()


def _decimal(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except DecimalException:
        raise Unreadable("a number no computer can hold") from None
    if not value.is_finite() or value.adjusted() > 50 or len(text) > 100:
        raise Unreadable("a number no ledger can hold")
    return value


def _no_constant(_: str) -> NoReturn:
    raise Unreadable("NaN or Infinity is not JSON")


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    if len(read) != len(pairs):
        raise Unreadable("a key stands twice in one object")
    return read
