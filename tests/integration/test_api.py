"""The API as anybody's curl sees it: real HTTP, the real Netlify CLI, both prefixes, also what is refused."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import pytest

from shared.database import Database
from tests.fixtures.site import HttpReply, Site

NOBODY = "00000000-0000-4000-8000-000000000000"
_phones = (f"2547000{number:05}" for number in count(40_000))


def order(**more: object) -> dict[str, Any]:
    phone = next(_phones)
    return {"phone_number": phone, "amount": 250, "account_reference": f"API{phone[-6:]}", **more}


@pytest.fixture(params=["/api/mpesa", "/api/pay"])
def prefix(request: pytest.FixtureRequest) -> str:
    """Every address exists twice."""
    return str(request.param)


def problem(reply: HttpReply, status: int, code: str) -> dict[str, Any]:
    """The reply is this problem, in the form of RFC 9457."""
    assert (reply.status, reply.headers["content-type"]) == (status, "application/problem+json")
    told: dict[str, Any] = reply.json()
    assert (told["status"], told["code"]) == (status, code)
    assert {"type", "title", "detail"} <= told.keys()
    return told


def stored(site: Site, reference: str) -> int:
    database = Database(site.database_url)
    try:
        with database.transaction() as tx:
            return len(tx.rows("SELECT id FROM transactions WHERE account_reference = :it", it=reference))
    finally:
        database.close()


def test_a_payment_goes_from_202_to_paid_and_its_invoice_is_sent_again(site: Site, prefix: str) -> None:
    key = {"Idempotency-Key": str(uuid.uuid4())}
    wanted = order(customer_email="api@example.com")
    asked = site.request("POST", f"{prefix}/stkpush", wanted, headers=key)
    assert asked.status == 202
    told = asked.json()
    assert told.keys() == {
        *("transaction_id", "checkout_request_id", "status", "amount", "account_reference", "message", "status_url"),
        "poll_after_s",
    }
    assert (told["status"], told["amount"], told["account_reference"]) == ("pending", 250, wanted["account_reference"])
    assert told["status_url"] == f"{site.url}{prefix}/status/{told['transaction_id']}"

    again = site.request("POST", f"{prefix}/stkpush", wanted, headers=key)
    assert (again.status, again.json()["transaction_id"]) == (202, told["transaction_id"])
    problem(
        site.request("POST", f"{prefix}/stkpush", {**wanted, "note": "x"}, headers=key), 422, "idempotency_mismatch"
    )
    too_soon = site.request("POST", f"{prefix}/stkpush", wanted)
    assert problem(too_soon, 429, "too_soon")["retry_after_s"] == int(too_soon.headers["retry-after"])
    invoice = {"transaction_id": told["transaction_id"]}
    problem(site.request("POST", f"{prefix}/invoice", invoice), 409, "not_paid")

    pending = site.request("GET", told["status_url"])
    assert (pending.status, pending.json()["status"], pending.json()["amount"]) == (200, "pending", 250)
    site.simulator.wait_for_prompt(wanted["phone_number"])
    site.simulator.answer(wanted["phone_number"], "pin")
    site.simulator.wait_for_callback(told["checkout_request_id"])
    paid = site.request("GET", told["status_url"]).json()
    assert paid["status"] == "paid"
    assert paid["mpesa_receipt_number"] == site.simulator.payment(told["checkout_request_id"])["receipt"]

    sent = site.request("POST", f"{prefix}/invoice", invoice)
    assert sent.status == 202
    assert "api@example.com" not in sent.body.decode()


def test_bad_input_is_named_by_field_and_nothing_is_stored_or_pushed(site: Site, prefix: str) -> None:
    pushes = len(site.simulator.requests("/mpesa/stkpush/v1/processrequest"))
    bad = {"phone_number": "0812345678", "amount": "12.50", "account_reference": "TOO LONG", "customer_email": "x"}
    told = problem(site.request("POST", f"{prefix}/stkpush", bad), 422, "invalid")
    assert {error["field"] for error in told["errors"]} == set(bad)
    for amount in (0, -1, 250_001, 1.5, True, None, "1e3"):
        reply = site.request("POST", f"{prefix}/stkpush", order(amount=amount, account_reference="BADAMOUNT"))
        assert [error["field"] for error in problem(reply, 422, "invalid")["errors"]] == ["amount"]
    keyed = site.request(
        "POST", f"{prefix}/stkpush", order(account_reference="BADKEY"), headers={"Idempotency-Key": "a b"}
    )
    assert problem(keyed, 422, "invalid")["errors"][0]["field"] == "Idempotency-Key"
    assert stored(site, "BADAMOUNT") + stored(site, "BADKEY") == 0
    assert len(site.simulator.requests("/mpesa/stkpush/v1/processrequest")) == pushes


def test_what_is_not_json_or_too_large_is_refused(site: Site, prefix: str) -> None:
    for raw in (b"amount=250", b"{", b"[]", b'"text"', b"", b'{"amount": NaN}', b"\xff\xfe"):
        problem(site.request("POST", f"{prefix}/stkpush", raw=raw), 400, "not_json")
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    problem(site.request("POST", f"{prefix}/stkpush", raw=b"amount=250", headers=form), 415, "not_json")
    large = order(customer_name="x" * 20_000)
    problem(site.request("POST", f"{prefix}/stkpush", large), 413, "too_large")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/stkpush", "POST"),
        ("DELETE", "/stkpush", "POST"),
        ("POST", f"/status/{NOBODY}", "GET"),
        ("GET", "/invoice", "POST"),
        ("GET", f"/callback/{NOBODY}/{'0' * 64}", "POST"),
        ("GET", "/stkpush/", "POST"),
        ("GET", "/invoice/", "POST"),
        ("POST", f"/status/{NOBODY}/", "GET"),
    ],
)
def test_the_wrong_method_is_refused_with_the_right_one(
    site: Site, prefix: str, method: str, path: str, allowed: str
) -> None:
    reply = site.request(method, prefix + path)
    problem(reply, 405, "method_not_allowed")
    assert reply.headers["allow"] == allowed


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", ["/nosuch", "/sweep", "/status", "/stkpush/more", "/nosuch/" + NOBODY, "/"])
def test_an_unknown_address_is_not_found(site: Site, prefix: str, method: str, path: str) -> None:
    problem(site.request(method, prefix + path), 404, "not_found")


def test_an_id_of_no_payment_is_not_found(site: Site, prefix: str) -> None:
    for unknown in (NOBODY, "not-an-id", NOBODY.upper() + "A", "'; DROP TABLE transactions; --".replace(" ", "%20")):
        problem(site.request("GET", f"{prefix}/status/{unknown}"), 404, "not_found")
    problem(site.request("POST", f"{prefix}/invoice", {"transaction_id": NOBODY}), 404, "not_found")
    bad = site.request("POST", f"{prefix}/invoice", {"transaction_id": 7, "customer_email": "x"})
    named = [error["field"] for error in problem(bad, 422, "invalid")["errors"]]
    assert named == ["transaction_id", "customer_email"]


def test_only_an_address_we_wrote_takes_a_callback(site: Site, prefix: str) -> None:
    genuine = site.callback_path(NOBODY, prefix)
    accepted = site.request("POST", genuine, {"Body": {}})
    assert (accepted.status, accepted.json()) == (200, {"ResultCode": 0, "ResultDesc": "Accepted"})
    token = genuine.rpartition("/")[2]
    for forged in (token[:-1], token.upper(), "0" * 64, token + "/", ""):
        problem(site.request("POST", f"{prefix}/callback/{NOBODY}/{forged}", {"Body": {}}), 404, "not_found")
    problem(site.request("POST", f"{prefix}/callback", {"Body": {}}), 404, "not_found")


def test_a_refusal_and_an_open_prompt_release_the_key(site: Site) -> None:
    key = {"Idempotency-Key": str(uuid.uuid4())}
    wanted = order(account_reference="REFUSED")
    site.simulator.script(wanted["phone_number"], push_answer="wrong_credentials")
    problem(site.request("POST", "/api/pay/stkpush", wanted, headers=key), 502, "daraja_rejected")
    first = site.request("POST", "/api/pay/stkpush", wanted, headers=key)
    assert first.status == 202
    other = order(account_reference="OTHER", phone_number=wanted["phone_number"], amount=99)
    busy = site.request("POST", "/api/pay/stkpush", other)
    problem(busy, 409, "prompt_open")
    assert busy.headers["retry-after"]


@pytest.mark.parametrize("path", ["/api/pay/stkpush", f"/api/mpesa/status/{NOBODY}", "/api/nosuch"])
def test_every_answer_of_the_api_carries_its_own_security_headers(site: Site, path: str) -> None:
    headers = site.request("GET", path).headers
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["content-security-policy"].startswith("default-src 'none'")


def test_sweep_may_be_called_by_anybody_and_as_often_as_they_like(site: Site) -> None:
    with ThreadPoolExecutor() as at_once:  # one waits for a slot of the budget where a payment is open
        assert [sweep.result() for sweep in [at_once.submit(site.sweep) for _ in range(3)]] == [200, 200, 200]


@pytest.mark.parametrize(("path", "method"), [("/stkpush", "POST"), (f"/status/{NOBODY}", "GET"), ("/invoice", "POST")])
def test_a_preflight_is_answered_for_the_shops_own_pages_only(site: Site, prefix: str, path: str, method: str) -> None:
    ask = {"Access-Control-Request-Method": method}
    allowed = site.request("OPTIONS", prefix + path, headers=ask | {"Origin": site.url})
    assert (allowed.status, allowed.body, allowed.headers["access-control-allow-origin"]) == (204, b"", site.url)
    assert (allowed.headers["access-control-allow-methods"], allowed.headers["vary"]) == (method, "Origin")
    refused = site.request("OPTIONS", prefix + path, headers=ask | {"Origin": "https://evil.example"})
    problem(refused, 403, "origin_not_allowed")
    assert [name for name in refused.headers if name.startswith("access-control")] == []


def test_the_callback_is_for_no_page_at_all(site: Site) -> None:
    path = f"/api/pay/callback/{NOBODY}/{'0' * 64}"
    for method, status in (("OPTIONS", 405), ("POST", 404)):
        reply = site.request(method, path, headers={"Origin": site.url})
        assert reply.status == status
        assert [name for name in reply.headers if name.startswith("access-control")] == []


def test_the_description_of_the_api_is_served(site: Site) -> None:
    reply = site.request("GET", "/openapi.json")
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json; charset=utf-8")
    assert reply.headers["access-control-allow-origin"] == "*"
    assert reply.json()["openapi"] == "3.1.0"
