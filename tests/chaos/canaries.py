"""Canaries: values that exist nowhere else, what they may be disguised as, and everything that a function lets out.

`Canaries` are a customer and a shop's secrets. `Talkative` is a Safaricom and a SendGrid that quote back, in every
error, all that was sent to them. `Process` runs the real functions and keeps its standard output and error apart.
"""

from __future__ import annotations

import base64
import html
import json
import os
import subprocess
import sys
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from tests.fixtures.http_server import Handler, serving

ROOT = Path(__file__).parents[2]
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Canaries:
    """One customer, and one shop's secrets."""

    phone: str = "254700000097"
    email: str = "kx7customer@canary.example"
    name: str = "Zawadi Kx7name"
    description: str = "Kx7 gift"
    address: str = "203.0.113.97"
    idempotency_key: str = "kx7-idempotency-key-0001"
    user_agent: str = "Kx7Browser/1.0"
    consumer_key: str = "kx7ConsumerKey000000000001"
    consumer_secret: str = "kx7ConsumerSecret00000001"
    passkey: str = "kx7Passkey0000000000000000001"
    callback_secret: str = "kx7CallbackSecret000000000000000001"
    sendgrid_key: str = "SG.kx7SendGridKey0000001"
    database_password: str = "kx7DatabasePassword01"
    smtp_password: str = "kx7SmtpPassword00001"
    access_token: str = "kx7AccessToken0000000000001"

    def values(self) -> dict[str, str]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


def disguises(name: str, value: str) -> Iterator[bytes]:
    """How a value may look in a line, an envelope or an answer; in lower case."""
    plain = {value}
    if name == "phone":
        nine = value[-9:]
        plain = {
            nine,
            f"0{nine[:3]} {nine[3:6]} {nine[6:]}",
            f"{nine[:3]} {nine[3:6]} {nine[6:]}",
            f"{nine[:3]}-{nine[3:6]}",
        }
    if name == "name":
        plain |= set(value.split())
    for text in plain:
        yield text.lower().encode()
        yield urllib.parse.quote(text, safe="").lower().encode()
        yield urllib.parse.quote_plus(text).lower().encode()
        yield html.escape(text).lower().encode()
        yield json.dumps(text)[1:-1].replace("@", "\\u0040").lower().encode()
        yield text.encode().hex().encode()
        yield text.encode("utf-16-le")
        yield from in_base64(text)
    yield base64.b32encode(value.encode()).rstrip(b"=").lower()


