"""What stands in the books where a person stood. Standard library only: the callback function reads it.

Erasing a person (`python -m ops privacy erase`) puts nine digits that begin with 0 in place of the nine of their
number, wherever it stood: `254712345678` becomes `2540…`, which is nobody's (after 254 no Kenyan number begins with 0),
and everything keeps its form. A CheckoutRequestID that ended in the number then ends in these digits.

A callback that comes after that still says what Safaricom said: the number, and the id as it was. It names the same
push when the stored ids are the told ones but for these digits. Nothing of the number has to be kept to see that.
"""

from __future__ import annotations

import re

from shared.payments import Ids

ERASED_EMAIL = "erased@erased.invalid"
"""Where an invoice had been sent. `.invalid` is nobody's, for ever (RFC 2606)."""
_ERASED = re.compile(r"254(0[0-9]{8})", re.ASCII)


def is_erased(msisdn: str) -> bool:
    """Whether this stands where a phone number was erased."""
    return _ERASED.fullmatch(msisdn) is not None


def as_told(stored: Ids | None, told: Ids | None, msisdn: str) -> Ids | None:
    """The stored ids of a payment, spelt as the evidence spells them where only the erased digits differ."""
    return told if told is not None and number_told(stored, told, msisdn) else stored


def number_told(stored: Ids | None, told: Ids, msisdn: str) -> str | None:
    """The nine digits that stand in the told ids where the stored ones were erased; None: it is another push."""
    digits = _ERASED.fullmatch(msisdn)
    if stored is None or digits is None:
        return None
    one = f"{stored.merchant_request_id} {stored.checkout_request_id}"
    other = f"{told.merchant_request_id} {told.checkout_request_id}"
    erased_at = [re.escape(part) for part in one.split(digits[1])]
    found = re.fullmatch("([0-9]{9})".join(erased_at), other, re.ASCII)
    numbers = set(found.groups()) if found else set()
    return numbers.pop() if len(numbers) == 1 else None
