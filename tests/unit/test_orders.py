"""What a customer's browser sends: every field read strictly, every wrong one named at once."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from shared.edge import Request
from shared.gateway.admissions import Order
from shared.orders import read_idempotency_key, read_order
from shared.problems import Problem

GOOD: dict[str, object] = {
    "phone_number": "0722 000 000",
    "amount": 1500,
    "account_reference": "INV00042",
    "transaction_desc": " Two kiondos ",
    "customer_email": " alice@example.com ",
    "customer_name": " Alice Wanjiru ",
}


def wrong_fields(body: dict[str, object]) -> list[str]:
    with pytest.raises(Problem) as refused:
        read_order(body)
    assert (refused.value.status, refused.value.code) == (422, "invalid")
    return [error.field for error in refused.value.errors]


def test_an_order_is_read_and_normalised() -> None:
    assert read_order(GOOD) == Order(
        "254722000000", Decimal(1500), "INV00042", "Two kiondos", "alice@example.com", "Alice Wanjiru"
    )


def test_only_three_fields_are_needed() -> None:
    bare = {name: GOOD[name] for name in ("phone_number", "amount", "account_reference")}
    order = read_order(bare)
    assert (order.transaction_desc, order.customer_email, order.customer_name) == (None, None, None)
    assert order.lang == "en"
    assert read_order(bare | {"customer_email": "", "customer_name": "  ", "transaction_desc": None}) == order


@pytest.mark.parametrize("name", ["phone_number", "amount", "account_reference"])
def test_each_needed_field_is_named_when_it_is_missing(name: str) -> None:
    assert wrong_fields({key: value for key, value in GOOD.items() if key != name}) == [name]
    assert wrong_fields(GOOD | {name: None}) == [name]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("phone_number", "0722"),
        ("phone_number", ["0722000000"]),
        ("amount", 0),
        ("amount", Decimal("10.5")),
        ("amount", "ten"),
        ("amount", True),
        ("amount", 250_001),
        ("account_reference", ""),
        ("account_reference", "THIRTEENCHARS"),
        ("account_reference", "INV 42"),
        ("account_reference", "INV-42"),
        ("account_reference", "INV42\n"),
        ("account_reference", "caf\u00e9"),
        ("account_reference", "\uff29\uff2e\uff36"),
        ("account_reference", 42),
        ("transaction_desc", "x" * 101),
        ("transaction_desc", "two\nlines"),
        ("transaction_desc", "nul\x00"),
        ("transaction_desc", 7),
        ("customer_email", "alice"),
        ("customer_email", "alice@example"),
        ("customer_email", "a@example.com, b@example.com"),
        ("customer_email", "Alice <alice@example.com>"),
        ("customer_email", "alice@example.com\r\nBcc: bob@example.com"),
        ("customer_email", "al ice@example.com"),
        ("customer_email", "a" * 65 + "@example.com"),
        ("customer_email", ".alice@example.com"),
        ("customer_email", "alice.@example.com"),
        ("customer_email", "alice..w@example.com"),
        ("customer_email", "=?utf-8?q?alice?=@example.com"),
        ("customer_email", {"to": "alice@example.com"}),
        ("lang", "fr"),
        ("lang", "SW"),
        ("lang", ""),
        ("lang", ["en"]),
        ("lang", 1),
        ("customer_name", "x" * 101),
        ("customer_name", "Alice\nBcc: bob@example.com"),
        ("customer_name", "\ud800"),
        ("customer_name", "\u202eecilA"),
        ("customer_name", "Alice\u2028Wanjiru"),
        ("customer_name", "Alice\u00a0Wanjiru"),
        ("customer_name", False),
        ("status", "PAID"),
        ("transaction_id", "0c9e8f1a-0b1c-4d2e-8f3a-5b6c7d8e9f00"),
    ],
)
def test_each_field_that_cannot_be_used_is_named(name: str, value: object) -> None:
    assert wrong_fields(GOOD | {name: value}) == [name]


@pytest.mark.parametrize(
    "name", ["Wanjik\u0169", "\u0639\u0644\u064a", "\u674e", "\U0001f600", "\u20f1", "\U0001fae9", "O'Neil (Ms.)"]
)
def test_a_name_may_have_any_letters_and_signs_also_younger_ones_than_this_python(name: str) -> None:
    assert read_order(GOOD | {"customer_name": name}).customer_name == name


@pytest.mark.parametrize("field", ["customer_name", "transaction_desc"])
@pytest.mark.parametrize(
    "text",
    [
        "Win now https://evil.example/x",
        "HTTP://EVIL.EXAMPLE",
        "ftp://evil",
        "Go to www.evil.example",
        "(WWW.evil.example)",
        "evil.com",
        "Cheap loans: Evil.Com!",
        "loans.co.ke",
        "ask loans@evil.net",
        "bit.ly/3abc",
        "wa.me/254700000001",
        "t.me/evil",
        "evil.casino/win",
    ],
)
def test_nobody_advertises_through_a_shops_invoices(field: str, text: str) -> None:
    with pytest.raises(Problem) as refused:
        read_order(GOOD | {field: text})
    assert [(error.field, error.detail) for error in refused.value.errors] == [(field, "must hold no web address")]


@pytest.mark.parametrize(
    "text",
    ["Dr.Otieno", "Mrs.Achieng", "J.K. Rowling", "Ltd. Co", "2.5 kg / 3 bags", "No.5/7", "w/o sugar", "Wawww. Kamau"],
)
def test_a_full_stop_or_a_slash_makes_no_web_address(text: str) -> None:
    assert read_order(GOOD | {"customer_name": text, "transaction_desc": text}).customer_name == text


def test_all_that_is_wrong_is_told_at_once() -> None:
    body: dict[str, object] = {"phone_number": 1, "amount": -1, "account_reference": "?", "customer_email": "@", "x": 1}
    assert set(wrong_fields(body)) == {"phone_number", "amount", "account_reference", "customer_email", "x"}
    assert set(wrong_fields({})) == {"phone_number", "amount", "account_reference"}


def key_of(key: str | None, body: dict[str, object]) -> tuple[str, str] | None:
    headers = {} if key is None else {"idempotency-key": key}
    read = read_idempotency_key(Request("POST", "/", headers, json.dumps(body).encode()), read_order(body))
    return (read.key, read.fingerprint) if read else None


def test_an_order_without_a_key_has_none() -> None:
    assert key_of(None, GOOD) is None


def test_the_same_order_written_differently_has_the_same_fingerprint() -> None:
    other_writing: dict[str, object] = {
        "amount": "1500",
        "phone_number": "+254722000000",
        "account_reference": "INV00042",
        "customer_email": "alice@example.com",
        "customer_name": "Alice Wanjiru",
        "transaction_desc": "Two kiondos",
    }
    assert key_of("k", GOOD) == key_of("k", other_writing)


@pytest.mark.parametrize(
    "change",
    [
        {"amount": 1501},
        {"phone_number": "0722111111"},
        {"account_reference": "INV00043"},
        {"account_reference": "inv00042"},
        {"customer_email": "bob@example.com"},
        {"customer_name": None},
        {"transaction_desc": "Alice Wanjiru", "customer_name": "Two kiondos"},
        {"lang": "sw"},
    ],
)
def test_another_order_has_another_fingerprint(change: dict[str, object]) -> None:
    assert key_of("k", GOOD) != key_of("k", GOOD | change)


def test_a_language_is_part_of_the_fingerprint_only_where_it_is_not_the_default() -> None:
    """Keys that were stored before there were languages, and pages that say the default, mean the same order."""
    before = "b01558f625dcae5721da01f749555ab71ebb3b294f1fdc9f0ab8c9acfd34007f"
    for body in (GOOD, GOOD | {"lang": "en"}, GOOD | {"lang": None}):
        assert key_of("k", body) == ("k", before)


@pytest.mark.parametrize("key", ["!", "~" * 255, "8e03978e-40d5-43e8-bc93-6894a57f9324"])
def test_keys_are_visible_ascii(key: str) -> None:
    assert key_of(key, GOOD) is not None


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 256, "caf\u00e9", "tab\t", "new\nline", "nul\x00"])
def test_other_keys_are_refused_by_name(key: str) -> None:
    with pytest.raises(Problem) as refused:
        key_of(key, GOOD)
    assert (refused.value.status, [error.field for error in refused.value.errors]) == (422, ["Idempotency-Key"])
