"""Signed payment links: the shop says what is to be paid, and nobody can change it.

A token is `payload.signature`, both in base64url without padding. The signature is of the payload as it is written, so
one link has one spelling: its digest says whether it was paid. Pure: the standard library only.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from shared.values import LONGEST_TOKEN

LONGEST = timedelta(days=365)
"""No link can be paid for longer."""


class LinkRefused(Exception):
    """Not one of ours, or out of date. The message is for customers."""


@dataclass(frozen=True)
class PaymentLink:
    """What a link asks for."""

    amount_kes: Decimal
    account_reference: str
    description: str | None
    valid_until: datetime
    shop: str
    """As the link's page shows it."""
    id: str
    """Two links for the same are two links."""
    made_at: datetime
    """What was booked for its reference since then has paid it."""

    @classmethod
    def new(
        cls,
        amount_kes: Decimal,
        account_reference: str,
        description: str | None,
        valid_until: datetime,
        shop: str,
        made_at: datetime | None = None,
    ) -> PaymentLink:
        """`made_at`: now; where it is not given, as early as a link can be."""
        until = valid_until.astimezone(UTC).replace(microsecond=0)
        made = (made_at or until - LONGEST).astimezone(UTC).replace(microsecond=0)
        return cls(amount_kes, account_reference, description, until, shop, secrets.token_urlsafe(6), made)


def sign(link: PaymentLink, secret: str) -> str:
    """The link's token."""
    payload = {
        "shop": link.shop,
        "amount": int(link.amount_kes),
        "reference": link.account_reference,
        "description": link.description,
        "valid_until": link.valid_until.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "id": link.id,
        "made": int(link.made_at.timestamp()),
    }
    text = _encoded(json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode())
    return f"{text}.{_signature(text, secret)}"


def read(token: str, accepted: Sequence[str], now: datetime) -> PaymentLink:
    """What a token asks for, where one of the accepted secrets signed it. Raises `LinkRefused`."""
    text, _, signature = token.partition(".")
    genuine = False
    if len(token) <= LONGEST_TOKEN and token.isascii():
        for secret in accepted:  # all of them: how long it takes says nothing
            genuine |= hmac.compare_digest(_signature(text, secret), signature)
    if not genuine:
        raise LinkRefused("is not a payment link of this shop. Open the link again as you got it, or ask the shop")
    link = _payload(text)
    if now >= link.valid_until:
        raise LinkRefused("is a payment link that is out of date. Ask the shop for a new one")
    return link


def digest(token: str) -> bytes:
    """What the books know a link by: no payment can be made with it."""
    return hashlib.sha256(token.encode()).digest()


def _payload(text: str) -> PaymentLink:
    """We signed it: it has what `sign` wrote. A version that wrote something else signed it where it has not."""
    try:
        found = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        until = datetime.fromisoformat(found["valid_until"])
        made = found.get("made")  # older links do not say
        return PaymentLink(
            amount_kes=Decimal(found["amount"]),
            account_reference=found["reference"],
            description=found["description"],
            valid_until=until,
            shop=found["shop"],
            id=found["id"],
            made_at=until - LONGEST if made is None else datetime.fromtimestamp(made, UTC),
        )
    except (binascii.Error, ValueError, KeyError, TypeError) as unknown:
        raise LinkRefused("is a payment link of another version. Ask the shop for a new one") from unknown


def _signature(text: str, secret: str) -> str:
    return _encoded(hmac.new(secret.encode(), f"lipa payment link {text}".encode(), hashlib.sha256).digest())


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
