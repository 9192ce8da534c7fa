"""A query against every answer on record: what settles, and all that does not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from shared.daraja.answers import NoAnswerYet, QueryDeclined, QuerySucceeded
from shared.daraja.client import Daraja
from shared.deadline import Deadline
from tests.contract.scripted_daraja import (
    DEAD_TOKEN,
    DEAD_TOKENS,
    OAUTH,
    QUERY,
    ScriptedDaraja,
    SharedStore,
    recorded,
    soon,
)

ANSWERS = recorded("query_answers.json")
SUCCESS = ANSWERS[0]
CHECKOUT_ID = "ws_CO_05042025123030394708374149"


@pytest.mark.parametrize("row", ANSWERS, ids=lambda row: row["name"])
def test_every_answer_on_record_means_one_thing(server: ScriptedDaraja, row: dict[str, Any]) -> None:
    server.answer(QUERY, row)
    said = Daraja(server.settings(), SharedStore()).query(CHECKOUT_ID, soon())
    means = row["means"]
    match means["is"]:
        case "succeeded":
            assert isinstance(said, QuerySucceeded)
        case "declined":
            assert isinstance(said, QueryDeclined)
            assert said.code == means["code"]
        case "no_answer_yet":
            assert isinstance(said, NoAnswerYet)
            assert said.throttled is means["throttled"]
            assert "708374149" not in said.reason, "a checkout id ends in the customer's number"


def test_a_query_says_literally_what_is_documented(server: ScriptedDaraja) -> None:
    at = datetime(2021, 6, 28, 6, 24, 8, tzinfo=UTC)
    Daraja(server.settings(), SharedStore(), clock=lambda: at).query(CHECKOUT_ID, soon())
    (asked,) = server.asked_for(QUERY)
    assert asked.json() == {
        "BusinessShortCode": "174379",
        "Password": "MTc0Mzc5YmZiMjc5ZjlhYTliZGJjZjE1OGU5N2RkNzFhNDY3Y2QyZTBjODkzMDU5YjEwZjc4ZTZiNzJhZGExZWQyYzkxOTIw"
        "MjEwNjI4MDkyNDA4",
        "Timestamp": "20210628092408",
        "CheckoutRequestID": CHECKOUT_ID,
    }


@pytest.mark.parametrize("body", DEAD_TOKENS, ids=lambda dead: dead["body"][:50])
def test_a_dead_token_is_renewed_and_the_query_repeated_once(server: ScriptedDaraja, body: dict[str, Any]) -> None:
    server.answer(QUERY, body, SUCCESS)
    store = SharedStore("token-that-died")
    assert isinstance(Daraja(server.settings(), store).query(CHECKOUT_ID, soon()), QuerySucceeded)
    assert len(server.asked_for(QUERY)) == 2


def test_a_token_that_stays_dead_is_no_answer(server: ScriptedDaraja) -> None:
    server.answer(QUERY, DEAD_TOKEN)
    assert isinstance(Daraja(server.settings(), SharedStore()).query(CHECKOUT_ID, soon()), NoAnswerYet)
    assert len(server.asked_for(QUERY)) == 2


def test_whatever_the_network_does_is_no_answer(server: ScriptedDaraja) -> None:
    store = SharedStore("a-token-we-have")
    server.answer(QUERY, None)
    assert isinstance(Daraja(server.settings(), store).query(CHECKOUT_ID, soon()), NoAnswerYet)
    gone = server.settings(base_url="http://127.0.0.1:9")
    assert isinstance(Daraja(gone, store).query(CHECKOUT_ID, soon()), NoAnswerYet)
    assert isinstance(Daraja(server.settings(), store).query(CHECKOUT_ID, Deadline.after(0)), NoAnswerYet)


def test_refused_credentials_are_no_answer(server: ScriptedDaraja) -> None:
    server.answer(OAUTH, {"http_status": 400, "body": ""})
    assert isinstance(Daraja(server.settings(), SharedStore()).query(CHECKOUT_ID, soon()), NoAnswerYet)
