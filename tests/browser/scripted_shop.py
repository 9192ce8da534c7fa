"""A shop whose payment API says what a test tells it to say.

It serves `public/` with the very headers that netlify.toml gives to static files, over real HTTP, and answers the API
from a script: answers are played in order, and the last one is repeated. Answers can also be held back, lost after the
request arrived, or refused at the door.
"""

from __future__ import annotations

import json
import mimetypes
import threading
import tomllib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fixtures.http_server import Handler, serving

ROOT = Path(__file__).resolve().parents[2]
PUBLIC = ROOT / "public"

TRANSACTION_ID = "5f0c9a52-93f4-4c9b-8c52-0d6f3c5be001"
STATUS_URL = f"/api/pay/status/{TRANSACTION_ID}"
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
    status_url: str = STATUS_URL,
    *,
    checkout_request_id: str | None = "ws_CO_22112026150000123708374149",
    held: threading.Event | None = None,
) -> Answer:
    body = {
        "transaction_id": TRANSACTION_ID,
        "checkout_request_id": checkout_request_id,
        "status": "pending",
        "message": "Check your phone and enter your M-Pesa PIN.",
        "status_url": status_url,
        "poll_after_s": 1,
    }
    return Answer(202, body, held=held)


def standing(status: str, **more: object) -> Answer:
    """An answer of the status function."""
    body = {
        "transaction_id": TRANSACTION_ID,
        "status": status,
        "amount": 850,
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


class ScriptedShop:
    """Serves while the context is open. `pushes`, `status_reads` and `invoice_requests` are what arrived."""

    def __init__(self) -> None:
        self.pushes: list[PushRequest] = []
        self.status_reads = 0
        self.invoice_requests: list[dict[str, Any]] = []
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

    def take_status_read(self) -> Answer:
        with self._lock:
            self.status_reads += 1
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


class _Handler(Handler):
    shop: ScriptedShop
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.body()
        if self.path == "/api/pay/invoice":
            self._play(self.shop.take_invoice_request(json.loads(body)))
            return
        request = PushRequest(self.headers.get("Idempotency-Key", ""), json.loads(body))
        self._play(self.shop.take_push(request))

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        if path.startswith("/api/"):
            self._play(self.shop.take_status_read())
            return
        found = PUBLIC / (path.lstrip("/") or "index.html")
        status = 200 if found.is_file() else 404
        file = found if found.is_file() else PUBLIC / "404.html"
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        self.answer(status, file.read_bytes(), {"Content-Type": kind} | static_headers(path))

    def _play(self, answer: Answer) -> None:
        if answer.held is not None:
            answer.held.wait(30)
        if answer.lost:
            self.close_connection = True
            return
        text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
        self.answer(answer.status, text.encode(), {"Content-Type": "application/json"} | dict(answer.headers))
