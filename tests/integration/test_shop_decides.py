"""The shop decides what is paid: its catalogue prices a cart, a link is what the shop signed, nothing else counts."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from netlify.functions import callback as callback_function
from shared import links
from shared.collaborators import collaborators, receiver
from shared.settings import link_secrets
from tests.fixtures.shop import CUSTOMER, OTHER_CUSTOMER, Reply, Shop
from tests.fixtures.statement_rows import on_statement

CLOSED = "tests/fixtures/catalogue_closed.json"
PHONE = {"phone_number": "0708 374 149"}
CART = [{"id": "coffee", "quantity": 2}, {"id": "tea", "quantity": 1}]
COSTS = 1550
BASKET = [{"id": "basket", "quantity": 1}, {"id": "delivery", "quantity": 1}]


@pytest.fixture
def closed(shop: Shop) -> Shop:
    """A shop that takes no amount but its own."""
    shop.configure(CATALOGUE=CLOSED, ADDRESS_PUSHES_PER_HOUR=100_000, SHOP_PUSHES_PER_MINUTE=100_000)
    shop.simulator.client.behave(push_latency_s=0)
    return shop


def asks(shop: Shop, body: dict[str, Any], key: str | None = None) -> Reply:
    headers = {} if key is None else {"idempotency-key": key}
    return shop.call("stkpush", "POST", "/api/pay/stkpush", body, headers)


def link(shop: Shop, amount: int = 1500, reference: str = "INV2041", *, days: float = 14, **other: Any) -> str:
    until = datetime.now(UTC) + timedelta(days=days)
    made_at = datetime.now(UTC) - timedelta(days=other.get("made_days_ago", 0))
    asked = links.PaymentLink.new(Decimal(amount), reference, other.get("description"), until, "Duka la Mfano", made_at)
    return links.sign(asked, other.get("secret") or link_secrets(os.environ)[0])


def pushed(shop: Shop) -> list[tuple[int, str]]:
    return [(push["amount"], push["account_reference"]) for push in shop.simulator.client.payments()]


# Right orders ---------------------------------------------------------------------------------------------------------


def test_a_cart_is_charged_at_the_shops_prices_and_kept(closed: Shop) -> None:
    reply = asks(closed, {**PHONE, "items": CART, "account_reference": "CART1"})
    assert (reply.status, reply.body["amount"], reply.body["account_reference"]) == (202, COSTS, "CART1")
    assert reply.body["status_url"] == f"https://shop.example/api/pay/status/{reply.body['transaction_id']}"
    assert pushed(closed) == [(COSTS, "CART1")]
    assert closed.payment(reply.body["transaction_id"])["items"] == [
        {"id": "coffee", "name": "Coffee, 250 g", "price_kes": 750, "quantity": 2},
        {"id": "tea", "name": "Tea", "price_kes": 50, "quantity": 1},
    ]


def test_a_reference_is_made_where_none_is_sent(closed: Shop) -> None:
    reply = asks(closed, {**PHONE, "items": CART}, key="one")
    assert pushed(closed) == [(COSTS, reply.body["account_reference"])]
    assert asks(closed, {**PHONE, "items": CART}, key="one").body == reply.body


def test_an_amount_beside_the_items_is_what_the_page_showed(closed: Shop) -> None:
    reply = asks(closed, {**PHONE, "items": CART, "amount": 1500})
    assert (reply.status, reply.body["code"], reply.body["amount"]) == (422, "price_changed", COSTS)
    assert reply.body["detail"] == "This costs KES 1,550 now. Look at the new sum, and pay again."
    assert pushed(closed) == []
    assert asks(closed, {**PHONE, "items": CART, "amount": reply.body["amount"]}).status == 202


def test_a_price_that_changed_since_does_not_lose_the_payment_of_a_key(closed: Shop) -> None:
    body = {**PHONE, "items": CART, "amount": COSTS, "account_reference": "CART1"}
    first = asks(closed, body, key="one")
    closed.configure(CATALOGUE="tests/fixtures/catalogue.json")  # there the tea is called otherwise
    assert asks(closed, body, key="one").body == first.body
    closed.configure(CATALOGUE="none")
    assert asks(closed, body, key="one").body == first.body
    assert asks(closed, {**body, "note": "Size M"}, key="one").body["code"] == "idempotency_mismatch"
    assert asks(closed, body, key="two").body["code"] == "invalid"
    assert len(pushed(closed)) == 1


def test_a_link_is_charged_as_the_shop_signed_it(closed: Shop) -> None:
    token = link(closed, description="Two chairs")
    reply = asks(closed, {**PHONE, "order": token, "note": "Plot 7, Ngong Road"})
    assert (reply.status, reply.body["amount"], reply.body["account_reference"]) == (202, 1500, "INV2041")
    payment = closed.payment(reply.body["transaction_id"])
    assert (payment["amount"], payment["transaction_desc"], payment["items"]) == (1500, "Two chairs", None)
    assert (payment["link_digest"], payment["note"]) == (links.digest(token), "Plot 7, Ngong Road")


def test_a_link_of_the_previous_secret_is_good_while_both_are_set(closed: Shop) -> None:
    before = link_secrets(os.environ)[0]
    token = link(closed)
    closed.configure(LINK_SECRET="a-secret-of-the-shops-own-for-its-links")
    assert asks(closed, {**PHONE, "order": token}).body["code"] == "order_invalid"
    closed.configure(LINK_SECRET_PREVIOUS=before)
    assert asks(closed, {**PHONE, "order": token}).status == 202
    assert asks(closed, {"phone_number": OTHER_CUSTOMER, "order": link(closed, 70, "INV7")}).status == 202


def test_without_a_catalogue_an_amount_is_taken_as_it_is(closed: Shop) -> None:
    closed.configure(CATALOGUE="none")
    assert asks(closed, {**PHONE, "amount": 70}).status == 202
    refused = asks(closed, {**PHONE, "items": CART})
    assert refused.body["errors"] == [{"field": "items", "detail": "cannot be used here: this shop has no catalogue"}]


def test_a_deploy_that_lost_its_catalogue_takes_nothing_and_alerts_the_shop(closed: Shop) -> None:
    closed.configure(CATALOGUE="public/lost.json")
    for body in ({**PHONE, "items": CART}, {**PHONE, "amount": 1}):
        reply = asks(closed, body)
        assert (reply.status, reply.body["code"]) == (500, "misconfigured")
        assert [error["field"] for error in reply.body["errors"]] == ["CATALOGUE"]
    assert closed.rows("SELECT topic FROM outbox WHERE sent_at IS NOT NULL") == [{"topic": "shop_misconfigured"}]
    assert pushed(closed) == []
    assert asks(closed, {**PHONE, "order": link(closed)}).status == 202  # a link needs no catalogue


# Altered ones ---------------------------------------------------------------------------------------------------------

NO_NUMBERS: tuple[Any, ...] = (
    None,
    "",
    "ten",
    "1,550",
    "1550 ",
    "\u0661\u0665\u0665\u0660",
    True,
    False,
    [],
    [1550],
    {},
)
OTHER_SUMS: tuple[Any, ...] = (0, 1, -1, -1550, 15, 155, 1549, 1551, 15.5, 1549.99, 1550.01, 250_000, 250_001, "1", "0")
IDS: tuple[Any, ...] = (
    "cofee", "Coffee", "coffee ", "", "../tea", "coffee\x00", "sold-out", "*", "1", "' OR 1=1", "te\u0430", "x" * 41,
    None, 7, True, ["coffee"], {"id": "coffee"},
)  # fmt: skip
NO_CARTS: tuple[Any, ...] = (
    None, "coffee:2", {}, {"id": "coffee", "quantity": 2}, [], [[]], ["coffee"], [None], [CART], 1550, [{}],
    [CART[0]] * 11, [CART[1]] * 51, [{"id": "coffee"}], [{"quantity": 1}],
)  # fmt: skip
FIELDS = (
    "price", "price_kes", "total", "total_kes", "sum", "discount", "coupon", "currency", "amount_kes", "unit_price",
    "free", "paid", "status", "transaction_id", "link_digest", "catalogue", "Amount", "AMOUNT", "amount ", "msisdn",
    "open_amounts", "items_kes", "tip", "refund",
)  # fmt: skip


def altered_bodies() -> Iterator[dict[str, Any]]:
    """Requests that a customer's browser never sends by itself."""
    right = {**PHONE, "items": CART, "amount": COSTS}
    for amount in (*NO_NUMBERS, *OTHER_SUMS):
        yield {**right, "amount": amount}
        yield {**PHONE, "amount": amount}
    yield {**PHONE, "amount": COSTS}
    yield dict(PHONE)
    for field in FIELDS:
        yield {**right, field: 1}
    for quantity in (0, -1, -2, 0.5, 1.5, 2.000001, 21, 1001, 10**9, 1e9, "2", "", None, True, [2], {"n": 2}):
        yield {**PHONE, "items": [{"id": "coffee", "quantity": quantity}, CART[1]]}
    for item_id in IDS:
        yield {**PHONE, "items": [{"id": item_id, "quantity": 1}], "amount": 1}
        yield {**PHONE, "items": [CART[1], {"id": item_id, "quantity": 1}]}
    for field in ("price_kes", "price", "amount", "name", "discount", "requires", "available", "max_quantity"):
        yield {**PHONE, "items": [{**CART[0], field: 1}]}
    for items in NO_CARTS:
        yield {**PHONE, "items": items}
        yield {**PHONE, "items": items, "amount": COSTS}
    yield {**PHONE, "items": [BASKET[0]]}  # without its delivery
    yield {**PHONE, "items": [BASKET[0], CART[1]]}
    yield {**PHONE, "items": [*BASKET, BASKET[1]]}
    yield {**PHONE, "items": [{"id": "land", "quantity": 2}]}
    yield {**PHONE, "items": [{"id": "land", "quantity": 1}, *BASKET], "amount": 202_699}


