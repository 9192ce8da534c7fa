"""The shop's own prices: its catalogue is read, and a cart is priced; one file, so that build and function judge alike.

Pure: the standard library only. The build checks the catalogue with it, and the function prices with it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from operator import itemgetter
from typing import Any, TypeAlias, TypeGuard

from shared.values import LARGEST_KES, in_words, one_line

ITEM_ID = r"[a-z0-9-]{1,40}"
MOST_LINES = 50
MOST_OF_AN_ITEM = 20
"""Where the item has no `max_quantity`."""
LARGEST_QUANTITY = 1000
QUANTITIES = range(1, LARGEST_QUANTITY + 1)
MOST_ITEMS = 10_000
LONGEST_NAME = 100
LARGEST_CATALOGUE_BYTES = 4_000_000
MOST_NAMED = 20
"""Mistakes that one error names."""


@dataclass(frozen=True)
class Item:
    """Something that the shop sells: also a delivery, a size, a fee."""

    id: str
    name: str
    price_kes: Decimal
    max_quantity: int = MOST_OF_AN_ITEM
    available: bool = True
    requires: tuple[str, ...] = ()
    """One of these is bought with it."""


@dataclass(frozen=True)
class Catalogue:
    """All that the shop sells, by id."""

    items: Mapping[str, Item]
    open_amounts: bool = False
    """Whether customers may also name an amount: a donation, a bill."""


@dataclass(frozen=True)
class Line:
    """So many of one item."""

    id: str
    quantity: int


@dataclass(frozen=True)
class Priced:
    """So many of one item, at the price of now."""

    id: str
    name: str
    price_kes: Decimal
    quantity: int

    @property
    def cost_kes(self) -> Decimal:
        return self.price_kes * self.quantity

    @property
    def what(self) -> str:
        """How many of what, as people read it."""
        return f"{self.quantity} \u00d7 {self.name}"

    def stored(self) -> dict[str, object]:
        """As it is kept with the payment."""
        return {"id": self.id, "name": self.name, "price_kes": int(self.price_kes), "quantity": self.quantity}


def bought(stored: Sequence[Mapping[str, Any]] | None) -> tuple[Priced, ...]:
    """What `Priced.stored` kept; nothing where only an amount is known."""
    return tuple(
        Priced(line["id"], line["name"], Decimal(line["price_kes"]), int(line["quantity"])) for line in stored or ()
    )


class CatalogueWrong(Exception):
    """Correct the file and deploy again. Each mistake begins with its line."""

    def __init__(self, *mistakes: str) -> None:
        self.mistakes = mistakes
        super().__init__("; ".join(mistakes))


class CartWrong(Exception):
    """This cannot be bought. Each of `reasons` is a sentence about `items`, without a full stop."""

    def __init__(self, *reasons: str) -> None:
        self.reasons = reasons
        super().__init__("; ".join(reasons))


# A cart ---------------------------------------------------------------------------------------------------------------

CART_MUST_BE = f"must be a list of 1 to {MOST_LINES} times {{id, quantity}}"


def read_cart(value: object) -> tuple[Line, ...]:
    """What a customer wants, as it was sent: the same id twice is added up. ValueError says what is wrong."""
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_LINES:
        raise ValueError(CART_MUST_BE)
    wanted: dict[str, int] = {}
    for nth, line in enumerate(value, 1):
        if not isinstance(line, dict):
            raise ValueError(f"{CART_MUST_BE}: line {nth} is not")
        if unknown := [key for key in line if key not in ("id", "quantity")]:
            named = ", ".join([_quoted(key, r"[A-Za-z0-9_-]{1,40}") for key in unknown[:MOST_NAMED]])
            raise ValueError(f"have the key {named} in line {nth}, which is not used")
        item_id, quantity = line.get("id"), line.get("quantity")
        if not isinstance(item_id, str) or not re.fullmatch(ITEM_ID, item_id):
            raise ValueError(f"have no id of the catalogue in line {nth}")
        if isinstance(quantity, bool) or not isinstance(quantity, int | Decimal) or quantity not in QUANTITIES:
            raise ValueError(f'must have a whole quantity of "{item_id}" from 1 to {LARGEST_QUANTITY}')
        wanted[item_id] = wanted.get(item_id, 0) + int(quantity)
    return tuple(Line(item_id, quantity) for item_id, quantity in wanted.items())


def price(catalogue: Catalogue, cart: Sequence[Line]) -> tuple[Priced, ...]:
    """The cart at the shop's prices. Raises `CartWrong` with everything that is wrong."""
    reasons, priced, wanted = [], [], {line.id for line in cart}
    for line in cart:
        item = catalogue.items.get(line.id)
        if item is None:
            reasons.append(f'name "{line.id}", which the shop does not have')
            continue
        if not item.available:
            reasons.append(f'name "{line.id}", which is not available now')
        elif line.quantity > item.max_quantity:
            reasons.append(f'must have at most {item.max_quantity} of "{line.id}" in one order')
        if item.requires and not wanted & set(item.requires):
            one_of = " or ".join(f'"{other}"' for other in item.requires)
            reasons.append(f'must have {one_of} beside "{line.id}"')
        priced.append(Priced(item.id, item.name, item.price_kes, line.quantity))
    total = total_kes(priced)
    if not reasons and total > LARGEST_KES:
        reasons.append(f"cost {in_words(total)} together; M-Pesa takes at most {in_words(LARGEST_KES)} in one payment")
    if reasons:
        raise CartWrong(*reasons[:MOST_NAMED])
    return tuple(priced)


