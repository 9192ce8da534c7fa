"""Everything that may happen to a payment, and what follows. Pure: standard library only, no socket, clock or environment."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """What is stored in transactions.status."""

    INITIATED = "INITIATED"
    PENDING = "PENDING"
    UNCERTAIN = "UNCERTAIN"
    PAID = "PAID"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"
    REVIEW = "REVIEW"
    REFUNDED = "REFUNDED"
