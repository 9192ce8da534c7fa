"""A push against every answer on record, and what it says itself."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from shared.daraja.answers import Accepted, PromptOpen, Rejected, Unanswered, Unavailable
from shared.daraja.client import Daraja, PushRequest, transaction_desc
from shared.deadline import Deadline
from simulator import SANDBOX_PASSKEY
from tests.contract.scripted_daraja import (
    DEAD_TOKEN,
    DEAD_TOKENS,
    OAUTH,
    PUSH,
    ScriptedDaraja,
    SharedStore,
    recorded,
    refused,
    soon,
)

ANSWERS = recorded("push_answers.json")
ACCEPTED = ANSWERS[0]
A_REQUEST = PushRequest(
    msisdn="254708374149",
    amount_kes=Decimal(1500),
    account_reference="INV00042",
    transaction_desc="Two baskets & a mat",
    callback_url="https://shop.example/api/pay/callback/7b8f8a3e/token",
)


def outcome(daraja: Daraja, deadline: Deadline | None = None) -> Accepted | Exception:
    try:
        return daraja.push(A_REQUEST, deadline or soon())
    except (Unavailable, Unanswered, Rejected) as error:
        return error


@pytest.mark.parametrize("row", ANSWERS, ids=lambda row: row["name"])
def test_every_answer_on_record_means_one_thing(server: ScriptedDaraja, row: dict[str, Any]) -> None:
    server.answer(PUSH, row)
    met = outcome(Daraja(server.settings(), SharedStore()))
    means = row["means"]
    match means["is"]:
        case "accepted":
            assert isinstance(met, Accepted)
            assert met.merchant_request_id == means["merchant_request_id"]
            assert met.checkout_request_id == means["checkout_request_id"]
        case "rejected" | "prompt_open":
            assert isinstance(met, Rejected)
            assert isinstance(met, PromptOpen) is (means["is"] == "prompt_open")
            assert met.code == means["code"]
            assert means["explains"] in met.explanation
        case "unanswered":
            assert isinstance(met, Unanswered)
    assert len(server.asked_for(PUSH)) == 1, "a push is never sent twice"


def test_a_push_says_literally_what_the_official_sample_says(server: ScriptedDaraja) -> None:
    at = datetime(2021, 6, 28, 6, 24, 8, tzinfo=UTC)
    Daraja(server.settings(), SharedStore(), clock=lambda: at).push(A_REQUEST, soon())
    (asked,) = server.asked_for(PUSH)
    assert asked.method == "POST"
    assert asked.headers["content-type"] == "application/json"
    assert asked.headers["authorization"] == "Bearer token-number-1"
    assert asked.json() == {
        "BusinessShortCode": 174379,
        "Password": "MTc0Mzc5YmZiMjc5ZjlhYTliZGJjZjE1OGU5N2RkNzFhNDY3Y2QyZTBjODkzMDU5YjEwZjc4ZTZiNzJhZGExZWQyYzkxOTIw"
        "MjEwNjI4MDkyNDA4",
        "Timestamp": "20210628092408",
        "TransactionType": "CustomerPayBillOnline",
        "Amount": "1500",
        "PartyA": "254708374149",
        "PartyB": "174379",
        "PhoneNumber": "254708374149",
        "CallBackURL": "https://shop.example/api/pay/callback/7b8f8a3e/token",
        "AccountReference": "INV00042",
        "TransactionDesc": "Two baskets a",
    }


@pytest.mark.parametrize(
    ("at", "in_nairobi"),
    [
        (datetime(2026, 12, 31, 20, 59, 59, tzinfo=UTC), "20261231235959"),
        (datetime(2026, 12, 31, 21, 0, 0, tzinfo=UTC), "20270101000000"),
    ],
)
def test_the_timestamp_is_nairobis_and_the_password_contains_it(
    server: ScriptedDaraja, at: datetime, in_nairobi: str
) -> None:
    Daraja(server.settings(), SharedStore(), clock=lambda: at).push(A_REQUEST, soon())
    said = server.asked_for(PUSH)[0].json()
    assert said["Timestamp"] == in_nairobi
    assert base64.b64decode(said["Password"]).decode() == "174379" + SANDBOX_PASSKEY + in_nairobi


def test_a_till_is_paid_through_its_store_number(server: ScriptedDaraja) -> None:
    till = server.settings(shortcode="600984", party_b="600000", transaction_type="CustomerBuyGoodsOnline")
    Daraja(till, SharedStore()).push(A_REQUEST, soon())
    said = server.asked_for(PUSH)[0].json()
    assert said["BusinessShortCode"] == 600984
    assert said["PartyB"] == "600000"
    assert said["TransactionType"] == "CustomerBuyGoodsOnline"


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("", "Payment"),
        ("@#&", "Payment"),
        ("  two   mats ", "two mats"),
        ("Order #42 & more", "Order 42 more"),
        ("twelve chars and", "twelve chars"),
        ("Kahawa ☕ na chai", "Kahawa na cha"),
        ("a" * 50, "a" * 13),
    ],
)
def test_a_description_is_always_sent_and_always_plain(text: str, sent: str) -> None:
    assert transaction_desc(text) == sent


@pytest.mark.parametrize(
    "wrong",
    [
        {"msisdn": "0708374149"},
        {"msisdn": "254208374149"},
        {"amount_kes": Decimal("1.50")},
        {"amount_kes": Decimal(0)},
        {"account_reference": "INV 42"},
        {"account_reference": "INV00042INV00"},
        {"account_reference": ""},
    ],
)
def test_what_daraja_would_misread_never_becomes_a_request(wrong: dict[str, Any]) -> None:
    values = {name: getattr(A_REQUEST, name) for name in PushRequest.__slots__}
    with pytest.raises(ValueError, match="must be"):
        PushRequest(**{**values, **wrong})


# Never twice ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dead", DEAD_TOKENS, ids=lambda dead: dead["body"][:50])
def test_a_dead_token_is_renewed_and_the_push_repeated_once(server: ScriptedDaraja, dead: dict[str, Any]) -> None:
    server.answer(PUSH, dead, ACCEPTED)
    store = SharedStore("token-that-died")
    assert isinstance(outcome(Daraja(server.settings(), store)), Accepted)
    used = [asked.headers["authorization"] for asked in server.asked_for(PUSH)]
    assert used == ["Bearer token-that-died", "Bearer token-number-1"]
    assert store.token == "token-number-1"


def test_a_second_dead_token_ends_it(server: ScriptedDaraja) -> None:
    server.answer(PUSH, DEAD_TOKEN)
    met = outcome(Daraja(server.settings(), SharedStore()))
    assert isinstance(met, Rejected)
    assert met.code == "404.001.03"
    assert len(server.asked_for(PUSH)) == 2


def test_the_one_repeat_may_be_unclear_too_and_then_it_is(server: ScriptedDaraja) -> None:
    server.answer(PUSH, DEAD_TOKEN, None)
    assert isinstance(outcome(Daraja(server.settings(), SharedStore())), Unanswered)
    assert len(server.asked_for(PUSH)) == 2


def test_no_refusal_says_the_token(server: ScriptedDaraja) -> None:
    server.answer(PUSH, DEAD_TOKENS[1])
    met = outcome(Daraja(server.settings(), SharedStore("token-that-died")))
    assert isinstance(met, Rejected)
    assert "c9SQxWWhmdVRlyh0zh8gZDTkubVF" not in f"{met} {met.message} {met.explanation}"


@pytest.mark.parametrize(
    ("status", "code", "message", "shops_fault"),
    [
        (
            401,
            "401.003.01",
            "Error Occurred - Invalid Access Token - Invalid API call as no apiproduct match found",
            True,
        ),
        (401, "401.002.01", "Invalid API call as no apiproduct match found", True),
        (404, "404.002.01", "Resource not found", True),
        (404, "404.001.01", "Resource not found", True),
        (500, "500.002.02", "Error Occurred: Spike Arrest Violation", False),
        (500, "500.003.02", "Spike arrest violation", False),
        (500, "500.002.03", "Error Occurred: Quota Violation", True),
        (500, "500.001.1001", "Wrong credentials", True),
        (500, "500.001.1001", "Unable to lock subscriber", False),
        (400, "400.002.02", "Bad Request - Invalid PhoneNumber", False),
        (400, "400.002.02", "Bad Request - Invalid CallBackURL", True),
    ],
)
def test_where_it_is_certain_that_nothing_was_done_the_push_is_refused_at_once(
    server: ScriptedDaraja, status: int, code: str, message: str, shops_fault: bool
) -> None:
    server.answer(PUSH, refused(status, code, message))
    met = outcome(Daraja(server.settings(), SharedStore("a-token-we-have")))
    assert isinstance(met, Rejected)
    assert (met.code, met.shops_fault) == (code, shops_fault)
    assert len(server.asked_for(PUSH)) == 1


def test_a_connection_closed_without_an_answer_is_never_repeated(server: ScriptedDaraja) -> None:
    server.answer(PUSH, None)
    assert isinstance(outcome(Daraja(server.settings(), SharedStore())), Unanswered)
    assert len(server.asked_for(PUSH)) == 1


def test_without_a_server_nothing_left_us(server: ScriptedDaraja) -> None:
    gone = server.settings(base_url="http://127.0.0.1:9")
    assert isinstance(outcome(Daraja(gone, SharedStore("a-token-we-have"))), Unavailable)


def test_without_a_token_no_push_is_sent(server: ScriptedDaraja) -> None:
    server.answer(OAUTH, None)
    assert isinstance(outcome(Daraja(server.settings(), SharedStore())), Unavailable)
    server.answer(OAUTH, {"http_status": 400, "body": ""})
    assert isinstance(outcome(Daraja(server.settings(), SharedStore())), Rejected)
    assert server.asked_for(PUSH) == []


def test_without_time_for_its_answer_no_push_is_sent(server: ScriptedDaraja) -> None:
    met = outcome(Daraja(server.settings(), SharedStore("a-token-we-have")), Deadline.after(2))
    assert isinstance(met, Unavailable)
    assert server.asked_for(PUSH) == []
