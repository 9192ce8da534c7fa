"""What customers send: the bodies of stkpush and invoice as pydantic models, and the order that is read from one.

public/openapi.json is printed from the models. Import this module only where a body is read: the other functions do not
pay for pydantic at a cold start.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema

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


@dataclass(frozen=True)
class IdempotencyKey:
    """The caller's key, and a digest of the order: the same key with another digest is a mistake of the caller."""

    key: str
    fingerprint: str


# The bodies -----------------------------------------------------------------------------------------------------------

REFERENCE = r"^[A-Za-z0-9]{1,12}$"
"""Daraja prints at most 12 characters."""
LONGEST_NOTE = 200


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

Phone = Annotated[str, BeforeValidator(read_msisdn), WithJsonSchema(_PHONE_SCHEMA)]
Amount = Annotated[Decimal, BeforeValidator(read_amount_kes), WithJsonSchema(_AMOUNT_SCHEMA)]
Email = Annotated[str | None, BeforeValidator(_read_email), WithJsonSchema(_EMAIL_SCHEMA)]
Line = Annotated[str, Field(strict=True), AfterValidator(read_line)]
Note = Annotated[str, AfterValidator(_read_note), WithJsonSchema({"type": "string", "maxLength": LONGEST_NOTE})]
TransactionId = Annotated[str, Field(pattern=f"^{TRANSACTION_ID}$", description="In lower case, as it was given out.")]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    must_be: ClassVar[dict[str, str]] = {}
    """What each field must be, where its reader does not say it itself."""


class StkpushRequest(_Body):
    """One payment that a customer asks for."""

    phone_number: Phone = Field(description="A Kenyan mobile number in any form: 0712…, 0110…, 712…, 254…, +254….")
    amount: Amount = Field(description="Whole Kenyan shillings.")
    account_reference: str = Field(
        pattern=REFERENCE, description="The customer sees it in the prompt and on the statement."
    )
    transaction_desc: Line | None = Field(None, description="Taken as it is, as one line, cut at 100 characters.")
    customer_email: Email = Field(
        None, description="The invoice goes there, and notices of what else becomes of the payment."
    )
    customer_name: Line | None = Field(None, description="Taken as it is, as one line, cut at 100 characters.")
    note: Note | None = Field(None, description="The customer's words to the shop: a delivery address, a size.")
    lang: Lang | None = Field(
        DEFAULT_LANG, description="What the invoice and notices are written in: English or Swahili."
    )

    must_be = {
        "phone_number": PHONE_MUST_BE,
        "amount": AMOUNT_MUST_BE,
        "account_reference": "must be 1 to 12 letters and digits, like INV00042",
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


def read_order(body: dict[str, object]) -> Order:
    """Raises a 422 `Problem` that names every field that cannot be used."""
    asked = _read(StkpushRequest, body)
    return Order(
        msisdn=asked.phone_number,
        amount_kes=asked.amount,
        account_reference=asked.account_reference,
        transaction_desc=asked.transaction_desc,
        customer_email=asked.customer_email,
        customer_name=asked.customer_name,
        note=asked.note,
        lang=asked.lang or DEFAULT_LANG,
    )


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


def read_idempotency_key(key: str | None, order: Order) -> IdempotencyKey | None:
    """From the header's value. None where there is no such header. Raises a 422 `Problem`."""
    if key is None:
        return None
    if not re.fullmatch(IDEMPOTENCY_KEY, key):
        raise Problem(Kind.INVALID, FieldError("Idempotency-Key", "must be 1 to 255 visible ASCII characters"))
    normalised = json.dumps(asdict(order), default=str, sort_keys=True)
    return IdempotencyKey(key, hashlib.sha256(normalised.encode()).hexdigest())
