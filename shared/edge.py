"""The HTTP edge: Netlify's event becomes a `Request`; an `Answer` or an exception becomes the response.

Every function answers through `answer`. It checks path, method, origin and the body's size, translates exceptions
to problems (shared/problems.py), and writes one canonical log line a request, without phone numbers, addresses, tokens
or secrets. It never raises. docs/decisions/edge.md has the reason for each header.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import ipaddress
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from shared import settings
from shared.environment_variables import Misconfigured
from shared.observability import log
from shared.observability.log import keep_others_quiet, log_line, where_it_broke
from shared.problems import DEEPEST_BODY, LARGEST_BODY_BYTES, FieldError, Kind, Problem


@dataclass(frozen=True)
class Answer:
    """A JSON answer. `log` are safe fields for the canonical log line."""

    status: int
    body: Mapping[str, object]
    headers: Mapping[str, str] = field(default_factory=dict)
    log: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """One HTTP request, header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    origin: str = ""
    """Of the address that was called, like https://shop.example; empty where the platform does not say."""

    @property
    def caller_address(self) -> str | None:
        """From the platform's own header: anybody can forge x-forwarded-for. None where it is missing."""
        return self.headers.get("x-nf-client-connection-ip") or None

    def caller_digest(self, key: str) -> str:
        """HMAC of the caller's network: one IPv4 address, or the /64 of an IPv6 address: one household has all of it.

        All callers without a valid address share one count, so nobody gains by leaving it out.
        """
        caller = f"lipa caller {_network(self.caller_address)}"
        return hmac.new(key.encode(), caller.encode(), hashlib.sha256).hexdigest()

    @property
    def last_segment(self) -> str:
        return self.path.rstrip("/").rpartition("/")[2]

    def json_object(self) -> dict[str, object]:
        """The body as one JSON object, numbers as `int` and `Decimal`. Raises a 400 or 415 `Problem`."""
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise Problem(Kind.NOT_JSON_TYPE)
        try:
            text = self.body.decode("utf-8")
            if _depth(text) > DEEPEST_BODY:
                raise Problem(Kind.TOO_DEEP)
            document = json.loads(
                text, parse_float=Decimal, parse_constant=_refuse_constant, object_pairs_hook=_refuse_repeated_keys
            )
        except (ValueError, RecursionError, ArithmeticError) as refused:
            raise Problem(Kind.NOT_JSON) from refused
        if not isinstance(document, dict):
            raise Problem(Kind.NOT_JSON)
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
    """Run one function's story over one event. Never raises.

    `address` is a pattern of the whole path; any other path is a 404, whatever the method. Without `methods` every
    method is allowed. Without `origins` there are no CORS headers.
    """
    started = time.monotonic()
    failure: Exception | None
    try:
        keep_others_quiet()
        try:
            log.start_monitoring(settings.monitoring())
        except Misconfigured as wrong:  # stops nothing
            if function == "sweep":  # once a minute is enough
                log.failed("monitoring", wrong)
        reply, failure = _reply(event, methods, story, address, origins)
        body = json.dumps(reply.body) if reply.status != 204 else ""
    except Exception as broken:  # the edge itself is broken; what the story did stays done
        reply, body, failure = _LAST_RESORT, _LAST_RESORT_BODY, broken
    taken_ms = round((time.monotonic() - started) * 1000, 1)
    _log(function, reply.status, taken_ms, {**reply.log, "code": reply.body.get("code")}, failure)
    kind = {"content-type": "application/json"} if body else {}
    return {"statusCode": reply.status, "headers": {**kind, **SECURITY_HEADERS, **reply.headers}, "body": body}


def _reply(
    event: dict[str, Any],
    methods: tuple[str, ...],
    story: Callable[[Request], Answer],
    address: str,
    origins: Callable[[], tuple[str, ...]] | None,
) -> tuple[Answer, Exception | None]:
    """The answer with its CORS headers, and the exception that the log line names."""
    cors: Mapping[str, str] = {}
    failure: Exception | None = None
    try:
        request = _request(event)
        cors = _cors(request, origins)
        if not re.fullmatch(address, request.path):
            raise Problem(Kind.NOT_FOUND)
        if request.method == "OPTIONS" and origins is not None and request.headers.get("origin"):
            reply = _preflight(methods, cors)
        elif methods and request.method not in methods:
            raise Problem(Kind.METHOD_NOT_ALLOWED, allow=", ".join(methods))
        else:
            reply = story(request)
    except Exception as raised:
        problem, failure = _translate(raised)
        reply = _answer_of(problem)
    return replace(reply, headers={**cors, **reply.headers}), failure


