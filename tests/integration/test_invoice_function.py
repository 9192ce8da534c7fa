"""POST /api/mpesa/invoice: the invoice again, to the address on file and to no other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from ops.limits import used
from shared.collaborators import collaborators
from shared.database import Database
from shared.settings import settings
from tests.fixtures.shop import CUSTOMER, NOBODY, Instance, Reply, Shop

INVOICE = "/api/mpesa/invoice"
WAITING = """
    SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


def paid(shop: Shop, email: str | None = "alice@example.com", phone: str = CUSTOMER) -> str:
    return shop.settled(customer_email=email, phone_number=phone)


def again(shop: Shop, transaction_id: object, caller: str = "127.0.0.1", **more: object) -> Reply:
    body, headers = {"transaction_id": transaction_id, **more}, {"x-nf-client-connection-ip": caller}
    return shop.call("invoice", "POST", INVOICE, body, headers)


def at_once(shop: Shop, instances: Sequence[Instance], bodies: Sequence[Mapping[str, object]]) -> list[int]:
    """The statuses, each of an instance of its own. Nobody is counted until all have looked, or wait for who did."""
    keeper = Database(shop.database_url)
    with ThreadPoolExecutor() as pool:
        with keeper.transaction() as tx:
            tx.run("LOCK TABLE push_callers IN SHARE MODE")
            asked = pool.map(lambda one, body: one.call("invoice", "POST", INVOICE, body), instances, bodies)
            shop.simulator.client.wait_for(lambda: shop.row(WAITING)["n"] == len(bodies) or None, "all who wait", 10)
        keeper.close()
        return sorted(reply.status for reply in asked)


def mails(shop: Shop) -> list[list[str]]:
    return [mail["to"] for mail in shop.letters()]


def test_the_invoice_is_sent_again_to_the_stored_address_only(shop: Shop) -> None:
    transaction_id = paid(shop)
    shop.sweep()
    reply = again(shop, transaction_id, customer_email="mallory@example.com")
    said = "The invoice is on its way to the address stored with the payment."
    assert (reply.status, reply.body) == (202, {"transaction_id": transaction_id, "message": said})
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


def test_it_is_sent_ten_times_in_all_and_no_more_however_long_one_waits(shop: Shop) -> None:
    transaction_id = paid(shop)
    shop.sweep()
    for _ in range(3):
        assert [again(shop, transaction_id).status for _ in range(3)] == [202, 202, 202]
        shop.age(24 * 3600 + 1)
    assert again(shop, transaction_id).status == 202
    for _ in range(2):
        refused = again(shop, transaction_id)
        assert (refused.status, refused.body["code"]) == (429, "too_often")
        assert "retry-after" not in refused.headers
        assert "retry_after_s" not in refused.body
        shop.age(30 * 24 * 3600)
    assert len(mails(shop)) == 11


def test_requests_at_once_send_it_no_more_often(shop: Shop) -> None:
    """Each asked of an instance of its own: three of five on one day, and later one of five, since one was left."""
    transaction_id = paid(shop)
    shop.sweep()
    instances, asked = shop.other_instances(5), [{"transaction_id": transaction_id}] * 5
    assert at_once(shop, instances, asked) == [202, 202, 202, 429, 429]
    shop.overwrite(
        "INSERT INTO outbox (kind, topic, transaction_id, sent_at, next_try_at)"
        f" SELECT 'invoice', 'again', '{transaction_id}', now(), NULL FROM generate_series(1, 6)"
    )
    shop.age(24 * 3600 + 1)
    assert at_once(shop, instances, asked) == [202, 429, 429, 429, 429]


def test_one_caller_asks_for_so_many_invoices_an_hour(shop: Shop) -> None:
    """Of all payments together, also at once. Somebody else is not held up, and a push is no invoice."""
    payments = [paid(shop, phone=f"2547000000{number:02}") for number in range(2)]
    shop.sweep()
    shop.configure(ADDRESS_PUSHES_PER_HOUR=1)
    asked = [{"transaction_id": one} for one in payments]
    assert at_once(shop, shop.other_instances(2), asked) == [202, 429]
    refused = again(shop, payments[0])
    assert (refused.body["code"], refused.body["limit"]) == ("too_many", "address")
    assert refused.headers["retry-after"] == str(refused.body["retry_after_s"])
    assert 3_500 < refused.body["retry_after_s"] <= 3_601
    assert again(shop, payments[0], caller="198.51.100.7").status == 202
    assert used(collaborators().gateway.database, settings().limits).address_pushes == len(payments)
    shop.age(3_601)
    assert again(shop, payments[1]).status == 202


def test_what_is_refused_counts_for_nothing(shop: Shop) -> None:
    transaction_id = paid(shop, email=None)
    shop.configure(ADDRESS_PUSHES_PER_HOUR=1)
    for _ in range(3):
        assert again(shop, transaction_id).status == 422
        assert again(shop, NOBODY).status == 404
    assert again(shop, transaction_id, customer_email="alice@example.com").status == 202
    assert again(shop, transaction_id).body["code"] == "too_many"


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


def test_an_address_that_came_later_gets_no_more_than_the_holder_of_the_id_may_see(shop: Shop) -> None:
    """They need not be who paid: the letter has the amount, the reference and the receipt, as the status has."""
    personal = {"customer_name": "Alice Wanjiru", "transaction_desc": "Insulin for Alice"}
    theirs = shop.settled(customer_email=None, **personal)
    own = shop.settled(customer_email="alice@example.com", phone_number="254722000001", **personal)
    for transaction_id in (theirs, own):
        assert again(shop, transaction_id, customer_email="mallory@example.com").status == 202
    shop.sweep()
    for mail in shop.letters():
        to_the_payer = "alice@example.com" in mail["to"][0]
        assert ("Alice Wanjiru" in mail["text"], "Insulin" in mail["text"]) == (to_the_payer, to_the_payer)
    assert sorted(to[0] for to in mails(shop)) == ["Alice Wanjiru <alice@example.com>"] * 2 + ["mallory@example.com"]


@pytest.mark.parametrize("outcome", [None, "cancel"])
def test_there_is_no_invoice_for_what_is_not_paid(shop: Shop, outcome: str | None) -> None:
    transaction_id = shop.settled(outcome) if outcome else str(shop.pay().body["transaction_id"])
    refused = again(shop, transaction_id, customer_email="mallory@example.com")
    assert (refused.status, refused.body["code"]) == (409, "not_paid")
    assert shop.payment(transaction_id)["customer_email"] == "alice@example.com"
    assert shop.rows("SELECT id FROM invoices") == []


@pytest.mark.parametrize("transaction_id", [None, "", 1, "x", NOBODY.upper(), NOBODY + " ", [NOBODY], "' OR 1=1 --"])
def test_what_is_no_id_is_named(shop: Shop, transaction_id: object) -> None:
    reply = again(shop, transaction_id, customer_email="not an address")
    named = [error["field"] for error in reply.body["errors"]]
    assert (reply.status, named) == (422, ["transaction_id", "customer_email"])


def test_two_requests_at_once_make_one_invoice(shop: Shop) -> None:
    transaction_id = paid(shop, email=None)
    bodies = [
        {"transaction_id": transaction_id, "customer_email": f"{who}@example.com"} for who in ("alice", "mallory")
    ]
    assert at_once(shop, shop.other_instances(2), bodies) == [202, 202]
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
