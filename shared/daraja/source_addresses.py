"""The addresses that Safaricom calls back from, as data, and what an address is worth.

Daraja signs nothing, so besides the token in the callback's own address (callback_address.py) the caller's
address is one more sign, never a proof. The list is the one that merchants are given for their firewalls; three of its
addresses were seen to send real callbacks: 196.201.212.127 (2025-10-03), .212.138 (2026-08-17) and .212.69 (2026-09).
Some lists add 196.201.212.128 and .132, and whole networks: nobody has shown a callback from those, so they are not
here. Safaricom may change its addresses without a word, which is why a callback from elsewhere is by default judged
all the same.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

IpMode = Literal["flag", "enforce", "off"]

PUBLISHED_AS_OF = "2026-10-07"
SAFARICOM_ADDRESSES = frozenset(
    {
        "196.201.212.69",
        "196.201.212.74",
        "196.201.212.127",
        "196.201.212.129",
        "196.201.212.136",
        "196.201.212.138",
        "196.201.213.44",
        "196.201.213.114",
        "196.201.214.200",
        "196.201.214.206",
        "196.201.214.207",
        "196.201.214.208",
    }
)


class Source(StrEnum):
    """Where a callback came from, as its inbox row remembers it."""

    LISTED = "listed"
    """One of Safaricom's addresses."""
    UNLISTED = "unlisted"
    """Another one: judged, with an alert."""
    HELD = "held"
    """Another one, where only Safaricom's are believed: kept, and judged when a person says so."""


def check_source(mode: IpMode, address: str | None) -> Source | None:
    """What the caller's address makes of a callback; None: nothing is said about it.

    `address` is what the platform says, None on a host whose platform says nothing: then `flag` has nothing to look at,
    while `enforce` believes nobody.
    """
    if mode == "off" or (mode == "flag" and address is None):
        return None
    if address is not None and address.strip().removeprefix("::ffff:") in SAFARICOM_ADDRESSES:
        return Source.LISTED
    return Source.HELD if mode == "enforce" else Source.UNLISTED
