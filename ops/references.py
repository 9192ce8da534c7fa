"""An order's reference, as a customer types it who pays the paybill by hand. Pure."""

from __future__ import annotations

from unicodedata import normalize

LONGEST_REFERENCE = 12


def cleaned(account: str | None) -> str:
    """What was typed, without spaces and punctuation: `inv 00042.` and `INV-00042` are the same order but for case."""
    kept = [letter for letter in normalize("NFKC", account or "") if letter.isalnum()]
    return "".join(kept)


def is_reference(text: str) -> bool:
    """Whether an order may be called so."""
    return 1 <= len(text) <= LONGEST_REFERENCE and text.isascii() and text.isalnum()


def same_reference(one: str | None, other: str | None) -> bool:
    """The same order, without case, spaces and punctuation. Nothing is the same as nothing typed."""
    return cleaned(one) != "" and cleaned(one).lower() == cleaned(other).lower()
