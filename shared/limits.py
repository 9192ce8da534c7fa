"""Names of the limits on pushes, and how long an unanswered phone rests. Pure.

`shared.gateway.admissions` and the function `room_for_push` of db/schema.sql count and refuse. How much is allowed is
read from the environment (shared/environment_variables.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

REST_S = (5 * 60, 15 * 60, 60 * 60, 6 * 60 * 60)
"""Seconds that a phone rests when the allowed number of pushes in a row is unanswered, and after each further one."""
ASKED_FOR_EACH_PROMPT = 3
"""Pushes, refused ones included, for each prompt that is allowed: a refused one rings no phone, but calls Daraja."""


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
