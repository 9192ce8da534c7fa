"""The access token: every answer on record, and many instances that want one at once."""

from __future__ import annotations

import base64
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from shared.daraja.answers import Rejected, Unavailable
from shared.daraja.client import AccessTokens
from tests.contract.scripted_daraja import OAUTH, ScriptedDaraja, SharedStore, recorded, soon

ANSWERS = recorded("oauth_answers.json")


@pytest.mark.parametrize("row", ANSWERS, ids=lambda row: row["name"])
def test_every_answer_on_record_means_one_thing(server: ScriptedDaraja, row: dict[str, Any]) -> None:
    server.answer(OAUTH, row)
    store = SharedStore()
    tokens = AccessTokens(server.settings(), store)
    means = row["means"]
    match means["is"]:
        case "token":
            assert tokens.current(soon()) == "c9SQxWWhmdVRlyh0zh8gZDTkubVF"
            assert store.lifetime_s == means["lifetime_s"]
        case "rejected":
            with pytest.raises(Rejected) as refused:
                tokens.current(soon())
            assert refused.value.code == means["code"]
            assert means["explains"] in refused.value.explanation
        case "unavailable":
            with pytest.raises(Unavailable):
                tokens.current(soon())
    assert not store.leased, "the lease ends with the answer"


def test_the_request_is_the_documented_one(server: ScriptedDaraja) -> None:
    AccessTokens(server.settings(), SharedStore()).current(soon())
    (asked,) = server.asked_for(OAUTH)
    assert (asked.method, asked.path) == ("GET", "/oauth/v1/generate?grant_type=client_credentials")
    basic = base64.b64encode(b"lipa-dev-key:lipa-dev-secret").decode()
    assert asked.headers["authorization"] == f"Basic {basic}"
    assert asked.body == b""


def test_a_token_in_the_store_is_used_and_none_is_fetched(server: ScriptedDaraja) -> None:
    assert AccessTokens(server.settings(), SharedStore("a-token-we-have")).current(soon()) == "a-token-we-have"
    assert server.asked == []


@pytest.mark.parametrize("dead", [None, "token-that-died"])
def test_of_many_instances_without_a_live_token_one_fetches(server: ScriptedDaraja, dead: str | None) -> None:
    store, together = SharedStore(dead), threading.Barrier(12)

    def instance(_: int) -> str:
        together.wait(5)
        tokens = AccessTokens(server.settings(), store, look_again_after_s=0.02)
        return tokens.renewed(dead, soon()) if dead else tokens.current(soon())

    with ThreadPoolExecutor(12) as instances:
        got = list(instances.map(instance, range(12)))
    assert set(got) == {"token-number-1"}
    assert len(server.asked_for(OAUTH)) == 1


def test_a_token_renewed_by_another_instance_is_not_renewed_again(server: ScriptedDaraja) -> None:
    store = SharedStore("the-newer-token")
    assert AccessTokens(server.settings(), store).renewed("token-that-died", soon()) == "the-newer-token"
    assert server.asked == []


def test_others_wait_a_bounded_time_for_an_instance_that_never_finishes(server: ScriptedDaraja) -> None:
    store = SharedStore()
    store.leased = True
    with pytest.raises(Unavailable):
        AccessTokens(server.settings(), store, wait_s=0.2, look_again_after_s=0.02).current(soon())
    assert server.asked == []


def test_a_store_that_fails_means_that_nothing_left_us(server: ScriptedDaraja) -> None:
    class Broken(SharedStore):
        def read_token(self) -> str | None:
            raise ConnectionError("the database is away")

    with pytest.raises(Unavailable):
        AccessTokens(server.settings(), Broken()).current(soon())


def test_no_answer_from_oauth_ends_the_lease(server: ScriptedDaraja) -> None:
    server.answer(OAUTH, None)
    store = SharedStore()
    with pytest.raises(Unavailable):
        AccessTokens(server.settings(), store).current(soon())
    assert not store.leased
    assert store.leases == 1
