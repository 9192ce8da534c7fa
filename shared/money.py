"""Amounts: `Decimal`, whole shillings, from 1 to what M-Pesa moves in one transaction.

Source of the limits: Daraja portal, M-Pesa Express FAQ 5 (decimals are refused; 250,000 per transaction).
"""

from __future__ import annotations

from decimal import Decimal

SMALLEST_KES = Decimal(1)
LARGEST_KES = Decimal(250_000)


def read_amount_kes(value: object, largest_kes: Decimal = LARGEST_KES) -> Decimal:
    """A JSON number (or the same digits as text) as whole shillings. ValueError says what is accepted."""
    if (isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 7) or (
        isinstance(value, int | Decimal) and not isinstance(value, bool)
    ):
        amount_kes = Decimal(value)
    else:
        raise ValueError("must be a number of whole shillings, like 1500")
    if not amount_kes.is_finite() or not SMALLEST_KES <= amount_kes <= largest_kes:
        raise ValueError(f"must be between {SMALLEST_KES} and {largest_kes:,} shillings")
    if amount_kes != amount_kes.to_integral_value():
        raise ValueError("must be whole shillings: M-Pesa takes no cents")
    return amount_kes.quantize(Decimal(1))


def in_words(amount_kes: Decimal) -> str:
    """`KES 1,500`, as customers and operators read it."""
    return f"KES {amount_kes:,.0f}"
