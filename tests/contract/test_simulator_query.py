"""The simulator's STK query: every shape that was seen, its own checks, and its rate limit."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from simulator import Simulator
from tests.fixtures.simulator import PHONE, QUERY, DarajaCaller, HttpAnswer, http_request, password

ROWS = json.loads((Path(__file__).with_name("simulator_bodies") / "query_answers.json").read_text())["rows"]


@pytest.fixture
def patient(caller: DarajaCaller) -> DarajaCaller:
    """A caller whom the rate limit does not stop."""
    caller.simulator.client.behave(query_limit_per_minute=0)
    return caller


def concluded(caller: DarajaCaller, outcome: str = "pay", **knobs: object) -> dict[str, Any]:
    """A payment that is over and whose callback was sent."""
    caller.simulator.client.script(None, outcome, after_s=0, **knobs)
    return caller.simulator.client.wait_for_callback(caller.accepted())


def shape_of(answer: HttpAnswer) -> str:
    told = answer.json()
    if told.get("ResultCode") == "4999":
        return "still_processing"
    if told.get("errorMessage") == "The transaction is being processed":
        return "being_processed"
    return str(told)


@pytest.mark.parametrize("row", [pytest.param(row, id=row["shape"]) for row in ROWS])
def test_every_shape_is_said_byte_for_byte(patient: DarajaCaller, row: dict[str, Any]) -> None:
    payment = concluded(patient, query=[row["shape"]])
    answer = patient.query(payment["checkout_request_id"])
    assert answer.status == row["http_status"]
    if "begins" in row:
        assert answer.body.decode().startswith(row["begins"])
        return
    expected = row["body"].replace("MERCHANT", payment["merchant_request_id"])
    expected = expected.replace("CHECKOUT", payment["checkout_request_id"])
    body = answer.body.decode()
    if "REQUEST" in expected:
        body = re.sub(r'"requestId":"[0-9a-f-]+"', '"requestId":"REQUEST"', body)
    assert body == expected


def test_shapes_come_in_the_scripted_order_and_then_the_truth(patient: DarajaCaller) -> None:
    payment = concluded(patient, "cancel", query=["being_processed", "empty_error_200", "still_processing"])
    answers = [patient.query(payment["checkout_request_id"]) for _ in range(5)]
    assert [answer.status for answer in answers] == [500, 200, 200, 200, 200]
    assert [answer.json().get("ResultCode") for answer in answers] == [None, None, "4999", "1032", "1032"]


def test_while_the_prompt_is_open_both_shapes_of_not_yet_are_heard(patient: DarajaCaller) -> None:
    checkout_request_id = patient.accepted()
    shapes = {shape_of(patient.query(checkout_request_id)) for _ in range(40)}
    assert shapes == {"still_processing", "being_processed"}


def test_a_terminal_code_is_a_string_also_where_the_callback_says_a_number(patient: DarajaCaller) -> None:
    payment = concluded(patient, "ignore")
    assert json.loads(payment["callbacks"][0]["body"])["Body"]["stkCallback"]["ResultCode"] == 1037
    told = patient.query(payment["checkout_request_id"]).json()
    assert (told["ResultCode"], told["ResultDesc"]) == ("1037", "No response from user.")


def test_a_query_tells_no_receipt_amount_or_phone(patient: DarajaCaller) -> None:
    payment = concluded(patient)
    told = patient.query(payment["checkout_request_id"]).json()
    assert sorted(told) == [
        "CheckoutRequestID",
        "MerchantRequestID",
        "ResponseCode",
        "ResponseDescription",
        "ResultCode",
        "ResultDesc",
    ]


def test_the_answer_to_a_query_can_be_lost(patient: DarajaCaller) -> None:
    payment = concluded(patient, query=["dropped"])
    with pytest.raises(ConnectionError):
        patient.query(payment["checkout_request_id"])
    assert patient.query(payment["checkout_request_id"]).json()["ResultCode"] == "0"


def test_the_answer_to_a_query_can_take_its_time(patient: DarajaCaller) -> None:
    payment = concluded(patient, query_latency_s=0.4)
    patient.token()
    began = time.monotonic()
    assert patient.query(payment["checkout_request_id"]).json()["ResultCode"] == "0"
    assert time.monotonic() - began >= 0.4


def test_a_query_can_be_stuck_for_half_an_hour(patient: DarajaCaller) -> None:
    payment = concluded(patient, query_stuck_s=1975)
    assert patient.query(payment["checkout_request_id"]).json()["ResultCode"] == "4999"
    patient.simulator.client.advance(1970)
    assert patient.query(payment["checkout_request_id"]).json()["ResultCode"] == "4999"
    patient.simulator.client.advance(6)
    assert patient.query(payment["checkout_request_id"]).json()["ResultCode"] == "0"


def test_a_query_can_disagree_with_the_callback(patient: DarajaCaller) -> None:
    payment = concluded(patient, query_result={"code": 1032, "desc": "Request cancelled by user"})
    assert payment["state"] == "paid"
    assert patient.query(payment["checkout_request_id"]).json()["ResultCode"] == "1032"


@pytest.mark.parametrize(
    ("asked", "status", "message"),
    [
        ("ws_CO_03102025030409377722000000", 500, "The transaction does not Exist"),
        ("nonsense", 400, "Bad Request - Invalid CheckoutRequestID"),
        ("", 400, "Bad Request - Invalid CheckoutRequestID"),
        (None, 400, "Bad Request - Invalid CheckoutRequestID"),
    ],
)
def test_an_unknown_id_gets_one_of_the_two_answers_seen(
    patient: DarajaCaller, asked: object, status: int, message: str
) -> None:
    answer = patient.query(asked)
    assert (answer.status, answer.json()["errorMessage"]) == (status, message)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"BusinessShortCode": ""}, "Bad Request - Invalid BusinessShortCode"),
        ({"Password": ""}, "Bad Request - Invalid Password"),
        ({"Timestamp": "now"}, "Bad Request - Invalid Timestamp"),
        ({"CheckoutRequestID": "", "BusinessShortCode": "999999"}, "Bad Request - Invalid CheckoutRequestID"),
        ({"BusinessShortCode": "999999"}, "Merchant does not exist"),
        ({"Password": password("20261122153100", passkey="wrong")}, "Wrong credentials"),
    ],
)
def test_a_query_is_checked_like_a_push(patient: DarajaCaller, changes: dict[str, object], message: str) -> None:
    assert patient.query(patient.accepted(), **changes).json()["errorMessage"] == message


def test_a_query_needs_its_method_header_and_token(simulator: Simulator) -> None:
    codes = []
    for method, headers in (
        ("GET", {}),
        ("POST", {}),
        ("POST", {"Authorization": "Bearer c9SQxWWhmdVRlyh0zh8gZDTkubVF"}),
    ):
        codes.append(http_request(simulator.base_url, method, QUERY, headers, b"{}").json()["errorCode"])
    assert codes == ["405.001", "404.001.04", "404.001.03"]


def test_by_default_a_second_query_within_12_seconds_is_a_spike(caller: DarajaCaller) -> None:
    checkout_request_id = caller.accepted()
    assert caller.query(checkout_request_id).status != 429
    spike = caller.query(checkout_request_id)
    assert spike.status == 429
    assert spike.json()["fault"]["detail"]["errorcode"] == "policies.ratelimit.SpikeArrestViolation"
    caller.simulator.client.advance(12.1)
    assert caller.query(checkout_request_id).status != 429


def test_the_limit_is_shared_by_all_payments_and_never_hits_the_push(caller: DarajaCaller) -> None:
    first, second = caller.accepted(), caller.accepted(PhoneNumber="254722111111")
    caller.query(first)
    assert caller.query(second).status == 429
    assert caller.push(PhoneNumber="254722222222").status == 200


def test_a_success_after_a_failure_is_told_by_the_query_too(patient: DarajaCaller) -> None:
    payment = concluded(patient, "ignore", paid_later_s=300)
    assert patient.query(payment["checkout_request_id"]).json()["ResultCode"] == "1037"
    patient.simulator.client.advance(301)
    patient.simulator.client.wait_for_callback(payment["checkout_request_id"], count=2)
    assert patient.query(payment["checkout_request_id"]).json()["ResultCode"] == "0"
    assert patient.simulator.client.ledger()[0]["phone"] == PHONE
