"""A shop whose payment API says what a test tells it to say.

It serves `public/` with the very headers that netlify.toml gives to static files, over real HTTP, and at `/` a page of
the tests' own with one `<lipa-pay>`, whose attributes are the address's query. Its catalogue is
tests/fixtures/catalogue.json. The API answers from a script: answers are played in order, and the last one is repeated.
Answers can also be held back, lost after the request arrived, or refused at the door.
"""

from __future__ import annotations

import gzip
import html
import json
import mimetypes
import threading
import tomllib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from playwright.sync_api import Page, Route

from tests.fixtures.http_server import Handler, serving
from tests.fixtures.site import Site

ROOT = Path(__file__).resolve().parents[2]
PUBLIC = ROOT / "public"
CATALOGUE = ROOT / "tests" / "fixtures" / "catalogue.json"
SCRIPT = "/lipa/lipa.js"
FALLBACK = "Paying needs this page's script. Please reload the page, or call the shop."

TRANSACTION_ID = "5f0c9a52-93f4-4c9b-8c52-0d6f3c5be001"
RECEIPT = "TJ3MX6CLYC"
DETAILS = {
    "company": "Example Traders Ltd, PVT-ABC123",
    "address": "Kimathi Street 1, Nairobi",
    "pin": "P000000000A",
    "phone": "0700 000 001",
    "email": "hello@shop.example",
    "registration": "123-4567",
    "database": "Neon, Frankfurt",
}
"""What a shop may write into shop-details.js."""


@dataclass(frozen=True)
class Answer:
    """What the API says. `held` keeps the customer waiting until it is set; `lost` hangs up instead of answering."""

    status: int
    body: Mapping[str, object] | str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    held: threading.Event | None = None
    lost: bool = False


@dataclass(frozen=True)
class PushRequest:
    idempotency_key: str
    order: dict[str, Any]


def accepted(
    *,
    checkout_request_id: str | None = "ws_CO_22112026150000123708374149",
    held: threading.Event | None = None,
) -> Answer:
    body = {
        "transaction_id": TRANSACTION_ID,
        "checkout_request_id": checkout_request_id,
        "status": "pending",
        "message": "Check your phone and enter your M-Pesa PIN.",
        "status_url": f"https://elsewhere.example/api/pay/status/{TRANSACTION_ID}",
        "poll_after_s": 0.1,
    }
    return Answer(202, body, held=held)


def standing(status: str, **more: object) -> Answer:
    """An answer of the status function."""
    body = {
        "transaction_id": TRANSACTION_ID,
        "status": status,
        "amount": 750,
        "account_reference": "ABCD2345",
        "message": "Check your phone and enter your M-Pesa PIN.",
        "updated_at": "2026-11-22T12:00:00Z",
    }
    return Answer(200, body | more)


def invoice_on_its_way(*, held: threading.Event | None = None) -> Answer:
    message = "The invoice is on its way to the address stored with the payment."
    return Answer(202, {"transaction_id": TRANSACTION_ID, "message": message}, held=held)


def problem(status: int, code: str, *, retry_after_s: int | None = None, **more: object) -> Answer:
    headers = {"Content-Type": "application/problem+json"}
    if retry_after_s is not None:
        headers["Retry-After"] = str(retry_after_s)
    body = {"type": "about:blank", "title": code.replace("_", " "), "status": status, "code": code}
    return Answer(status, body | more, headers)


LOST = Answer(0, lost=True)


@dataclass(frozen=True)
class Kind:
    """A page that is not ours: what stands in its head and around the element, its policy, its direction."""

    head: str = ""
    before: str = ""
    after: str = ""
    policy: str = ""
    dir: str = "ltr"


def page_of(query: str, *, kind: Kind | None = None, inside: str = "", origin: str = "") -> str:
    """A page with one element, which has the query's attributes and a script of that origin."""
    given = parse_qsl(query, keep_blank_values=True)
    attributes = "".join(f' {name}="{html.escape(value)}"' for name, value in given)
    kind = kind or Kind()
    return (
        f'<!doctype html><html lang="en" dir="{kind.dir}"><head><meta charset="utf-8"><title>A page</title>'
        f'<meta name="viewport" content="width=device-width">{kind.head}'
        f'<script type="module" src="{origin}{SCRIPT}"></script></head><body><main>{kind.before}<h1>A page</h1>'
        f"<lipa-pay{attributes}>{FALLBACK}{inside}</lipa-pay>{kind.after}</main></body></html>"
    )


ANYBODY = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "retry-after"}


