"""The languages we write to customers in. The order says which one, and the payment keeps it."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

Lang: TypeAlias = Literal["en", "sw"]
LANGS: tuple[Lang, ...] = get_args(Lang)
"""By ISO 639-1: English and Swahili."""
DEFAULT_LANG: Lang = "en"
