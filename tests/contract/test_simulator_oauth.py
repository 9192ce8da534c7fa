"""The simulator's OAuth says what Daraja says (Daraja portal, Authorization; captured logs 2024-09 to 2026-09)."""

from __future__ import annotations

import re

from simulator import Simulator, SimulatorSettings
from tests.fixtures.simulator import OAUTH, DarajaCaller, http_request


def test_a_token_is_28_characters_and_its_lifetime_is_text_or_a_number(caller: DarajaCaller) -> None:
    bodies = [caller.authorize().body.decode() for _ in range(4)]
    assert [re.sub(r'"[A-Za-z0-9]{28}"', '"…"', body) for body in bodies] == [
        '{ "access_token":"…", "expires_in": "3599" }',
        '{ "access_token":"…", "expires_in": 3599 }',
    ] * 2


def test_a_new_token_invalidates_the_old_one(caller: DarajaCaller) -> None:
    old = caller.token()
    caller.authorize()
    assert old == caller.token()
    answer = caller.push()
    assert (answer.status, answer.json()["errorMessage"]) == (404, "Invalid Access Token")


def test_a_token_dies_after_an_hour(simulator: Simulator, caller: DarajaCaller) -> None:
    caller.token()
    simulator.client.advance(3590)
    assert caller.push().status == 200
    simulator.client.advance(11)
    assert caller.push(PhoneNumber="254722111111").json()["errorCode"] == "404.001.03"


def test_a_token_can_be_killed_between_two_requests(simulator: Simulator, caller: DarajaCaller) -> None:
    caller.token()
    simulator.client.kill_token()
    assert caller.push().json()["errorCode"] == "404.001.03"


def test_a_wrong_key_or_secret_gets_400_and_nothing_else(caller: DarajaCaller) -> None:
    for credentials in ("lipa-dev-key:wrong", "wrong:lipa-dev-secret", "lipa-dev-key", ""):
        answer = caller.authorize(credentials)
        assert (answer.status, answer.body) == (400, b"")


def test_another_grant_type_is_refused(caller: DarajaCaller) -> None:
    for path in ("/oauth/v1/generate?grant_type=password", "/oauth/v1/generate"):
        answer = caller.authorize(path=path)
        assert answer.status == 400
        assert answer.json()["errorCode"] == "400.008.02"
        assert answer.json()["errorMessage"] == "Invalid grant type passed"


def test_anything_but_basic_authentication_is_refused(simulator: Simulator) -> None:
    for headers in ({"Authorization": "Bearer abc"}, {}):
        answer = http_request(simulator.base_url, "GET", OAUTH, headers)
        assert answer.status == 400
        assert answer.json()["errorCode"] == "400.008.01"
        assert answer.json()["errorMessage"] == "Invalid Authentication passed"


def test_each_simulator_has_its_own_credentials() -> None:
    settings = SimulatorSettings(consumer_key="another", consumer_secret="pair")
    with Simulator(settings) as other:
        caller = DarajaCaller(other, "https://example.invalid/callback")
        assert caller.authorize("another:pair").status == 200
        assert caller.authorize().body == b""
        assert other.environment()["MPESA_CONSUMER_KEY"] == "another"
