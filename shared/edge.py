"""The HTTP edge: from Netlify's event to a `Request`, from an `Answer` or an error to what the caller gets.

Errors are RFC 9457 problem details with a stable `code`. Every function answers through `answer`: it checks origin,
address, method and the body's size, translates errors once, and writes one canonical log line a request, in which no
phone number, address, token or secret ever stands. It never raises, and a log line that cannot be written takes no
answer back. Why each header is as it is: docs/decisions/edge.md.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from shared.observability.log import keep_others_quiet, log_line, where_it_broke
from shared.settings_reader import Misconfigured

LARGEST_BODY_BYTES = 16 * 1024
DEEPEST_BODY = 8
"""Objects and lists within each other, the body's own object counted."""

Code = Literal[
    "above_limit",
    "daraja_rejected",
    "idempotency_mismatch",
    "inbox_full",
    "internal",
    "invalid",
    "method_not_allowed",
    "misconfigured",
    "not_found",
    "not_json",
    "not_paid",
    "origin_not_allowed",
    "prompt_open",
    "too_large",
    "too_many",
    "too_often",
    "too_soon",
    "unavailable",
]
"""Every code that an error of ours can have. They never change their meaning; docs/api.md tells each."""

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
        code: Code,
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
            raise not_json("Send a JSON object with Content-Type: application/json.", status=415)
        try:
            text = self.body.decode("utf-8")
            if _depth(text) > DEEPEST_BODY:
                raise not_json(f"The body is nested deeper than {DEEPEST_BODY} levels.")
            document = json.loads(
                text,
                parse_float=Decimal,
                parse_constant=_no_constant,
                object_pairs_hook=_no_doubles,
            )
        except (ValueError, RecursionError, ArithmeticError) as refused:
            raise not_json("The body is not a JSON object.") from refused
        if not isinstance(document, dict):
            raise not_json("The body is JSON, but not an object.")
        return document


def answer(
    event: dict[str, Any],
    *,
    function: str,
    methods: tuple[str, ...],
    story: Callable[[Request], Answer],
    address: str = ".*",
    origins: Callable[[], tuple[str, ...]] | None = None,
) -> dict[str, Any]:
    """Run one function's story over one event. Never raises. No `methods`: any will do. No `origins`: no CORS at all.

    `address` is a pattern of the whole path: whatever else is led here gets a 404, whichever its method.
    """
    try:
        keep_others_quiet()
        return _answer(event, function, methods, story, address, origins)
    except Exception as failure:  # what translates or writes is broken itself; what the story did stays done
        _log(function, 500, 0, {"code": "internal"}, failure)
        return {"statusCode": 500, "headers": dict(_PROBLEM_HEADERS), "body": _LAST_RESORT}


def _answer(
    event: dict[str, Any],
    function: str,
    methods: tuple[str, ...],
    story: Callable[[Request], Answer],
    address: str,
    origins: Callable[[], tuple[str, ...]] | None,
) -> dict[str, Any]:
    started = time.monotonic()
    failure: BaseException | None = None
    cors: Mapping[str, str] = {}
    try:
        request = _request(event)
        cors = _cors(request, origins)
        if not re.fullmatch(address, request.path):
            raise not_found()
        if request.method == "OPTIONS" and origins is not None and request.headers.get("origin"):
            reply = _preflight(methods, cors)
        elif methods and request.method not in methods:
            raise method_not_allowed(methods)
        else:
            reply = story(request)
    except Exception as raised:  # the last door: translated here, and nowhere else
        problem, failure = _translate(raised)
        reply = problem.answer()
    has_body = reply.status != 204
    kind = {"content-type": "application/json"} if has_body else {}
    body = json.dumps(reply.body) if has_body else ""
    taken_ms = round((time.monotonic() - started) * 1000, 1)
    _log(function, reply.status, taken_ms, dict(reply.log) | {"code": reply.body.get("code")}, failure)
    return {"statusCode": reply.status, "headers": {**kind, **SECURITY_HEADERS, **cors, **reply.headers}, "body": body}


def _log(
    function: str, status: int, taken_ms: float, fields: Mapping[str, object], failure: BaseException | None
) -> None:
    """The canonical line; where that cannot be written, the standard library's own last resort says so on stderr."""
    try:
        log_line(function, status, taken_ms, fields, failure)
    except Exception as broken:  # an answer is not taken back for its log line
        with contextlib.suppress(Exception):
            import logging

            told = f"{function} answered {status}; its log line could not be written: {where_it_broke(broken)}"
            logging.getLogger("last_resort").error(told)


SECURITY_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "referrer-policy": "no-referrer",
    "strict-transport-security": "max-age=63072000",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
_PROBLEM_HEADERS = {"content-type": "application/problem+json", **SECURITY_HEADERS}
_WENT_WRONG = "Something went wrong here. It is logged; try again later."
_LAST_RESORT = (
    '{"type": "about:blank", "title": "Internal error", "status": 500, "code": "internal", '
    f'"detail": "{_WENT_WRONG}"}}'
)
"""Made before anything could break."""


