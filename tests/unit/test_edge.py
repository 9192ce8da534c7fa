"""The HTTP edge: what is let in, what an error looks like, and that nothing private comes out."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from shared.database.errors import Busy, CommitUnknown, ConstraintBroken, DatabaseUnavailable, StatementFailed
from shared.edge import Answer, Request, answer
from shared.environment_variables import Misconfigured
from shared.gateway import WrongEnvironment
from shared.problems import DEEPEST_BODY, LARGEST_BODY_BYTES, FieldError, Kind, Problem

SHOP = "https://shop.example"
AN_ID = "5f0c9a52-93f4-4c9b-8c52-0d6f3c5be001"
PRIVATE = "at 10.0.0.7 as lipa, of alice@example.com, 254722000000"


def ask(
    story: Callable[[Request], Answer] = lambda request: Answer(200, {"read": list(request.json_object())}),
    *,
    method: str = "POST",
    body: object = "{}",
    headers: dict[str, str] | None = None,
    encoded: bool = False,
    origins: Callable[[], tuple[str, ...]] | None = lambda: (SHOP,),
) -> tuple[int, dict[str, str], dict[str, Any]]:
    """Status, headers and body of what a function that takes POST answers."""
    event = {
        "httpMethod": method,
        "path": "/api/mpesa/stkpush",
        "headers": {"content-type": "application/json", **(headers or {})},
        "body": body,
        "isBase64Encoded": encoded,
    }
    reply = answer(event, function="test", methods=("POST",), story=story, origins=origins)
    return reply["statusCode"], reply["headers"], json.loads(reply["body"] or "{}")


def failing(raised: Exception) -> Callable[[Request], Answer]:
    def story(_: Request) -> Answer:
        raise raised

    return story


def cors(headers: dict[str, str]) -> list[str]:
    return [name for name in headers if name.startswith("access-control")]


# What is let in -------------------------------------------------------------------------------------------------------


def test_numbers_keep_every_digit() -> None:
    seen: list[dict[str, object]] = []

    def story(request: Request) -> Answer:
        seen.append(request.json_object())
        return Answer(200, {})

    ask(story, body='{"a": 0.1, "b": 123456789012345678901234567890, "c": [1500.00]}')
    assert str(seen[0]) == "{'a': Decimal('0.1'), 'b': 123456789012345678901234567890, 'c': [Decimal('1500.00')]}"


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON; charset=utf-8", "application/json;charset=UTF-8"]
)
def test_json_is_known_by_its_content_type(kind: str) -> None:
    assert ask(body='{"a": 1, "b": 2}', headers={"content-type": kind})[2] == {"read": ["a", "b"]}
    assert ask(headers={"content-type": "", "Content-Type": kind})[0] == 200


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonp", "json"])
def test_other_content_types_are_refused(kind: str) -> None:
    """Also because a form of another site can send these without asking the browser first."""
    status, _, body = ask(headers={"content-type": kind})
    assert (status, body["code"]) == (415, "not_json")


@pytest.mark.parametrize(
    "body",
    [
        "", None, "x", "{", "[]", '"text"', "1", "null", "{}{}", '{"a": 1,}', "{'a': 1}", '{"a": NaN}',
        '{"a": Infinity}', '{"a": -Infinity}', '{"a": 1, "a": 2}', '{"b": {"a": 1, "a": 1}}',
        '{"a": 1e99999999999999999999}', '{"a": ' + "9" * 5000 + "}", "\ufeff{}", '{"a": "\x01"}', '{"a": "\ud800"}',
        "[" * 15_000, '"' * 16_000, '"\\' * 8_000, "[" * 8_000 + "]" * 8_000, "}" * 16_000, '{"' * 8_000,
    ],
    ids=lambda body: ascii(body)[:30],
)  # fmt: skip
def test_a_body_that_is_not_a_json_object_is_refused(body: str | None) -> None:
    status, headers, problem = ask(body=body)
    assert (status, problem["code"], headers["content-type"]) == (400, "not_json", "application/problem+json")


@pytest.mark.parametrize(
    ("body", "deep"),
    [
        ('{"a": [{"b": {"c": [[[{}]]]}}]}', 8),
        ('{"a": [{"b": {"c": [[[{}]]]}}], "d": [[[]]], "e": {"f": {}}}', 8),
        ('{"a": [{"b": {"c": [[[[{}]]]]}}]}', 9),
        ('{"a": ' * 2_000 + "1" + "}" * 2_000, 2_000),
        ('{"a": "[[[[[[[[[[{{{{{{{{{{", "b\\"[[[[[[[[[[[[": "\\\\", "c": "\\"[[[[[[[[[["}', 1),
    ],
)
def test_a_body_may_be_eight_deep_and_no_deeper(body: str, deep: int) -> None:
    status, _, told = ask(body=body)
    assert (status, told.get("code")) == ((200, None) if deep <= DEEPEST_BODY else (400, "not_json"))
    assert ("deeper" in told.get("detail", "")) == (deep > DEEPEST_BODY)


def test_base64_bodies_are_decoded_and_bad_ones_refused() -> None:
    assert ask(body=base64.b64encode(b'{"a": 1}').decode(), encoded=True)[2] == {"read": ["a"]}
    for body in ("%%%", "e30", "e30=\n!", "\u00e9", base64.b64encode(b'{"a": "\xff"}').decode()):
        assert ask(body=body, encoded=True)[2]["code"] == "not_json"


def test_a_body_may_be_16_kib_and_not_a_byte_longer() -> None:
    fits = '{"a": "' + "x" * (LARGEST_BODY_BYTES - 9) + '"}'
    assert len(fits) == LARGEST_BODY_BYTES == 16 * 1024
    assert ask(body=fits)[0] == 200
    assert ask(body=fits.replace("x", "xx", 1))[2]["code"] == "too_large"
    assert ask(body=fits.replace("x", "\u00e9", 1))[0] == 413  # bytes, not characters
    assert ask(body=base64.b64encode(b" " * (LARGEST_BODY_BYTES + 1)).decode(), encoded=True)[0] == 413


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "PATCH", "", "TRACE", "OPTIONS"])
def test_other_methods_are_refused_with_the_right_one(method: str) -> None:
    """Also OPTIONS without an origin: no browser asks so."""
    for headers in ({}, {"origin": ""}):
        status, answered, body = ask(method=method, headers=headers)
        assert (status, answered["allow"], body["code"]) == (405, "POST", "method_not_allowed")


def test_the_callers_address_comes_from_the_platform_only() -> None:
    seen: list[str | None] = []

    def story(request: Request) -> Answer:
        seen.append(request.caller_address)
        return Answer(200, {})

    ask(story, headers={"x-forwarded-for": "196.201.212.127"})
    ask(story, headers={"x-forwarded-for": "196.201.212.127", "X-NF-Client-Connection-IP": "203.0.113.9"})
    assert seen == [None, "203.0.113.9"]


# Other sites' pages ---------------------------------------------------------------------------------------------------

OTHER_ORIGINS = [
    "https://shop.example.evil.example", "http://shop.example", "https://shop.example:443", "https://SHOP.example",
    "https://shop.example/", "https://evil.example", "null", "*",
]  # fmt: skip


def test_an_allowed_origin_is_named_exactly_also_with_an_error() -> None:
    for story in (lambda _: Answer(200, {}), failing(Problem(Kind.NOT_FOUND))):
        _, headers, _ = ask(story, headers={"origin": SHOP})
        assert (headers["access-control-allow-origin"], headers["vary"]) == (SHOP, "Origin")
        assert headers["access-control-expose-headers"] == "retry-after"


@pytest.mark.parametrize("origin", [*OTHER_ORIGINS, ""])
def test_any_other_origin_is_answered_without_cors(origin: str) -> None:
    status, headers, _ = ask(headers={"origin": origin})
    assert (status, headers["vary"]) == (200, "Origin")  # the shop's own pages send their origin too
    assert cors(headers) == []


@pytest.mark.parametrize("origin", OTHER_ORIGINS)
def test_a_preflight_from_any_other_origin_is_refused_with_the_reason(origin: str) -> None:
    status, headers, problem = ask(failing(AssertionError()), method="OPTIONS", headers={"origin": origin}, body="")
    assert (status, problem["code"], headers["vary"]) == (403, "origin_not_allowed", "Origin")
    assert cors(headers) == []


def test_a_preflight_from_an_allowed_origin_says_what_it_may_send() -> None:
    status, headers, _ = ask(method="OPTIONS", headers={"origin": SHOP}, body="")
    assert status == 204
    assert headers["access-control-allow-methods"] == "POST"
    assert headers["access-control-allow-headers"] == "content-type, idempotency-key"
    assert headers["access-control-allow-origin"] == SHOP
    assert "content-type" not in headers


@pytest.mark.parametrize("method", ["OPTIONS", "POST"])
@pytest.mark.parametrize("origin", [SHOP, "https://evil.example"])
def test_a_function_that_no_page_may_use_says_nothing_about_origins(method: str, origin: str) -> None:
    status, headers, _ = ask(method=method, headers={"origin": origin}, origins=None)
    assert status == (405 if method == "OPTIONS" else 200)
    assert "vary" not in headers
    assert cors(headers) == []


def test_a_configuration_that_cannot_be_read_allows_no_origin() -> None:
    def broken() -> tuple[str, ...]:
        raise Misconfigured.of("MPESA_ENV", "'sandbox' or 'production'")

    assert cors(ask(headers={"origin": SHOP}, origins=broken)[1]) == []


# What errors look like ------------------------------------------------------------------------------------------------


def test_an_error_is_problem_details_with_a_stable_code_and_every_field() -> None:
    problem = Problem(Kind.INVALID, FieldError("amount", "must be so"), FieldError("phone_number", "…"))
    status, headers, body = ask(failing(problem))
    assert (status, headers["content-type"]) == (422, "application/problem+json")
    assert body == {
        "type": "about:blank",
        "title": "Cannot be used",
        "status": 422,
        "code": "invalid",
        "detail": "Correct these and send again: amount must be so; phone_number ….",
        "errors": [{"field": "amount", "detail": "must be so"}, {"field": "phone_number", "detail": "…"}],
    }


def test_a_problem_says_when_to_come_back_in_its_body_and_in_the_header() -> None:
    status, headers, body = ask(failing(Problem(Kind.TOO_SOON, retry_after_s=7)))
    assert (status, headers["retry-after"], body["retry_after_s"]) == (429, "7", 7)


@pytest.mark.parametrize(
    ("raised", "status", "code"),
    [
        (DatabaseUnavailable(PRIVATE), 503, "unavailable"),
        (Busy(PRIVATE), 503, "unavailable"),
        (CommitUnknown(PRIVATE), 500, "internal"),
        (ConstraintBroken(PRIVATE, constraint="x", sqlstate="23514"), 500, "internal"),
        (StatementFailed(PRIVATE, sqlstate="42601"), 500, "internal"),
        (RuntimeError(PRIVATE), 500, "internal"),
        (KeyError(PRIVATE), 500, "internal"),
        (RecursionError(PRIVATE), 500, "internal"),
    ],
)
def test_an_exception_is_answered_and_logged_without_its_message(
    raised: Exception, status: int, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    answered, headers, body = ask(failing(raised))
    assert (answered, body["code"], headers["content-type"]) == (status, code, "application/problem+json")
    (line,) = caplog.records
    told = json.dumps(body) + repr(line.__dict__)
    assert type(raised).__name__ in told
    assert "test_edge.py" in told  # where it broke
    for private in ("10.0.0.7", "alice", "254722000000"):
        assert private not in told


@pytest.mark.parametrize(
    ("raised", "name", "detail"),
    [
        (Misconfigured.of("MPESA_PASSKEY", "the passkey"), "MPESA_PASSKEY", "must hold the passkey"),
        (WrongEnvironment("sandbox", "production"), "MPESA_ENV", "must hold 'sandbox', the environment"),
    ],
)
def test_a_misconfigured_function_says_what_to_set(raised: Exception, name: str, detail: str) -> None:
    status, _, body = ask(failing(raised))
    assert (status, body["code"]) == (500, "misconfigured")
    assert body["errors"][0]["field"] == name
    assert body["errors"][0]["detail"].startswith(detail)


# What comes with every answer -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "story", [lambda _: Answer(200, {}), failing(Problem(Kind.NOT_FOUND)), failing(RuntimeError())]
)
def test_every_answer_is_safe_to_show_and_never_stored(story: Callable[[Request], Answer]) -> None:
    _, headers, _ = ask(story)
    assert headers["cache-control"] == "no-store"
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["strict-transport-security"] == "max-age=63072000"  # other names of the domain are not ours to judge
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["permissions-policy"].startswith("camera=()")


def test_each_request_has_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    ask(lambda _: Answer(202, {}, log={"transaction_id": AN_ID}))
    ask(failing(Problem(Kind.INBOX_FULL, log={"transaction_id": AN_ID})))
    seen = [
        (line.__dict__["function"], line.__dict__["status"], line.__dict__["transaction_id"]) for line in caplog.records
    ]
    assert seen == [("test", 202, AN_ID), ("test", 429, AN_ID)]
    assert caplog.records[1].__dict__["code"] == "inbox_full"


# The last resort ------------------------------------------------------------------------------------------------------


def breaks(*_: object, **__: object) -> Any:
    raise RuntimeError(PRIVATE)


def test_a_log_that_cannot_be_written_does_not_change_the_answer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A push went out, a callback is on file: the caller must hear so."""
    monkeypatch.setattr("shared.edge.log_line", breaks)
    status, _, body = ask(lambda _: Answer(202, {"transaction_id": "it was sent"}))
    assert (status, body) == (202, {"transaction_id": "it was sent"})
    assert "test answered 202; its log line could not be written: RuntimeError at" in caplog.text
    assert PRIVATE not in caplog.text
    with monkeypatch.context() as broken:
        broken.setattr("logging.getLogger", breaks)
        status = ask(lambda _: Answer(202, {}))[0]
    assert status == 202


