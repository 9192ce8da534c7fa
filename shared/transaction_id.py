"""A payment's own id: a UUID in lower case, exactly as it was given out.

Who holds the id may read the payment, so it is compared as text: an id in capitals belongs to no payment.
"""

from __future__ import annotations

import os
import re
import time
import uuid
from typing import TypeGuard

TRANSACTION_ID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


def is_transaction_id(value: object) -> TypeGuard[str]:
    """True for the right form. Only the database knows whether there is such a payment."""
    return isinstance(value, str) and re.fullmatch(TRANSACTION_ID, value, re.ASCII) is not None


def new_id() -> str:
    """A UUID version 7 (RFC 9562): 48 bits of milliseconds, then 74 random bits.

    Keys that grow with time keep an index's new entries on one page: a callback in large books writes less than half of
    the log that random keys would cost.
    """
    milliseconds = time.time_ns() // 1_000_000
    number = milliseconds << 80 | int.from_bytes(os.urandom(10), "big")
    number = number & ~(0xF << 76) | 0x7 << 76  # version
    number = number & ~(0b11 << 62) | 0b10 << 62  # variant
    return str(uuid.UUID(int=number))