def altered_links(shop: Shop) -> Iterator[dict[str, Any]]:
    token = link(shop)
    text, _, signature = token.partition(".")
    for place, character in enumerate(token):  # each of its bytes
        yield {**PHONE, "order": f"{token[:place]}{'A' if character != 'A' else 'B'}{token[place + 1 :]}"}
    for made in (
        f"{token}=", f"{text}=.{signature}", token.upper(), text, f".{signature}", f"{token}.{signature}", "x", " ",
        f" {token}", f"{token}\n", f"{text}.{signature[:-1]}", "\ud800", "\u00e9" * 40, "x" * 2000,
    ):  # fmt: skip
        yield {**PHONE, "order": made}
    yield {**PHONE, "order": link(shop, 1, secret="somebody's own secret, long enough for it")}
    yield {**PHONE, "order": link(shop, days=-0.001)}
    for value in (None, "", 7, True, [token], {"token": token}, "x" * 2001):
        yield {**PHONE, "order": value}
    beside: tuple[tuple[str, Any], ...] = (
        ("amount", 1), ("amount", 1500), ("items", CART), ("account_reference", "OTHER"), ("transaction_desc", "free"),
        ("amount", None), ("transaction_desc", None),
    )  # fmt: skip
    for field, value in beside:
        yield {**PHONE, "order": token, field: value}