class ScriptedShop:
    """Serves while the context is open. `pushes`, `status_reads` and `invoice_requests` are what arrived.

    With `script_of` it is another origin, whose pages take script, API and catalogue from that shop.
    """

    def __init__(self, script_of: ScriptedShop | None = None) -> None:
        self.pushes: list[PushRequest] = []
        self.status_reads = 0
        self.status_paths: list[str] = []
        self.invoice_requests: list[dict[str, Any]] = []
        self.kind = Kind()
        self.inside = ""
        self.catalogue = Answer(200, CATALOGUE.read_text(encoding="utf-8"))
        self.script_held: threading.Event | None = None
        self.script_lost = False
        self.script_of = script_of
        self._push_answers = [accepted()]
        self._status_answers = [standing("pending")]
        self._invoice_answers = [invoice_on_its_way()]
        self._lock = threading.Lock()
        self._serving: AbstractContextManager[str] = serving(type("Handler", (_Handler,), {"shop": self}))
        self.address = ""

    def __enter__(self) -> ScriptedShop:
        self.address = self._serving.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._serving.__exit__(None, None, None)

    def answers_push(self, *answers: Answer) -> None:
        with self._lock:
            self._push_answers = list(answers)

    def answers_status(self, *answers: Answer) -> None:
        with self._lock:
            self._status_answers = list(answers)

    def answers_invoice(self, *answers: Answer) -> None:
        with self._lock:
            self._invoice_answers = list(answers)

    def take_push(self, request: PushRequest) -> Answer:
        with self._lock:
            self.pushes.append(request)
            return self._next(self._push_answers)

    def take_status_read(self, path: str) -> Answer:
        with self._lock:
            self.status_reads += 1
            self.status_paths.append(path)
            return self._next(self._status_answers)

    def take_invoice_request(self, request: dict[str, Any]) -> Answer:
        with self._lock:
            self.invoice_requests.append(request)
            return self._next(self._invoice_answers)

    @staticmethod
    def _next(answers: list[Answer]) -> Answer:
        return answers.pop(0) if len(answers) > 1 else answers[0]


def static_headers(path: str) -> dict[str, str]:
    """The headers of netlify.toml for a static file at `path`."""
    rules = tomllib.loads((ROOT / "netlify.toml").read_text(encoding="utf-8")).get("headers", [])
    headers: dict[str, str] = {}
    for rule in rules:
        pattern = rule["for"]
        if pattern == path or (pattern.endswith("*") and path.startswith(pattern[:-1])):
            headers |= rule["values"]
    return headers


def at_the_stack(page: Page, site: Site) -> str:
    """The address of a page of the tests' own, with the headers of the shop's pages, on the real stack's origin."""

    def give(route: Route) -> None:
        address = urlsplit(route.request.url)
        if address.path.endswith("/catalogue.json"):
            route.fulfill(path=CATALOGUE, headers=static_headers("/catalogue.json"))
        else:
            body = page_of(f"{address.query}&catalogue=catalogue.json")
            route.fulfill(body=body, content_type="text/html", headers=static_headers("/"))

    page.context.route(f"{site.url}/tests-own/**", give)
    return f"{site.url}/tests-own"


class _Handler(Handler):
    shop: ScriptedShop
    protocol_version = "HTTP/1.1"

    def do_OPTIONS(self) -> None:
        allowed = {"Access-Control-Allow-Methods": "GET, POST", "Access-Control-Allow-Headers": "*"}
        self.answer(204, b"", ANYBODY | allowed)

    def do_POST(self) -> None:
        body = json.loads(self.body())
        if self.path.endswith("/invoice"):
            self._play(self.shop.take_invoice_request(body))
            return
        self._play(self.shop.take_push(PushRequest(self.headers.get("Idempotency-Key", ""), body)))

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        path = address.path
        if "/api/" in path:
            self._play(self.shop.take_status_read(path))
            return
        if path.endswith("/catalogue.json"):
            self._play(self.shop.catalogue)
            return
        if path in ("/", "/deep/page"):
            policy = {"Content-Security-Policy": self.shop.kind.policy} if self.shop.kind.policy else {}
            shop = self.shop
            origin = shop.script_of.address if shop.script_of else ""
            page = page_of(address.query, kind=shop.kind, inside=shop.inside, origin=origin)
            self._send(200, page.encode(), {"Content-Type": "text/html"} | policy)
            return
        if path == SCRIPT and self.shop.script_held:
            self.shop.script_held.wait(30)
        found = PUBLIC / path.lstrip("/")
        if found.is_dir():
            found /= "index.html"
        status = 200 if found.is_file() and not (path == SCRIPT and self.shop.script_lost) else 404
        file = found if status == 200 else PUBLIC / "404.html"
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        self._send(status, file.read_bytes(), {"Content-Type": kind} | static_headers(path if status == 200 else "/"))

    def _play(self, answer: Answer) -> None:
        if answer.held is not None:
            answer.held.wait(30)
        if answer.lost:
            self.close_connection = True
            return
        text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
        self._send(answer.status, text.encode(), {"Content-Type": "application/json"} | ANYBODY | dict(answer.headers))

    def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        """Compressed, as Netlify does it."""
        if "gzip" in self.headers.get("Accept-Encoding", ""):
            body, headers = gzip.compress(body), {**headers, "Content-Encoding": "gzip"}
        self.answer(status, body, headers)
