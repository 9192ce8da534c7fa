"""The HTTP edge: what is let in, what an error looks like, and that nothing private comes out."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from shared.database.errors import Busy, CommitUnknown, ConstraintBroken, DatabaseUnavailable, StatementFailed
from shared.edge import Answer, Request, answer
from shared.gateway.store import WrongEnvironment
from shared.problems import DEEPEST_BODY, LARGEST_BODY_BYTES, FieldError, Kind, Problem
from shared.settings_reader import Misconfigured

SHOP = "https://shop.example"
AN_ID = "5f0c9a52-93f4-4c9b-8c52-0d6f3c5be001"


def ask(
    story: Callable[[Request], Answer] = lambda request: Answer(200, {"read": list(request.json_object())}),
    *,
    method: str = "POST",
    body: object = "{}",
    headers: dict[str, str] | None = None,
    methods: tuple[str, ...] = ("POST",),
    encoded: bool = False,
    origins: Callable[[], tuple[str, ...]] | None = lambda: (SHOP,),
    **event: object,
) -> tuple[int, dict[str, str], dict[str, Any]]:
    reply = answer(
        {
            "httpMethod": method,
            "path": "/api/mpesa/stkpush",
            "headers": {"content-type": "application/json", **(headers or {})},
            "body": body,
            "isBase64Encoded": encoded,
            **event,
        },
        function="test",
        methods=methods,
        story=story,
        origins=origins,
    )
    return reply["statusCode"], reply["headers"], json.loads(reply["body"] or "{}")


@pytest.fixture
def logged() -> Iterator[list[logging.LogRecord]]:
    """What was logged."""
    kept: list[logging.LogRecord] = []

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            kept.append(record)

    keeper = Keeper()
    logging.getLogger("lipa").addHandler(keeper)
    yield kept
    logging.getLogger("lipa").removeHandler(keeper)


def failing(raised: Exception) -> Callable[[Request], Answer]:
    def story(_: Request) -> Answer:
        raise raised

    return story


# What is let in -------------------------------------------------------------------------------------------------------


def test_a_json_object_is_let_in() -> None:
    assert ask(body='{"a": 1, "b": [1.50]}') == (200, ask()[1], {"read": ["a", "b"]})


def test_numbers_keep_every_digit() -> None:
    seen: list[dict[str, object]] = []

    def story(request: Request) -> Answer:
        seen.append(request.json_object())
        return Answer(200, {})

    ask(story, body='{"a": 0.1, "b": 123456789012345678901234567890, "c": 1500.00}')
    assert str(seen[0]) == "{'a': Decimal('0.1'), 'b': 123456789012345678901234567890, 'c': Decimal('1500.00')}"


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON; charset=utf-8", "application/json;charset=UTF-8"]
)
def test_json_is_known_by_its_content_type(kind: str) -> None:
    assert ask(headers={"content-type": kind})[0] == 200
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
        '{"a": Infinity}',
        '{"a": -Infinity}', '{"a": 1, "a": 2}', '{"b": {"a": 1, "a": 1}}', '{"a": 1e99999999999999999999}',
        '{"a": ' + "9" * 5000 + "}", "\ufeff{}", '{"a": "\x01"}',
        pytest.param("[" * 15_000, id="nested, never closed"),
    ],
)  # fmt: skip
def test_what_is_not_a_json_object_is_refused(body: str | None) -> None:
    status, headers, problem = ask(body=body)
    assert (status, problem["code"]) == (400, "not_json")
    assert headers["content-type"] == "application/problem+json"


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
    status, _, told = ask(lambda request: Answer(200, {"read": len(request.json_object())}), body=body)
    assert (status, told.get("code")) == ((200, None) if deep <= DEEPEST_BODY else (400, "not_json"))
    assert ("deeper" in told.get("detail", "")) == (deep > DEEPEST_BODY)


@pytest.mark.parametrize("body", ['"' * 16_000, '"\\' * 8_000, "[" * 8_000 + "]" * 8_000, "}" * 16_000, '{"' * 8_000])
def test_brackets_and_quotes_without_end_are_refused(body: str) -> None:
    assert ask(body=body)[2]["code"] == "not_json"


def test_bytes_that_are_no_text_are_refused() -> None:
    assert ask(body=base64.b64encode(b'{"a": "\xff"}').decode(), encoded=True)[0] == 400
    assert ask(body='{"a": "\ud800"}')[0] == 400


def test_base64_bodies_are_decoded_and_bad_ones_refused() -> None:
    assert ask(body=base64.b64encode(b'{"a": 1}').decode(), encoded=True)[2] == {"read": ["a"]}
    for body in ("%%%", "e30", "e30=\n!", "\u00e9"):
        assert ask(body=body, encoded=True)[2]["code"] == "not_json"


def test_a_body_may_be_16_kib_and_not_a_byte_longer() -> None:
    fits = '{"a": "' + "x" * (LARGEST_BODY_BYTES - 9) + '"}'
    assert len(fits) == LARGEST_BODY_BYTES == 16 * 1024
    assert ask(body=fits)[0] == 200
    assert ask(body=fits.replace("x", "xx", 1))[2]["code"] == "too_large"
    assert ask(body=fits.replace("x", "\u00e9", 1))[0] == 413  # bytes, not characters
    assert ask(body=base64.b64encode(b" " * (LARGEST_BODY_BYTES + 1)).decode(), encoded=True)[0] == 413


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "PATCH", "", "TRACE"])
def test_other_methods_are_refused_and_told_which_is_right(method: str) -> None:
    status, headers, body = ask(method=method)
    assert (status, headers["allow"], body["code"]) == (405, "POST", "method_not_allowed")


def test_an_event_with_nothing_in_it_is_answered() -> None:
    reply = answer({}, function="test", methods=("POST",), story=failing(AssertionError()))
    assert reply["statusCode"] == 405


# Other sites' pages ---------------------------------------------------------------------------------------------------


def test_an_allowed_origin_is_named_exactly() -> None:
    _, headers, _ = ask(headers={"origin": SHOP})
    assert (headers["access-control-allow-origin"], headers["vary"]) == (SHOP, "Origin")


@pytest.mark.parametrize(
    "origin",
    ["https://shop.example.evil.example", "http://shop.example", "https://shop.example:443", "https://SHOP.example",
     "null", "*", "https://shop.example/", ""],
)  # fmt: skip
def test_any_other_origin_is_not(origin: str) -> None:
    status, headers, _ = ask(headers={"origin": origin})
    assert status == 200  # the shop's own pages, on an address that is not set, say where they are too
    assert [name for name in headers if name.startswith("access-control")] == []
    assert headers["vary"] == "Origin"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "https://shop.example:443", "https://SHOP.example"])
def test_a_page_of_another_site_that_asks_beforehand_is_refused_with_a_reason(origin: str) -> None:
    status, headers, problem = ask(failing(AssertionError()), method="OPTIONS", headers={"origin": origin}, body="")
    assert (status, problem["code"], headers["vary"]) == (403, "origin_not_allowed", "Origin")
    assert [name for name in headers if name.startswith("access-control")] == []


def test_who_is_no_browser_has_nothing_to_ask_beforehand() -> None:
    for headers in ({}, {"origin": ""}):
        assert ask(method="OPTIONS", headers=headers, body="")[0] == 405


@pytest.mark.parametrize("method", ["OPTIONS", "POST"])
@pytest.mark.parametrize("origin", [SHOP, "https://evil.example"])
def test_a_function_that_no_page_may_use_says_nothing_about_origins(method: str, origin: str) -> None:
    status, headers, _ = ask(method=method, headers={"origin": origin}, origins=None)
    assert status == (405 if method == "OPTIONS" else 200)
    assert "vary" not in headers
    assert [name for name in headers if name.startswith("access-control")] == []


def test_a_page_of_the_shop_is_told_beforehand_what_it_may_send() -> None:
    status, headers, _ = ask(method="OPTIONS", headers={"origin": SHOP}, body="")
    assert status == 204
    assert headers["access-control-allow-methods"] == "POST"
    assert headers["access-control-allow-headers"] == "content-type, idempotency-key"
    assert headers["access-control-allow-origin"] == SHOP
    assert "content-type" not in headers


def test_a_page_of_another_allowed_origin_may_read_how_long_to_wait() -> None:
    assert ask(headers={"origin": SHOP})[1]["access-control-expose-headers"] == "retry-after"


def test_errors_can_be_read_by_the_shops_pages_too() -> None:
    assert ask(failing(Problem(Kind.NOT_FOUND)), headers={"origin": SHOP})[1]["access-control-allow-origin"] == SHOP


def test_a_configuration_that_cannot_be_read_allows_nobody() -> None:
    def broken() -> tuple[str, ...]:
        raise Misconfigured.of("MPESA_ENV", "'sandbox' or 'production'")

    assert "access-control-allow-origin" not in ask(headers={"origin": SHOP}, origins=broken)[1]


# What errors look like ------------------------------------------------------------------------------------------------


def test_an_error_is_problem_details_with_a_stable_code_and_every_field() -> None:
    status, headers, body = ask(
        failing(Problem(Kind.INVALID, FieldError("amount", "must be so"), FieldError("phone_number", "…")))
    )
    assert (status, headers["content-type"]) == (422, "application/problem+json")
    assert body == {
        "type": "about:blank",
        "title": "Cannot be used",
        "status": 422,
        "code": "invalid",
        "detail": "Correct these and send again: amount must be so; phone_number ….",
        "errors": [{"field": "amount", "detail": "must be so"}, {"field": "phone_number", "detail": "…"}],
    }


def test_an_errors_own_headers_and_members_come_along() -> None:
    problem = Problem(Kind.TOO_SOON, retry_after_s=7)
    status, headers, body = ask(failing(problem))
    assert (status, headers["retry-after"], body["retry_after_s"]) == (429, "7", 7)


@pytest.mark.parametrize(
    ("raised", "status", "code"),
    [
        (DatabaseUnavailable("at 10.0.0.7 as lipa"), 503, "unavailable"),
        (Busy("at 10.0.0.7 as lipa"), 503, "unavailable"),
        (CommitUnknown("at 10.0.0.7 as lipa"), 500, "internal"),
        (ConstraintBroken("at 10.0.0.7 as lipa", constraint="x", sqlstate="23514"), 500, "internal"),
        (StatementFailed("at 10.0.0.7 as lipa", sqlstate="42601"), 500, "internal"),
        (RuntimeError("at 10.0.0.7 as lipa, of alice@example.com, 254722000000"), 500, "internal"),
        (KeyError("alice@example.com"), 500, "internal"),
        (RecursionError("alice@example.com"), 500, "internal"),
    ],
)
def test_an_unexpected_exception_is_answered_without_its_message_and_logged_without_it_too(
    raised: Exception, status: int, code: str, logged: list[logging.LogRecord]
) -> None:
    answered, headers, body = ask(failing(raised))
    assert (answered, body["code"], headers["content-type"]) == (status, code, "application/problem+json")
    (line,) = logged
    told = json.dumps(body) + repr(line.__dict__)
    assert type(raised).__name__ in told
    assert "test_edge.py" in told  # where it broke
    for private in ("10.0.0.7", "alice", "254722000000"):
        assert private not in told


def test_a_misconfigured_function_says_what_to_set() -> None:
    status, _, body = ask(failing(Misconfigured.of("MPESA_PASSKEY", "the passkey")))
    assert (status, body["code"]) == (500, "misconfigured")
    assert body["errors"] == [{"field": "MPESA_PASSKEY", "detail": "must hold the passkey"}]


def test_a_database_of_the_other_environment_is_a_misconfiguration() -> None:
    status, _, body = ask(failing(WrongEnvironment("sandbox", "production")))
    assert (status, body["code"], body["errors"][0]["field"]) == (500, "misconfigured", "MPESA_ENV")


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


# The last resort ------------------------------------------------------------------------------------------------------

PRIVATE = "of alice@example.com, 254722000000"


def breaks(*_: object, **__: object) -> None:
    raise RuntimeError(PRIVATE)


def the_last_resort(status: int, headers: dict[str, str], problem: dict[str, Any]) -> None:
    assert (status, problem["code"], headers["content-type"]) == (500, "internal", "application/problem+json")
    assert headers["cache-control"] == "no-store"
    assert PRIVATE not in json.dumps(problem)


def test_a_log_that_cannot_be_written_takes_no_answer_back(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A push went out, a callback is on file: whoever asked must hear so."""
    monkeypatch.setattr("shared.edge.log_line", breaks)
    status, _, body = ask(lambda _: Answer(202, {"transaction_id": "it was sent"}))
    assert (status, body) == (202, {"transaction_id": "it was sent"})
    assert "test answered 202; its log line could not be written: RuntimeError at" in caplog.text
    assert PRIVATE not in caplog.text


