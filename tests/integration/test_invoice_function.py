"""POST /api/mpesa/invoice: the invoice again, to the address on file and to no other."""

from __future__ import annotations

import pytest

from tests.fixtures.shop import CUSTOMER, Reply, Shop

NOBODY = "0c9e8f1a-0b1c-4d2e-8f3a-5b6c7d8e9f00"


def paid(shop: Shop, email: str | None = "alice@example.com") -> str:
    shop.simulator.client.script(CUSTOMER, "pay", after_s=0)
    reply = shop.pay(customer_email=email)
    shop.simulator.client.wait_for_callback(reply.body["checkout_request_id"])
    return str(reply.body["transaction_id"])


def again(shop: Shop, transaction_id: object, **more: object) -> Reply:
    return shop.call("invoice", "POST", "/api/mpesa/invoice", {"transaction_id": transaction_id, **more})


def mails(shop: Shop) -> list[list[str]]:
    return [mail["to"] for mail in shop.letters()]


def test_the_invoice_is_sent_again_to_the_stored_address_only(shop: Shop) -> None:
    transaction_id = paid(shop)
    shop.sweep()
    reply = again(shop, transaction_id, customer_email="mallory@example.com")
    assert (reply.status, reply.body) == (
        202,
        {
            "transaction_id": transaction_id,
            "message": "The invoice is on its way to the address stored with the payment.",
        },
    )
    shop.sweep()
    assert len(mails(shop)) == 2
    assert all("alice@example.com" in to[0] for to in mails(shop))
    assert len({mail["subject"] for mail in shop.letters()}) == 1  # the same invoice, the same number


def test_it_is_sent_three_times_a_day_at_most(shop: Shop) -> None:
    transaction_id = paid(shop)
    assert [again(shop, transaction_id).status for _ in range(4)] == [202, 202, 202, 429]
    reply = again(shop, transaction_id)
    assert (reply.body["code"], reply.headers["retry-after"]) == ("too_often", str(reply.body["retry_after_s"]))
    assert 86_000 < reply.body["retry_after_s"] <= 86_401
    shop.age(24 * 3600 + 1)
    assert again(shop, transaction_id).status == 202
    shop.sweep()
    assert len(mails(shop)) == 5


def test_an_address_is_taken_once_where_none_is_stored(shop: Shop) -> None:
    transaction_id = paid(shop, email=None)
    shop.sweep()
    assert mails(shop) == []
    missing = again(shop, transaction_id)
    assert (missing.status, [error["field"] for error in missing.body["errors"]]) == (422, ["customer_email"])
    assert again(shop, transaction_id, customer_email="alice@example.com").status == 202
    assert again(shop, transaction_id, customer_email="mallory@example.com").status == 202
    shop.sweep()
    assert len(mails(shop)) == 2
    assert all("alice@example.com" in to[0] for to in mails(shop))
    assert shop.row("SELECT count(*) AS n FROM invoices") == {"n": 1}


def test_an_address_is_never_shown(shop: Shop) -> None:
    transaction_id = paid(shop)
    for reply in (again(shop, transaction_id), again(shop, transaction_id, customer_email="mallory@example.com")):
        assert "@" not in str(reply.body)


@pytest.mark.parametrize("outcome", [None, "cancel"])
def test_there_is_no_invoice_for_what_is_not_paid(shop: Shop, outcome: str | None) -> None:
    if outcome:
        shop.simulator.client.script(CUSTOMER, outcome, after_s=0)
    reply = shop.pay()
    if outcome:
        shop.simulator.client.wait_for_callback(reply.body["checkout_request_id"])
    refused = again(shop, reply.body["transaction_id"], customer_email="mallory@example.com")
    assert (refused.status, refused.body["code"]) == (409, "not_paid")
    assert shop.payment(reply.body["transaction_id"])["customer_email"] == "alice@example.com"
    assert shop.rows("SELECT id FROM invoices") == []


def test_an_id_that_is_no_payments_is_not_found(shop: Shop) -> None:
    assert again(shop, NOBODY).status == 404


@pytest.mark.parametrize("transaction_id", [None, "", 1, "x", NOBODY.upper(), NOBODY + " ", [NOBODY], "' OR 1=1 --"])
def test_what_is_no_id_is_named(shop: Shop, transaction_id: object) -> None:
    reply = again(shop, transaction_id, customer_email="not an address")
    assert (reply.status, [error["field"] for error in reply.body["errors"]]) == (
        422,
        ["transaction_id", "customer_email"],
    )


def test_two_requests_at_once_make_one_invoice(shop: Shop) -> None:
    from concurrent.futures import ThreadPoolExecutor

    transaction_id = paid(shop, email=None)
    instances = shop.other_instances(2)
    addresses = ["alice@example.com", "mallory@example.com"]
    body = [{"transaction_id": transaction_id, "customer_email": address} for address in addresses]
    with ThreadPoolExecutor() as pool:
        replies = pool.map(lambda i, asked: i.call("invoice", "POST", "/api/mpesa/invoice", asked), instances, body)
        assert [reply.status for reply in replies] == [202, 202]
    shop.sweep()
    assert shop.row("SELECT count(*) AS n FROM invoices") == {"n": 1}
    assert len({to[0] for to in mails(shop)}) == 1


def test_a_field_that_is_unknown_is_named_rather_than_overlooked(shop: Shop) -> None:
    """A mistyped customer_email would otherwise be no e-mail at all, and nobody would hear of it."""
    reply = again(shop, paid(shop, email=None), customer_emial="alice@example.com")
    assert (reply.status, reply.body["code"]) == (422, "invalid")
    assert [error["field"] for error in reply.body["errors"]] == ["customer_emial"]
    shop.sweep()
    assert mails(shop) == []
