"""What the simulator tells the shop, byte for byte as captured, and what really happened to the money beside it."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path
from typing import Any

import pytest

from simulator import Simulator
from tests.fixtures.simulator import PHONE, CallbackReceiver, DarajaCaller, HttpAnswer

CAPTURED = json.loads((Path(__file__).with_name("simulator_bodies") / "callbacks.json").read_text())
TEST_NUMBER = "254708374149"


def paid(caller: DarajaCaller, **knobs: object) -> dict[str, Any]:
    """A payment by script whose callbacks are out."""
    caller.simulator.client.script(None, "pay", after_s=0, **knobs)
    count = knobs.get("callback_count", 1)
    assert isinstance(count, int)
    return caller.simulator.client.wait_for_callback(caller.accepted(Amount=10), count=count)


@pytest.mark.parametrize("row", [pytest.param(row, id=row["name"]) for row in CAPTURED["rows"]])
def test_a_callback_has_the_captured_bytes(
    caller: DarajaCaller, receiver: CallbackReceiver, row: dict[str, Any]
) -> None:
    client = caller.simulator.client
    client.script(TEST_NUMBER, **row["script"], after_s=0)
    caller.accepted(PhoneNumber=TEST_NUMBER, PartyA=TEST_NUMBER, Amount="10")
    [received] = receiver.wait()
    payment = client.payments()[0]
    expected = row["body"]
    for name in ("merchant_request_id", "checkout_request_id", "receipt"):
        expected = expected.replace(CAPTURED["ids"][name], payment[name] or "none")
    date = re.search(rb'"TransactionDate","Value":(\d{14})', received.body)
    if date is not None:
        expected = expected.replace(CAPTURED["ids"]["transaction_date"], date[1].decode())
    assert received.body.decode() == expected


def test_a_callback_has_the_captured_headers(caller: DarajaCaller, receiver: CallbackReceiver) -> None:
    paid(caller)
    [received] = receiver.wait()
    assert received.path == "/callback/here"
    headers = dict(received.headers)
    host = headers.pop("Host")
    assert receiver.base_url.endswith(host)
    assert headers == {
        "User-Agent": "ReactorNetty/1.2.9",
        "Content-Length": str(len(received.body)),
        "Accept": "*/*",
        "Businessshortcode": "174379",
        "Content-Type": "application/json;charset=UTF-8",
    }


def test_the_receipt_begins_with_its_date_and_the_time_is_nairobis(
    caller: DarajaCaller, receiver: CallbackReceiver
) -> None:
    payment = paid(caller)
    items = receiver.wait()[0].items()
    assert re.fullmatch(r"[A-Z][A-L][1-9A-V][A-Z0-9]{7}", items["MpesaReceiptNumber"])
    year, month, day = (int(part) for part in re.findall(r"^(\d{4})(\d\d)(\d\d)", str(items["TransactionDate"]))[0])
    days = "123456789ABCDEFGHIJKLMNOPQRSTUV"
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    assert items["MpesaReceiptNumber"][:3] == letters[year - 2006] + letters[month - 1] + days[day - 1]
    assert payment["checkout_request_id"][6:14] == f"{day:02d}{month:02d}{year}"


def test_a_callback_is_sent_once_and_never_again(
    simulator: Simulator, caller: DarajaCaller, receiver: CallbackReceiver
) -> None:
    receiver.status = 500
    payment = paid(caller)
    assert [one["http_status"] for one in payment["callbacks"]] == [500]
    simulator.client.advance(44 * 60)
    paid(caller)  # time for a second one to show itself
    told = [one.told()["CheckoutRequestID"] for one in receiver.received]
    assert told.count(payment["checkout_request_id"]) == 1


def test_the_money_has_moved_also_where_nobody_answers_the_callback(simulator: Simulator) -> None:
    caller = DarajaCaller(simulator, "http://127.0.0.1:9/callback")
    payment = paid(caller)
    assert payment["callbacks"][0]["http_status"] is None
    assert payment["callbacks"][0]["problem"]
    assert simulator.client.ledger()[0]["amount"] == 10


@pytest.mark.parametrize("count", [2, 3])
def test_copies_come_at_the_same_moment_and_are_equal(
    caller: DarajaCaller, receiver: CallbackReceiver, count: int
) -> None:
    paid(caller, callback_count=count)
    bodies = [one.body for one in receiver.wait(count)]
    assert len(bodies) == count
    assert len(set(bodies)) == 1
    assert len(caller.simulator.client.ledger()) == 1


def test_the_callback_can_be_missing_though_the_money_moved(caller: DarajaCaller, receiver: CallbackReceiver) -> None:
    caller.simulator.client.script(None, "pay", after_s=0, callback_count=0)
    caller.accepted(Amount=10)
    client = caller.simulator.client
    entry = client.wait_for(lambda: next(iter(client.ledger()), None), "money", 10)
    assert (entry["amount"], entry["phone"], entry["account_reference"]) == (10, PHONE, "accountref")
    assert client.payments()[0]["state"] == "paid"
    assert receiver.received == []


def test_the_callback_can_overtake_the_answer_to_the_push(caller: DarajaCaller, receiver: CallbackReceiver) -> None:
    caller.simulator.client.script(None, "pay", after_s=0, callback_before_response=True)
    answer = caller.push()
    assert [one.told()["CheckoutRequestID"] for one in receiver.received] == [answer.json()["CheckoutRequestID"]]


def test_the_callback_can_be_late(caller: DarajaCaller, receiver: CallbackReceiver) -> None:
    client = caller.simulator.client
    client.script(None, "pay", after_s=0, callback_delay_s=1800)
    late = caller.accepted()
    client.wait_for(lambda: next(iter(client.ledger()), None), "money", 10)
    client.advance(1790)
    paid(caller)  # another payment's callback comes, this one's does not
    assert late not in [one.told()["CheckoutRequestID"] for one in receiver.received]
    client.advance(11)
    client.wait_for_callback(late)
    assert receiver.received[-1].told()["CheckoutRequestID"] == late


@pytest.mark.parametrize(
    ("knobs", "written"),
    [
        ({"callback_amount": "1"}, b'{"Name":"Amount","Value":10}'),
        ({"callback_amount": "1.0"}, b'{"Name":"Amount","Value":10.0}'),
        ({"callback_amount": "1.00"}, b'{"Name":"Amount","Value":10.00}'),
        ({"callback_amount_told": "9.5"}, b'{"Name":"Amount","Value":9.5}'),
        ({"callback_receipt_told": "TJ3MX6CLYC"}, b'{"Name":"MpesaReceiptNumber","Value":"TJ3MX6CLYC"}'),
        ({"callback_balance": "value"}, b'{"Name":"Balance","Value":499990.00}'),
        ({"callback_phone": "text"}, b'{"Name":"PhoneNumber","Value":"254722000000"}'),
        ({"callback_phone": "masked"}, b'{"Name":"PhoneNumber","Value":"254722***000"}'),
        ({"callback_code": "str"}, b'"ResultCode":"0"'),
        ({"callback_metadata": "empty"}, b'"CallbackMetadata":{"Item":[]}'),
    ],
)
def test_a_script_changes_how_things_are_written(
    caller: DarajaCaller, receiver: CallbackReceiver, knobs: dict[str, object], written: bytes
) -> None:
    paid(caller, **knobs)
    assert written in receiver.wait()[0].body


@pytest.mark.parametrize(
    ("knobs", "left"),
    [
        ({"callback_phone": "absent"}, {"Amount", "MpesaReceiptNumber", "Balance", "TransactionDate"}),
        ({"callback_balance": "absent"}, {"Amount", "MpesaReceiptNumber", "TransactionDate", "PhoneNumber"}),
        (
            {"callback_leave_out": ["MpesaReceiptNumber", "Amount"]},
            {"Balance", "TransactionDate", "PhoneNumber"},
        ),
    ],
)
def test_a_script_leaves_items_out(
    caller: DarajaCaller, receiver: CallbackReceiver, knobs: dict[str, object], left: set[str]
) -> None:
    paid(caller, **knobs)
    assert set(receiver.wait()[0].items()) == left


def test_a_success_can_come_without_any_metadata(caller: DarajaCaller, receiver: CallbackReceiver) -> None:
    paid(caller, callback_metadata="absent")
    assert "CallbackMetadata" not in receiver.wait()[0].told()


def test_items_can_come_in_any_order(caller: DarajaCaller, receiver: CallbackReceiver) -> None:
    for _ in range(8):
        paid(caller, callback_metadata="shuffled")
    orders = {tuple(one.items()) for one in receiver.wait(8)}
    assert len(orders) > 1
    assert {frozenset(order) for order in orders} == {frozenset(next(iter(orders)))}


def test_what_is_paid_can_differ_from_what_was_asked(caller: DarajaCaller, receiver: CallbackReceiver) -> None:
    paid(caller, paid_amount=1)
    assert receiver.wait()[0].items()["Amount"] == 1
    assert caller.simulator.client.ledger()[0]["amount"] == 1
    assert caller.simulator.client.payments()[0]["amount"] == 10


def test_a_failure_can_be_taken_back_and_the_same_payment_succeeds(
    caller: DarajaCaller, receiver: CallbackReceiver
) -> None:
    client = caller.simulator.client
    client.script(None, "ignore", after_s=0, paid_later_s=300)
    checkout_request_id = caller.accepted()
    assert client.wait_for_callback(checkout_request_id)["state"] == "failed"
    assert client.ledger() == []
    client.advance(301)
    assert client.wait_for_callback(checkout_request_id, count=2)["state"] == "paid"
    assert [one.told()["ResultCode"] for one in receiver.wait(2)] == [1037, 0]
    assert len(client.ledger()) == 1


def test_a_party_b_of_another_business_is_accepted_and_fails_afterwards(
    caller: DarajaCaller, receiver: CallbackReceiver
) -> None:
    caller.accepted(PartyB="600999")
    told = receiver.wait()[0].told()
    assert (told["ResultCode"], told["ResultDesc"]) == ("SFC_IC0003", "The operator does not exist.")


def test_a_prompt_that_is_too_long_is_accepted_and_fails_afterwards(
    caller: DarajaCaller, receiver: CallbackReceiver
) -> None:
    caller.accepted(AccountReference="A" * 150)
    assert receiver.wait()[0].told()["ResultCode"] == 1025


def test_many_pushes_at_once_are_all_told_apart(simulator: Simulator, receiver: CallbackReceiver) -> None:
    simulator.client.script(None, "pay", after_s=0, uses=30)
    caller = DarajaCaller(simulator, f"{receiver.base_url}/callback/here")
    caller.token()
    answers: dict[str, HttpAnswer] = {}

    def push(phone: str) -> None:
        answers[phone] = caller.push(PhoneNumber=phone)

    threads = [threading.Thread(target=push, args=(f"2547000000{number:02d}",)) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status for answer in answers.values()} == {200}
    told = {one.told()["CheckoutRequestID"]: one.items()["PhoneNumber"] for one in receiver.wait(30)}
    assert told == {answer.json()["CheckoutRequestID"]: int(phone) for phone, answer in answers.items()}
    receipts = [entry["receipt"] for entry in simulator.client.ledger()]
    assert len(set(receipts)) == 30
