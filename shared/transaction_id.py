"""A payment's own id: a UUID in lower case, exactly as it was given out.

It is the capability to read the payment, so it is compared as text: an id in capitals is nobody's.
"""

from __future__ import annotations

import re
from typing import TypeGuard

TRANSACTION_ID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


def is_transaction_id(value: object) -> TypeGuard[str]:
    """Of the right form; whether there is such a payment is the database's to say."""
    return isinstance(value, str) and re.fullmatch(TRANSACTION_ID, value, re.ASCII) is not None
