"""The shop's own prices: its catalogue is read and checked, and what a customer wants from it is priced.

Pure: the standard library only. The build checks the catalogue with it, and the function prices with it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

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
            raise ValueError(f"have the key {_quoted(unknown[0], r'[A-Za-z_]{1,40}')} in line {nth}, which is not used")
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
        json.loads(text, parse_constant=_no_number)
    except json.JSONDecodeError as refused:
        raise CatalogueWrong(f"line {refused.lineno}: this is not JSON: {refused.msg}") from None
    except (ValueError, RecursionError):
        raise CatalogueWrong("it has a number that is too long, or lists that are nested too deep") from None
    reading = _Reading(_Scanner(text).value())
    catalogue = reading.catalogue()
    if reading.mistakes:
        named = [f"line {line}: {says}" for line, says in sorted(reading.mistakes, key=lambda mistake: mistake[0])]
        more = [f"and {len(named) - MOST_NAMED} more"] if len(named) > MOST_NAMED else []
        raise CatalogueWrong(*named[:MOST_NAMED], *more)
    return catalogue


class _Placed(NamedTuple):
    """A value of the file and its line. Of an object: its keys, each with what stands there, in their order."""

    value: Any
    line: int
    members: tuple[tuple[str, _Placed], ...] | None = None


@dataclass
class _Reading:
    """One reading of the file: mistakes are collected, so that one build names all."""

    file: _Placed
    mistakes: list[tuple[int, str]] = field(default_factory=list)

    def catalogue(self) -> Catalogue:
        top = self._object(self.file, "the file", {"items", "open_amounts"})
        open_amounts = top.get("open_amounts", _Placed(False, 1))
        if not isinstance(open_amounts.value, bool):
            self._wrong(open_amounts, "open_amounts must be true or false")
        listed = top.get("items", self.file)
        if not isinstance(listed.value, list):
            self._wrong(listed, 'the file must have "items", a list')
        elif len(listed.value) > MOST_ITEMS:
            self._wrong(listed, f"items must be at most {MOST_ITEMS:,}")
        else:
            return Catalogue(self._items(listed.value), open_amounts.value is True)
        return Catalogue({})

    def _items(self, listed: list[_Placed]) -> dict[str, Item]:
        items: dict[str, Item] = {}
        lines: dict[str, int] = {}
        required: list[tuple[_Placed, Item]] = []
        for placed in listed:
            item = self._item(placed)
            if item.id in lines:
                self._wrong(placed, f'id "{item.id}" is taken by line {lines[item.id]}')
            elif item.id:
                items[item.id], lines[item.id] = item, placed.line
                required.append((placed, item))
        for placed, item in required:
            for other in item.requires:
                if other == item.id or other not in items:
                    self._wrong(placed, f'"{item.id}" requires "{other}", which must be the id of another item')
        return items

    def _item(self, placed: _Placed) -> Item:
        found = self._object(placed, "an item", {"id", "name", "price_kes", "max_quantity", "available", "requires"})
        said_id = found.get("id", _Placed(None, placed.line))
        item_id = said_id.value if isinstance(said_id.value, str) else ""
        if not re.fullmatch(ITEM_ID, item_id):
            self._wrong(said_id, "an item must have an id of 1 to 40 of a-z, 0-9 and -")
            item_id = ""
        of = f'of "{item_id}"' if item_id else "of an item"
        name = found.get("name", _Placed(None, placed.line))
        words = one_line(name.value) if isinstance(name.value, str) else ""
        if not 1 <= len(words) <= LONGEST_NAME:
            self._wrong(name, f"the name {of} must be text of 1 to {LONGEST_NAME} characters")
        kes = found.get("price_kes", _Placed(None, placed.line))
        if not _is_whole(kes.value) or not 1 <= kes.value <= LARGEST_KES:
            self._wrong(kes, f"price_kes {of} must be whole shillings from 1 to {LARGEST_KES:,}, without quotes")
        most = found.get("max_quantity", _Placed(MOST_OF_AN_ITEM, placed.line))
        if not _is_whole(most.value) or most.value not in QUANTITIES:
            self._wrong(most, f"max_quantity {of} must be a whole number from 1 to {LARGEST_QUANTITY}")
        available = found.get("available", _Placed(True, placed.line))
        if not isinstance(available.value, bool):
            self._wrong(available, f"available {of} must be true or false")
        requires = found.get("requires", _Placed([], placed.line))
        others: list[Any] = requires.value if isinstance(requires.value, list) else [None]
        if not all(isinstance(other, str) for other in others) or len(others) > MOST_LINES:
            self._wrong(requires, f"requires {of} must be a list of at most {MOST_LINES} ids")
            others = []
        if self.mistakes:  # no item is sold from a file with mistakes
            return Item(item_id, "", Decimal(0), requires=tuple(others))
        return Item(item_id, words, Decimal(kes.value), most.value, available.value, tuple(others))

    def _object(self, placed: _Placed, what: str, keys: set[str]) -> dict[str, _Placed]:
        """Its members by key; none where it is no object. Keys that begin with `x-` are the shop's own."""
        if placed.members is None:
            self._wrong(placed, f"{what} must be an object, {{…}}")
            return {}
        found: dict[str, _Placed] = {}
        for key, member in placed.members:
            if key in found:
                self._wrong(member, f"{_quoted(key)} stands twice")
            elif key not in keys and not key.startswith("x-"):
                self._wrong(member, f"{_quoted(key)} is no key of {what}; your own begin with x-")
            found[key] = member
        return found

    def _wrong(self, placed: _Placed, says: str) -> None:
        self.mistakes.append((placed.line, says))


_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\n\r]*")
_LEVELS = 3
"""The file, its list, the items: the lines of what is deeper are not needed."""


class _Scanner:
    """Reads values together with their lines, from a text that is JSON: it was parsed before."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at, self._line, self._counted_to = 0, 1, 0
        self._skip(0)

    def value(self, levels: int = _LEVELS) -> _Placed:
        self._line += self._text.count("\n", self._counted_to, self._at)
        self._counted_to = self._at
        line, begins = self._line, self._text[self._at]
        if levels and begins == "{":
            return _Placed(None, line, tuple(self._parts(levels - 1, keyed=True)))
        if levels and begins == "[":
            return _Placed([part for _, part in self._parts(levels - 1, keyed=False)], line)
        said = self._raw()
        return _Placed(said, line, () if isinstance(said, dict) else None)

    def _parts(self, levels: int, *, keyed: bool) -> Iterator[tuple[str, _Placed]]:
        self._skip(1)
        while self._text[self._at] not in "}]":
            key = str(self._raw()) if keyed else ""
            self._skip(1 if keyed else 0)  # the colon
            yield key, self.value(levels)
            self._skip(1 if self._text[self._at] == "," else 0)
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


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _quoted(key: object, harmless: str = r"[^\x00-\x1f\"\\\ud800-\udfff]{1,60}") -> str:
    return f'"{key}"' if isinstance(key, str) and re.fullmatch(harmless, key) else '"?"'
