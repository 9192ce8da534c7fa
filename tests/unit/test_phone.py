"""Phone numbers: every Kenyan way of writing one, one way of storing it."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.phone import masked, read_msisdn


@pytest.mark.parametrize(
    ("msisdn", "written"),
    [
        *(("254722000000", each) for each in (
            "0722000000", "722000000", "254722000000", "+254722000000", "0722 000 000", "+254 722-000-000",
            "(0722) 000.000", "  0722000000  ", 722000000, 254722000000, Decimal("722000000.0"), Decimal("2.54722E+11"),
        )),
        *(("254110000000", each) for each in ("0110000000", "110000000")),
        ("254181000000", "254181000000"),
        ("254140000000", "+254 140 000 000"),
    ],
)  # fmt: skip
def test_every_kenyan_form_of_a_number_is_read(msisdn: str, written: object) -> None:
    assert read_msisdn(written) == msisdn


@pytest.mark.parametrize(
    "written",
    [
        None, True, False, "", "0", "072200000", "07220000000", "0822000000", "0202000000", "255722000000",
        "+1 722 000 0000", "00254722000000", "+0722000000", "++254722000000", "2540722000000", "0722000000x",
        "0722000000,0722000001",
        "\u0660\u0667\u0662\u0662\u0660\u0660\u0660\u0660\u0660\u0660",
        "\uff10722000000", "0722\n000000\x00", [], {}, 0.722, -722000000,
        Decimal("722000000.5"), Decimal("-722000000"), Decimal("NaN"), Decimal("Infinity"), Decimal("1E+999999"),
        "0" * 40, "0722000000" + " " * 40,
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_a_sentence(written: object) -> None:
    with pytest.raises(ValueError, match=r"^must be a Kenyan mobile number"):
        read_msisdn(written)


@given(st.one_of(st.text(max_size=40), st.text("0123456789+ -.()", max_size=20), st.integers()))
def test_what_is_read_is_an_msisdn_or_refused(written: object) -> None:
    try:
        msisdn = read_msisdn(written)
    except ValueError:
        return
    assert re.fullmatch(r"254[17][0-9]{8}", msisdn, re.ASCII)
    assert msisdn[-9:] in re.sub("[^0-9]", "", str(written))


def test_a_masked_number_hides_five_digits_and_an_erased_one_says_so() -> None:
    assert masked("254722123456") == "2547*****456"
    assert masked("254000123456") == "an erased number"
