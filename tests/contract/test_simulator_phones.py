"""Virtual phones: a prompt, a person's decision, the message afterwards, the account. Through the control API."""

from __future__ import annotations

import re
import time
import urllib.request
from typing import Any

import pytest

from simulator import Behaviour, ControlError, Simulator, SimulatorSettings
from tests.fixtures.simulator import PHONE, DarajaCaller, http_request


def answered(caller: DarajaCaller, action: str, pin: str = "1234", amount: int = 10) -> dict[str, Any]:
    """A payment that a person decided, with its callback out."""
    client = caller.simulator.client
    checkout_request_id = caller.accepted(Amount=amount, AccountReference="INV00042")
    client.wait_for_prompt(PHONE)
    client.answer(PHONE, action, pin)
    return client.wait_for_callback(checkout_request_id)


def test_the_prompt_names_business_amount_and_account(caller: DarajaCaller) -> None:
    caller.accepted(Amount=1500, AccountReference="INV00042")
    caller.simulator.client.wait_for_prompt(PHONE)
    prompt = caller.simulator.client.phone(PHONE)["prompt"]
    assert prompt["text"] == "Do you want to pay Ksh. 1,500.00 to Daraja-Sandbox Account no. INV00042?"
    assert 0 < prompt["left_s"] <= prompt["wait_s"] == 60


@pytest.mark.parametrize(
    ("action", "pin", "code"),
    [
        ("pin", "1234", "0"),
        ("pin", "9999", "0"),
        ("pin", "0000", "2001"),
        ("wrong_pin", "1234", "2001"),
        ("cancel", "1234", "1032"),
        ("ignore", "1234", "1037"),
        ("no_funds", "1234", "1"),
    ],
)
def test_what_the_person_does_decides(caller: DarajaCaller, action: str, pin: str, code: str) -> None:
    payment = answered(caller, action, pin)
    assert payment["result_code"] == code
    assert payment["state"] == ("paid" if code == "0" else "failed")
    assert len(caller.simulator.client.ledger()) == (1 if code == "0" else 0)
    assert caller.simulator.client.phone(PHONE)["prompt"] is None


def test_the_customer_gets_the_message_of_a_payment(caller: DarajaCaller) -> None:
    payment = answered(caller, "pin")
    [message] = caller.simulator.client.phone(PHONE)["messages"]
    assert re.fullmatch(
        payment["receipt"]
        + r" Confirmed\. Ksh10\.00 sent to Daraja-Sandbox for account INV00042 on \d{1,2}/\d{1,2}/\d\d"
        r" at \d{1,2}:\d\d [AP]M New M-PESA balance is Ksh499,990\.00\. Transaction cost, Ksh0\.00\.",
        message["text"],
    )


def test_money_leaves_the_account_until_there_is_too_little(caller: DarajaCaller) -> None:
    client = caller.simulator.client
    client.set_balance(PHONE, 15)
    assert answered(caller, "pin")["state"] == "paid"
    assert client.phone(PHONE)["balance"] == 5
    broke = answered(caller, "pin")
    assert (broke["result_code"], broke["result_desc"]) == ("1", "The balance is insufficient for the transaction")
    assert client.phone(PHONE)["balance"] == 5
    assert client.phone(PHONE)["messages"][0]["text"].startswith("Failed. You do not have enough money")


def test_when_nobody_answers_the_network_gives_up(caller: DarajaCaller) -> None:
    client = caller.simulator.client
    checkout_request_id = caller.accepted()
    client.wait_for_prompt(PHONE)
    client.advance(59)
    assert client.payment(checkout_request_id)["prompt_open"]
    client.advance(2)
    assert client.wait_for_callback(checkout_request_id)["result_code"] == "1037"


def test_the_test_number_gives_up_within_30_seconds(caller: DarajaCaller) -> None:
    client = caller.simulator.client
    checkout_request_id = caller.accepted(PhoneNumber="254708374149")
    client.wait_for_prompt("254708374149")
    assert 14 <= client.phone("254708374149")["prompt"]["wait_s"] <= 30
    client.advance(30)
    assert client.wait_for_callback(checkout_request_id)["result_desc"] == "No response from user."


def test_the_patience_can_be_set() -> None:
    with Simulator(SimulatorSettings(behaviour=Behaviour(push_latency_s=0, no_answer_after_s=0.2))) as impatient:
        caller = DarajaCaller(impatient, "http://127.0.0.1:9/")
        assert impatient.client.wait_for_callback(caller.accepted())["result_code"] == "1037"


def test_a_prompt_is_answered_once(caller: DarajaCaller) -> None:
    answered(caller, "cancel")
    with pytest.raises(ControlError) as refused:
        caller.simulator.client.answer(PHONE, "pin")
    assert refused.value.http_status == 409


def test_a_person_may_be_faster_than_the_script(caller: DarajaCaller) -> None:
    caller.simulator.client.script(PHONE, "pay", after_s=3600)
    assert answered(caller, "cancel")["result_code"] == "1032"


def test_phones_that_ring_are_listed_first(caller: DarajaCaller) -> None:
    client = caller.simulator.client
    caller.accepted(PhoneNumber="254722111111")
    client.wait_for_prompt("254722111111")
    client.phone("254722333333")
    answer = http_request(client.base_url, "GET", "/control/phones").json()
    assert [phone["msisdn"] for phone in answer] == ["254722111111", "254722333333"]


@pytest.mark.parametrize("number", ["0722000000", "254822000000", "2547220000001", "x"])
def test_a_number_that_is_none_has_no_phone(simulator: Simulator, number: str) -> None:
    with pytest.raises(ControlError) as refused:
        simulator.client.phone(number)
    assert (refused.value.http_status, refused.value.problem) == (
        422,
        {
            "detail": "wrong: msisdn",
            "errors": [{"field": "msisdn", "message": "String should match pattern '^254[17]\\d{8}$'"}],
        },
    )


def test_open_pages_are_told_of_every_change(simulator: Simulator, caller: DarajaCaller) -> None:
    with urllib.request.urlopen(f"{simulator.base_url}/control/events", timeout=10) as events:
        assert events.headers["Content-Type"] == "text/event-stream"
        caller.accepted()
        seen: set[str] = set()
        until = time.monotonic() + 10
        while not {"payments", "phones"} <= seen and time.monotonic() < until:
            seen.add(events.readline().decode().removeprefix("data: ").strip())
        assert {"payments", "phones"} <= seen
