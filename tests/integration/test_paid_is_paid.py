"""Paid is paid: a paid order is refused before the phone rings, and one that was paid twice all the same is alerted."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from shared.daraja.answers import Rejected, Unanswered, Unavailable
from shared.daraja.client import Daraja
from tests.fixtures.shop import CUSTOMER, OTHER_CUSTOMER, RECEIPT, Reply, Shop, at_once, callback_about

SAME = {"account_reference": "INV00042"}
OTHER: dict[str, Any] = {"phone_number": OTHER_CUSTOMER, **SAME, "customer_email": None, "customer_name": None}
ANOTHER_RECEIPT = "UE4JS31RBW"


def refused(reply: Reply) -> bool:
    return (reply.status, reply.body.get("code")) == (409, "already_paid")


def pushes(shop: Shop) -> int:
    return len(shop.simulator.client.payments())


def refund(shop: Shop, transaction_id: str, receipt: str = "UE5AA11BBC") -> None:
    assert shop.ops("review", "refunded", transaction_id, "--receipt", receipt, "--why", "sent back") == 0


def pending(shop: Shop, **order: Any) -> str:
    """Asked for, and not answered yet."""
    shop.simulator.client.script(str(order.get("phone_number", CUSTOMER)), "pay", after_s=3600)
    reply = shop.pay(**order)
    assert reply.status == 202, reply.body
    return str(reply.body["transaction_id"])


@pytest.mark.parametrize(
    "again",
    [
        OTHER,
        {},
        {"account_reference": "inv00042"},
        {**OTHER, "account_reference": "Inv00042"},
        {**OTHER, "amount": 1499},
        {**OTHER, "amount": 1},
    ],
)
def test_a_paid_order_is_refused_before_the_phone_rings(shop: Shop, again: dict[str, Any]) -> None:
    shop.settled()
    shop.age(23 * 3600)
    reply = shop.pay(**again)
    assert refused(reply)
    assert reply.body["detail"] == "This was paid before. Do not pay again; look for its M-Pesa SMS, or ask the shop."
    assert pushes(shop) == 1


@pytest.mark.parametrize(
    ("again", "age_s"), [({"amount": 1501}, 130), ({"account_reference": "INV00043"}, 130), ({}, 24 * 3600 + 1)]
)
def test_what_is_another_order_or_was_paid_longer_ago_is_taken(shop: Shop, again: dict[str, Any], age_s: float) -> None:
    shop.settled()
    shop.age(age_s)
    assert shop.pay(**again).status == 202


def test_a_key_that_is_repeated_is_answered_first(shop: Shop) -> None:
    first = shop.settled(key="one")
    again = shop.pay(key="one")
    assert (again.status, again.body["transaction_id"], again.body["status"]) == (202, first, "paid")


def test_an_order_that_was_not_paid_can_be_tried_again(shop: Shop) -> None:
    shop.settled("cancel")
    assert shop.pay(**OTHER).status == 202


# Paid twice all the same ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("other", [OTHER, {**OTHER, "amount": 1499}, {**OTHER, "account_reference": "inv00042"}])
def test_an_order_that_two_phones_pay_stays_paid_and_is_alerted(shop: Shop, other: dict[str, Any]) -> None:
    """Both prompts were open: whoever pays second has paid, and somebody has to send the money back."""
    first, second = pending(shop), pending(shop, **other)
    shop.calls_back(first)
    assert shop.alerts(first) == set()
    shop.calls_back(second, MpesaReceiptNumber=ANOTHER_RECEIPT)
    assert [shop.payment(each)["status"] for each in (first, second)] == ["PAID", "PAID"]
    assert (shop.alerts(first), shop.alerts(second)) == (set(), {"order_paid_twice"})


def test_an_order_that_was_paid_twice_is_sent_once(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = pending(shop), pending(shop, **{**OTHER, "account_reference": "inv00042"})
    shop.calls_back(first)
    shop.calls_back(second, MpesaReceiptNumber=ANOTHER_RECEIPT)
    for one, other in ((first, second), (second, first)):
        shop.ops("case", one)
        told = " ".join(capsys.readouterr().out.split())
        assert f"Deliver once: the same order was paid twice. Refund this payment or {other}." in told
    assert shop.ops("sent", first) == 0
    capsys.readouterr()
    shop.ops("case", first)
    assert f"Refund this payment or {second}." in " ".join(capsys.readouterr().out.split())  # sent, and money is owed
    assert shop.ops("sent", second) == 1
    assert f"went out with {first}" in capsys.readouterr().err
    assert shop.ops("sent", second, "--why", "both want one") == 0


def test_a_larger_amount_for_a_paid_order_is_alerted_once_it_is_paid(shop: Shop) -> None:
    shop.settled(**OTHER, amount=1499)
    second = shop.settled()
    assert (shop.payment(second)["status"], shop.alerts(second)) == ("PAID", {"order_paid_twice"})


def test_an_order_paid_again_after_a_day_is_alerted(shop: Shop) -> None:
    shop.settled()
    shop.age(25 * 3600)
    second = shop.settled()
    assert (shop.payment(second)["status"], shop.alerts(second)) == ("PAID", {"order_paid_twice"})


def test_a_late_success_for_an_order_that_was_paid_since_is_alerted(shop: Shop) -> None:
    first = shop.settled("cancel")
    shop.settled(**OTHER)
    shop.calls_back(first, MpesaReceiptNumber=ANOTHER_RECEIPT)
    assert shop.payment(first)["status"] == "PAID"
    assert shop.alerts(first) == {"late_payment", "order_paid_twice"}


def test_of_two_that_pay_at_the_same_moment_one_is_alerted(shop: Shop) -> None:
    first, second = pending(shop), pending(shop, **OTHER)
    told = [
        (shop.callback_path(payment), callback_about(shop.payment(payment), MpesaReceiptNumber=receipt))
        for payment, receipt in ((first, RECEIPT), (second, ANOTHER_RECEIPT))
    ]
    calls = zip(shop.other_instances(2), told, strict=True)
    replies = at_once(list(calls), lambda call: call[0].call("callback", "POST", call[1][0], raw=call[1][1]))
    assert [reply.status for reply in replies] == [200, 200]
    assert sorted(map(sorted, (shop.alerts(first), shop.alerts(second)))) == [[], ["order_paid_twice"]]


# Refunded -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("again", [{}, OTHER, {"account_reference": "inv00042"}])
def test_a_refunded_order_can_be_paid_again(shop: Shop, again: dict[str, Any]) -> None:
    first = shop.settled()
    refund(shop, first)
    shop.age(130)
    second = shop.settled(**again)
    assert (shop.payment(second)["status"], shop.alerts(second)) == ("PAID", set())
    assert refused(shop.pay(**again))


# References that are of no single order -------------------------------------------------------------------------------


def test_a_donation_page_takes_one_reference_from_everybody(shop: Shop) -> None:
    shop.configure(REFERENCES="reusable")
    shop.settled()
    second = shop.settled(**OTHER)
    third = shop.settled(phone_number="254722000001", **SAME, amount=20, customer_email=None)
    assert (shop.alerts(second), shop.alerts(third)) == (set(), set())


def test_a_word_that_is_not_known_stops_new_orders_and_no_callback(shop: Shop) -> None:
    payment = pending(shop)
    shop.configure(REFERENCES="many")
    reply = shop.pay(**OTHER)
    assert (reply.status, [error["field"] for error in reply.body["errors"]]) == (500, ["REFERENCES"])
    assert shop.calls_back(payment).status == 200
    assert shop.payment(payment)["status"] == "PAID"


# A callback that overtakes the push's answer --------------------------------------------------------------------------


def test_a_callback_that_overtakes_waits_for_the_ids_that_daraja_gives(shop: Shop) -> None:
    """Whoever has a callback address cannot settle a payment with ids that nobody gave us."""
    shop.simulator.client.script(CUSTOMER, "ignore", push_latency_s=4, prompt_after_s=0)
    asker = shop.another_instance()
    replies: list[Reply] = []
    asking = threading.Thread(target=lambda: replies.append(asker.pay("order-42", amount=19_999)))
    asking.start()
    shop.simulator.client.wait_for(lambda: shop.simulator.client.payments() or None, "the push", 10)
    transaction_id = str(shop.row("SELECT id FROM transactions")["id"])
    assert shop.pay("order-42", amount=19_999).body["transaction_id"] == transaction_id  # so it leaks
    made_up = {"merchant_request_id": "29115-1", "checkout_request_id": "ws_CO_1", "amount": 19_999}
    forged = shop.call("callback", "POST", shop.callback_path(transaction_id), raw=callback_about(made_up))
    assert forged.status == 200
    assert shop.payment(transaction_id)["status"] == "INITIATED"
    assert shop.outcomes(transaction_id) == [None]
    asking.join(timeout=30)
    payment = shop.payment(transaction_id)
    assert (payment["status"], payment["review_reason"], payment["ids_are_learnt"]) == ("REVIEW", "ids_disagree", False)
    assert payment["checkout_request_id"] == replies[0].body["checkout_request_id"]
    assert shop.outcomes(transaction_id)[0] == "to_review"


@pytest.mark.parametrize(
    "answer",
    [Rejected("500.001.1001", "Wrong credentials", "Check it."), Unavailable("no connection"), Unanswered("no answer")],
)
def test_a_success_that_overtakes_a_refusal_is_paid_and_keeps_its_key(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, answer: Exception
) -> None:
    """Nobody is told that nothing was charged, and nobody is charged again."""

    def paid_and_refused(*_: object) -> None:
        payment = {
            **shop.row("SELECT * FROM transactions"),
            "merchant_request_id": "1-1",
            "checkout_request_id": "ws_1",
        }
        told = shop.call("callback", "POST", shop.callback_path(str(payment["id"])), raw=callback_about(payment))
        assert told.status == 200
        raise answer

    monkeypatch.setattr(Daraja, "push", paid_and_refused)
    replies = [shop.pay("order-42"), shop.pay("order-42")]
    assert [(reply.status, reply.body.get("status")) for reply in replies] == [(202, "paid")] * 2
    assert replies[0].body["transaction_id"] == replies[1].body["transaction_id"]
    assert shop.row("SELECT count(*) AS n FROM transactions") == {"n": 1}
