"""References as people type them."""

from __future__ import annotations

import pytest

from ops.references import cleaned, is_reference, same_reference


@pytest.mark.parametrize(
    "typed", ["INV00042", "inv00042", " INV 00042 ", "inv-00042.", "INV/000-42", "INV\uff10\uff10\uff10\uff14\uff12"]
)
def test_a_reference_is_the_same_however_people_type_it(typed: str) -> None:
    assert same_reference(typed, "INV00042")
    assert is_reference(cleaned(typed))


@pytest.mark.parametrize(("one", "other"), [("INV00042", "INV0042"), ("INV00042", "INV00042A"), ("", ""), (None, " .")])
def test_another_reference_and_none_at_all_are_not_the_same(one: str | None, other: str | None) -> None:
    assert not same_reference(one, other)


@pytest.mark.parametrize("text", ["", "INV000420000A", "INVÉ", "INV 1", "٣"])
def test_not_every_text_can_be_a_reference(text: str) -> None:
    assert not is_reference(text)