def altered_texts() -> Iterator[bytes]:
    """What is JSON to some readers, and not the same to all."""
    right = json.dumps({**PHONE, "items": CART, "amount": COSTS})
    twice = right.replace('"amount": 1550', '"amount": 1, "amount": 1550')
    for text in (
        twice, right.replace('"amount": 1550', '"amount": 1550, "amount": 1'), right.replace("1550", "NaN"),
        right.replace("1550", "-Infinity"), right.replace("1550", "1e400"), right.replace("1550", "0x60E"),
        right.replace('"quantity": 2', '"quantity": 1, "quantity": 2'), right.replace("1550", "9" * 5000), f"[{right}]",
        right.replace('"items"', '"items": [], "items"'), f"{right}{right}", right[:-1], right.replace("1550", "1550,"),
        right.replace('"amount"', "amount"), f"/* */{right}", "", "null", "1550", '"amount=1"',
        "amount=1&phone_number=07",
    ):  # fmt: skip
        yield text.encode()
    yield b"\xff\xfe" + right.encode("utf-16-le")


def test_no_altered_request_or_link_is_paid_below_the_shops_price(closed: Shop) -> None:
    token = link(closed)
    tried = [asks(closed, body) for body in (*altered_bodies(), *altered_links(closed))]
    tried += [closed.call("stkpush", "POST", "/api/pay/stkpush", raw=text) for text in altered_texts()]
    assert len(tried) >= 200
    assert [reply for reply in tried if not 400 <= reply.status < 500] == []
    assert {reply.body["code"] for reply in tried} == {"invalid", "price_changed", "order_invalid", "not_json"}
    for reply in tried:  # each with a sentence for the page
        assert len(reply.body["detail"].split()) >= 3, reply.body
        assert reply.body["detail"].endswith("."), reply.body
    assert closed.rows("SELECT id FROM transactions") == []
    assert closed.simulator.client.requests() == []
    # and what is right still goes through
    assert asks(closed, {**PHONE, "items": CART, "amount": "1550"}).status == 202
    assert asks(closed, {"phone_number": OTHER_CUSTOMER, "order": token}).status == 202
    assert sorted(push[0] for push in pushed(closed)) == [1500, COSTS]


