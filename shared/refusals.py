"""What a customer is told where a push is refused before anything is sent.

The answer says which limit it is and what to do. It never says what somebody else did with a phone: not whether it
paid, and not how much.
"""

from __future__ import annotations

from decimal import Decimal

from shared.edge import Problem
from shared.limits import MoneyLimit, Scope
from shared.money import in_words

TOO_MANY = {
    Scope.PHONE: "This phone was asked to pay several times. Give it a rest, and try again later.",
    Scope.ADDRESS: "Many payments were asked for from your connection. Wait, or try another connection.",
    Scope.SHOP: "Very many customers are paying at the moment. Try again in a minute.",
}
ABOVE = {
    MoneyLimit.PAYMENT: "This shop takes at most {most} in one payment. Pay a smaller amount, or ask the shop.",
    MoneyLimit.PHONE_DAY: "This shop takes at most {most} a day through one phone. This payment would go above it. "
    "Pay a smaller amount, come back tomorrow, or ask the shop.",
    MoneyLimit.SHOP_DAY: "This shop has reached what it takes through this page in a day. "
    "Come back tomorrow, or ask the shop how else to pay.",
}


def too_soon(retry_after_s: int) -> Problem:
    """Rule 2's guard: a payment like this one may still be paid."""
    return Problem(
        429,
        "too_soon",
        "Too soon",
        "A payment like this one was asked for just now. Finish it on the phone, or wait and try again.",
        headers={"retry-after": str(retry_after_s)},
        more={"retry_after_s": retry_after_s},
    )


def idempotency_mismatch() -> Problem:
    """A key names one request for ever."""
    return Problem(
        422,
        "idempotency_mismatch",
        "Another request had this key",
        "This Idempotency-Key was used for a different request. Use a new key for a new payment.",
    )


def too_many(scope: Scope, retry_after_s: int) -> Problem:
    """Too many pushes for this phone, from this address, or in this shop."""
    return Problem(
        429,
        "too_many",
        "Too many requests to pay",
        TOO_MANY[scope],
        headers={"retry-after": str(retry_after_s)},
        more={"limit": scope.value, "retry_after_s": retry_after_s},
    )


def above_limit(limit: MoneyLimit, most_kes: Decimal, retry_after_s: int | None) -> Problem:
    """A sum that would be exceeded. What the whole shop takes in a day is nobody else's business."""
    told = {} if limit is MoneyLimit.SHOP_DAY else {"most_kes": int(most_kes)}
    wait = {} if retry_after_s is None else {"retry_after_s": retry_after_s}
    return Problem(
        422,
        "above_limit",
        "Above a limit",
        ABOVE[limit].format(most=in_words(most_kes)),
        headers={name: str(seconds) for name, seconds in (("retry-after", retry_after_s),) if seconds is not None},
        more={"limit": limit.value, **told, **wait},
    )
