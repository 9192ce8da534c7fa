"""Is a callback genuine? The address it came to, which only we can write, and the address it came from.

Daraja signs nothing. So each payment gets its own address, `…/callback/{transaction id}/{token}`, where the token is an
HMAC-SHA256 of the id: it binds a callback to its payment even when it overtakes the answer to our push, and is worth
nothing for any other payment. What is not exactly such an address is not looked at.

The caller's address is one more sign, never a proof. The list is the one that merchants are given for their firewalls;
three of its addresses were seen to send real callbacks: 196.201.212.127 (2025-10-03), .212.138 (2026-08-17) and .212.69
(2026-09). Some lists add 196.201.212.128 and .132, and whole networks: nobody has shown a callback from those, so they
are not here. Safaricom may change its addresses without a word, which is why a callback from elsewhere is by default
judged all the same.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, NamedTuple
from urllib.parse import urlsplit

from shared.values import TRANSACTION_ID

if TYPE_CHECKING:
    from shared.settings import CallbackSettings

PUBLIC_PREFIXES = ("/api/mpesa/callback", "/api/pay/callback")
TOKEN = r"[0-9a-f]{64}"
_TAIL = re.compile(f"/({TRANSACTION_ID})/({TOKEN})", re.ASCII)


def callback_url(settings: CallbackSettings, transaction_id: str) -> str:
    """The address for Safaricom's callback about this payment."""
    return f"{settings.url}/{transaction_id}/{_token(settings.secrets[0], transaction_id)}"


class Genuine(NamedTuple):
    """An address that we wrote."""

    transaction_id: str
    key: str
    """The name of the key that signed it: the database knows which keys are retired."""


def genuine(settings: CallbackSettings, path: str) -> Genuine | None:
    """An address that we wrote, with today's secret or the previous; None for all else."""
    for prefix in {*PUBLIC_PREFIXES, urlsplit(settings.url).path}:
        found = _TAIL.fullmatch(path, len(prefix)) if path.startswith(prefix) else None
        if found:
            transaction_id, token = found.groups()
            known = [hmac.compare_digest(_token(secret, transaction_id), token) for secret in settings.secrets]
            return Genuine(transaction_id, key_name(settings.secrets[known.index(True)])) if any(known) else None
    return None


def key_name(secret: str) -> str:
    """32 hex digits that distinguish secrets and reveal nothing about them."""
    return hmac.new(secret.encode(), b"lipa callback key", hashlib.sha256).hexdigest()[:32]


def _token(secret: str, transaction_id: str) -> str:
    return hmac.new(secret.encode(), transaction_id.encode(), hashlib.sha256).hexdigest()


# The caller's address -------------------------------------------------------------------------------------------------

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