def _log(function: str, status: int, taken_ms: float, fields: Mapping[str, object], failure: Exception | None) -> None:
    """The canonical line. A line that cannot be written does not change the answer: stderr says so instead."""
    try:
        log_line(function, status, taken_ms, fields, failure)
    except Exception as broken:
        with contextlib.suppress(Exception):
            import logging

            message = f"{function} answered {status}; its log line could not be written: {where_it_broke(broken)}"
            logging.getLogger("last_resort").error(message)


# The bridge's own answers have the same: netlify/plugins/python-functions/runtime/problems.js.
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


def _answer_of(problem: Problem) -> Answer:
    return Answer(problem.status, problem.body(), problem.headers, problem.log)


_LAST_RESORT = _answer_of(Problem(Kind.INTERNAL))
_LAST_RESORT_BODY = json.dumps(_LAST_RESORT.body)
"""Made at import, before anything can break."""


def _translate(raised: Exception) -> tuple[Problem, Exception | None]:
    """The one place where an exception becomes a problem. The second value is what the log line names."""
    from shared.database.errors import Busy, DatabaseError, DatabaseUnavailable, NotAllowed, NotMigrated
    from shared.gateway import WrongEnvironment

    match raised:
        case Problem():
            return raised, raised.__cause__ if isinstance(raised.__cause__, DatabaseError) else None
        case Misconfigured():
            return _misconfigured(raised), raised
        case WrongEnvironment():
            holds = f"'{raised.stamped}', the environment this database belongs to; or DATABASE_URL another database"
            wrong = Misconfigured.of("MPESA_ENV", holds)
            return _misconfigured(wrong), wrong
        case DatabaseUnavailable() | Busy() | NotMigrated() | NotAllowed():
            return Problem(Kind.DATABASE_UNAVAILABLE), raised
    return Problem(Kind.INTERNAL), raised


def _misconfigured(raised: Misconfigured) -> Problem:
    """Names the environment variables and what each must hold, never what it holds."""
    wrong = (FieldError(problem.name, f"must hold {problem.should_hold}") for problem in raised.problems)
    return Problem(Kind.MISCONFIGURED, *wrong)


def _request(event: dict[str, Any]) -> Request:
    body = event.get("body") or ""
    try:
        raw = (
            base64.b64decode(body, validate=True)
            if event.get("isBase64Encoded")
            else body.encode("utf-8", "surrogatepass")
        )
    except (binascii.Error, ValueError) as refused:
        raise Problem(Kind.NOT_JSON) from refused
    if len(raw) > LARGEST_BODY_BYTES:
        raise Problem(Kind.TOO_LARGE)
    headers = {str(name).lower(): str(value) for name, value in (event.get("headers") or {}).items()}
    method, path = str(event.get("httpMethod", "")).upper(), str(event.get("path", ""))
    return Request(method, path, headers, raw, _origin(str(event.get("rawUrl", "")), headers))


def _origin(address: str, headers: Mapping[str, str]) -> str:
    host, scheme = headers.get("host", ""), headers.get("x-forwarded-proto", "https")
    found = re.match(r"https?://[\w.:\[\]-]+(?=/|$)", address) or re.fullmatch(
        r"https?://[\w.:\[\]-]+", f"{scheme}://{host}", re.ASCII
    )
    return found[0] if found else ""


def _cors(request: Request, origins: Callable[[], tuple[str, ...]] | None) -> Mapping[str, str]:
    """The headers that let an allowed page read the answer. Any other page gets only `Vary`."""
    if origins is None:
        return {}
    origin = request.headers.get("origin", "")
    allowed = False
    with contextlib.suppress(Misconfigured):  # whoever needs the settings reports it; until then no origin is allowed
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
        raise Problem(Kind.ORIGIN_NOT_ALLOWED)
    return Answer(
        204,
        {},
        {
            "access-control-allow-methods": ", ".join(methods),
            "access-control-allow-headers": "content-type, idempotency-key",
            "access-control-max-age": "600",
        },
    )


def _network(address: str | None) -> str:
    try:
        parsed = ipaddress.ip_address((address or "").strip().partition("%")[0])
    except ValueError:
        return "no address"
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is None:
            return str(ipaddress.ip_network((parsed, 64), strict=False))
        parsed = parsed.ipv4_mapped
    return str(parsed)


def _depth(text: str) -> int:
    """How deep a JSON text is nested. Counted before parsing: how deep Python's parser goes depends on its version."""
    depth = deepest = 0
    for token in re.finditer(r'"(?:[^"\\]|\\[\s\S])*"?|[\[\]{}]', text):
        if token[0] in ("{", "["):
            depth += 1
            deepest = max(deepest, depth)
        elif token[0] in ("}", "]"):
            depth -= 1
    return deepest


def _refuse_constant(text: str) -> object:
    raise ValueError(f"{text} is not JSON")


def _refuse_repeated_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key stands twice")
    return document
