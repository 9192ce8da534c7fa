"""The control API: scripts, faults and behaviour, and what it says to those that are wrong."""

from __future__ import annotations

import time
from typing import Any

import pytest

from simulator import ControlError, Simulator, SimulatorClient
from tests.fixtures.simulator import OAUTH, PHONE, PUSH, DarajaCaller, http_request


def refused_fields(error: ControlError) -> list[str]:
    assert error.http_status == 422
    assert isinstance(error.problem, dict)
    return [one["field"] for one in error.problem["errors"]]


@pytest.mark.parametrize(
    ("knobs", "field"),
    [
        ({"calback_count": 2}, "calback_count"),
        ({"callback_count": 4}, "callback_count"),
        ({"callback_count": -1}, "callback_count"),
        ({"outcome": "explode"}, "outcome"),
        ({"outcome": {"code": 1032}}, "outcome"),
        ({"after_s": -1}, "after_s"),
        ({"after_s": "soon"}, "after_s"),
        ({"phone": "0722000000"}, "phone"),
        ({"push_answer": "no_such_row"}, "push_answer"),
        ({"query": ["terminal", "no_such_shape"]}, "query"),
        ({"callback_amount": "2"}, "callback_amount"),
        ({"callback_amount_told": "NaN"}, "callback_amount_told"),
        ({"callback_leave_out": ["Name"]}, "callback_leave_out"),
        ({"callback_before_response": True}, "callback_before_response"),
        ({"outcome": "pay", "callback_before_response": True, "callback_count": 0}, "callback_before_response"),
        (
            {"outcome": "pay", "callback_before_response": True, "push_answer": "system_busy"},
            "callback_before_response",
        ),
        ({"reaches_phone": False}, "reaches_phone"),
    ],
)
def test_a_wrong_knob_is_named(simulator: Simulator, knobs: dict[str, Any], field: str) -> None:
    with pytest.raises(ControlError) as refused:
        simulator.client.script(**knobs)
    assert set(refused_fields(refused.value)) == {field}


def test_wrong_faults_and_behaviours_are_named_too(simulator: Simulator) -> None:
    with pytest.raises(ControlError) as fault:
        simulator.client.fault("oauth", "explode")
    assert refused_fields(fault.value) == ["kind"]
    with pytest.raises(ControlError) as behaviour:
        simulator.client.behave(push_latency_s=-1, colour="red")
    assert refused_fields(behaviour.value) == ["push_latency_s", "colour"]


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Content-Type": "application/json"}, b"{", 400),
        ({"Content-Type": "application/json"}, b"[]", 400),
        ({"Content-Type": "text/plain"}, b"{}", 415),
        ({}, b"{}", 415),
    ],
)
def test_what_is_not_a_json_object_is_refused(
    simulator: Simulator, headers: dict[str, str], body: bytes, status: int
) -> None:
    answer = http_request(simulator.base_url, "POST", "/control/scripts", headers, body)
    assert answer.status == status
    assert answer.json()["detail"]


def test_an_unknown_control_address_is_no_daraja_address(simulator: Simulator) -> None:
    answer = http_request(simulator.base_url, "GET", "/control/nothing")
    assert (answer.status, answer.json()) == (404, {"detail": "the control API has no such address"})


def test_a_script_serves_the_next_push_and_then_a_person_decides(caller: DarajaCaller) -> None:
    client = caller.simulator.client
    client.script(PHONE, "cancel", after_s=0)
    client.wait_for_callback(caller.accepted())
    caller.accepted()
    assert client.wait_for_prompt(PHONE)["state"] == "prompt"


def test_the_script_of_a_phone_comes_before_one_for_anybody(caller: DarajaCaller) -> None:
    client = caller.simulator.client
    client.script(None, "cancel", after_s=0)
    client.script(PHONE, "wrong_pin", after_s=0)
    client.script("254722111111", "ignore", after_s=0)
    codes = [client.wait_for_callback(caller.accepted())["result_code"] for _ in range(2)]
    assert codes == ["2001", "1032"]


def test_scripts_are_used_in_their_order_and_as_often_as_they_say(caller: DarajaCaller) -> None:
    client = caller.simulator.client
    client.script(None, "wrong_pin", after_s=0, uses=2)
    client.script(None, "pay", after_s=0)
    codes = [client.wait_for_callback(caller.accepted())["result_code"] for _ in range(3)]
    assert codes == ["2001", "2001", "0"]