def in_base64(text: str) -> Iterator[bytes]:
    """Its middle, wherever it stands in something that was encoded whole."""
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + text.encode() + b"\0\0")
        middle = encoded[4 * (before > 0) + (before == 2) :][: len(text) * 4 // 3 - 4]
        if len(middle) >= 8:
            yield middle.lower()
            yield middle.translate(bytes.maketrans(b"+/", b"-_")).lower()


def sightings(private: Mapping[str, str], channels: Mapping[str, bytes]) -> list[str]:
    """Where which value was seen, in whatever disguise."""
    return sorted(
        f"{name} in {channel}"
        for channel, content in channels.items()
        for lowered in [content.lower()]
        for name, value in private.items()
        if any(disguise in lowered for disguise in disguises(name, value))
    )


# Others, who quote ----------------------------------------------------------------------------------------------------


class Talkative:
    """Daraja and SendGrid in one. `mood` is how they answer: `well`, or an error that quotes the whole request."""

    def __init__(self, canaries: Canaries) -> None:
        self.mood = "well"
        self.url = ""
        self.canaries = canaries
        self.pushes = 0

    def answer(self, path: str, quoted: str) -> tuple[int, object]:
        """HTTP status and JSON."""
        mail = "/v3/mail/send" in path
        match self.mood:
            case "refuse" if mail:
                return 400, {"errors": [{"message": quoted, "field": quoted, "help": quoted}]}
            case "refuse":
                said = f"Wrong credentials {quoted}"
                return 500, {"requestId": quoted, "errorCode": "500.001.1001", "errorMessage": said}
            case "new":
                return 400, {"errorCode": self.canaries.phone, "errorMessage": quoted, self.canaries.email: quoted}
        if mail:
            return 202, ""
        if "query" in path:
            return 200, {**self._ids(), "ResultCode": "0", "ResultDesc": quoted}
        self.pushes += 1
        return 200, {**self._ids(), "CustomerMessage": quoted}

    def _ids(self) -> dict[str, str]:
        return {
            "MerchantRequestID": f"29115-{self.pushes}-1",
            "CheckoutRequestID": f"ws_CO_{self.pushes:06}{self.canaries.phone[-9:]}",
            "ResponseCode": "0",
            "ResponseDescription": "Success. Request accepted for processing",
        }


@contextmanager
def talkative(canaries: Canaries) -> Iterator[Talkative]:
    provider = Talkative(canaries)

    class Answers(Handler):
        def do_GET(self) -> None:
            self.answer(200, json.dumps({"access_token": canaries.access_token, "expires_in": "3599"}).encode(), JSON)

        def do_POST(self) -> None:
            quoted = f"{self.path} {dict(self.headers.items())} {self.body().decode()}"
            if provider.mood == "cut":
                self.close_connection = True
            elif provider.mood == "html":
                self.answer(503, f"<html>{html.escape(quoted)}</html>".encode(), {"Content-Type": "text/html"})
            else:
                status, document = provider.answer(self.path, quoted)
                self.answer(status, json.dumps(document).encode(), JSON)

    with serving(Answers) as provider.url:
        yield provider


# The functions --------------------------------------------------------------------------------------------------------

SERVES = """
import importlib, json, logging, os, sys
from types import SimpleNamespace
logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)  # every library may say everything
answers = os.fdopen(int(sys.argv[1]), "w")
for line in sys.stdin:
    asked = json.loads(line)
    told = None
    if "run" in asked:
        exec(asked["run"], {})
    else:
        handler = importlib.import_module("netlify.functions." + asked["function"]).handler
        told = handler(asked["event"], SimpleNamespace(aws_request_id="0"))
    print(json.dumps(told), file=answers, flush=True)
"""


class Process:
    """The real functions in a process of their own, and all that it lets out."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        reading, writing = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVES, str(writing)],
            cwd=ROOT,
            env={**os.environ, **environment},
            pass_fds=[writing],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        os.close(writing)
        self._answers = os.fdopen(reading)
        self.answers: list[dict[str, Any]] = []
        self._out: dict[str, str] = {}
        self._readers = [
            threading.Thread(target=self._read, args=(name, stream), daemon=True)
            for name, stream in (("stdout", self._process.stdout), ("stderr", self._process.stderr))
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, name: str, stream: Any) -> None:
        self._out[name] = stream.read()

    def run(self, code: str) -> None:
        """Run code in it, such as breaks something."""
        self._ask({"run": code})

    def call(
        self, function: str, method: str, path: str, body: object = "", headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """A request; its answer is kept."""
        text = body if isinstance(body, str) else json.dumps(body)
        head = {"content-type": "application/json", **(headers or {})}
        event = {"httpMethod": method, "path": path, "headers": head, "body": text, "isBase64Encoded": False}
        answer: dict[str, Any] = self._ask({"function": function, "event": event})
        self.answers.append(answer)
        return answer

    def _ask(self, what: object) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        line = self._answers.readline()
        assert line, "the process has ended"
        return json.loads(line)

    def close(self) -> dict[str, bytes]:
        """Ends it; everything it said, by channel. What a customer is told of their own accepted push is left out."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()
        self._process.wait(timeout=30)
        for reader in self._readers:
            reader.join()
        self._answers.close()
        answers = [without_checkout_id(answer) for answer in self.answers]
        return {**{name: text.encode() for name, text in self._out.items()}, "answers": json.dumps(answers).encode()}


def without_checkout_id(answer: dict[str, Any]) -> dict[str, Any]:
    """Daraja's id ends in the customer's number; the API gives it to who asked for the push, and to nobody else."""
    if answer["statusCode"] != 202:
        return answer
    body = json.loads(answer["body"])
    body.pop("checkout_request_id", None)
    return {**answer, "body": json.dumps(body)}
