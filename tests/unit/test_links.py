"""A payment link has one spelling, made by the shop; any other text is no link."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from shared.links import LinkRefused, PaymentLink, digest, read, sign

NOW = datetime(2026, 5, 4, 9, 15, tzinfo=UTC)
SECRET, OLDER = "the secret of a shop's payment links", "the secret that was used before that one"
LINK = PaymentLink.new(
    Decimal(1500), "INV2041", "Two chairs, \u00e0 la carte", NOW + timedelta(days=14), "Duka la Mfano"
)
TOKEN = sign(LINK, SECRET)
NOT_OURS = "is not a payment link of this shop. Open the link again as you got it, or ask the shop"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def refused(token: str, *accepted: str, now: datetime = NOW) -> str:
    with pytest.raises(LinkRefused) as raised:
        read(token, accepted or (SECRET,), now)
    return str(raised.value)


def test_a_link_says_what_the_shop_asked_for() -> None:
    assert read(TOKEN, (SECRET,), NOW) == LINK
    assert sign(LINK, SECRET) == TOKEN
    shown = json.loads(base64.urlsafe_b64decode(TOKEN.partition(".")[0] + "=="))
    assert shown == {
        "shop": "Duka la Mfano",
        "amount": 1500,
        "reference": "INV2041",
        "description": "Two chairs, \u00e0 la carte",
        "valid_until": "2026-05-18T09:15:00Z",
        "id": LINK.id,
        "made": int(LINK.made_at.timestamp()),
    }


def test_two_links_for_the_same_are_two_links() -> None:
    again = PaymentLink.new(LINK.amount_kes, "INV2041", LINK.description, LINK.valid_until, LINK.shop)
    assert digest(sign(again, SECRET)) != digest(TOKEN)


def test_any_other_character_in_any_place_is_refused() -> None:
    for place, character in enumerate(TOKEN):
        for other in {*LETTERS, ".", "=", "+", "/", " ", "\n", "%", "\x00", "\u00e9", "\ud800"} - {character}:
            assert refused(f"{TOKEN[:place]}{other}{TOKEN[place + 1 :]}") == NOT_OURS


def test_what_is_cut_doubled_padded_or_put_together_is_refused() -> None:
    text, _, signature = TOKEN.partition(".")
    other = sign(replace(LINK, amount_kes=Decimal(1)), SECRET)
    cheaper = json.dumps(json.loads(base64.urlsafe_b64decode(text + "==")) | {"amount": 1}, separators=(",", ":"))
    made = [
        *(TOKEN[:length] for length in range(len(TOKEN))),
        *(TOKEN[length:] for length in range(1, len(TOKEN))),
        *(f"{TOKEN}=", f"{text}==.{signature}", f"{text}.{signature}.", f"{text}.{signature}.{signature}", f" {TOKEN}"),
        *(f"{TOKEN}\n", TOKEN.upper(), TOKEN.swapcase(), text, f"{text}.", f".{signature}", f"{signature}.{text}", "."),
        *(f"{other.partition('.')[0]}.{signature}", f"{text}.{other.partition('.')[2]}", "x" * 3000),
        f"{base64.urlsafe_b64encode(cheaper.encode()).rstrip(b'=').decode()}.{signature}",
    ]
    assert {refused(token) for token in made} == {NOT_OURS}


def test_the_previous_secret_still_opens_its_links_and_no_other_does() -> None:
    old = sign(LINK, OLDER)
    assert read(old, (SECRET, OLDER), NOW) == LINK
    assert refused(old, SECRET) == NOT_OURS
    assert refused(TOKEN, "another secret") == NOT_OURS
    with pytest.raises(LinkRefused):
        read(TOKEN, (), NOW)


def test_a_link_is_good_until_its_moment() -> None:
    assert read(TOKEN, (SECRET,), LINK.valid_until - timedelta(seconds=1)) == LINK
    assert refused(TOKEN, now=LINK.valid_until) == "is a payment link that is out of date. Ask the shop for a new one"
