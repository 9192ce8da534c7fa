"""A payment's own id: a UUID in lower case, exactly as it was given out.

Who holds the id may read the payment, so it is compared as text: an id in capitals belongs to no payment.
"""

from __future__ import annotations

import re
from typing import TypeGuard

TRANSACTION_ID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


def is_transaction_id(value: object) -> TypeGuard[str]:
    """True for the right form. Only the database knows whether there is such a payment."""
    return isinstance(value, str) and re.fullmatch(TRANSACTION_ID, value, re.ASCII) is not None
