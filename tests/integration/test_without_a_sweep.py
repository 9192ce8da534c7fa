"""On the running stack, where nobody calls `sweep`: what a payment needs is done by its own functions."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest

from tests.chaos.customers import Pushed
from tests.fixtures.site import Site

SETTLED_WITHIN_S = 30
INVOICED_WITHIN_S = 10
ANSWERED_WITHIN_S = 5


@pytest.fixture(autouse=True)
def quiet_mail(site: Site) -> Any:
    yield
    site.simulator.make_peace()


def pushed(site: Site, phone: str, reference: str, **knobs: object) -> dict[str, Any]:
    site.simulator.script(phone, "pay", **knobs)
    order = {
        "phone_number": phone,
        "amount": 70,
        "account_reference": reference,
        "customer_email": f"{reference}@x.example",
    }
    reply = site.request("POST", "/api/pay/stkpush", order)
    assert reply.status == 202, reply.body
    answer: dict[str, Any] = reply.json()
    return answer


def told(site: Site, payment: dict[str, Any]) -> Pushed:
    """What Safaricom calls back about it, once the customer has paid."""
    paid = site.simulator.wait_for(
        lambda: next((p for p in site.simulator.payments()
                      if p["checkout_request_id"] == payment["checkout_request_id"] and p["receipt"]), None),
        "a PIN", 30,
    )  # fmt: skip
    return Pushed(
        payment["transaction_id"],
        paid["merchant_request_id"],
        paid["checkout_request_id"],
        paid["phone"],
        int(paid["amount"]),
        paid["receipt"],
        site.callback_path(payment["transaction_id"]),
    )


def watch_until_paid(site: Site, payment: dict[str, Any]) -> float:
    """As the page does; how long after the customer had paid it said so."""
    pause_s = payment["poll_after_s"]
    until = time.monotonic() + 120
    while time.monotonic() < until:
        time.sleep(pause_s)
        shown = site.request("GET", payment["status_url"]).json()
        if shown["status"] == "paid":
            known_at = site.simulator.payment(payment["checkout_request_id"])["finished_at"]
            return time.time() - datetime.fromisoformat(known_at).timestamp()
        pause_s = max(shown["retry_after_s"], 1)
    raise AssertionError("never paid")


def test_two_callbacks_that_never_come_are_settled_while_their_pages_are_open(site: Site) -> None:
    """Each customer pays just after M-Pesa was asked about them, and they share the sandbox's budget."""
    payments = [pushed(site, f"25470000031{n}", f"OPEN{n}", after_s=21, callback_count=0) for n in range(2)]
    with ThreadPoolExecutor() as pool:
        late_s = list(pool.map(lambda payment: watch_until_paid(site, payment), payments))
    assert max(late_s) <= SETTLED_WITHIN_S


def test_an_invoice_arrives_without_any_sweep(site: Site) -> None:
    payment = pushed(site, "254700000320", "MAIL0", after_s=0, callback_count=0)
    settling, began = told(site, payment), time.monotonic()
    assert site.request("POST", settling.path, raw=settling.success()).status == 200
    site.simulator.wait_for_mail("MAIL0@x.example", INVOICED_WITHIN_S)
    assert time.monotonic() - began <= INVOICED_WITHIN_S


def test_two_that_send_at_once_send_one_letter(site: Site) -> None:
    payment = pushed(site, "254700000321", "MAIL1", after_s=0, callback_count=0)
    settling = told(site, payment)
    with ThreadPoolExecutor() as pool:
        calls = [pool.submit(site.request, "POST", settling.path, raw=settling.success()) for _ in range(3)]
        calls += [pool.submit(site.request, "GET", payment["status_url"]) for _ in range(3)]
        sweep = pool.submit(site.sweep)
        assert [call.result().status for call in calls] == [200] * 6
        sweep.result()
    site.simulator.wait_for_mail("MAIL1@x.example", INVOICED_WITHIN_S)
    assert sum("MAIL1@x.example" in str(mail["to"]) for mail in site.simulator.mail()) == 1


def test_a_mail_server_that_hangs_holds_up_no_callback(site: Site) -> None:
    payment = pushed(site, "254700000322", "MAIL2", after_s=0, callback_count=0)
    settling = told(site, payment)
    site.simulator.fault("mail", "slow", times=1, seconds=60)
    began = time.monotonic()
    assert site.request("POST", settling.path, raw=settling.success()).status == 200
    assert time.monotonic() - began <= ANSWERED_WITHIN_S
    assert site.request("GET", payment["status_url"]).json()["status"] == "paid"
