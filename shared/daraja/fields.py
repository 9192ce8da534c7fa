"""Daraja's JSON and the fields that callbacks and answers share, read strictly. Standard library only."""

from __future__ import annotations

import json
import re
from decimal import Decimal, DecimalException
from typing import Any, NoReturn

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
