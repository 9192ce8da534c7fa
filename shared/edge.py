"""The HTTP edge: from Netlify's event to a `Request`, from an `Answer` or an error to what the caller gets.

Errors are RFC 9457 problem details with a stable `code`. Every function answers through `answer`: it checks the method
and the body's size, translates errors once, and writes one canonical log line a request, in which no phone number,
address, token or secret ever stands.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from shared.log import log_line
from shared.settings import Misconfigured

LARGEST_BODY_BYTES = 16 * 1024

Handler = Callable[[dict[str, Any], object], dict[str, Any]]


@dataclass(frozen=True)
class FieldError:
    """One field that cannot be used, and what it must be."""

    field: str
    detail: str


class Problem(Exception):
    """An answer that is an error: what went wrong, and what the caller can do about it."""

    def __init__(
        self,
        status: int,
        code: str,
        title: str,
        detail: str,
        *,
        errors: tuple[FieldError, ...] = (),
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.status, self.code, self.title, self.detail = status, code, title, detail
        self.errors, self.headers, self.more = errors, dict(headers or {}), dict(more or {})

    def answer(self) -> Answer:
        body: dict[str, object] = {
            "type": "about:blank",
            "title": self.title,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
        }
        if self.errors:
            body["errors"] = [{"field": error.field, "detail": error.detail} for error in self.errors]
        return Answer(self.status, body | self.more, {"content-type": "application/problem+json", **self.headers})


@dataclass(frozen=True)
class Answer:
    """A JSON answer. `log` are safe fields for the canonical log line."""

    status: int
    body: Mapping[str, object]
    headers: Mapping[str, str] = field(default_factory=dict)
    log: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """What a function is asked."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def caller_address(self) -> str | None:
        """From the platform's own header: x-forwarded-for can be forged. None where no platform says it."""
        return self.headers.get("x-nf-client-connection-ip") or None

    @property
    def last_segment(self) -> str:
        return self.path.rstrip("/").rpartition("/")[2]

    def json_object(self) -> dict[str, object]:
        """The body as one JSON object, numbers as `int` and `Decimal`. Raises a 400 or 415 `Problem`."""
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise Problem(415, "not_json", "Not JSON", "Send a JSON object with Content-Type: application/json.")
        try:
            document = json.loads(
                self.body.decode("utf-8"),
                parse_float=Decimal,
                parse_constant=_no_constant,
                object_pairs_hook=_no_doubles,
            )
        except (ValueError, RecursionError, ArithmeticError) as refused:
            raise Problem(400, "not_json", "Not JSON", "The body is not a JSON object.") from refused
        if not isinstance(document, dict):
            raise Problem(400, "not_json", "Not JSON", "The body is JSON, but not an object.")
        return document


def answer(
    event: dict[str, Any],
    *,
    function: str,
    methods: tuple[str, ...],
    story: Callable[[Request], Answer],
    address: str = ".*",
    origins: Callable[[], tuple[str, ...]] = tuple,
) -> dict[str, Any]:
    """Run one function's story over one event. Never raises. No `methods`: any will do.

    `address` is a pattern of the whole path: whatever else is led here gets a 404, whichever its method.
    """
    started = time.monotonic()
    failure: BaseException | None = None
    origin = ""
    try:
        request = _request(event)
        origin = _allowed_origin(request, origins)
        if not re.fullmatch(address, request.path):
            raise not_found()
        if request.method == "OPTIONS" and "OPTIONS" not in methods and origin:
            reply = _preflight(methods)
        elif methods and request.method not in methods:
            raise _method_not_allowed(methods)
        else:
            reply = story(request)
    except Exception as raised:  # the last door: translated here, and nowhere else
        problem, failure = _translate(raised)
        reply = problem.answer()
    taken_ms = round((time.monotonic() - started) * 1000, 1)
    log_line(function, reply.status, taken_ms, dict(reply.log) | {"code": reply.body.get("code")}, failure)
    cors = {"access-control-allow-origin": origin, "vary": "Origin"} if origin else {"vary": "Origin"}
    return {
        "statusCode": reply.status,
        "headers": {"content-type": "application/json", **SECURITY_HEADERS, **cors, **reply.headers},
        "body": json.dumps(reply.body) if reply.status != 204 else "",
    }


