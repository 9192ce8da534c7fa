"""GET /api/mpesa/status/{transaction_id}: what a customer may know, in words they understand."""

from __future__ import annotations

import re

import pytest

from shared.settings import settings
from tests.fixtures.shop import CUSTOMER, NOBODY, Shop

UNEXPLAINED = {"code": "7777", "desc": "Something new"}


def test_a_pending_payment_says_what_to_do_and_when_to_ask_again(shop: Shop) -> None:
    transaction_id = shop.pay().body["transaction_id"]
    reply = shop.status(transaction_id)
    assert reply.status == 200
    assert reply.body == {
        "transaction_id": transaction_id,
        "status": "pending",
        "amount": 1500,
        "account_reference": "INV00042",
        "message": "Waiting for you to confirm on your phone.",
        "next_action": "Enter your M-Pesa PIN when the prompt appears. It can take a minute.",
        "retry_after_s": 3,
        "updated_at": reply.body["updated_at"],
    }
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", reply.body["updated_at"])


def test_a_paid_payment_says_its_receipt_and_nothing_more_to_come(shop: Shop) -> None:
    transaction_id = shop.settled()
    (moved,) = shop.simulator.client.ledger()
    body = shop.status(transaction_id).body
    assert (body["status"], body["mpesa_receipt_number"]) == ("paid", moved["receipt"])
    assert not {"retry_after_s", "next_action"} & body.keys()


def test_an_uncertain_push_tells_the_customer_not_to_pay_twice(shop: Shop) -> None:
    shop.simulator.client.script(CUSTOMER, drop_response=True, reaches_phone=False)
    body = shop.status(shop.pay().body["transaction_id"]).body
    assert body["status"] == "pending"
    assert "do not pay a second time" in body["next_action"]


def test_a_payment_under_review_tells_the_customer_not_to_pay_again(shop: Shop) -> None:
    body = shop.status(shop.settled(UNEXPLAINED)).body
    assert body["status"] == "under_review"
    assert "do not pay again" in body["next_action"]
    assert body["retry_after_s"] >= 3


def test_a_refunded_payment_says_so(shop: Shop) -> None:
    transaction_id = shop.settled()
    assert shop.ops("review", "refunded", transaction_id, "--receipt", "UE4RS31RBV", "--why", "sent back") == 0
    body = shop.status(transaction_id).body
    assert (body["status"], "refunded" in body["message"]) == ("refunded", True)
    assert "retry_after_s" not in body


@pytest.mark.parametrize(("code", "status"), [("2001", "FAILED"), ("1032", "CANCELLED"), ("1019", "EXPIRED")])
def test_every_kind_of_failure_is_failed(shop: Shop, code: str, status: str) -> None:
    transaction_id = shop.settled({"code": code, "desc": "No"})
    assert shop.payment(transaction_id)["status"] == status
    body = shop.status(transaction_id).body
    assert (body["status"], bool(body["message"])) == ("failed", True)
    assert "retry_after_s" not in body


def test_a_refused_push_is_failed_and_says_that_nothing_was_charged(shop: Shop) -> None:
    shop.simulator.client.script(CUSTOMER, push_answer="wrong_credentials")
    shop.pay()
    body = shop.status(str(shop.row("SELECT id FROM transactions")["id"])).body
    assert (body["status"], "no money moved" in body["message"]) == ("failed", True)


def test_a_failure_by_a_persons_word_does_not_say_that_no_money_moved(shop: Shop) -> None:
    transaction_id = shop.settled(UNEXPLAINED)
    assert shop.ops("review", "fail", transaction_id, "--why", "not on the statement") == 0
    body = shop.status(transaction_id).body
    assert "no money moved" not in body["message"]
    assert "M-Pesa SMS" in body["next_action"]


def test_a_page_asks_less_and_less_often(shop: Shop) -> None:
    transaction_id = shop.pay().body["transaction_id"]
    asked = []
    for seconds in (0, 61, 240, 3400):
        shop.age(seconds)
        asked.append(shop.status(transaction_id).body["retry_after_s"])
    assert asked == [3, 5, 15, 60]
    shop.rows("UPDATE transactions SET next_query_at = NULL RETURNING id")
    shop.sweep()


def test_looking_marks_a_payment_as_watched_and_changes_nothing_else(shop: Shop) -> None:
    transaction_id = shop.pay().body["transaction_id"]
    before = shop.payment(transaction_id)
    for _ in range(3):
        shop.status(transaction_id)
    after = shop.payment(transaction_id)
    assert {name for name in after if after[name] != before[name]} == {"watched_at"}


def test_the_other_prefix_leads_to_the_same(shop: Shop) -> None:
    transaction_id = shop.pay().body["transaction_id"]
    one = shop.call("status", "GET", f"/api/pay/status/{transaction_id}")
    assert one.body["transaction_id"] == transaction_id


@pytest.mark.parametrize(
    "last",
    [NOBODY, NOBODY.upper(), NOBODY[:-1], "", "1", "' OR 1=1 --", "%00", "..", NOBODY + "/" + NOBODY, "\u0660" * 36],
)
def test_an_id_that_is_not_a_payments_is_not_found(shop: Shop, last: str) -> None:
    shop.pay()
    reply = shop.call("status", "GET", f"/api/mpesa/status/{last}")
    assert (reply.status, reply.body["code"]) == (404, "not_found")


def test_no_answer_ever_holds_a_phone_number_or_an_address(shop: Shop) -> None:
    body = str(shop.status(shop.settled()).body)
    assert [private for private in ("708374149", "alice", "Alice") if private in body] == []


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_a_status_is_only_read(shop: Shop, method: str) -> None:
    reply = shop.call("status", method, f"/api/mpesa/status/{NOBODY}")
    assert (reply.status, reply.headers["allow"]) == (405, "GET")


def test_the_shops_own_pages_may_read_it_and_others_may_not(shop: Shop) -> None:
    shop.configure(ALLOWED_ORIGINS="https://shop.example")
    assert settings().edge.allowed_origins == ("https://shop.example",)
    path = f"/api/mpesa/status/{shop.pay().body['transaction_id']}"
    ours = shop.call("status", "GET", path, headers={"origin": "https://shop.example"})
    theirs = shop.call("status", "GET", path, headers={"origin": "https://evil.example"})
    assert ours.headers["access-control-allow-origin"] == "https://shop.example"
    assert "access-control-allow-origin" not in theirs.headers


def test_without_a_database_the_status_is_unavailable(shop: Shop) -> None:
    shop.configure(DATABASE_URL="postgresql://lipa@127.0.0.1:9/lipa")
    assert shop.status(NOBODY).status == 503
