"""Amounts are whole shillings within the limits of M-Pesa; a phone number is read in every Kenyan form, kept in one.

Ids of our own grow with time.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from decimal import Decimal
from pathlib import Path
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.values import in_words, is_transaction_id, masked, new_id, read_amount_kes, read_line, read_msisdn


@pytest.mark.parametrize(
    ("written", "amount_kes"),
    [
        (1, 1),
        (250_000, 250_000),
        (Decimal("1500.00"), 1500),
        (Decimal("1.5E+3"), 1500),
        ("1500", 1500),
        ("1500.00", 1500),
        ("1500.0", 1500),
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
        {}, "", " 1500", "1,500", "1500.50", "1500.", ".0", "1500.000", "1e3", "+1", "-1",
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


PHONES = json.loads((Path(__file__).parents[1] / "cases" / "phones.json").read_text("utf-8"))
"""The page reads the same."""
NUMBERS = [712345607, 254712345607, Decimal("712345607.0"), Decimal("2.54712345607E+11")]
NOT_NUMBERS: list[object] = [
    None, True, False, [], {}, 0.712, -712345607, Decimal("712345607.5"), Decimal("-712345607"), Decimal("NaN"),
    Decimal("Infinity"), Decimal("1E+999999"), "0" * 40, "0712345607" + " " * 60,
]  # fmt: skip


@pytest.mark.parametrize(
    ("written", "msisdn"), [*PHONES["read"], *((number, "254712345607") for number in NUMBERS)], ids=ascii
)
def test_every_way_in_which_people_write_and_paste_a_number_is_read(written: object, msisdn: str) -> None:
    assert read_msisdn(written) == msisdn


@pytest.mark.parametrize("written", [*PHONES["refused"], *NOT_NUMBERS], ids=ascii)
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
    assert msisdn[-9:] in re.sub("[^0-9]", "", normalize("NFKC", str(written)))


def test_a_masked_number_hides_five_digits_and_an_erased_one_says_so() -> None:
    assert masked("254722123456") == "2547*****456"
    assert masked("254000123456") == "an erased number"


# Lines ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("Coffee\u00a0250\u00a0g", "Coffee 250 g"),
        ("Amina \U0001f469\u200d\U0001f373", "Amina \U0001f469\u200d\U0001f373"),
        ("Duka.co.ke renewal", "Duka.co.ke renewal"), ("https://shop.example/x", "https://shop.example/x"),
        ("two\nlines\r\n\tand a\x00 NUL", "two lines and a NUL"), ("A\u2028W\u2029", "A W"), ("\u202eecilA", "ecilA"),
        ("\ud800\ue000x", "x"), ("x" * 101, "x" * 100), ("x" * 99 + " yy", "x" * 99),
        ("\u200b\u200d ", None), ("", None),
        ("\u0639\u0644\u064a", "\u0639\u0644\u064a"), ("\U0001fae9\u20f1", "\U0001fae9\u20f1"),
        ("x" * 10_000_000, "x" * 100),
    ],
    ids=lambda text: ascii(text)[:40],
)  # fmt: skip
def test_a_line_is_taken_as_it_is_and_cut(typed: str, read: str | None) -> None:
    assert read_line(typed) == read


@given(st.text())
def test_whatever_is_typed_is_one_line_that_a_database_and_a_header_can_hold(typed: str) -> None:
    read = read_line(typed)
    if read is not None:
        assert 0 < len(read) <= 100
        assert read == read.strip() == read_line(read)
        assert not re.search(r"[\x00-\x1f\x7f\u2028\u2029\u202a-\u202e\u2066-\u2069]", read)
        read.encode()


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
