"""What a customer asked for, checked and normalised, and the Idempotency-Key that came with it."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from decimal import Decimal

from shared.problems import FieldError, Kind, Problem
from shared.values import DEFAULT_LANG, Lang

IDEMPOTENCY_KEY = r"[!-~]{1,255}"


@dataclass(frozen=True)
class Order:
    """One payment that a customer asked for. `shared.request_bodies` reads it from the body of a request."""

    msisdn: str
    amount_kes: Decimal
    account_reference: str
    transaction_desc: str | None = None
    customer_email: str | None = None
    customer_name: str | None = None
    lang: Lang = DEFAULT_LANG


@dataclass(frozen=True)
class IdempotencyKey:
    """The caller's key, and a digest of the order: the same key with another digest is a mistake of the caller."""

    key: str
    fingerprint: str


def read_idempotency_key(key: str | None, order: Order) -> IdempotencyKey | None:
    """From the header's value. None where there is no such header. Raises a 422 `Problem`."""
    if key is None:
        return None
    if not re.fullmatch(IDEMPOTENCY_KEY, key):
        raise Problem(Kind.INVALID, FieldError("Idempotency-Key", "must be 1 to 255 visible ASCII characters"))
    normalised = json.dumps(asdict(order), default=str, sort_keys=True)
    return IdempotencyKey(key, hashlib.sha256(normalised.encode()).hexdigest())
