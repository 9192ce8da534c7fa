"""What a customer's browser sends: every field read strictly, every wrong one named at once."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from shared.orders import Order, order_of, read_idempotency_key, read_invoice_request, read_stkpush
from shared.problems import Problem

GOOD: dict[str, object] = {
    "phone_number": "0722 000 000",
    "amount": 1500,
    "account_reference": "INV00042",
    "transaction_desc": " Two kiondos ",
    "customer_email": " alice@example.com ",
    "customer_name": " Alice Wanjiru ",
}
NEEDED = ("phone_number", "amount")
AN_ID = "0c9e8f1a-0b1c-4d2e-8f3a-5b6c7d8e9f00"
PHONE = "must be a Kenyan mobile number, like 0712345678 or +254712345678"
AMOUNT = "must be a number of whole shillings, like 1500"
REFERENCE = "must be 1 to 12 letters and digits, like INV00042"
LINE = "must be text; what is over 100 characters is cut"
EMAIL = "must be an e-mail address, like name@example.com"
LANG = "must be one of: en, sw"
ID = "must be the id that the payment was given"
UNKNOWN = "is not a field of this request"


def read_order(body: dict[str, object]) -> Order:
    """In a shop without a catalogue and without links."""
    return order_of(read_stkpush(body), None, (), datetime.now(UTC))


def refused(read: Callable[[], object]) -> list[tuple[str, str]]:
    """Each field that was refused, and why."""
    with pytest.raises(Problem) as raised:
        read()
    assert (raised.value.status, raised.value.code) == (422, "invalid")
    assert raised.value.__cause__ is None  # pydantic's own error holds what the customer typed
    return [(error.field, error.detail) for error in raised.value.errors]


def test_an_order_is_read_and_normalised() -> None:
    assert read_order(GOOD) == Order(
        "254722000000", Decimal(1500), "INV00042", "Two kiondos", "alice@example.com", "Alice Wanjiru"
    )


def test_only_two_fields_are_needed() -> None:
    bare = {name: GOOD[name] for name in NEEDED}
    made = read_order(bare).account_reference
    assert re.fullmatch("[A-Z0-9]{10}", made)
    assert made != read_order(bare).account_reference
    bare["account_reference"] = "INV00042"
    assert read_order(bare) == Order("254722000000", Decimal(1500), "INV00042", None, None, None, "en")
    blank = {"customer_email": "", "customer_name": "  ", "transaction_desc": None, "lang": None}
    assert read_order(bare | blank) == read_order(bare)
    assert refused(lambda: read_order({})) == [("phone_number", PHONE)]
    assert refused(lambda: read_order({"phone_number": "0722000000"})) == [("amount", AMOUNT)]


@pytest.mark.parametrize(
    ("typed", "note"),
    [
        ("  Plot 7,\r\n\r\n Ngong Road \t(size\u00a0M)  ", "Plot 7, Ngong Road (size M)"),
        ("nul\x00 and \u202eturned\u202c\ud800", "nul and turned"),
        ("\n" * 300 + "x" * 200, "x" * 200),
        (
            "see https://maps.example/x \U0001f469\u200d\U0001f373",
            "see https://maps.example/x \U0001f469\u200d\U0001f373",
        ),
        (" \n ", None),
        (None, None),
    ],
)
def test_a_note_to_the_shop_is_one_line(typed: str | None, note: str | None) -> None:
    assert read_order(GOOD | {"note": typed}).note == note


REFUSED: list[tuple[str, str, list[object]]] = [
    ("phone_number", PHONE, [None, "0722", ["0722000000"], {}]),
    ("amount", AMOUNT, [None, "ten", True, [], "1,500"]),
    ("amount", "must be between 1 and 250,000 shillings", [0, -1, 250_001, Decimal("1E+999999")]),
    ("amount", "must be whole shillings: M-Pesa takes no cents", [Decimal("10.5")]),
    ("account_reference", REFERENCE, [None, "", "THIRTEENCHARS", "INV 42", "INV-42", "INV42\n", "caf\u00e9", 42]),
    ("account_reference", REFERENCE, ["\uff29\uff2e\uff36", "\ud800", ["INV42"]]),
    ("transaction_desc", LINE, [7, ["a line"], {}]),
    ("customer_name", LINE, [False, 7]),
    ("customer_email", EMAIL, ["alice", "alice@example", "a@example.com, b@example.com", "al ice@example.com"]),
    ("customer_email", EMAIL, ["Alice <alice@example.com>", "alice@example.com\r\nBcc: bob@example.com"]),
    ("customer_email", EMAIL, ["a" * 65 + "@example.com", ".alice@example.com", "alice.@example.com", 7]),
    ("customer_email", EMAIL, ["alice..w@example.com", "=?utf-8?q?alice?=@example.com", {"to": "a@example.com"}]),
    ("note", "must have at most 200 characters", ["x" * 201, "x " * 101]),
    ("note", "must be text of at most 200 characters", [7, ["a"], {}, True]),
    ("lang", LANG, ["fr", "SW", "", ["en"], 1]),
    ("status", UNKNOWN, ["PAID"]),
    ("transaction_id", UNKNOWN, [AN_ID]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("field", "why", "value"), [(field, why, value) for field, why, values in REFUSED for value in values], ids=ascii
)
def test_a_field_that_cannot_be_used_is_named_with_what_it_must_be(field: str, why: str, value: object) -> None:
    assert refused(lambda: read_order(GOOD | {field: value})) == [(field, why)]


def test_everything_that_is_wrong_is_named_at_once() -> None:
    body: dict[str, object] = {"phone_number": 1, "amount": -1, "account_reference": "?", "customer_email": "@", "x": 1}
    assert [field for field, _ in refused(lambda: read_order(body))] == [
        *("phone_number", "amount", "account_reference", "customer_email", "x")
    ]


@pytest.mark.parametrize(
    ("unknown", "named"),
    [
        (["<script>", "alice@example.com", "Upper", "x" * 41, "", "\u00e9"], ["?"]),
        ([f"field_{letter}" for letter in "fedcba"], [f"field_{letter}" for letter in "abcde"]),
        (["\ud800"], ["?"]),
        (["x", "\ud800"], ["?"]),
    ],
)
def test_an_unknown_field_is_repeated_only_where_it_looks_like_a_name(unknown: list[str], named: list[str]) -> None:
    assert refused(lambda: read_order(GOOD | dict.fromkeys(unknown, 1))) == [(name, UNKNOWN) for name in named]


def test_the_shops_words_and_a_customers_name_are_taken_as_one_line() -> None:
    order = read_order(GOOD | {"customer_name": "Amina\u00a0W.\n", "transaction_desc": "Duka.co.ke renewal" + "x" * 99})
    assert (order.customer_name, order.transaction_desc) == ("Amina W.", "Duka.co.ke renewal" + "x" * 82)


# The body of invoice --------------------------------------------------------------------------------------------------


def test_an_invoice_is_asked_for_by_id_with_an_address_or_without() -> None:
    for given, read in ((None, None), ("", None), (" a@example.com ", "a@example.com")):
        wanted = read_invoice_request({"transaction_id": AN_ID, "customer_email": given})
        assert (wanted.transaction_id, wanted.customer_email) == (AN_ID, read)
    assert read_invoice_request({"transaction_id": AN_ID}).customer_email is None


@pytest.mark.parametrize("value", [None, 7, "", "x", AN_ID.upper(), AN_ID + "\n", f" {AN_ID}", [AN_ID]])
def test_an_invoice_is_refused_where_the_id_is_none(value: object) -> None:
    wrong = {"transaction_id": value, "customer_email": "x", "amount": 1}
    assert refused(lambda: read_invoice_request(wrong)) == [
        ("transaction_id", ID),
        ("customer_email", EMAIL),
        ("amount", UNKNOWN),
    ]


# The Idempotency-Key --------------------------------------------------------------------------------------------------


def key_of(key: str | None, body: dict[str, object]) -> tuple[str, str] | None:
    read = read_idempotency_key(key, read_stkpush(body))
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
        "lang": "en",
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


@pytest.mark.parametrize("key", ["!", "~" * 255, "8e03978e-40d5-43e8-bc93-6894a57f9324"])
def test_keys_are_visible_ascii(key: str) -> None:
    assert key_of(key, GOOD) is not None


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 256, "caf\u00e9", "tab\t", "new\nline", "nul\x00"])
def test_other_keys_are_refused_by_name(key: str) -> None:
    assert refused(lambda: key_of(key, GOOD)) == [("Idempotency-Key", "must be 1 to 255 visible ASCII characters")]
