"""The simulator's STK push: what it refuses, in which order, with which words; what it accepts; the form of its ids.

The cases are data with their sources: tests/contract/simulator_bodies/push_*.json.
"""

from __future__ import annotations

import itertools
import json
import random
import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from simulator import Behaviour, Simulator, SimulatorSettings
from simulator.clock import Clock
from simulator.ids import Ids
from tests.fixtures.simulator import PHONE, PUSH, DarajaCaller, HttpAnswer, http_request, password

BODIES = Path(__file__).with_name("simulator_bodies")
REQUEST_ID = re.compile(r"[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\d+")


def rows(name: str) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = json.loads((BODIES / name).read_text())["rows"]
    return content


def named(name: str) -> list[Any]:
    return [pytest.param(row, id=row.get("name") or row.get("push_answer")) for row in rows(name)]


def push_broken(caller: DarajaCaller, *faults: dict[str, Any]) -> HttpAnswer:
    """A push with these faults; where two concern the same thing the first one wins."""
    method, content_type = "POST", "application/json"
    authorization: str | None = f"Bearer {caller.token()}"
    fields, raw = caller.push_fields(), None
    for fault in reversed(faults):
        method = fault.get("method", method)
        content_type = fault.get("content_type", content_type)
        authorization = fault.get("authorization", authorization)
        fields = {**fields, **fault.get("fields", {})}
        raw = fault.get("raw", raw)
        if fault.get("prompt_open"):
            caller.simulator.client.script(PHONE)
            caller.accepted()
    for fault in faults:
        fields = {name: value for name, value in fields.items() if name not in fault.get("remove", [])}
    headers = {"Content-Type": content_type}
    if authorization is not None:
        headers["Authorization"] = authorization
    body = json.dumps(fields) if raw is None else raw
    return http_request(caller.simulator.base_url, method, PUSH, headers, body.encode())


def assert_refused(answer: HttpAnswer, row: dict[str, Any]) -> None:
    told = answer.json()
    assert (answer.status, told["errorCode"], told["errorMessage"]) == (
        row["http_status"],
        row["errorCode"],
        row["errorMessage"],
    )
    assert list(told) == ["requestId", "errorCode", "errorMessage"]
    assert REQUEST_ID.fullmatch(told["requestId"])


@pytest.mark.parametrize("row", named("push_refusals_in_order.json") + named("push_refusals.json"))
def test_a_wrong_push_is_refused_in_darajas_words_and_no_phone_rings(caller: DarajaCaller, row: dict[str, Any]) -> None:
    assert_refused(push_broken(caller, row["break"]), row)
    expected = 1 if row["break"].get("prompt_open") else 0
    assert len(caller.simulator.client.payments()) == expected


def test_of_two_faults_the_one_that_is_looked_at_first_is_told(caller: DarajaCaller) -> None:
    order = [row for row in rows("push_refusals_in_order.json") if not row["break"].get("prompt_open")]
    for first, second in itertools.combinations(order, 2):
        assert_refused(push_broken(caller, first["break"], second["break"]), first)


def test_the_open_prompt_is_looked_at_last(caller: DarajaCaller) -> None:
    *others, _ = rows("push_refusals_in_order.json")
    caller.accepted()
    for row in others:
        assert_refused(push_broken(caller, row["break"]), row)


@pytest.mark.parametrize("row", named("push_accepted.json"))
def test_a_right_push_is_accepted_in_darajas_words(caller: DarajaCaller, row: dict[str, Any]) -> None:
    answer = caller.push(**row["fields"])
    assert answer.status == 200
    told = answer.json()
    assert REQUEST_ID.fullmatch(told["MerchantRequestID"])
    assert answer.body.decode() == (
        f'{{"MerchantRequestID":"{told["MerchantRequestID"]}","CheckoutRequestID":"{told["CheckoutRequestID"]}",'
        '"ResponseCode":"0","ResponseDescription":"Success. Request accepted for processing",'
        '"CustomerMessage":"Success. Request accepted for processing"}'
    )


def test_a_checkout_request_id_is_the_time_in_nairobi_and_the_end_of_the_number(caller: DarajaCaller) -> None:
    before = datetime.now(UTC)
    found = re.fullmatch(r"ws_CO_(\d{17})722000000", caller.accepted())
    assert found is not None
    at_nairobi = datetime.strptime(found[1] + "000", "%d%m%Y%H%M%S%f").replace(tzinfo=UTC)
    age = at_nairobi - timedelta(hours=3) - before
    assert timedelta(milliseconds=-2) < age < timedelta(minutes=1)


def test_the_prompt_goes_to_phone_number_and_its_end_is_in_the_id(caller: DarajaCaller) -> None:
    checkout_request_id = caller.accepted(PartyA="254722000000", PhoneNumber="254722111111")
    assert checkout_request_id.endswith("722111111")
    assert caller.simulator.client.wait_for_prompt("254722111111")["checkout_request_id"] == checkout_request_id


class StoppedClock(Clock):
    """Always the moment of a captured push, except for its milliseconds."""

    def now(self) -> datetime:
        return datetime(2025, 10, 3, 0, 4, 9, 7_999, tzinfo=UTC)


def test_ids_are_never_given_twice_even_in_the_same_millisecond() -> None:
    ids = Ids(random.Random(1), StoppedClock())
    assert [ids.checkout_request_id(PHONE) for _ in range(3)] == [
        "ws_CO_03102025030409007722000000",
        "ws_CO_03102025030409008722000000",
        "ws_CO_03102025030409009722000000",
    ]
    receipts = [ids.receipt(StoppedClock().now_eat()) for _ in range(1000)]
    assert len(set(receipts)) == 1000
    assert {receipt[:3] for receipt in receipts} == {"TJ3"}


