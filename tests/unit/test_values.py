"""Amounts are whole shillings within the limits of M-Pesa; a phone number is read in every Kenyan form, kept in one.

Ids of our own grow with time.
"""

from __future__ import annotations

import re
import time
import uuid
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.values import in_words, is_transaction_id, masked, new_id, read_amount_kes, read_msisdn


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
def test_what_is_no_amount_is_refused_with_a_sentence(written: object) -> None:
    with pytest.raises(ValueError, match=r"^must be "):
        read_amount_kes(written)


@given(st.one_of(st.integers(), st.decimals(), st.text(), st.floats(), st.none(), st.booleans()))
def test_whatever_comes_is_whole_shillings_within_the_limits_or_refused(written: object) -> None:
    try:
        amount_kes = read_amount_kes(written)
    except ValueError:
        return
    assert 1 <= amount_kes <= 250_000
    assert amount_kes == int(amount_kes)
    assert amount_kes == Decimal(str(written))


def test_amounts_are_said_as_people_write_them() -> None:
    assert in_words(Decimal("250000.00")) == "KES 250,000"


# Phone numbers --------------------------------------------------------------------------------------------------------


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
def test_what_is_no_phone_number_is_refused_with_a_sentence(written: object) -> None:
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


# Ids ------------------------------------------------------------------------------------------------------------------


def test_a_new_id_is_a_uuid_of_version_7_of_this_millisecond() -> None:
    before = time.time_ns() // 1_000_000
    made = uuid.UUID(new_id())
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert before <= made.int >> 80 <= time.time_ns() // 1_000_000
    assert is_transaction_id(str(made))


def test_new_ids_grow_with_time_and_differ_in_74_random_bits() -> None:
    made = []
    for _ in range(50):
        made.append(new_id())
        time.sleep(0.001)
    assert made == sorted(made)
    random_part = 0x0FFF_3FFF_FFFF_FFFF_FFFF
    differing = 0
    for _ in range(400):
        differing |= uuid.UUID(new_id()).int ^ uuid.UUID(made[0]).int
    assert differing & random_part == random_part
