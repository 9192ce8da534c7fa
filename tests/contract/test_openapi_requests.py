"""What public/openapi.json promises, the functions keep: Schemathesis asks the real stack, in right ways and in wrong.

Half of the requests are as described, half are not. Every answer must be one that is described, with its status, its
content type, its headers and its form; none may be a five-hundred; what is as described must be understood, what is
not must be refused.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from ops.verify import check
from shared.database import Database
from tests.fixtures.site import Site
from tests.fixtures.soak import Figure, Rounds

DESCRIPTION = Path(__file__).parents[2] / "public" / "openapi.json"
AS_DESCRIBED = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
OPERATIONS = [
    ("POST", "/stkpush"),
    ("GET", "/status/{transaction_id}"),
    ("POST", "/invoice"),
    ("POST", "/callback/{transaction_id}/{token}"),
]
PREFLIGHTS = ["/stkpush", "/status/{transaction_id}", "/invoice"]
Asking = Callable[[str, str, int], Counter[str]]


@pytest.fixture(scope="module")
def payments(site: Site) -> list[str]:
    """A paid payment and a pending one, which some of the requests are about."""
    site.simulator.behave(push_latency_s=0)
    ids = []
    for phone in ("254700047001", "254700047002"):
        order = {
            "phone_number": phone,
            "amount": 250,
            "account_reference": f"DESCRIBED{phone[-1]}",
            "customer_email": "a@b.example",
        }
        asked = site.request("POST", "/api/pay/stkpush", order).json()
        ids.append(str(asked["transaction_id"]))
        if len(ids) == 1:
            site.simulator.wait_for_prompt(phone)
            site.simulator.answer(phone, "pin")
            site.simulator.wait_for_callback(asked["checkout_request_id"])
    return ids


@pytest.fixture(scope="module")
def asking(site: Site, payments: list[str], request: Any) -> Iterator[Asking]:
    """Ask an operation so many times, half in right ways; which answers came."""
    described = schemathesis.openapi.from_dict(json.loads(DESCRIPTION.read_text("utf-8")))
    session = requests.Session()
    session.trust_env = False
    long_form = bool(request.config.getoption("soak"))

    def ask(method: str, path: str, times: int) -> Counter[str]:
        answers: Counter[str] = Counter()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

            @settings(
                max_examples=times // 2,
                deadline=None,
                database=None,
                derandomize=not long_form,
                phases=[Phase.generate, Phase.shrink],
                suppress_health_check=list(HealthCheck),
            )
            @given(
                case=described[path][method].as_strategy(generation_mode=mode),
                about=st.sampled_from([*payments, None]),
                prefix=st.sampled_from(["/api/pay", "/api/mpesa"]),
                right=st.just(mode is GenerationMode.POSITIVE),
            )
            def once(case: Case[Any], about: str | None, prefix: str, right: bool) -> None:
                if about is not None and right:
                    _is_about(case, about, site)
                if right:
                    _is_sold_here(case)
                reply = case.call(base_url=site.url + prefix, session=session)
                assume(not _led_past_the_functions(str(reply.request.url)))
                assert reply.content[:1] in (b"", b"{"), (reply.status_code, reply.request.url, reply.content[:30])
                told = reply.json() if reply.content else {}
                answers[f"{reply.status_code} {told.get('code', '')}".strip()] += 1
                case.validate_response(
                    reply, checks=AS_DESCRIBED if right else [*AS_DESCRIBED, negative_data_rejection]
                )
                if right:
                    assert told.get("code") not in ("not_json", "invalid", "method_not_allowed"), told

            once()
        return answers

    yield ask
    session.close()


def _led_past_the_functions(url: str) -> bool:
    """No rule of netlify.toml matches a line break; the CLI takes such an address for a file that is not there."""
    return re.search("%0[AD]|%E2%80%A[89]", url, re.IGNORECASE) is not None


def _is_about(case: Case[Any], transaction_id: str, site: Site) -> None:
    if "transaction_id" in case.path_parameters:
        case.path_parameters["transaction_id"] = transaction_id
    if "token" in case.path_parameters:
        case.path_parameters["token"] = site.callback_path(transaction_id).rpartition("/")[2]
    if case.operation.path == "/invoice" and isinstance(case.body, dict):
        case.body["transaction_id"] = transaction_id


def _is_sold_here(case: Case[Any]) -> None:
    """What the shop has is no part of the description."""
    if case.operation.path == "/stkpush" and isinstance(case.body, dict) and "items" in case.body:
        case.body["items"] = [{"id": "coffee", "quantity": 2}]


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_every_answer_is_one_that_is_described(
    asking: Asking, rounds: Rounds, figure: Figure, method: str, path: str
) -> None:
    times = rounds(200 if path == "/invoice" else 100, 3_000)  # few of the first find a paid payment
    answers = asking(method, path, times)
    figure(f"{sum(answers.values())} requests: " + ", ".join(f"{n} x {told}" for told, n in answers.most_common()))
    assert sum(answers.values()) >= times
    assert any(told.startswith("20") for told in answers)
    assert any(told.startswith("4") for told in answers)


@pytest.mark.parametrize("path", PREFLIGHTS)
def test_a_preflight_gets_a_described_answer(asking: Asking, rounds: Rounds, path: str) -> None:
    assert set(asking("OPTIONS", path, rounds(20, 300))) <= {"403 origin_not_allowed", "405 method_not_allowed", "204"}


def test_nothing_of_it_harmed_the_books(site: Site, asking: Asking, payments: list[str]) -> None:
    paid = site.request("GET", f"/api/pay/status/{payments[0]}").json()
    assert paid["status"] == "paid"
    database = Database(site.database_url)
    try:
        assert [result.name for result in check(database) if not result.holds] == []
    finally:
        database.close()


def test_the_description_is_openapi() -> None:
    schemathesis.openapi.from_dict(json.loads(DESCRIPTION.read_text("utf-8"))).validate()
