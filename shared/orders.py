"""What customers send, field by field, and the order that is made of it: one file, because a new field begins here.

The shop decides what an order costs: its catalogue (shared/prices.py) or the link that it signed (shared/links.py).

public/openapi.json is printed from the models. Import this module only where a body is read: the other functions do not
pay for pydantic at a cold start.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema

from shared.prices import (
    CART_MUST_BE,
    ITEM_ID,
    LARGEST_QUANTITY,
    MOST_LINES,
    CartWrong,
    Catalogue,
    Line,
    Priced,
    price,
    read_cart,
    total_kes,
)
from shared.problems import FieldError, Kind, Problem
from shared.values import (
    AMOUNT_MUST_BE,
    DEFAULT_LANG,
    EMAIL_ADDRESS,
    LANGS,
    LARGEST_KES,
    LONGEST_EMAIL_ADDRESS,
    LONGEST_LINE,
    LONGEST_PHONE,
    LONGEST_TOKEN,
    PHONE_MUST_BE,
    SMALLEST_KES,
    TRANSACTION_ID,
    Lang,
    is_email_address,
    one_line,
    read_amount_kes,
    read_line,
    read_msisdn,
)

IDEMPOTENCY_KEY = r"[!-~]{1,255}"
EASY_TO_READ = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
SHOP_DECIDES = "must be sent: the shop's catalogue decides the amount"


@dataclass(frozen=True)
class Order:
    """One payment that a customer asked for, checked and normalised."""

    msisdn: str
    amount_kes: Decimal
    account_reference: str
    transaction_desc: str | None = None
    customer_email: str | None = None
    customer_name: str | None = None
    lang: Lang = DEFAULT_LANG
    note: str | None = None
    items: tuple[Priced, ...] | None = None
    """None: only the amount is known."""
    link_digest: bytes | None = None
    """Of the payment link that asks for it."""
    link_made_at: datetime | None = None


@dataclass(frozen=True)
class IdempotencyKey:
    """A digest of the phone and the caller's key, and one of the order: the same key with another order is a mistake.

    With the phone, so that nobody can use up the key of another customer.
    """

    key: str
    fingerprint: str


# The fields, each with its JSON Schema --------------------------------------------------------------------------------

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
    if isinstance(value, str):  # whatever it says: links.read judges it
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

Phone = Annotated[str, BeforeValidator(read_msisdn), WithJsonSchema(_PHONE_SCHEMA)]
Amount = Annotated[Decimal | None, BeforeValidator(read_amount_kes), WithJsonSchema(_AMOUNT_SCHEMA)]
Items = Annotated[tuple[Line, ...] | None, BeforeValidator(read_cart), WithJsonSchema(_ITEMS_SCHEMA)]
Reference = Annotated[
    str | None, BeforeValidator(_read_reference), WithJsonSchema({"type": "string", "pattern": REFERENCE})
]
Token = Annotated[
    str | None,
    BeforeValidator(_read_token),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": LONGEST_TOKEN}),
]
Email = Annotated[str | None, BeforeValidator(_read_email), WithJsonSchema(_EMAIL_SCHEMA)]
Words = Annotated[str, Field(strict=True), AfterValidator(read_line)]
Note = Annotated[str, AfterValidator(_read_note), WithJsonSchema({"type": "string", "maxLength": LONGEST_NOTE})]
TransactionId = Annotated[str, Field(pattern=f"^{TRANSACTION_ID}$", description="In lower case, as it was given out.")]


# The bodies -----------------------------------------------------------------------------------------------------------


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    must_be: ClassVar[dict[str, str]] = {}
    """What each field must be, where its reader does not say it itself."""


class StkpushRequest(_Body):
    """One payment that a customer asks for: of an amount, of items from the catalogue, or of a payment link."""

    phone_number: Phone = Field(description="A Kenyan mobile number in any form: 0712…, 0110…, 712…, 254…, +254….")
    amount: Amount = Field(
        None, description="Whole Kenyan shillings. Beside items: what the page showed, which must still be their sum."
    )
    items: Items = Field(None, description="What is bought, from the shop's catalogue, at the shop's prices.")
    order: Token = Field(None, description="The token of a payment link, which says all about the order.")
    account_reference: Reference = Field(
        None,
        description="The customer sees it in the prompt and on the statement. Where it is left out, one is made.",
    )
    transaction_desc: Words | None = Field(None, description="Taken as it is, as one line, cut at 100 characters.")
    customer_email: Email = Field(
        None, description="The invoice goes there, and notices of what else becomes of the payment."
    )
    customer_name: Words | None = Field(None, description="Taken as it is, as one line, cut at 100 characters.")
    note: Note | None = Field(None, description="The customer's words to the shop: a delivery address, a size.")
    lang: Lang | None = Field(
        DEFAULT_LANG, description="What the invoice and notices are written in: English or Swahili."
    )

    must_be = {
        "phone_number": PHONE_MUST_BE,
        "amount": AMOUNT_MUST_BE,
        "items": CART_MUST_BE,
        "order": LINK_MUST_BE,
        "account_reference": REFERENCE_MUST_BE,
        "transaction_desc": f"must be text; what is over {LONGEST_LINE} characters is cut",
        "customer_name": f"must be text; what is over {LONGEST_LINE} characters is cut",
        "note": f"must be text of at most {LONGEST_NOTE} characters",
        "lang": f"must be one of: {', '.join(LANGS)}",
    }


class InvoiceRequest(_Body):
    """The invoice of a paid payment, again."""

    transaction_id: TransactionId
    customer_email: Email = Field(None, description="Taken once, where none is stored.")

    must_be = {"transaction_id": "must be the id that the payment was given"}


def read_stkpush(body: dict[str, object]) -> StkpushRequest:
    """Raises a 422 `Problem` that names every field that cannot be used."""
    asked = _read(StkpushRequest, body)
    if asked.order is None:
        return asked
    decided = ("amount", "items", "account_reference", "transaction_desc")
    if beside := [name for name in decided if name in asked.model_fields_set]:
        raise Problem(Kind.INVALID, *(FieldError(name, "comes from the payment link: leave it out") for name in beside))
    return asked


def order_of(asked: StkpushRequest, catalogue: Catalogue | None, link_secrets: Sequence[str], now: datetime) -> Order:
    """The order at the shop's price. Raises a 422 `Problem`: `invalid`, `price_changed` or `order_invalid`."""
    if asked.order is not None:
        return _of_link(asked, asked.order, link_secrets, now)
    if asked.items is not None:
        items = _priced(asked.items, catalogue)
        amount_kes = total_kes(items)
        if asked.amount not in (None, amount_kes):
            raise Problem(Kind.PRICE_CHANGED, amount_kes=amount_kes)
        return _order(asked, amount_kes, asked.account_reference, asked.transaction_desc, items=items)
    if catalogue is not None and not catalogue.open_amounts:
        raise Problem(Kind.INVALID, FieldError("items", CART_MUST_BE if asked.amount is None else SHOP_DECIDES))
    if asked.amount is None:
        raise Problem(Kind.INVALID, FieldError("amount", AMOUNT_MUST_BE))
    return _order(asked, asked.amount, asked.account_reference, asked.transaction_desc)


