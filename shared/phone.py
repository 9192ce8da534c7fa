"""Phone numbers (MSISDNs): read in every Kenyan form, stored as `254…`, shown masked.

Only the shape is checked: `254`, then `7` or `1`, then eight digits. Only Safaricom knows whether it is an M-Pesa line:
numbers move between networks, and new prefixes appear (018x and 014x in August 2026).
"""

from __future__ import annotations

import re
from decimal import Decimal

MUST_BE = "must be a Kenyan mobile number, like 0712345678 or +254712345678"
LONGEST_WRITTEN = 30
_FILLING = re.compile(r"[ \-.()]")
_KENYAN = re.compile(r"(?:\+?254|0)?([71][0-9]{8})", re.ASCII)


def read_msisdn(value: object) -> str:
    """`0712 345 678`, `712345678`, `+254 712…`, `254712…` → `254712345678`. ValueError says what is accepted."""
    if isinstance(value, Decimal) and value.is_finite() and 0 < value < 10**12 and value == int(value):
        value = int(value)  # 712345678.0 is the same number in JSON
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        value = str(value)
    if isinstance(value, str) and len(value) <= LONGEST_WRITTEN:
        found = _KENYAN.fullmatch(_FILLING.sub("", value.strip()))
        if found:
            return "254" + found[1]
    raise ValueError(MUST_BE)


def masked(msisdn: str) -> str:
    """`2547*****678`: a customer recognises it, and nobody can call it. An erased number says so."""
    if msisdn.startswith("2540"):
        return "an erased number"
    return f"{msisdn[:4]}*****{msisdn[-3:]}"