SECURITY_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "strict-transport-security": "max-age=63072000",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


def not_found() -> Problem:
    """For an id or an address that is not ours; it does not say which."""
    return Problem(404, "not_found", "Not found", "There is nothing at this address.")


def invalid(*errors: FieldError) -> Problem:
    """Bad input, every field named."""
    detail = "; ".join(f"{error.field} {error.detail}" for error in errors)
    return Problem(422, "invalid", "Cannot be used", f"Correct these and send again: {detail}.", errors=errors)


def unavailable(detail: str = "Nothing was sent. Try again in a moment.") -> Problem:
    """Nothing left us, nothing was kept: the caller may try again."""
    return Problem(503, "unavailable", "Unavailable", detail, headers={"retry-after": "5"})


def _translate(raised: Exception) -> tuple[Problem, Exception | None]:
    """The one place where an exception becomes an answer. The second value is logged with its traceback."""
    from shared.database_errors import Busy, DatabaseUnavailable
    from shared.gateway.store import WrongEnvironment

    match raised:
        case Problem():
            return raised, None
        case Misconfigured():
            return _misconfigured(raised), raised
        case WrongEnvironment():
            holds = f"'{raised.stamped}', the environment this database belongs to; or DATABASE_URL another database"
            wrong = Misconfigured.of("MPESA_ENV", holds)
            return _misconfigured(wrong), wrong
        case DatabaseUnavailable() | Busy():
            return unavailable("The database did not answer. Try again in a moment."), raised
    return Problem(
        500, "internal", "Internal error", "Something went wrong here. It is logged; try again later."
    ), raised


def _misconfigured(raised: Misconfigured) -> Problem:
    wrong = tuple(FieldError(problem.name, f"must hold {problem.should_hold}") for problem in raised.problems)
    detail = "Set these environment variables and deploy again: " + "; ".join(f"{e.field} {e.detail}" for e in wrong)
    return Problem(500, "misconfigured", "Misconfigured", detail, errors=wrong)


def _method_not_allowed(methods: tuple[str, ...]) -> Problem:
    allowed = ", ".join(methods)
    return Problem(405, "method_not_allowed", "Method not allowed", f"Use {allowed}.", headers={"allow": allowed})


def _request(event: dict[str, Any]) -> Request:
    body = event.get("body") or ""
    try:
        raw = (
            base64.b64decode(body, validate=True)
            if event.get("isBase64Encoded")
            else body.encode("utf-8", "surrogatepass")
        )
    except (binascii.Error, ValueError) as refused:
        raise Problem(400, "not_json", "Not JSON", "The body cannot be read.") from refused
    if len(raw) > LARGEST_BODY_BYTES:
        raise Problem(413, "too_large", "Too large", f"A body has at most {LARGEST_BODY_BYTES} bytes.")
    headers = {str(name).lower(): str(value) for name, value in (event.get("headers") or {}).items()}
    return Request(str(event.get("httpMethod", "")).upper(), str(event.get("path", "")), headers, raw)


def _allowed_origin(request: Request, origins: Callable[[], tuple[str, ...]]) -> str:
    origin = request.headers.get("origin", "")
    if not origin:
        return ""
    try:
        return origin if origin in origins() else ""
    except Misconfigured:
        return ""


def _preflight(methods: tuple[str, ...]) -> Answer:
    return Answer(
        204,
        {},
        {
            "access-control-allow-methods": ", ".join(methods),
            "access-control-allow-headers": "content-type, idempotency-key",
            "access-control-max-age": "600",
        },
    )


def _no_constant(text: str) -> object:
    raise ValueError(f"{text} is not JSON")


def _no_doubles(pairs: list[tuple[str, object]]) -> dict[str, object]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key stands twice")
    return document