def _of_link(asked: StkpushRequest, token: str, link_secrets: Sequence[str], now: datetime) -> Order:
    from shared import links  # few payments are of a link

    try:
        link = links.read(token, link_secrets, now)
    except links.LinkRefused as refused:
        raise Problem(Kind.ORDER_INVALID, FieldError("order", str(refused))) from None
    order = _order(asked, link.amount_kes, link.account_reference, link.description)
    return replace(order, link_digest=links.digest(token), link_made_at=link.made_at)


def _priced(cart: tuple[Line, ...], catalogue: Catalogue | None) -> tuple[Priced, ...]:
    if catalogue is None:
        raise Problem(Kind.INVALID, FieldError("items", "cannot be used here: this shop has no catalogue"))
    try:
        return price(catalogue, cart)
    except CartWrong as wrong:
        raise Problem(Kind.INVALID, *(FieldError("items", reason) for reason in wrong.reasons)) from None


def _order(
    asked: StkpushRequest,
    amount_kes: Decimal,
    reference: str | None,
    description: str | None,
    items: tuple[Priced, ...] | None = None,
) -> Order:
    return Order(
        msisdn=asked.phone_number,
        amount_kes=amount_kes,
        account_reference=reference or _new_reference(),
        transaction_desc=description,
        customer_email=asked.customer_email,
        customer_name=asked.customer_name,
        note=asked.note,
        lang=asked.lang or DEFAULT_LANG,
        items=items,
    )


def _new_reference() -> str:
    """Ten characters that nobody mistakes for each other: customers read them from their phone."""
    return "".join(secrets.choice(EASY_TO_READ) for _ in range(10))


def read_invoice_request(body: dict[str, object]) -> InvoiceRequest:
    """Raises a 422 `Problem` that names every field that cannot be used."""
    return _read(InvoiceRequest, body)


Model = TypeVar("Model", bound=_Body)


def _read(model: type[Model], body: dict[str, object]) -> Model:
    try:
        return model.model_validate(body)
    except ValidationError as refused:
        wrong, unknown = [], set()
        for error in refused.errors(include_url=False, include_input=False):
            name = str(error["loc"][0]) if error["loc"] else "?"
            if name not in model.model_fields:
                unknown.add(name if re.fullmatch(r"[a-z][A-Za-z_]{0,39}", name) else "?")  # never echo what is no name
            else:
                reason = error.get("ctx", {}).get("error")
                wrong.append(FieldError(name, str(reason) if reason else model.must_be[name]))
    wrong += [FieldError(name, "is not a field of this request") for name in sorted(unknown)[:5]]
    raise Problem(Kind.INVALID, *wrong)


def read_idempotency_key(key: str | None, asked: StkpushRequest) -> IdempotencyKey | None:
    """From the header's value. None where there is no such header. Raises a 422 `Problem`."""
    if key is None:
        return None
    if not re.fullmatch(IDEMPOTENCY_KEY, key):
        raise Problem(Kind.INVALID, FieldError("Idempotency-Key", "must be 1 to 255 visible ASCII characters"))
    normalised = json.dumps(asked.model_dump(), default=str, sort_keys=True)
    return IdempotencyKey(_digest(f"{asked.phone_number} {key}"), _digest(normalised))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