def test_two_equal_pushes_one_after_the_other_are_both_accepted(caller: DarajaCaller) -> None:
    client = caller.simulator.client
    first = caller.accepted()
    client.wait_for_prompt(PHONE)
    client.answer(PHONE, "cancel")
    client.wait_for_callback(first)
    assert caller.accepted() != first


def test_another_phone_is_not_locked_by_an_open_prompt(caller: DarajaCaller) -> None:
    caller.accepted()
    assert caller.push(PhoneNumber="254722111111").status == 200


def test_a_till_pushes_with_its_store_number_and_is_paid_at_its_till(caller: DarajaCaller) -> None:
    till = {
        "BusinessShortCode": "600000",
        "PartyB": "600584",
        "TransactionType": "CustomerBuyGoodsOnline",
        "Password": password("20261122153000", "600000"),
    }
    caller.simulator.client.script(None, "pay", after_s=0)
    assert caller.push(**till).status == 200
    caller.simulator.client.wait_for_callback(caller.simulator.client.payments()[0]["checkout_request_id"])
    assert caller.simulator.client.ledger()[0]["shortcode"] == "600584"
    paybill = caller.push(**{**till, "TransactionType": "CustomerPayBillOnline"})
    assert paybill.json()["errorMessage"] == "Bad Request - Invalid TransactionType"


@pytest.mark.parametrize("row", named("push_answers.json"))
def test_a_script_makes_the_push_answer_anything_daraja_was_seen_to_answer(
    caller: DarajaCaller, row: dict[str, Any]
) -> None:
    caller.simulator.client.script(None, push_answer=row["push_answer"])
    answer = caller.push()
    if "begins" in row:
        assert answer.status == row["http_status"]
        assert answer.body.decode().startswith(row["begins"])
        assert answer.headers["content-type"] == ("text/html" if row["begins"].startswith("<") else "application/json")
    else:
        assert_refused(answer, row)
    assert caller.simulator.client.payments() == []


def test_a_script_chooses_code_and_message_apart(caller: DarajaCaller) -> None:
    told = {"http_status": 500, "error_code": "500.001.1001", "error_message": "[MerchantValidate] - Wrong credentials"}
    caller.simulator.client.script(None, push_answer=told)
    answer = caller.push()
    assert (answer.status, answer.json()["errorMessage"]) == (500, "[MerchantValidate] - Wrong credentials")


def test_an_unclear_answer_may_still_make_the_phone_ring(caller: DarajaCaller) -> None:
    caller.simulator.client.script(None, push_answer="system_busy", reaches_phone=True)
    assert caller.push().status == 500
    assert caller.simulator.client.wait_for_prompt(PHONE)["amount"] == 1


def test_the_answer_can_be_lost_after_the_push_was_accepted(caller: DarajaCaller) -> None:
    caller.simulator.client.script(None, drop_response=True)
    with pytest.raises(ConnectionError):
        caller.push()
    caller.simulator.client.wait_for_prompt(PHONE)


def test_a_token_can_die_just_before_a_push_and_the_script_goes_on(
    caller: DarajaCaller,
) -> None:
    caller.simulator.client.script(None, "cancel", after_s=0, callback_count=0, token_dies=True)
    refused = caller.push()
    assert (refused.status, refused.json()["errorCode"]) == (404, "404.001.03")
    assert caller.push().json()["errorCode"] == "404.001.03"
    caller.forget_token()
    checkout_request_id = caller.accepted()
    caller.simulator.client.wait_for(
        lambda: caller.simulator.client.payment(checkout_request_id)["result_code"], "the outcome", 10
    )
    assert caller.simulator.client.payment(checkout_request_id)["result_code"] == "1032"


def test_a_lost_request_makes_no_phone_ring(caller: DarajaCaller) -> None:
    caller.simulator.client.script(None, drop_response=True, reaches_phone=False)
    with pytest.raises(ConnectionError):
        caller.push()
    assert caller.simulator.client.payments() == []


def test_the_push_takes_its_time_and_the_prompt_comes_with_the_answer(caller: DarajaCaller) -> None:
    caller.simulator.client.script(None, push_latency_s=0.4)
    caller.token()
    began = time.monotonic()
    caller.accepted()
    assert time.monotonic() - began >= 0.4
    caller.simulator.client.wait_for_prompt(PHONE)


def test_by_default_a_push_takes_as_long_as_the_median_that_was_measured() -> None:
    assert Behaviour().push_latency_s == 0.9


def test_banned_words_in_the_callback_address_are_refused_where_that_is_asked_for() -> None:
    with Simulator(SimulatorSettings(behaviour=Behaviour(push_latency_s=0, refuse_banned_words=True))) as strict:
        caller = DarajaCaller(strict, "https://pay.example.co.ke/cb/1")
        assert caller.push().status == 200
        for word in ("mpesa", "M-PESA", "Safaricom", "exec", "cmd", "sql", "query"):
            answer = caller.push(PhoneNumber="254722111111", CallBackURL=f"https://pay.example.co.ke/{word}/1")
            assert answer.json()["errorMessage"] == "Bad Request - Invalid CallBackURL"


def test_every_other_address_is_resource_not_found(caller: DarajaCaller) -> None:
    answer = caller.post("/mpesa/stkpush/v2/processrequest", {})
    assert (answer.status, answer.json()["errorCode"], answer.json()["errorMessage"]) == (
        404,
        "404.001.01",
        "Resource not found",
    )


def test_every_request_is_counted(caller: DarajaCaller) -> None:
    caller.accepted()
    caller.push()
    seen = caller.simulator.client.requests(PUSH)
    assert [(one["http_status"], one["error_code"]) for one in seen] == [(500, "500.001.1001"), (200, None)]