def test_a_key_cannot_be_used_for_a_cheaper_cart(closed: Shop) -> None:
    assert asks(closed, {**PHONE, "items": CART}, key="one").status == 202
    for cheaper in ({"items": [CART[1]]}, {"items": CART, "amount": 1}, {"amount": 1}, {"order": link(closed, 1)}):
        assert asks(closed, {**PHONE, **cheaper}, key="one").body["code"] == "idempotency_mismatch"
    assert len(pushed(closed)) == 1


# One link pays once ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("references", ["once", "reusable"])
def test_one_link_pays_once(closed: Shop, references: str) -> None:
    closed.configure(REFERENCES=references)
    token = link(closed)
    closed.simulator.client.script(CUSTOMER, "pay", after_s=3)
    first = asks(closed, {**PHONE, "order": token}, key="one")
    open_elsewhere = asks(closed, {"phone_number": OTHER_CUSTOMER, "order": token})
    assert (open_elsewhere.status, open_elsewhere.body["code"]) == (429, "too_soon")
    assert int(open_elsewhere.headers["retry-after"]) > 0
    closed.simulator.client.wait_for_callback(first.body["checkout_request_id"])
    for phone in (CUSTOMER, OTHER_CUSTOMER):
        closed.age(3600)
        again = asks(closed, {"phone_number": phone, "order": token})
        assert (again.status, again.body["code"]) == (409, "already_paid")
    assert asks(closed, {**PHONE, "order": token}, key="one").body["status"] == "paid"
    assert len(pushed(closed)) == 1


def test_a_link_whose_money_may_be_here_rings_no_other_phone(closed: Shop) -> None:
    token = link(closed)
    closed.simulator.client.script(CUSTOMER, "ignore")
    first = asks(closed, {**PHONE, "order": token})
    closed.calls_back(first.body["transaction_id"], 9876)
    assert closed.payment(first.body["transaction_id"])["status"] == "REVIEW"
    closed.age(3 * 24 * 3600)
    second = asks(closed, {"phone_number": OTHER_CUSTOMER, "order": token})
    assert (second.status, second.body["code"]) == (429, "too_soon")


def test_a_link_whose_bill_was_paid_by_hand_is_paid(closed: Shop) -> None:
    closed.calls_back(asks(closed, {"phone_number": OTHER_CUSTOMER, "items": CART}).body["transaction_id"], 1032)
    on_statement(closed, "UKA1B2C3D4", account="inv2041")
    assert closed.ops("book", "UKA1B2C3D4", "--why", "paid by hand", "--who", "amina", "--yes") == 0
    closed.age(3 * 24 * 3600)
    assert asks(closed, {**PHONE, "order": link(closed, made_days_ago=10)}).body["code"] == "already_paid"
    assert asks(closed, {**PHONE, "order": link(closed, amount=1501, made_days_ago=10)}).status == 202
    new = {"phone_number": "254711000000", "order": link(closed, made_days_ago=1)}
    assert asks(closed, new).status == 202, "a bill of today was not paid last week"


def test_a_link_that_failed_on_one_phone_can_be_paid_with_another(closed: Shop) -> None:
    token = link(closed)
    closed.simulator.client.script(CUSTOMER, "cancel", after_s=0)
    first = asks(closed, {**PHONE, "order": token})
    closed.simulator.client.wait_for_callback(first.body["checkout_request_id"])
    assert asks(closed, {"phone_number": OTHER_CUSTOMER, "order": token}).status == 202


@pytest.mark.parametrize("way", ["items", "order"])
def test_a_push_costs_seven_round_trips_at_most(closed: Shop, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And its callback five, until the settlement is committed."""
    monkeypatch.setattr(callback_function, "follow_up_on", lambda *_: None)
    first = asks(closed, {"phone_number": OTHER_CUSTOMER, "items": [CART[1]]})
    closed.calls_back(first.body["transaction_id"], 1032)  # now both have the stamp, and one the token
    body = {**PHONE, **({"items": CART} if way == "items" else {"order": link(closed)})}
    before = collaborators().gateway.database.round_trips
    reply = asks(closed, body, key="one")
    assert reply.status == 202
    assert collaborators().gateway.database.round_trips - before <= 7
    before = receiver().gateway.database.round_trips
    closed.calls_back(reply.body["transaction_id"])
    assert receiver().gateway.database.round_trips - before <= 5
    assert closed.payment(reply.body["transaction_id"])["status"] == "PAID"
