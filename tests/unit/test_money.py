"""Amounts: whole shillings between the limits of M-Pesa, exactly as they were written."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.money import in_words, read_amount_kes


@pytest.mark.parametrize(
    ("written", "amount_kes"),
    [
        (1, 1),
        (250_000, 250_000),
        (Decimal("1500.00"), 1500),
        (Decimal("1.5E+3"), 1500),
        ("1500", 1500),
        ("0150", 150),
    ],
)
def test_whole_shillings_are_read_however_they_are_written(written: object, amount_kes: int) -> None:
    read = read_amount_kes(written)
    assert read == amount_kes
    assert str(read) == str(amount_kes)


@pytest.mark.parametrize(
    "written",
    [
        0, -1, 250_001, 10**30, Decimal("0.99"), Decimal("1500.5"), Decimal("1.0000000000000000000000000000000001"),
        Decimal("NaN"), Decimal("Infinity"), Decimal("1E+999999"), Decimal("1E-999999"), True, False, None, 1500.0, [],
        {}, "", " 1500", "1,500", "1500.00", "1e3", "+1", "-1",
        "\u0661\u0665", "\uff11\uff15", "\u00b2", "0x10", "KES 5", "12345678",
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_a_sentence(written: object) -> None:
    with pytest.raises(ValueError, match=r"^must be "):
        read_amount_kes(written)


@given(st.one_of(st.integers(), st.decimals(), st.text(), st.floats(), st.none(), st.booleans()))
def test_whatever_comes_it_is_whole_shillings_within_the_limits_or_refused(written: object) -> None:
    try:
        amount_kes = read_amount_kes(written)
    except ValueError:
        return
    assert 1 <= amount_kes <= 250_000
    assert amount_kes == int(amount_kes)
    assert amount_kes == Decimal(str(written))


def test_amounts_are_said_as_people_write_them() -> None:
    assert in_words(Decimal("250000.00")) == "KES 250,000"
