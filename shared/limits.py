"""The limits on pushes: what can be limited, how long an unanswered phone rests, how a caller's address is counted.

Pure. `shared.settings` reads how much is allowed; the counting, and the locks that make it exact, are in
`shared.gateway.admissions` and db/schema.sql.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

REST_S = (5 * 60, 15 * 60, 60 * 60, 6 * 60 * 60)
"""Seconds that a phone rests when the allowed number of pushes in a row is unanswered, and after each further one."""
ASKED_FOR_EACH_PROMPT = 3
"""Pushes, refused ones included, for each prompt that is allowed: a refused one rings no phone, but calls Daraja."""
NOBODY = "no address"


class Scope(StrEnum):
    """What the pushes were counted for."""

    PHONE = "phone"
    ADDRESS = "address"
    SHOP = "shop"


class MoneyLimit(StrEnum):
    """Which sum would be exceeded."""

    PAYMENT = "payment"
    PHONE_DAY = "phone_day"
    SHOP_DAY = "shop_day"


@dataclass(frozen=True)
class Limits:
    """How much this shop allows. Days are Nairobi's; hours and minutes are the last 60 minutes or seconds."""

    payment_kes: Decimal
    phone_kes_a_day: Decimal
    shop_kes_a_day: Decimal | None
    """None: no limit of ours."""
    phone_pushes_an_hour: int
    phone_unanswered_in_a_row: int
    address_pushes_an_hour: int
    shop_pushes_a_minute: int


def caller_digest(address: str | None, key: str) -> str:
    """HMAC of the caller's network: one IPv4 address, or the /64 of an IPv6 address, since one household has all of it.

    All callers without a valid address share one count, so nobody gains by leaving it out.
    """
    return hmac.new(key.encode(), f"lipa caller {_network(address)}".encode(), hashlib.sha256).hexdigest()


def _network(address: str | None) -> str:
    try:
        parsed = ipaddress.ip_address((address or "").strip().partition("%")[0])
    except ValueError:
        return NOBODY
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is None:
            return str(ipaddress.ip_network((parsed, 64), strict=False))
        parsed = parsed.ipv4_mapped
    return str(parsed)
