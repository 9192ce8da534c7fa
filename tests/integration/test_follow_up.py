"""What a payment made due leaves with it, and a customer who waits is answered by Daraja, without any sweep."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared import collaborators
from tests.chaos.customers import Pushed, nth_order, push
from tests.fixtures.shop import NOBODY, ORDER, Caller, Reply, Shop
from tests.fixtures.simulator import PUSH, QUERY

LARGE = 50_000
AT_ONCE_S = 5


def tell(shop: Shop, payment: Pushed, body: bytes | None = None) -> float:
    """Safaricom calls back; how long it waited for the answer, which is 200."""
    began = time.monotonic()
    assert shop.call("callback", "POST", payment.path, raw=body or payment.success()).status == 200
    return time.monotonic() - began


def pay(caller: Caller, number: int, address: str = "127.0.0.1") -> Reply:
    order, headers = {**ORDER, **nth_order(number)}, {"x-nf-client-connection-ip": address}
    return caller.call("stkpush", "POST", "/api/mpesa/stkpush", order, headers)


def status_of(shop: Shop, payment: Pushed) -> str:
    return str(shop.payment(payment.transaction_id)["status"])


def asked(shop: Shop) -> int:
    return len(shop.simulator.client.requests(QUERY))


def invoices(shop: Shop) -> dict[str, object]:
    return shop.row(
        "SELECT i.status, o.tries, o.next_try_at IS NULL AS over FROM invoices i JOIN outbox o USING (transaction_id)"
        " WHERE o.kind = 'invoice'"
    )


# callback -------------------------------------------------------------------------------------------------------------


def test_the_invoice_leaves_with_the_callback(shop: Shop) -> None:
    payment = push(shop, nth_order(1))
    tell(shop, payment)
    (mail,) = shop.letters()
    assert str(payment.receipt) in mail["text"]
    assert invoices(shop) == {"status": "SENT", "tries": 1, "over": True}


def test_an_alert_leaves_with_the_callback(shop: Shop) -> None:
    tell(shop, payment := push(shop, nth_order(1), "cancel"), payment.failure("NEW_1", "?"))
    assert "'alert': 'unknown_code'" in "\n".join(shop.logged)
    assert shop.rows("SELECT id FROM outbox WHERE kind = 'alert' AND sent_at IS NULL") == []


def test_an_alert_about_a_payment_that_is_not_on_file_leaves_with_the_callback(shop: Shop) -> None:
    assert shop.call("callback", "POST", shop.callback_path(NOBODY), raw=b"{}").status == 200
    assert "'alert': 'unreadable'" in "\n".join(shop.logged)


def test_a_callback_of_a_failure_sends_nothing_and_imports_nothing_to_send_with(shop: Shop) -> None:
    payment = push(shop, nth_order(1), "cancel")
    instance = shop.another_instance()
    instance.call("callback", "POST", payment.path, raw=payment.failure(1032, "cancelled"))
    assert heavy_of_a_fresh_process("callback", payment.path, payment.failure(1032, "cancelled").decode()) == set()
    assert status_of(shop, payment) == "CANCELLED"


@pytest.mark.parametrize("trouble", ["slow", "error_500", "drop", "drop_after"])
def test_with_a_mail_server_in_trouble_callbacks_are_answered_in_time_and_settled(shop: Shop, trouble: str) -> None:
    payment = push(shop, nth_order(1))
    shop.simulator.client.fault("mail", trouble, times=1, **({"seconds": 60} if trouble == "slow" else {}))
    assert tell(shop, payment) < AT_ONCE_S
    assert status_of(shop, payment) == "PAID"
    assert invoices(shop) == {"status": "PENDING", "tries": 1, "over": False}, "an attempt that was cut off is a try"
    shop.age(61)
    shop.sweep()
    assert invoices(shop) == {"status": "SENT", "tries": 2, "over": True}


def test_mail_settings_that_are_wrong_cost_no_callback(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    payment = push(shop, nth_order(1))
    monkeypatch.setenv("SENDGRID_API_KEY", "")
    instance = shop.another_instance()
    assert instance.call("callback", "POST", payment.path, raw=payment.success()).status == 200
    assert status_of(shop, payment) == "PAID"


def test_a_success_that_is_held_is_asked_about_at_once_and_its_invoice_has_the_receipt(unhurried: Shop) -> None:
    shop = unhurried
    payment = push(shop, nth_order(1, amount=LARGE))
    assert tell(shop, payment) < AT_ONCE_S
    assert (status_of(shop, payment), asked(shop)) == ("PAID", 1)
    (mail,) = shop.letters()
    assert str(payment.receipt) in mail["text"]
    actors = [row["actor"] for row in shop.rows("SELECT actor FROM audit_log ORDER BY id")]
    assert set(actors) == {"stkpush", "callback"}


def test_a_success_that_is_held_while_the_budget_is_used_up_waits(shop: Shop) -> None:
    payment = push(shop, nth_order(1, amount=LARGE))
    shop.rows("INSERT INTO query_budget (app, next_slot_at) SELECT app, now() + interval '9 seconds' FROM access_tokens"
              " RETURNING app")  # fmt: skip
    tell(shop, payment)
    assert (status_of(shop, payment), asked(shop)) == ("PENDING", 0)
    shop.age(10)
    assert shop.status(payment.transaction_id).body["status"] == "paid"


@pytest.mark.parametrize("query_latency_s", [0.0, 30.0])
def test_a_daraja_that_hangs_holds_up_no_callback(unhurried: Shop, query_latency_s: float) -> None:
    shop = unhurried
    payment = push(shop, nth_order(1, amount=LARGE), query_latency_s=query_latency_s)
    assert tell(shop, payment) < AT_ONCE_S
    assert status_of(shop, payment) == ("PENDING" if query_latency_s else "PAID")


def test_two_that_send_at_once_send_one_letter(shop: Shop) -> None:
    payment = push(shop, nth_order(1))
    *others, last = shop.other_instances(5)
    with ThreadPoolExecutor() as pool:
        told = [pool.submit(each.call, "callback", "POST", payment.path, raw=payment.success()) for each in others[:2]]
        seen = [pool.submit(each.status, payment.transaction_id) for each in others[2:]]
        swept = pool.submit(last.sweep)
        assert [each.result().status for each in (*told, *seen, swept)] == [200] * 5
    for instance in others:
        instance.status(payment.transaction_id)
    assert len(shop.letters()) == 1
    assert invoices(shop) == {"status": "SENT", "tries": 1, "over": True}


# status ---------------------------------------------------------------------------------------------------------------


def test_a_customer_who_waits_is_answered_by_daraja(shop: Shop) -> None:
    payment = push(shop, nth_order(1))
    assert shop.status(payment.transaction_id).body["status"] == "pending"
    assert asked(shop) == 0, "it is asked about after 20 s"
    shop.age(20)
    assert shop.status(payment.transaction_id).body["status"] == "paid"
    assert len(shop.letters()) == 1
    assert shop.row("SELECT actor FROM audit_log ORDER BY id DESC LIMIT 1") == {"actor": "status"}


def test_while_it_is_watched_a_payment_is_asked_about_every_20_s_until_it_is_15_minutes_old(unhurried: Shop) -> None:
    shop = unhurried
    payment = push(shop, nth_order(1), query=["still_processing"] * 90)
    queries = []
    for _ in range(17 * 6):
        shop.age(10)
        before = asked(shop)
        shop.status(payment.transaction_id)
        queries.append(asked(shop) - before)
    assert 36 <= sum(queries[:90]) <= 45  # fewer on a slow machine, where time passes between the steps
    assert sum(queries[90:]) <= 2


def test_the_page_comes_back_when_there_is_something_to_ask(shop: Shop) -> None:
    shop.simulator.client.behave(query_limit_per_minute=0)
    payment = push(shop, nth_order(1), query=["still_processing"] * 9)
    shop.age(70)
    assert shop.status(payment.transaction_id).body["retry_after_s"] == 5
    other = push(shop, nth_order(2), query=["still_processing"] * 9)
    shop.age(20)
    shop.status(other.transaction_id)
    shop.age(9)
    assert 2 <= shop.status(payment.transaction_id).body["retry_after_s"] <= 4, "until a slot of the budget is free"


def test_of_many_who_watch_one_asks(shop: Shop) -> None:
    payment = push(shop, nth_order(1), query_latency_s=1.0)
    instances = shop.other_instances(6)
    shop.age(20)
    with ThreadPoolExecutor() as pool:
        replies = list(pool.map(lambda each: each.status(payment.transaction_id), instances))
    assert asked(shop) == 1
    assert "paid" in {reply.body["status"] for reply in replies}


def test_a_daraja_that_hangs_holds_up_a_status_for_5_s(shop: Shop) -> None:
    payment = push(shop, nth_order(1), query_latency_s=30.0)
    shop.age(20)
    began = time.monotonic()
    assert shop.status(payment.transaction_id).body["status"] == "pending"
    assert time.monotonic() - began < AT_ONCE_S + 1.5


def test_a_callback_whose_function_died_is_judged_when_the_customer_looks(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    payment = push(shop, nth_order(1))
    with monkeypatch.context() as dies:
        dies.setattr("netlify.functions.callback.judge", lambda *_, **__: (_ for _ in ()).throw(RuntimeError("dies")))
        tell(shop, payment)
    assert status_of(shop, payment) == "PENDING"
    shop.age(31)
    body = shop.status(payment.transaction_id).body
    assert (body["status"], body["mpesa_receipt_number"]) == ("paid", payment.receipt)


def test_a_status_with_nothing_to_ask_costs_one_round_trip_and_imports_nothing(shop: Shop) -> None:
    payment = push(shop, nth_order(1))
    shop.status(payment.transaction_id)
    database = collaborators.collaborators().gateway.database
    before = database.round_trips
    shop.status(payment.transaction_id)
    assert database.round_trips - before == 1
    assert heavy_of_a_fresh_process("status", f"/api/pay/status/{payment.transaction_id}") == set()


# stkpush --------------------------------------------------------------------------------------------------------------


def pushes(shop: Shop) -> int:
    return len(shop.simulator.client.requests(PUSH))


def come_back(shop: Shop, minutes: float = 20, **knobs: object) -> tuple[Pushed, int, str | None]:
    """An order whose callback never came, and the same order once more: what that was answered."""
    first = push(shop, nth_order(1), **knobs)  # type: ignore[arg-type]
    shop.age(minutes * 60)
    shop.simulator.client.script(first.phone, callback_count=0)
    again = pay(shop, 1)
    return first, again.status, again.body.get("code")


def test_a_customer_who_comes_back_after_20_minutes_is_not_asked_to_pay_twice(shop: Shop) -> None:
    first, status, code = come_back(shop)
    assert (status, code, pushes(shop)) == (409, "already_paid", 1)
    assert status_of(shop, first) == "PAID"
    assert len(shop.letters()) == 1


def test_one_whose_payment_had_failed_may_pay(shop: Shop) -> None:
    first, status, _ = come_back(shop, outcome="cancel")
    assert (status, pushes(shop), asked(shop), status_of(shop, first)) == (202, 2, 1, "CANCELLED")


def test_one_about_whom_daraja_knows_nothing_yet_may_pay(shop: Shop) -> None:
    first, status, _ = come_back(shop, query=["still_processing"])
    assert (status, pushes(shop), asked(shop), status_of(shop, first)) == (202, 2, 1, "PENDING")


def test_it_is_asked_once_and_not_where_somebody_has_asked_since(shop: Shop) -> None:
    payment = push(shop, nth_order(1), query=["still_processing"] * 3)
    shop.age(16 * 60)
    shop.status(payment.transaction_id)
    shop.age(60)
    assert pay(shop, 1).status == 202
    assert asked(shop) == 1


def test_within_15_minutes_it_is_too_soon_and_nobody_is_asked(shop: Shop) -> None:
    _, status, code = come_back(shop, minutes=14)
    assert (status, code, asked(shop)) == (429, "too_soon", 0)


def test_while_the_budget_is_used_up_it_is_too_soon(shop: Shop) -> None:
    first = push(shop, nth_order(1))
    shop.age(20 * 60)
    shop.rows("INSERT INTO query_budget (app, next_slot_at) SELECT app, now() + interval '9 seconds' FROM access_tokens"
              " RETURNING app")  # fmt: skip
    reply = pay(shop, 1)
    assert (reply.status, reply.body["code"], pushes(shop)) == (429, "too_soon", 1)
    shop.age(10)
    assert pay(shop, 1).body["code"] == "already_paid"
    assert status_of(shop, first) == "PAID"


def test_two_who_come_back_at_once_ask_once_and_neither_pays_twice(shop: Shop) -> None:
    push(shop, nth_order(1), query_latency_s=0.5)
    instances = shop.other_instances(3)
    shop.age(20 * 60)
    with ThreadPoolExecutor() as pool:
        replies = list(pool.map(lambda each: pay(each, 1), instances))
    codes = {reply.body["code"] for reply in replies}  # who comes when the answer is there hears that it is paid
    assert {"already_paid"} <= codes <= {"already_paid", "too_soon"}
    assert (asked(shop), pushes(shop)) == (1, 1)


def test_a_push_that_has_nothing_to_ask_costs_at_most_seven_round_trips(shop: Shop) -> None:
    pay(shop, 1)
    database = collaborators.collaborators().gateway.database
    before = database.round_trips
    assert pay(shop, 2).status == 202
    assert database.round_trips - before <= 7


def test_customers_who_are_turned_away_are_alerted_at_once(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_PUSHES_PER_MINUTE", "3")
    instance = shop.another_instance()
    replies = [pay(instance, number, f"10.0.0.{number}") for number in range(4)]
    reply = replies[-1]
    assert (reply.status, reply.body["limit"]) == (429, "shop")
    assert (
        shop.row("SELECT count(sent_at) AS n FROM outbox WHERE kind = 'alert' AND topic = 'shop_push_limit'")["n"] == 1
    )


# ----------------------------------------------------------------------------------------------------------------------

HEAVY = {"pydantic", "requests", "sendgrid", "jinja2", "urllib3"}


def heavy_of_a_fresh_process(function: str, path: str, body: str = "") -> set[str]:
    """The packages that a cold start of this function loaded for this request, of those that it may not need."""
    script = f"""
import json, sys
from netlify.functions import {function}
event = {{"httpMethod": "{"POST" if body else "GET"}", "path": {path!r}, "headers": {{}}, "body": {body!r}}}
assert {function}.handler(event, None)["statusCode"] == 200
print(json.dumps(sorted({{name.partition(".")[0] for name in sys.modules}})))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    return HEAVY & set(json.loads(done.stdout.splitlines()[-1]))