def total_kes(priced: Sequence[Priced]) -> Decimal:
    return sum((line.cost_kes for line in priced), Decimal(0))


# The catalogue --------------------------------------------------------------------------------------------------------


def read_catalogue(raw: bytes) -> Catalogue:
    """The shop's catalogue, from the bytes of its file. Raises `CatalogueWrong` with every mistake and its line."""
    if len(raw) > LARGEST_CATALOGUE_BYTES:
        raise CatalogueWrong(f"it has more than {LARGEST_CATALOGUE_BYTES:,} bytes")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as refused:
        where = raw.count(b"\n", 0, refused.start) + 1
        raise CatalogueWrong(f"line {where}: this is not UTF-8; save the file as UTF-8") from None
    try:
        file = json.loads(text, parse_constant=_no_number, object_pairs_hook=_Members)
    except json.JSONDecodeError as refused:
        raise CatalogueWrong(f"line {refused.lineno}: this is not JSON: {refused.msg}") from None
    except (ValueError, RecursionError):
        raise CatalogueWrong("it has a number that is too long, or lists that are nested too deep") from None
    reading = _Reading()
    catalogue = reading.catalogue(file)
    if reading.mistakes:
        lines = _Lines(text)  # only now: a function reads the catalogue at its start, and it has no mistakes
        named = sorted(
            [
                (lines.of(place), f"{says} line {lines.of(other)}" if other else says)
                for place, says, other in reading.mistakes
            ],
            key=itemgetter(0),
        )
        more = [f"and {len(named) - MOST_NAMED} more"] if len(named) > MOST_NAMED else []
        raise CatalogueWrong(*[f"line {line}: {says}" for line, says in named[:MOST_NAMED]], *more)
    return catalogue


Place: TypeAlias = tuple[str | int, ...]
"""Of a value in the file: the keys and the numbers that lead to it, like `("items", 3, "price_kes")`."""


