"""POST /api/mpesa/stkpush: a customer is asked once, whatever goes wrong on the way."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from shared.database import Database
from tests.fixtures.shop import CUSTOMER, NOBODY, OTHER_CUSTOMER, Reply, Shop, admit, at_once
from tests.fixtures.simulator import PUSH

OAUTH = "/oauth/v1/generate"


def pushes(shop: Shop) -> int:
    """How often Daraja was asked to push, whatever it answered."""
    return len(shop.simulator.client.requests(PUSH))


def stored(shop: Shop) -> int:
    return int(shop.row("SELECT count(*) AS n FROM transactions")["n"])


def accepted(reply: Reply) -> str:
    assert reply.status == 202, reply.body
    return str(reply.body["transaction_id"])


# The contract ---------------------------------------------------------------------------------------------------------


def test_a_push_that_daraja_took_is_answered_with_where_to_look(shop: Shop) -> None:
    reply = shop.pay()
    (pushed,) = shop.simulator.client.payments()
    assert (reply.status, reply.headers["content-type"]) == (202, "application/json")
    assert reply.body == {
        "transaction_id": reply.body["transaction_id"],
        "checkout_request_id": pushed["checkout_request_id"],
        "status": "pending",
        "amount": 1500,
        "account_reference": "INV00042",
        "message": "Check your phone and enter your M-Pesa PIN.",
        "status_url": f"https://shop.example/api/mpesa/status/{reply.body['transaction_id']}",
        "poll_after_s": 3,
    }
    payment = shop.payment(reply.body["transaction_id"])
    assert (payment["status"], payment["checkout_request_id"]) == ("PENDING", pushed["checkout_request_id"])


def test_daraja_gets_the_order_and_this_payments_callback_address(shop: Shop) -> None:
    transaction_id = accepted(shop.pay(transaction_desc="Two kiondos & a mat", amount="1500"))
    (pushed,) = shop.simulator.client.payments()
    assert (pushed["phone"], pushed["amount"], pushed["account_reference"]) == (CUSTOMER, 1500, "INV00042")
    assert pushed["transaction_desc"] == "Two kiondos a"
    assert pushed["callback_url"].endswith(shop.callback_path(transaction_id))


@pytest.mark.parametrize("written", ["0708374149", "708374149", "254708374149", "+254 708 374 149", 708374149])
def test_a_phone_in_any_kenyan_form_gets_the_prompt(shop: Shop, written: object) -> None:
    accepted(shop.pay(phone_number=written))
    assert shop.simulator.client.wait_for_prompt(CUSTOMER)


def test_the_row_is_committed_before_daraja_is_asked(shop: Shop) -> None:
    shop.simulator.client.script(CUSTOMER, push_latency_s=1.0)
    with ThreadPoolExecutor() as pool:
        asking = pool.submit(shop.pay)
        shop.simulator.client.wait_for(lambda: shop.simulator.client.payments() or None, "the push", 10)
        row = shop.row("SELECT status, pushed_at FROM transactions")
        assert (row["status"], row["pushed_at"] is not None) == ("INITIATED", True)
        accepted(asking.result(timeout=20))


# Bad input ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "fields"),
    [
        ({"phone_number": "12345"}, ["phone_number"]),
        ({"amount": 0}, ["amount"]),
        ({"amount": 1500.5}, ["amount"]),
        ({"amount": 250_001}, ["amount"]),
        ({"account_reference": "INV 42"}, ["account_reference"]),
        ({"customer_email": "alice"}, ["customer_email"]),
        ({"phone_number": None, "amount": None, "account_reference": None},
         ["phone_number", "amount", "account_reference"]),
        ({"price": 1}, ["price"]),
        ({"key": "two words"}, ["Idempotency-Key"]),
    ],
)  # fmt: skip
def test_bad_input_names_the_fields_and_neither_stores_nor_pushes(
    shop: Shop, order: dict[str, Any], fields: list[str]
) -> None:
    reply = shop.pay(**order)
    assert (reply.status, reply.body["code"]) == (422, "invalid")
    assert [error["field"] for error in reply.body["errors"]] == fields
    assert (stored(shop), shop.simulator.client.requests()) == (0, [])


# The idempotency key --------------------------------------------------------------------------------------------------


def test_the_same_key_and_order_is_the_same_payment_however_it_is_written(shop: Shop) -> None:
    first = shop.pay(key="order-42")
    again = shop.pay(key="order-42", phone_number="+254708374149", amount="1500")
    assert (again.status, again.body) == (202, first.body)
    assert (pushes(shop), stored(shop)) == (1, 1)


def test_the_same_key_while_the_first_is_in_flight_is_the_same_payment(shop: Shop) -> None:
    shop.simulator.client.script(CUSTOMER, push_latency_s=1.5)
    other = shop.another_instance()
    other.status(NOBODY)  # it has started
    with ThreadPoolExecutor() as pool:
        asking = pool.submit(shop.pay, "order-42")
        shop.simulator.client.wait_for(lambda: shop.simulator.client.payments() or None, "the push", 10)
        meanwhile = other.pay("order-42")
        assert not asking.done()
        first = asking.result(timeout=20)
    assert (meanwhile.status, meanwhile.body["checkout_request_id"]) == (202, None)
    assert meanwhile.body["transaction_id"] == first.body["transaction_id"]
    assert (pushes(shop), stored(shop)) == (1, 1)


def test_the_same_key_with_another_order_is_a_mistake_of_the_caller(shop: Shop) -> None:
    accepted(shop.pay(key="order-42"))
    for change in ({"amount": 1501}, {"note": "Size M"}, {"customer_email": None}):
        reply = shop.pay(key="order-42", **change)
        assert (reply.status, reply.body["code"]) == (422, "idempotency_mismatch")
    assert (pushes(shop), stored(shop)) == (1, 1)


def test_a_key_that_a_stranger_used_first_is_still_the_customers_own(shop: Shop) -> None:
    strangers = accepted(shop.pay(key="order-42", phone_number=OTHER_CUSTOMER, account_reference="GUESSED"))
    mine = accepted(shop.pay(key="order-42"))
    assert mine != strangers
    assert accepted(shop.pay(key="order-42")) == mine
    assert (pushes(shop), stored(shop)) == (2, 2)


def test_a_key_tells_its_payment_wherever_that_is_by_now(shop: Shop) -> None:
    first = shop.settled(key="order-42")
    again = shop.pay(key="order-42")
    assert (again.status, again.body["transaction_id"]) == (202, first)
    assert again.body["status"] == "paid"
    assert "PIN" not in again.body["message"]
    assert pushes(shop) == 1


# The guard ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("other", [{"account_reference": "INV00043"}, {"amount": 1501}, {}])
def test_a_second_push_for_the_same_phone_and_amount_or_reference_is_too_soon(
    shop: Shop, other: dict[str, Any]
) -> None:
    accepted(shop.pay(key="one"))
    reply = shop.pay(key="two", **other)
    assert (reply.status, reply.body["code"]) == (429, "too_soon")
    assert reply.headers["retry-after"] == str(reply.body["retry_after_s"])
    assert 100 <= reply.body["retry_after_s"] <= 121
    assert (pushes(shop), stored(shop)) == (1, 1)


def test_two_instances_at_once_push_once(shop: Shop) -> None:
    replies = at_once(shop.other_instances(3), lambda instance: instance.pay())
    assert sorted(reply.status for reply in replies) == [202, 429, 429]
    assert (pushes(shop), stored(shop)) == (1, 1)


def test_a_push_waits_for_what_is_being_decided_about_its_phone(shop: Shop, database: Database) -> None:
    shop.status(NOBODY)  # the first to use the database stamps it
    with ThreadPoolExecutor() as pool:
        with database.transaction() as tx:
            tx.rows("SELECT pg_advisory_xact_lock(hashtextextended(CAST(:phone AS text), 0))", phone=CUSTOMER)
            admit(tx)
            asking = pool.submit(shop.pay)
            time.sleep(0.5)
            assert not asking.done()
        assert asking.result(timeout=20).status == 429
    assert pushes(shop) == 0


def test_another_customer_and_another_order_are_not_held_up(shop: Shop) -> None:
    accepted(shop.pay())
    accepted(shop.pay(phone_number=OTHER_CUSTOMER))


@pytest.mark.parametrize(("outcome", "code"), [("no_funds", "1"), ("cancel", "1032"), ("wrong_pin", "2001")])
def test_a_failure_of_the_customers_own_lifts_the_guard(shop: Shop, outcome: str, code: str) -> None:
    assert shop.status(shop.settled(outcome)).body["result_code"] == code
    accepted(shop.pay())


@pytest.mark.parametrize("outcome", ["ignore", "pay", {"code": 17, "desc": "Rule limited."}])
def test_any_other_end_does_not_for_two_minutes(shop: Shop, outcome: str | dict[str, object]) -> None:
    """A prompt that nobody answered may still be on the phone; what is paid needs no second push."""
    shop.settled(outcome, customer_email=None)
    shop.age(100)
    assert shop.pay(account_reference="ANOTHER").status == 429
    shop.age(21)
    accepted(shop.pay(account_reference="ANOTHER"))


def test_an_unclear_push_holds_the_guard_for_15_minutes(shop: Shop) -> None:
    shop.simulator.client.script(CUSTOMER, drop_response=True, reaches_phone=False)
    accepted(shop.pay())
    shop.age(14 * 60)
    reply = shop.pay()
    assert (reply.status, reply.body["retry_after_s"] >= 15) == (429, True)
    shop.age(61)
    accepted(shop.pay())


# What Daraja says no to -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "answers", "status", "code"),
    [
        ("push", "wrong_credentials", 502, "daraja_rejected"),
        ("push", "invalid_callback_url", 502, "daraja_rejected"),
        ("push", "spike_arrest_429", 502, "daraja_rejected"),
        ("push", "subscriber_locked", 409, "prompt_open"),
        ("oauth", "drop", 503, "unavailable"),
        ("oauth", "firewall_503", 503, "unavailable"),
        ("anything", "no connection", 503, "unavailable"),
    ],
)
def test_a_push_that_never_went_out_says_so_and_releases_the_key_and_the_guard(
    shop: Shop, where: str, answers: str, status: int, code: str
) -> None:
    if where == "push":
        shop.simulator.client.script(CUSTOMER, push_answer=answers)
    elif where == "oauth":
        shop.simulator.client.fault("oauth", answers)
    else:
        shop.configure(MPESA_BASE_URL="http://127.0.0.1:9")
    refused = shop.pay(key="order-42")
    assert (refused.status, refused.body["code"]) == (status, code)
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.headers.get("retry-after") == {"prompt_open": "60", "unavailable": "5"}.get(code)
    row = shop.row("SELECT id, status, pushed_at FROM transactions")
    assert (row["status"], row["pushed_at"]) == ("FAILED", None)
    assert shop.simulator.client.payments() == []
    shop.configure(MPESA_BASE_URL=shop.simulator.base_url)
    again = accepted(shop.pay(key="order-42"))
    assert again != str(row["id"])
    assert len(shop.simulator.client.payments()) == 1


def test_without_a_database_nothing_is_sent(shop: Shop) -> None:
    shop.configure(DATABASE_URL="postgresql://lipa@127.0.0.1:9/lipa")
    reply = shop.pay()
    assert (reply.status, reply.body["code"], reply.headers["retry-after"]) == (503, "unavailable", "5")
    assert shop.simulator.client.requests() == []


# What nobody can be sure of -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", ["system_busy", "internal_server_error", "firewall_403", "firewall_503", "dropped"])
def test_an_unclear_answer_is_never_pushed_again_and_a_callback_pays(shop: Shop, answer: str) -> None:
    how: dict[str, object] = {"drop_response": True} if answer == "dropped" else {"push_answer": answer}
    shop.simulator.client.script(CUSTOMER, "pay", after_s=0.3, reaches_phone=True, **how)
    reply = shop.pay(key="order-42")
    transaction_id = accepted(reply)
    assert (reply.body["status"], reply.body["checkout_request_id"]) == ("pending", None)
    assert shop.payment(transaction_id)["status"] == "UNCERTAIN"
    assert shop.pay(key="order-42").body["transaction_id"] == transaction_id
    assert shop.pay(key="another").status == 429
    shop.sweep()
    (pushed,) = shop.simulator.client.payments()
    shop.simulator.client.wait_for_callback(pushed["checkout_request_id"])
    assert shop.status(transaction_id).body["status"] == "paid"
    assert shop.payment(transaction_id)["ids_are_learnt"]
    assert pushes(shop) == 1


def test_a_payment_whose_function_died_is_paid_by_its_callback(shop: Shop) -> None:
    shop.simulator.client.script(CUSTOMER, "pay", after_s=0.2, push_latency_s=10, prompt_after_s=0)
    dying = shop.another_instance()
    with ThreadPoolExecutor() as pool:
        asking = pool.submit(dying.pay, "order-42")
        shop.simulator.client.wait_for(lambda: shop.simulator.client.payments() or None, "the push", 10)
        dying.kill()
        assert isinstance(asking.exception(timeout=20), ConnectionResetError)
    (pushed,) = shop.simulator.client.payments()
    shop.simulator.client.wait_for_callback(pushed["checkout_request_id"])
    transaction_id = accepted(shop.pay(key="order-42"))
    assert shop.status(transaction_id).body["status"] == "pending"  # its push may still be answered
    shop.age(92)
    shop.status(transaction_id)
    assert shop.status(transaction_id).body["status"] == "paid"
    assert len(shop.simulator.client.payments()) == 1


# One token for all ----------------------------------------------------------------------------------------------------


def test_an_invalidated_token_is_renewed_once_and_the_push_repeated_once(shop: Shop) -> None:
    accepted(shop.pay())
    shop.simulator.client.kill_token()
    accepted(shop.pay(phone_number=OTHER_CUSTOMER))
    assert [seen["http_status"] for seen in shop.simulator.client.requests(PUSH)] == [200, 404, 200]
    assert len(shop.simulator.client.requests(OAUTH)) == 2
    assert len(shop.simulator.client.payments()) == 2


def test_a_token_that_is_refused_again_is_a_refusal(shop: Shop) -> None:
    shop.simulator.client.script(CUSTOMER, push_answer="invalid_access_token", uses=5)
    reply = shop.pay()
    assert (reply.status, reply.body["code"]) == (502, "daraja_rejected")
    assert pushes(shop) == 2


def test_instances_that_start_together_fetch_one_token(shop: Shop) -> None:
    callers = [(instance, f"25470000000{n}") for n, instance in enumerate(shop.other_instances(3))]
    shop.simulator.client.fault("oauth", "slow", times=3, seconds=0.7)
    replies = at_once(callers, lambda each: each[0].pay(phone_number=each[1]))
    assert [reply.status for reply in replies] == [202, 202, 202]
    assert len(shop.simulator.client.requests(OAUTH)) == 1


# Configuration --------------------------------------------------------------------------------------------------------


def test_a_missing_variable_is_named_and_nothing_happens(shop: Shop) -> None:
    shop.configure(MPESA_PASSKEY="")
    reply = shop.pay()
    assert (reply.status, reply.body["code"]) == (500, "misconfigured")
    assert [error["field"] for error in reply.body["errors"]] == ["MPESA_PASSKEY"]
    assert (stored(shop), shop.simulator.client.requests()) == (0, [])
