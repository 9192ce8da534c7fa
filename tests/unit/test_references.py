"""Which order money by hand belongs to: references as people type them, and a till's payments without any."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from ops.references import ToTill, Unpaid, cleaned, is_reference, orders_of_till, same_reference

NOON = datetime(2026, 11, 3, 12, 0, tzinfo=UTC)


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


def order(reference: str, minutes: float = 0, kes: int = 700) -> Unpaid:
    return Unpaid(f"{reference} {minutes}", reference, Decimal(kes), NOON + timedelta(minutes=minutes))


def money(receipt: str, minutes: float, kes: str = "700") -> ToTill:
    return ToTill(receipt, Decimal(kes), NOON + timedelta(minutes=minutes))


@pytest.mark.parametrize(
    ("minutes", "kes", "proposed"),
    [
        (5, "700", True),
        (120, "700", True),
        (-2, "700", True),
        (121, "700", False),
        (-3, "700", False),
        (5, "701", False),
        (5, "700.50", False),
    ],
)
def test_a_till_payment_is_proposed_by_its_exact_amount_within_two_hours(
    minutes: float, kes: str, proposed: bool
) -> None:
    found = orders_of_till([money("UK1", minutes, kes)], [order("A1")])
    assert (found == {"UK1": order("A1")}) == proposed


def test_nothing_is_proposed_where_there_is_a_choice() -> None:
    assert orders_of_till([money("UK1", 5)], [order("A1"), order("B2", 1)]) == {}
    assert orders_of_till([money("UK1", 5), money("UK2", 6)], [order("A1")]) == {}


def test_attempts_at_one_order_are_one_order_and_the_newest_is_named() -> None:
    assert orders_of_till([money("UK1", 5)], [order("a1", 2), order("A1")]) == {"UK1": order("a1", 2)}
