"""What stands in the database where a person stood. Standard library only: the callback function reads it.

Erasing a person (`python -m ops privacy erase`) writes nine digits that begin with 0 in place of their number:
`254712345678` becomes `2540…`, which is nobody's (after 254 no Kenyan number begins with 0). A CheckoutRequestID that
ended in the number then ends in the same digits.

A callback that comes later still names the push by the id with the number in it. It is the same push when the stored
ids equal the named ones in everything but these digits. The number need not be kept for that.
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


def as_told(stored: Ids | None, named: Ids | None, msisdn: str) -> Ids | None:
    """The stored ids of a payment, spelt as the evidence spells them where only the erased digits differ."""
    digits = _ERASED.fullmatch(msisdn)
    if stored is None or named is None or digits is None:
        return stored
    kept = [re.escape(part) for part in _together(stored).split(digits[1])]
    found = re.fullmatch("([0-9]{9})".join(kept), _together(named), re.ASCII)
    return named if found and len(set(found.groups())) == 1 else stored


def _together(ids: Ids) -> str:
    return f"{ids.merchant_request_id} {ids.checkout_request_id}"