def internal_error() -> tuple[int, dict[str, str], dict[str, Any]]:
    reply = ask(failing(RuntimeError()), origins=None)
    assert (reply[0], reply[2]["code"], reply[1]["cache-control"]) == (500, "internal", "no-store")
    return reply


@pytest.mark.parametrize("broken", ["log_line", "_translate", "_request", "json.dumps"])
def test_an_edge_that_is_broken_itself_answers_an_internal_error(monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    with monkeypatch.context() as breaking:
        breaking.setattr(f"shared.edge.{broken}", breaks)
        reply = ask(failing(RuntimeError(PRIVATE)), origins=None)
    assert reply == internal_error()


def test_what_a_function_cannot_answer_is_an_internal_error() -> None:
    assert ask(lambda _: Answer(200, {"no JSON": {PRIVATE}}), origins=None) == internal_error()
    assert ask(headers={"origin": SHOP}, origins=breaks) == internal_error()


@pytest.mark.parametrize(
    "event",
    [{}, None, [], "x", {"headers": 7}, {"headers": {"a": None}}, {"body": 7}, {"body": {}}, {"path": None},
     {"httpMethod": None}, {"isBase64Encoded": True, "body": 7}],
)  # fmt: skip
def test_an_event_of_no_known_form_is_answered(event: Any) -> None:
    reply = answer(event, function="test", methods=("POST",), story=failing(RuntimeError(PRIVATE)))
    assert reply["statusCode"] in ((405,) if event == {} else (400, 405, 500))
    assert PRIVATE not in reply["body"]