def not_found() -> Problem:
    """For an id or an address that is not ours; it does not say which."""
    return Problem(404, "not_found", "Not found", "There is nothing at this address.")


def not_json(detail: str, *, status: int = 400) -> Problem:
    """The body is no JSON object (400), or does not say that it is one (415)."""
    return Problem(status, "not_json", "Not JSON", detail)


def too_large() -> Problem:
    """The body is not read."""
    return Problem(413, "too_large", "Too large", f"A body has at most {LARGEST_BODY_BYTES} bytes.")


def origin_not_allowed() -> Problem:
    """To a browser that asks beforehand, for a page of another site."""
    detail = "Pages of this origin may not use this API. The shop names those that may in ALLOWED_ORIGINS."
    return Problem(403, "origin_not_allowed", "Origin not allowed", detail)


def invalid(*errors: FieldError) -> Problem:
    """Bad input, every field named."""
    detail = "; ".join(f"{error.field} {error.detail}" for error in errors)
    return Problem(422, "invalid", "Cannot be used", f"Correct these and send again: {detail}.", errors=errors)


def unavailable(detail: str = "Nothing was sent. Try again in a moment.") -> Problem:
    """Nothing left us, nothing was kept: the caller may try again."""
    return Problem(503, "unavailable", "Unavailable", detail, headers={"retry-after": "5"}, more={"retry_after_s": 5})


def internal() -> Problem:
    """Our fault; it is in the log, and nowhere else."""
    return Problem(500, "internal", "Internal error", _WENT_WRONG)


def _translate(raised: Exception) -> tuple[Problem, Exception | None]:
    """The one place where an exception becomes an answer. The second value is logged with its traceback."""
    from shared.database.errors import Busy, DatabaseUnavailable
    from shared.gateway.store import WrongEnvironment

    match raised:
        case Problem():
            return raised, None
        case Misconfigured():
            return misconfigured(raised), raised
        case WrongEnvironment():
            holds = f"'{raised.stamped}', the environment this database belongs to; or DATABASE_URL another database"
            wrong = Misconfigured.of("MPESA_ENV", holds)
            return misconfigured(wrong), wrong
        case DatabaseUnavailable() | Busy():
            return unavailable("The database did not answer. Try again in a moment."), raised
    return internal(), raised


def misconfigured(raised: Misconfigured) -> Problem:
    """Which environment variables, and what they must hold; never what they do."""
    wrong = tuple(FieldError(problem.name, f"must hold {problem.should_hold}") for problem in raised.problems)
    detail = "Set these environment variables and deploy again: " + "; ".join(f"{e.field} {e.detail}" for e in wrong)
    return Problem(500, "misconfigured", "Misconfigured", detail, errors=wrong)


def method_not_allowed(methods: tuple[str, ...]) -> Problem:
    """`Allow` names the right ones."""
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
        raise not_json("The body cannot be read.") from refused
    if len(raw) > LARGEST_BODY_BYTES:
        raise too_large()
    headers = {str(name).lower(): str(value) for name, value in (event.get("headers") or {}).items()}
    return Request(str(event.get("httpMethod", "")).upper(), str(event.get("path", "")), headers, raw)


def _cors(request: Request, origins: Callable[[], tuple[str, ...]] | None) -> Mapping[str, str]:
    """What the browser of an allowed page needs to see; nothing but `Vary` for any other."""
    if origins is None:
        return {}
    origin = request.headers.get("origin", "")
    allowed = False
    with contextlib.suppress(Misconfigured):  # told by whoever needs the settings; nobody is allowed meanwhile
        allowed = origin != "" and origin in origins()
    if not allowed:
        return {"vary": "Origin"}
    return {
        "vary": "Origin",
        "access-control-allow-origin": origin,
        "access-control-expose-headers": "retry-after",
    }


def _preflight(methods: tuple[str, ...], cors: Mapping[str, str]) -> Answer:
    if "access-control-allow-origin" not in cors:
        raise origin_not_allowed()
    return Answer(
        204,
        {},
        {
            "access-control-allow-methods": ", ".join(methods),
            "access-control-allow-headers": "content-type, idempotency-key",
            "access-control-max-age": "600",
        },
    )


def _depth(text: str) -> int:
    """How deep a JSON text goes, before it is parsed: how deep Python's own reader goes is its version's choice."""
    depth = deepest = 0
    for token in re.finditer(r'"(?:[^"\\]|\\[\s\S])*"?|[\[\]{}]', text):
        if token[0] in ("{", "["):
            depth += 1
            deepest = max(deepest, depth)
        elif token[0] in ("}", "]"):
            depth -= 1
    return deepest


def _no_constant(text: str) -> object:
    raise ValueError(f"{text} is not JSON")


def _no_doubles(pairs: list[tuple[str, object]]) -> dict[str, object]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key stands twice")
    return document