def test_with_no_log_at_all_the_answer_is_still_given(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr("shared.edge.log_line", breaks)
        broken.setattr("logging.getLogger", breaks)
        reply = ask(lambda _: Answer(200, {"read": 1}))
    assert reply[0] == 200


@pytest.mark.parametrize("broken", ["log_line", "_translate", "_request", "json.dumps"])
def test_an_edge_that_is_broken_itself_answers_all_the_same(monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    with monkeypatch.context() as breaking:
        breaking.setattr(f"shared.edge.{broken}", breaks)
        reply = ask(failing(RuntimeError(PRIVATE)))
    the_last_resort(*reply)


def test_an_answer_that_cannot_be_written_as_json_is_an_internal_error() -> None:
    the_last_resort(*ask(lambda _: Answer(200, {"body": {PRIVATE}})))


def test_origins_that_cannot_be_read_are_an_internal_error() -> None:
    def broken() -> tuple[str, ...]:
        raise RuntimeError(PRIVATE)

    the_last_resort(*ask(headers={"origin": SHOP}, origins=broken))


@pytest.mark.parametrize(
    "event",
    [None, [], "x", {"headers": 7}, {"headers": {"a": None}}, {"body": 7}, {"body": {}}, {"path": None},
     {"httpMethod": None}, {"isBase64Encoded": True, "body": 7}],
)  # fmt: skip
def test_an_event_of_no_known_form_is_answered(event: Any) -> None:
    reply = answer(event, function="test", methods=("POST",), story=failing(RuntimeError(PRIVATE)))
    assert reply["statusCode"] in (400, 405, 500)
    assert PRIVATE not in reply["body"]


def test_the_last_resort_is_the_same_answer_as_any_internal_error(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = ask(failing(RuntimeError()), origins=None)
    monkeypatch.setattr("shared.edge._translate", breaks)
    assert ask(failing(RuntimeError()), origins=None) == usual


# What the log says ----------------------------------------------------------------------------------------------------


def test_each_request_has_one_line_in_the_log(logged: list[logging.LogRecord]) -> None:
    ask(lambda _: Answer(202, {}, log={"transaction_id": AN_ID}))
    (line,) = logged
    assert (line.__dict__["function"], line.__dict__["status"], line.__dict__["transaction_id"]) == (
        "test",
        202,
        AN_ID,
    )


def test_the_callers_address_comes_from_the_platform_only() -> None:
    seen: list[str | None] = []

    def story(request: Request) -> Answer:
        seen.append(request.caller_address)
        return Answer(200, {})

    ask(story, headers={"x-forwarded-for": "196.201.212.127"})
    ask(story, headers={"x-forwarded-for": "196.201.212.127", "X-NF-Client-Connection-IP": "203.0.113.9"})
    assert seen == [None, "203.0.113.9"]
