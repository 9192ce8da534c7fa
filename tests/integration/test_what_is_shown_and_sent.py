"""To whom a payment is shown, and to whom its invoice goes: what a sensible mistake would widen."""

from __future__ import annotations

import pytest

from tests.chaos.customers import nth_order, push
from tests.fixtures.shop import Reply, Shop


def invoice_again(shop: Shop, transaction_id: str, **more: object) -> Reply:
    return shop.call("invoice", "POST", "/api/mpesa/invoice", {"transaction_id": transaction_id, **more})


@pytest.mark.parametrize("length", [8, 9, 13, 18, 23, 35])
def test_the_beginning_of_an_id_shows_nothing(shop: Shop, length: int) -> None:
    transaction_id = shop.pay().body["transaction_id"]
    assert shop.status(transaction_id[:length]).status == 404
    assert shop.status(transaction_id).status == 200


def test_a_payment_in_review_has_no_invoice_to_send(shop: Shop) -> None:
    told = push(shop, nth_order(1))
    shop.call("callback", "POST", told.path, raw=told.success().replace(b":101}", b":102}"))
    assert shop.payment(told.transaction_id)["status"] == "REVIEW"
    assert invoice_again(shop, told.transaction_id).body["code"] == "not_paid"


def test_a_stored_address_is_never_replaced(shop: Shop) -> None:
    paid = push(shop, nth_order(1))
    shop.call("callback", "POST", paid.path, raw=paid.success())
    assert invoice_again(shop, paid.transaction_id, customer_email="mallory@example.com").status == 202
    assert shop.payment(paid.transaction_id)["customer_email"] == "alice@example.com"
