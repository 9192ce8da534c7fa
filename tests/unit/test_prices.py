"""The shop's prices: every mistake in a catalogue is named with its line, and no cart is cheaper than the shop says."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.catalogue import ROOT, USUAL
from shared.prices import (
    LARGEST_CATALOGUE_BYTES,
    CartWrong,
    Catalogue,
    CatalogueWrong,
    Item,
    price,
    read_cart,
    read_catalogue,
    total_kes,
)

SHOP = read_catalogue((ROOT / "tests" / "fixtures" / "catalogue.json").read_bytes())


def one_item(**changed: object) -> bytes:
    """A catalogue of one item, on line 2."""
    item = {"id": "tea", "name": "Tea", "price_kes": 450, **changed}
    item = {key: value for key, value in item.items() if value is not ...}
    return f'{{"items": [\n{json.dumps(item)}\n]}}'.encode()


def mistakes(raw: bytes) -> list[str]:
    with pytest.raises(CatalogueWrong) as raised:
        read_catalogue(raw)
    return list(raised.value.mistakes)


def test_a_catalogue_is_read() -> None:
    raw = b"""\xef\xbb\xbf{ "open_amounts": true, "x-season": {"a": [1]}, "items": [
        {"id": "a-1", "name": " Coffee\\u00a0250 g ", "price_kes": 250000, "max_quantity": 1, "available": false},
        {"id": "b", "name": "\\u0645\\u0631 \\ud83e\\uddfa <b>", "price_kes": 1, "requires": ["a-1"], "x-image": 0}]}"""
    assert read_catalogue(raw) == Catalogue(
        {
            "a-1": Item("a-1", "Coffee 250 g", Decimal(250_000), 1, available=False),
            "b": Item("b", "\u0645\u0631 \U0001f9fa <b>", Decimal(1), requires=("a-1",)),
        },
        open_amounts=True,
    )
    assert read_catalogue(b'{"items": []}') == Catalogue({}, open_amounts=False)


def test_the_catalogue_of_this_shop_can_be_used() -> None:
    assert read_catalogue((ROOT / USUAL).read_bytes()).items


NAME = 'the name of "tea" must be text of 1 to 100 characters'
KES = 'price_kes of "tea" must be whole shillings from 1 to 250,000, without quotes'
MOST = 'max_quantity of "tea" must be a whole number from 1 to 1000'
AVAILABLE = 'available of "tea" must be true or false'
REQUIRES = 'requires of "tea" must be a list of at most 50 ids'
AN_ID = "an item must have an id of 1 to 40 of a-z, 0-9 and -"
WRONG: list[tuple[str, str, list[object]]] = [
    ("id", AN_ID, [..., None, "", "Tea", "t ea", "t_a", "té", "x" * 41, "tea\n", 7, True, ["tea"], {"id": "tea"}]),
    ("name", NAME, [..., None, "", "  ", "\u00a0\n", "x" * 101, 7, ["Tea"], {}]),
    ("price_kes", KES, [..., None, 0, -1, 1.5, 450.0, "100", "", True, False, 250_001, 10**30, [450], {"kes": 450}]),
    ("max_quantity", MOST, [None, 0, -1, 1001, 1.5, "3", True, [3]]),
    ("available", AVAILABLE, [None, 0, 1, "false", "no", []]),
    ("requires", REQUIRES, [None, "other", 7, [7], [None], [["other"]], ["x"] * 51, {"other": 1}]),
    ("requires", '"tea" requires "other", which must be the id of another item', [["other"]]),
    ("requires", '"tea" requires "tea", which must be the id of another item', [["tea"]]),
    ("avaliable", '"avaliable" is no key of an item; your own begin with x-', [False]),
    ("price", '"price" is no key of an item; your own begin with x-', [450]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("key", "says", "value"), [(key, says, value) for key, says, values in WRONG for value in values], ids=ascii
)
def test_a_mistake_in_an_item_is_named_with_its_line(key: str, says: str, value: object) -> None:
    says = says.replace('of "tea"', "of an item") if key == "id" else says
    assert mistakes(one_item(**{key: value})) == [f"line 2: {says}"]


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "line 1: this is not JSON: Expecting value"),
        (b'{"items": [\n  {"id": "tea",}\n]}', "line 2: this is not JSON: "),
        (b'{"items": [\n\n}', "line 3: this is not JSON: Expecting value"),
        (b'{"items": [{"id": "a"}]} x', "line 1: this is not JSON: Extra data"),
        (b'{"items": [], "x-no": NaN}', "line 1: this is not JSON: NaN is no number"),
        (b'{"items": [\n{"name": "caf\xe9"}]}', "line 2: this is not UTF-8; save the file as UTF-8"),
        ('{"items": []}'.encode("utf-16"), "line 1: this is not UTF-8; save the file as UTF-8"),
        (b"[" * 100_000, "it has a number that is too long, or lists that are nested too deep"),
        (b'{"items": [{"price_kes": ' + b"9" * 5000 + b"}]}", "it has a number that is too long, or lists that are"),
        (b" " * (LARGEST_CATALOGUE_BYTES + 1), "it has more than 4,000,000 bytes"),
        (b"[]", "line 1: the file must be an object, {\u2026}"),
        (b"7", "line 1: the file must be an object, {\u2026}"),
        (b"{}", 'line 1: the file must have "items", a list'),
        (b'{\n"items": {"id": "tea"}}', 'line 2: the file must have "items", a list'),
        (b'{\n"items": null}', 'line 2: the file must have "items", a list'),
        (b'{"items": [],\n"open_amounts": "yes"}', "line 2: open_amounts must be true or false"),
        (b'{"items": [],\n"currency": "USD"}', 'line 2: "currency" is no key of the file; your own begin with x-'),
        (b'{"items": [],\n"items": []}', 'line 2: "items" stands twice'),
        (b'{"items": [\n[]]}', "line 2: an item must be an object, {\u2026}"),
        (b'{"items": [\n"tea"]}', "line 2: an item must be an object, {\u2026}"),
        (b'{"items": [{"id": "a", "name": "A", "price_kes": 5,\n"price_kes": 1}]}', 'line 2: "price_kes" stands twice'),
        (b'{"items": [{"id": "a", "name": "A", "price_kes": 1e400}]}', 'line 1: price_kes of "a" must be whole'),
        (b'{"items": [{"id": "a", "name": "A", "price_kes": Infinity}]}', "line 1: this is not JSON: Infinity is no"),
    ],
    ids=lambda given: repr(given)[:40],
)  # fmt: skip
def test_a_file_that_is_no_catalogue_says_where(raw: bytes, says: str) -> None:
    assert mistakes(raw)[0].startswith(says)


def test_an_id_is_given_once() -> None:
    item = '{"id": "tea", "name": "Tea", "price_kes": 450}'
    raw = f'{{"items": [\n{item},\n{item.replace("450", "1")}\n]}}'.encode()
    assert mistakes(raw) == ['line 3: id "tea" is taken by line 2']


def test_all_mistakes_are_named_at_once_and_no_more_than_twenty() -> None:
    raw = b'{"items": [\n{"id": "a", "name": "", "price_kes": 0},\n{"id": "b", "name": "B", "price_kes": 0}\n]}'
    assert [mistake[:7] for mistake in mistakes(raw)] == ["line 2:", "line 2:", "line 3:"]
    many = json.dumps({"items": [{"id": f"i{n}", "name": "x", "price_kes": 0} for n in range(500)]}, indent=0)
    assert len(mistakes(many.encode())) == 21
    assert mistakes(many.encode())[-1] == "and 480 more"


def test_ten_thousand_items_are_read_and_one_more_is_not() -> None:
    items = [{"id": f"i{n}", "name": f"Item {n}", "price_kes": 1 + n, "max_quantity": 2} for n in range(10_001)]
    found = read_catalogue(json.dumps({"items": items[:-1]}).encode())
    assert total_kes(price(found, read_cart([{"id": "i9999", "quantity": 2}]))) == 20_000
    assert mistakes(json.dumps({"items": items}).encode()) == ["line 1: items must be at most 10,000"]


KEYS = st.sampled_from(["items", "id", "name", "price_kes", "requires"]) | st.text()
SIMPLE = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
ANYTHING = st.recursive(SIMPLE, lambda deeper: st.lists(deeper, max_size=4) | st.dictionaries(KEYS, deeper, max_size=4))


@given(st.binary(max_size=200) | ANYTHING.map(lambda said: json.dumps(said).encode()))
def test_whatever_the_file_holds_is_a_catalogue_or_a_named_mistake(raw: bytes) -> None:
    try:
        prices = [item.price_kes for item in read_catalogue(raw).items.values()]
    except CatalogueWrong as wrong:
        prices = [] if all(wrong.mistakes) else [Decimal(0)]
    assert all(1 <= kes <= 250_000 for kes in prices)


# Carts ----------------------------------------------------------------------------------------------------------------


def bought(*lines: tuple[str, object]) -> Decimal:
    return total_kes(price(SHOP, read_cart([{"id": item_id, "quantity": quantity} for item_id, quantity in lines])))


def test_a_cart_costs_what_the_shop_says() -> None:
    assert bought(("coffee", 2), ("tea", 1)) == 1550
    assert bought(("coffee", Decimal("2.0")), ("coffee", 1)) == 2250
    assert bought(("basket", 1), ("courier", 1)) == 2950
    assert [line.stored() for line in price(SHOP, read_cart([{"id": "tea", "quantity": 3}]))] == [
        {"id": "tea", "name": "Tea <b>&</b> milk", "price_kes": 50, "quantity": 3}
    ]


@pytest.mark.parametrize(
    ("lines", "reasons"),
    [
        ([("cofee", 1)], ['name "cofee", which the shop does not have']),
        ([("sold-out", 1)], ['name "sold-out", which is not available now']),
        ([("coffee", 21)], ['must have at most 20 of "coffee" in one order']),
        ([("coffee", 20), ("coffee", 1)], ['must have at most 20 of "coffee" in one order']),
        ([("basket", 4), ("delivery", 1)], ['must have at most 3 of "basket" in one order']),
        ([("basket", 1)], ['must have "delivery" or "courier" beside "basket"']),
        ([("basket", 1), ("tea", 1)], ['must have "delivery" or "courier" beside "basket"']),
        ([("land", 2)], ["cost KES 400,000 together; M-Pesa takes at most KES 250,000 in one payment"]),
        ([("x", 1), ("basket", 9)], [
            'name "x", which the shop does not have', 'must have at most 3 of "basket" in one order',
            'must have "delivery" or "courier" beside "basket"']),
    ],
)  # fmt: skip
def test_what_cannot_be_bought_is_named(lines: list[tuple[str, object]], reasons: list[str]) -> None:
    with pytest.raises(CartWrong) as raised:
        bought(*lines)
    assert list(raised.value.reasons) == reasons


A_LIST = "must be a list of 1 to 50 times {id, quantity}"
NO_LISTS: tuple[Any, ...] = (None, "coffee:2", {}, {"id": "tea", "quantity": 1}, 7, [], True)
QUANTITIES: tuple[Any, ...] = (
    0, -1, 1001, 10**9, Decimal("1e9"), Decimal("1.5"), Decimal("1e400"), "1", None, True, [1], {},
)  # fmt: skip
NOT_A_CART: list[tuple[Any, str]] = [
    *((value, A_LIST) for value in NO_LISTS),
    ([{"id": "tea", "quantity": 1}] * 51, A_LIST),
    (["tea"], f"{A_LIST}: line 1 is not"),
    ([{"id": "tea", "quantity": 1}, None], f"{A_LIST}: line 2 is not"),
    ([{"id": "tea", "quantity": 1, "price_kes": 1}], 'have the key "price_kes" in line 1, which is not used'),
    ([{"id": "tea", "quantity": 1, "a-b": 1, "c2": 1}], 'have the key "a-b", "c2" in line 1, which is not used'),
    ([{"id": "tea", "quantity": 1, "<b>": 1}], 'have the key "?" in line 1, which is not used'),
    *(([{"id": item_id, "quantity": 1}], "have no id of the catalogue in line 1")
      for item_id in (None, "", "TEA", "t" * 41, 7, ["tea"], {"a": 1}, "tea\n", "\ud800")),
    ([{"quantity": 1}], "have no id of the catalogue in line 1"),
    ([{"id": "tea"}], 'must have a whole quantity of "tea" from 1 to 1000'),
    *(([{"id": "tea", "quantity": quantity}], 'must have a whole quantity of "tea" from 1 to 1000')
      for quantity in QUANTITIES),
]  # fmt: skip


@pytest.mark.parametrize(("value", "says"), NOT_A_CART, ids=lambda given: ascii(given)[:50])
def test_what_is_no_cart_says_what_it_must_be(value: object, says: str) -> None:
    with pytest.raises(ValueError, match=r".+") as raised:
        read_cart(value)
    assert str(raised.value) == says