class _Members(dict[str, Any]):
    """An object of the file, and which of its keys stand twice."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        keys = [key for key, _ in pairs]
        self.twice = [] if len(self) == len(pairs) else [key for key in self if keys.count(key) > 1]


@dataclass
class _Reading:
    """One reading of the file: mistakes are collected, so that one build names all."""

    mistakes: list[tuple[Place, str, Place | None]] = field(default_factory=list)
    """Each with its place, and with another place whose line ends the sentence."""

    def catalogue(self, file: object) -> Catalogue:
        top = self._object(file, (), "the file", {"items", "open_amounts"})
        open_amounts, listed = top.get("open_amounts", False), top.get("items")
        if not isinstance(open_amounts, bool):
            self._wrong(("open_amounts",), "open_amounts must be true or false")
        if not isinstance(listed, list):
            self._wrong(("items",), 'the file must have "items", a list')
        elif len(listed) > MOST_ITEMS:
            self._wrong(("items",), f"items must be at most {MOST_ITEMS:,}")
        else:
            return Catalogue(self._items(listed), open_amounts is True)
        return Catalogue({})

    def _items(self, listed: list[object]) -> dict[str, Item]:
        items: dict[str, Item] = {}
        required: list[tuple[Place, Item]] = []
        for number, said in enumerate(listed):
            place: Place = ("items", number)
            item = self._item(said, place)
            if item.id in items:
                first = next(other for other, earlier in required if earlier.id == item.id)
                self._wrong(place, f'id "{item.id}" is taken by', first)
            elif item.id:
                items[item.id] = item
                required.append((place, item))
        for place, item in required:
            for other in item.requires:
                if other == item.id or other not in items:
                    self._wrong(place, f'"{item.id}" requires "{other}", which must be the id of another item')
        return items

    def _item(self, said: object, place: Place) -> Item:
        found = self._object(
            said, place, "an item", {"id", "name", "price_kes", "max_quantity", "available", "requires"}
        )
        item_id, name = found.get("id"), found.get("name")
        if not isinstance(item_id, str) or not re.fullmatch(ITEM_ID, item_id):
            self._wrong((*place, "id"), "an item must have an id of 1 to 40 of a-z, 0-9 and -")
            item_id = ""
        of = f'of "{item_id}"' if item_id else "of an item"
        words = one_line(name) if isinstance(name, str) else ""
        if not 1 <= len(words) <= LONGEST_NAME:
            self._wrong((*place, "name"), f"the name {of} must be text of 1 to {LONGEST_NAME} characters")
        kes = found.get("price_kes")
        price_kes = kes if _is_whole(kes) else 0
        if not 1 <= price_kes <= LARGEST_KES:
            must_be = f"must be whole shillings from 1 to {LARGEST_KES:,}, without quotes"
            self._wrong((*place, "price_kes"), f"price_kes {of} {must_be}")
        most = found.get("max_quantity", MOST_OF_AN_ITEM)
        if not _is_whole(most) or most not in QUANTITIES:
            self._wrong(
                (*place, "max_quantity"), f"max_quantity {of} must be a whole number from 1 to {LARGEST_QUANTITY}"
            )
        available = found.get("available", True)
        if not isinstance(available, bool):
            self._wrong((*place, "available"), f"available {of} must be true or false")
        others = found.get("requires", [])
        if (
            not isinstance(others, list)
            or len(others) > MOST_LINES
            or any(not isinstance(each, str) for each in others)
        ):
            self._wrong((*place, "requires"), f"requires {of} must be a list of at most {MOST_LINES} ids")
            others = []
        if self.mistakes:  # no item is sold from a file with mistakes
            return Item(item_id, "", Decimal(0), requires=tuple(others))
        return Item(item_id, words, Decimal(price_kes), most, available, tuple(others))

    def _object(self, said: object, place: Place, what: str, keys: set[str]) -> dict[str, Any]:
        """Its members by key; none where it is no object. Keys that begin with `x-` are the shop's own."""
        if not isinstance(said, _Members):
            self._wrong(place, f"{what} must be an object, {{…}}")
            return {}
        for key in said.twice:
            self._wrong((*place, key), f"{_quoted(key)} stands twice")
        for key in said:
            if key not in keys and not key.startswith("x-"):
                self._wrong((*place, key), f"{_quoted(key)} is no key of {what}; your own begin with x-")
        return said

    def _wrong(self, place: Place, says: str, other: Place | None = None) -> None:
        self.mistakes.append((place, says, other))


_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\n\r]*")
_LEVELS = 3
"""The file, its list, the items: the lines of what is deeper are not needed."""


class _Lines:
    """Finds the lines of values in a text that is JSON: it was parsed before."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at, self._line, self._counted_to = 0, 1, 0
        self._found: dict[Place, int] = {}
        self._skip(0)
        self._value((), _LEVELS)

    def of(self, place: Place) -> int:
        """Of a value; where it is not there, of what it belongs to. Of a key that stands twice, the second time."""
        while place not in self._found:
            place = place[:-1]
        return self._found[place]

    def _value(self, place: Place, levels: int) -> None:
        self._line += self._text.count("\n", self._counted_to, self._at)
        self._counted_to = self._at
        self._found[place] = self._line
        if not levels or self._text[self._at] not in "{[":
            self._raw()
            return
        keyed = self._text[self._at] == "{"
        number = 0
        self._skip(1)
        while self._text[self._at] not in "}]":
            key = str(self._raw()) if keyed else number
            self._skip(1 if keyed else 0)  # the colon
            self._value((*place, key), levels - 1)
            self._skip(1 if self._text[self._at] == "," else 0)
            number += 1
        self._skip(1)

    def _raw(self) -> object:
        said, self._at = _DECODER.raw_decode(self._text, self._at)
        self._skip(0)
        return said

    def _skip(self, characters: int) -> None:
        """So many, and the space after them."""
        after = _SPACE.match(self._text, self._at + characters)
        self._at = after.end() if after else self._at


def _no_number(text: str) -> object:
    raise json.JSONDecodeError(f"{text} is no number", "", 0)


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _quoted(key: object, harmless: str = r"[^\x00-\x1f\"\\\ud800-\udfff]{1,60}") -> str:
    return f'"{key}"' if isinstance(key, str) and re.fullmatch(harmless, key) else '"?"'
