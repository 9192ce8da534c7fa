"""The languages we write to customers in. A customer's is said with the order, and stored with the payment."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

Lang: TypeAlias = Literal["en", "sw"]
LANGS: tuple[Lang, ...] = get_args(Lang)
"""By ISO 639-1: English and Swahili."""
DEFAULT_LANG: Lang = "en"


def read_lang(value: object) -> Lang:
    """The language of an order; English where none is said. ValueError for any other."""
    if value is None:
        return DEFAULT_LANG
    for lang in LANGS:
        if value == lang:
            return lang
    raise ValueError(f"must be one of: {', '.join(LANGS)}")
