"""Amounts: `Decimal`, whole shillings, from 1 to what M-Pesa moves in one transaction.

Source of the limits: Daraja portal, M-Pesa Express FAQ 5 (no decimals; 250,000 per transaction, 500,000 a day).
"""

from __future__ import annotations

from decimal import Decimal

SMALLEST_KES = Decimal(1)
LARGEST_KES = Decimal(250_000)
LARGEST_DAY_KES = Decimal(500_000)
"""What one customer's account moves in a day."""
MUST_BE = "must be a number of whole shillings, like 1500"


def read_amount_kes(value: object) -> Decimal:
    """A JSON number (or the same digits as text) as whole shillings. ValueError says what is accepted."""
    if (isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 7) or (
        isinstance(value, int | Decimal) and not isinstance(value, bool)
    ):
        amount_kes = Decimal(value)
    else:
        raise ValueError(MUST_BE)
    if not amount_kes.is_finite() or not SMALLEST_KES <= amount_kes <= LARGEST_KES:
        raise ValueError(f"must be between {SMALLEST_KES} and {LARGEST_KES:,} shillings")
    if amount_kes != amount_kes.to_integral_value():
        raise ValueError("must be whole shillings: M-Pesa takes no cents")
    return amount_kes.quantize(Decimal(1))


def in_words(amount_kes: Decimal) -> str:
    """`KES 1,500`, as customers and operators read it."""
    return f"KES {amount_kes:,.0f}"