def test_a_refused_push_uses_up_no_script(caller: DarajaCaller) -> None:
    client = caller.simulator.client
    client.script(None, "pay", after_s=0)
    caller.push(Amount=0)
    assert client.wait_for_callback(caller.accepted())["state"] == "paid"


def test_scripts_can_be_forgotten(caller: DarajaCaller) -> None:
    client = caller.simulator.client
    client.script(None, "pay", after_s=0)
    http_request(client.base_url, "POST", "/control/scripts/forget", {"Content-Type": "application/json"}, b"{}")
    caller.accepted()
    client.wait_for_prompt(PHONE)
    assert http_request(client.base_url, "GET", "/control/scripts").json() == []


@pytest.mark.parametrize(
    ("kind", "status", "begins"),
    [
        ("error_500", 500, b'{"requestId":'),
        ("too_many_429", 429, b'{"fault":'),
        ("firewall_403", 403, b"<html "),
        ("firewall_503", 503, b"<html>"),
    ],
)
def test_a_service_can_fail_once(caller: DarajaCaller, kind: str, status: int, begins: bytes) -> None:
    caller.simulator.client.fault("oauth", kind)
    failed = caller.authorize()
    assert (failed.status, failed.body[: len(begins)]) == (status, begins)
    assert caller.authorize().status == 200


def test_a_service_can_hang_up_before_or_after_the_work(caller: DarajaCaller) -> None:
    client = caller.simulator.client
    caller.token()
    client.fault("push", "drop")
    client.fault("push", "drop_after")
    for pushed in (0, 1):
        with pytest.raises(ConnectionError):
            caller.push()
        assert len(client.payments()) == pushed
    assert [one["http_status"] for one in client.requests(PUSH)] == [None, None]


def test_a_service_can_be_slow(caller: DarajaCaller) -> None:
    caller.simulator.client.fault("oauth", "slow", seconds=0.3)
    began = time.monotonic()
    assert caller.authorize().status == 200
    assert time.monotonic() - began >= 0.3


def test_a_fault_hits_as_often_as_it_says_and_only_where_it_says(caller: DarajaCaller) -> None:
    caller.token()
    caller.simulator.client.fault("push", "error_500", times=2)
    assert caller.authorize().status == 200
    caller.forget_token()
    assert [caller.push().status for _ in range(3)] == [500, 500, 200]


def test_behaviour_changes_what_is_named_until_the_reset(simulator: Simulator) -> None:
    before = http_request(simulator.base_url, "GET", "/control/behaviour").json()
    simulator.client.behave(query_limit_per_minute=0)
    after = http_request(simulator.base_url, "GET", "/control/behaviour").json()
    assert after == {**before, "query_limit_per_minute": 0}
    simulator.client.reset()
    assert http_request(simulator.base_url, "GET", "/control/behaviour").json() == before


def test_a_reset_forgets_everything_and_ends_what_is_open(caller: DarajaCaller) -> None:
    client = caller.simulator.client
    client.script(None, "pay", after_s=0)
    client.wait_for_callback(caller.accepted())
    caller.accepted()
    client.script(None, "pay")
    client.fault("oauth", "drop")
    client.reset()
    assert client.payments() == client.ledger() == client.requests() == client.mail() == []
    for path in ("/control/phones", "/control/scripts", "/control/faults"):
        assert http_request(client.base_url, "GET", path).json() == []
    caller.accepted()  # the phone's lock is gone, the token still lives
    client.wait_for_prompt(PHONE)


def test_waiting_in_vain_says_what_was_there_instead(caller: DarajaCaller) -> None:
    caller.accepted()
    caller.simulator.client.wait_for_prompt(PHONE)
    with pytest.raises(TimeoutError, match=r"waited for a prompt on 254722111111, 0\.1 s in vain.*254722000000"):
        caller.simulator.client.wait_for_prompt("254722111111", timeout_s=0.1)


def test_a_client_says_when_nothing_is_there() -> None:
    with pytest.raises(OSError, match="refused"):
        SimulatorClient("http://127.0.0.1:9").payments()


def test_oauth_has_a_path_of_its_own_in_the_log(caller: DarajaCaller) -> None:
    caller.authorize()
    assert [one["path"] for one in caller.simulator.client.requests()] == [OAUTH.split("?")[0]]
