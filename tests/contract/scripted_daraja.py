"""A real HTTP server that answers with recorded bodies, and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.deadline import Deadline
from shared.settings import DarajaSettings
from simulator import SANDBOX_PASSKEY
from tests.fixtures.http_server import Handler, serving

BODIES = Path(__file__).parent / "daraja_bodies"
OAUTH = "/oauth/v1/generate"
PUSH = "/mpesa/stkpush/v1/processrequest"
QUERY = "/mpesa/stkpushquery/v1/query"
DEAD_TOKEN = {
    "http_status": 404,
    "body": '{"requestId":"1","errorCode":"404.001.03","errorMessage":"Invalid Access Token"}',
}


def refused(status: int, code: str, message: str) -> dict[str, Any]:
    return {"http_status": status, "body": json.dumps({"errorCode": code, "errorMessage": message})}


DEAD_TOKENS: list[dict[str, Any]] = [
    DEAD_TOKEN,
    refused(401, "401.002.01", "Error Occurred - Invalid Access Token - c9SQxWWhmdVRlyh0zh8gZDTkubVF"),
    refused(401, "401.003.01", "Error Occurred - Invalid Access Token - c9SQxWWhmdVRlyh0zh8gZDTkubVF"),
    refused(400, "400.002.01", "Invalid Access Token"),
    refused(400, "400.003.01", "Invalid Access Token"),
    refused(404, "404.002.03", "Invalid Access Token"),
    refused(401, "401.005.01", "Unauthorized"),
    {"http_status": 401, "body": ""},
    {"http_status": 401, "body": "<html>Unauthorized</html>"},
]
"""Every spelling of a token that is not good any more: what refuses it is the gateway, before anything is done."""


def recorded(file: str) -> list[dict[str, Any]]:
    """The rows of one file of recorded bodies."""
    rows: list[dict[str, Any]] = json.loads((BODIES / file).read_text("utf-8"))["rows"]
    return rows


def soon() -> Deadline:
    return Deadline.after(20)


def daraja_settings(base_url: str, **changes: str) -> DarajaSettings:
    values = {
        "environment": "sandbox",
        "base_url": base_url,
        "consumer_key": "lipa-dev-key",
        "consumer_secret": "lipa-dev-secret",
        "shortcode": "174379",
        "passkey": SANDBOX_PASSKEY,
        "transaction_type": "CustomerPayBillOnline",
        "party_b": "174379",
        **changes,
    }
    return DarajaSettings(**values)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class ScriptedDaraja:
    """Answers each path with its answers in order; the last one again and again. None: closes without an answer."""

    base_url: str
    answers: dict[str, list[tuple[int, dict[str, str], bytes] | None]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    tokens_given: int = 0

    def answer(self, path: str, *rows: dict[str, Any] | None) -> None:
        self.answers[path] = [
            (
                row["http_status"],
                {"Content-Type": row.get("content_type", "application/json"), **row.get("headers", {})},
                row["body"].encode(),
            )
            if row
            else None
            for row in rows
        ]

    def asked_for(self, path: str) -> list[Asked]:
        return [asked for asked in self.asked if asked.path.partition("?")[0] == path]

    def settings(self, **changes: str) -> DarajaSettings:
        return daraja_settings(**{"base_url": self.base_url, **changes})


@contextmanager
def scripted_daraja() -> Iterator[ScriptedDaraja]:
    """The server, on a free port. Gives a new token to whoever asks, unless it has a script for that."""

    class Scripted(Handler):
        def do_GET(self) -> None:
            self._serve()

        def do_POST(self) -> None:
            self._serve()

        def _serve(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            daraja.asked.append(Asked(self.command, self.path, headers, self.body()))
            path = self.path.partition("?")[0]
            script = daraja.answers.get(path)
            if script is None and path == OAUTH:
                daraja.tokens_given += 1
                token = json.dumps({"access_token": f"token-number-{daraja.tokens_given}", "expires_in": "3599"})
                script = [(200, {"Content-Type": "application/json"}, token.encode())]
            if script is None:
                raise AssertionError(f"{self.path} was not expected")
            answer = script.pop(0) if len(script) > 1 else script[0]
            if answer is None:
                self.close_connection = True
                return
            status, headers, content = answer
            self.answer(status, content, {**headers, **({"Location": "/elsewhere"} if 300 <= status < 400 else {})})

    with serving(Scripted) as address:
        daraja = ScriptedDaraja(address)
        yield daraja


class SharedStore:
    """A store of one token that behaves as the one on the database does, for the threads of one test."""

    def __init__(self, token: str | None = None) -> None:
        self.token = token
        self.lifetime_s = 0
        self.leased = False
        self.leases = 0
        self._lock = threading.Lock()

    def read_token(self) -> str | None:
        with self._lock:
            return self.token

    def lease_token(self, dead: str | None) -> bool:
        with self._lock:
            if self.leased or self.token != dead:
                return False
            self.leased = True
            self.leases += 1
            return True

    def save_token(self, token: str, lifetime_s: int) -> None:
        with self._lock:
            self.token, self.lifetime_s, self.leased = token, lifetime_s, False

    def end_token_lease(self) -> None:
        with self._lock:
            self.leased = False
