"""The fields of what customers send: how each is read, and its JSON Schema, which public/openapi.json prints."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from shared.links import LONGEST_TOKEN
from shared.prices import ITEM_ID, LARGEST_QUANTITY, MOST_LINES, Line, read_cart
from shared.values import (
    EMAIL_ADDRESS,
    LARGEST_KES,
    LONGEST_EMAIL_ADDRESS,
    LONGEST_PHONE,
    SMALLEST_KES,
    TRANSACTION_ID,
    is_email_address,
    one_line,
    read_amount_kes,
    read_line,
    read_msisdn,
)

REFERENCE = r"^[A-Za-z0-9]{1,12}$"
"""Daraja prints at most 12 characters."""
REFERENCE_MUST_BE = "must be 1 to 12 letters and digits, like INV00042"
LINK_MUST_BE = "must be the token of a payment link"
LONGEST_NOTE = 200


def _read_reference(value: object) -> str:
    if isinstance(value, str) and re.fullmatch(REFERENCE[1:-1], value):
        return value
    raise ValueError(REFERENCE_MUST_BE)


def _read_token(value: object) -> str:
    if isinstance(value, str) and 1 <= len(value) <= LONGEST_TOKEN:
        return value
    raise ValueError(LINK_MUST_BE)


def _read_note(note: str) -> str | None:
    """On one line. ValueError where it is too long."""
    line = one_line(note)
    if len(line) > LONGEST_NOTE:
        raise ValueError(f"must have at most {LONGEST_NOTE} characters")
    return line or None


def _read_email(value: object) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, str) and is_email_address(value.strip()):
        return value.strip()
    raise ValueError("must be an e-mail address, like name@example.com")


_GAP = r"[ \-.()]*"
_PHONE_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {
            "type": "string",
            "maxLength": LONGEST_PHONE,
            "pattern": rf"^{_GAP}((\+|00?)?{_GAP}2{_GAP}5{_GAP}4{_GAP}(0{_GAP})?|0{_GAP})?[71]{_GAP}"
            rf"{f'[0-9]{_GAP}' * 8}$",
        },
        *(
            {"type": "integer", "minimum": int(f"{start}00000000"), "maximum": int(f"{start}99999999")}
            for start in ("1", "7", "2541", "2547")
        ),
    ]
}
_AMOUNT_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "integer", "minimum": int(SMALLEST_KES), "maximum": int(LARGEST_KES)},
        {
            "type": "string",
            "pattern": "^(0{0,6}[1-9]|0{0,5}[1-9][0-9]|0{0,4}[1-9][0-9]{2}|0{0,3}[1-9][0-9]{3}"
            r"|0{0,2}[1-9][0-9]{4}|0?(1[0-9]{5}|2[0-4][0-9]{4}|250000))(\.0{1,2})?$",
        },
    ]
}
_EMAIL_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "string", "maxLength": LONGEST_EMAIL_ADDRESS, "pattern": f"^({EMAIL_ADDRESS})$"},
        {"enum": ["", None]},
    ]
}

_REFERENCE_SCHEMA: dict[str, Any] = {"type": "string", "pattern": REFERENCE}
_ITEMS_SCHEMA: dict[str, Any] = {
    "type": "array",
    "minItems": 1,
    "maxItems": MOST_LINES,
    "items": {
        "type": "object",
        "properties": {
            "id": {"type": "string", "pattern": f"^{ITEM_ID}$"},
            "quantity": {"type": "integer", "minimum": 1, "maximum": LARGEST_QUANTITY},
        },
        "required": ["id", "quantity"],
        "additionalProperties": False,
    },
}
_TOKEN_SCHEMA: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": LONGEST_TOKEN}

Phone = Annotated[str, BeforeValidator(read_msisdn), WithJsonSchema(_PHONE_SCHEMA)]
Amount = Annotated[Decimal | None, BeforeValidator(read_amount_kes), WithJsonSchema(_AMOUNT_SCHEMA)]
Items = Annotated[tuple[Line, ...] | None, BeforeValidator(read_cart), WithJsonSchema(_ITEMS_SCHEMA)]
Reference = Annotated[str | None, BeforeValidator(_read_reference), WithJsonSchema(_REFERENCE_SCHEMA)]
Token = Annotated[str | None, BeforeValidator(_read_token), WithJsonSchema(_TOKEN_SCHEMA)]
Email = Annotated[str | None, BeforeValidator(_read_email), WithJsonSchema(_EMAIL_SCHEMA)]
Words = Annotated[str, Field(strict=True), AfterValidator(read_line)]
Note = Annotated[str, AfterValidator(_read_note), WithJsonSchema({"type": "string", "maxLength": LONGEST_NOTE})]
TransactionId = Annotated[str, Field(pattern=f"^{TRANSACTION_ID}$", description="In lower case, as it was given out.")]
