"""SendGrid's `POST /v3/mail/send` as the real API answers it: 202 with an empty body, or its errors by field.

Messages and `help` addresses are SendGrid's own (API reference "Errors" and bodies published with its clients' tests).
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass

from aiohttp import web

from simulator.clock import Clock
from simulator.ids import Ids
from simulator.mailbox import Delivery, Mail, Mailbox
from simulator.outages import Cut, Fault, Faults, Kind, Where, cut, meet

PATH = "/v3/mail/send"
HELP = "http://sendgrid.com/docs/API_Reference/Web_API_v3/Mail/errors.html#"

_ADDRESS = re.compile(r"[^\s@<>,;\"]+@[^\s@<>,;\"]+\.[^\s@<>,;\".]+")


@dataclass(frozen=True)
class Wrong:
    """One of SendGrid's errors. Some have places to be filled: `{index}` of a personalization, and others."""

    message: str
    field: str | None = None
    help: str | None = None

    def at(self, **places: object) -> Wrong:
        return Wrong(self.message.format(**places), (self.field or "").format(**places), self.help)


UNAUTHORIZED = Wrong("The provided authorization grant is invalid, expired, or revoked")
NOT_JSON = Wrong("Bad Request")
TOO_LARGE = Wrong("Payload Too Large")
NO_PERSONALIZATION = Wrong(
    "The personalizations field is required and must have at least one personalization.",
    "personalizations",
    f"{HELP}-Personalizations-Errors",
)
NO_FROM = Wrong(
    "The from object must be provided for every email send. It is an object that requires the email parameter, "
    'but may also contain a name parameter.  e.g. {"email" : "example@example.com"}  or '
    '{"email" : "example@example.com", "name" : "Example Recipient"}.',
    "from.email",
    f"{HELP}message.from",
)
BAD_FROM = Wrong("The from email does not contain a valid address.", "from.email", f"{HELP}message.from")
BAD_REPLY_TO = Wrong(
    "The reply_to email does not contain a valid address.", "reply_to.email", f"{HELP}message.reply_to"
)
NO_SUBJECT = Wrong(
    "The subject is required. You can get around this requirement if you use a template with a subject defined or if "
    "every personalization has a subject defined.",
    "subject",
    f"{HELP}message.subject",
)
NO_CONTENT = Wrong(
    "Unless a valid template_id is provided, the content parameter is required. There must be at least one defined "
    "content block. We typically suggest both text/plain and text/html blocks are included, but only one block is "
    "required.",
    "content",
    f"{HELP}message.content",
)
CONTENT_TWICE = Wrong("If present, text/plain and text/html may only be provided once.", "content", None)
CONTENT_ORDER = Wrong(
    "If present, text/plain must be first, followed by text/html, followed by any other content.",
    "content",
    f"{HELP}message.content",
)
NO_TO = Wrong(
    "The to array is required for all personalization objects, and must have at least one email object with a valid "
    "email address.",
    "personalizations.{index}.to",
    f"{HELP}message.personalizations.to",
)
BAD_TO = Wrong(
    "Does not contain a valid address.",
    "personalizations.{index}.to.{position}.email",
    f"{HELP}message.personalizations.to",
)
DUPLICATE = Wrong(
    "Each email address in the personalization block should be unique between to, cc, and bcc. We found the first "
    "duplicate instance of [{address}] in the personalizations.{index}.to field.",
    "personalizations.{index}",
    f"{HELP}message.recipient-errors",
)
EMPTY_VALUE = Wrong(
    "The content value must be a string at least one character in length.",
    "content.{position}.value",
    f"{HELP}message.content.value",
)


@dataclass
class SendGrid:
    api_key: str
    clock: Clock
    ids: Ids
    faults: Faults
    mailbox: Mailbox

    def routes(self) -> list[web.RouteDef]:
        return [web.post(PATH, self._send)]

    async def _send(self, request: web.Request) -> web.Response:
        message = _message(await request.read())
        delivery = self.mailbox.brought(self._delivery(message or {}))
        fault = self.faults.take(Where.MAIL, delivery.to)

        async def take() -> web.Response:
            return self._take(request, message, delivery)

        if fault and fault.kind is Kind.GARBAGE and request.transport:
            request.transport.write(b"\x00\xff certainly no HTTP\r\n\r\n")
            fault = fault.model_copy(update={"kind": Kind.DROP})
        answer = await meet(fault, _answers(fault) if fault else {}, self.clock, take)
        if isinstance(answer, Cut):
            cut(request.transport, answer)
            return web.Response()
        if request.transport is not None and not request.transport.is_closing():
            delivery.answer = str(answer.status)
        return answer

    def _delivery(self, message: dict[str, object]) -> Delivery:
        blocks = _dicts(message.get("personalizations"))
        to = tuple(str(address.get("email", "")) for block in blocks for address in _dicts(block.get("to")))
        return Delivery(self.clock.now(), "sendgrid", to, str(message.get("subject") or ""), _headers(message, blocks))

    def _take(self, request: web.Request, message: dict[str, object] | None, delivery: Delivery) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {self.api_key}":
            return _errors(401, [UNAUTHORIZED])
        if message is None:
            return _errors(400, [NOT_JSON])
        if wrong := find_wrong(message):
            return _errors(400, wrong)
        if _is_sandboxed(message):
            return web.Response(status=200)
        message_id = self.ids.message_id()
        self.mailbox.accept(delivery, self._read(message, message_id))
        return web.Response(status=202, headers={"X-Message-Id": message_id})

    def _read(self, message: dict[str, object], message_id: str) -> Mail:
        """INF: of several personalizations each is its own e-mail in reality; here they are one with all recipients."""
        personalizations = _dicts(message["personalizations"])
        content = {str(block["type"]): str(block["value"]) for block in _dicts(message.get("content"))}
        subject = message.get("subject") or personalizations[0].get("subject") or ""
        sender, reply_to = message["from"], message.get("reply_to")
        to = tuple(_shown(address) for block in personalizations for address in _dicts(block["to"]))
        headers = [("From", _shown(sender)), ("To", ", ".join(to)), ("Subject", str(subject))]
        if reply_to:
            headers.append(("Reply-To", _shown(reply_to)))
        headers.append(("X-Message-Id", message_id))
        headers += _headers(message, personalizations)
        return Mail(
            id=message_id,
            via="sendgrid",
            sender=_shown(sender),
            to=to,
            reply_to=_shown(reply_to) if reply_to else None,
            subject=str(subject),
            text=content.get("text/plain"),
            html=content.get("text/html"),
            headers=tuple(headers),
            received_at=self.clock.now(),
        )


def _answers(fault: Fault) -> dict[Kind, web.Response]:
    """The faults that are an answer."""
    free_again = {"X-RateLimit-Reset": str(int(time.time() + fault.seconds))}
    return {
        Kind.ERROR_500: _errors(500, [Wrong("Internal Server Error")]),
        Kind.TOO_MANY_429: _errors(429, [Wrong("too many requests")], free_again),
        Kind.UNAUTHORIZED_401: _errors(401, [UNAUTHORIZED]),
        Kind.FIREWALL_403: web.Response(status=403, text="<html></html>", content_type="text/html"),
        Kind.FIREWALL_503: web.Response(status=503, text="<html></html>", content_type="text/html"),
        Kind.REFUSED_400: _errors(400, [NOT_JSON]),
        Kind.TOO_LARGE_413: _errors(413, [TOO_LARGE]),
    }


def _message(body: bytes) -> dict[str, object] | None:
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None


def _headers(message: dict[str, object], blocks: list[dict[str, object]]) -> tuple[tuple[str, str], ...]:
    """The headers of the message and of each recipient."""
    named = [block["headers"] for block in [message, *blocks] if isinstance(block.get("headers"), dict)]
    return tuple((str(name), str(value)) for more in named if isinstance(more, dict) for name, value in more.items())


def _is_sandboxed(message: dict[str, object]) -> bool:
    """Sandbox mode: checked like any other, answered 200 and not sent (SendGrid, Sandbox Mode)."""
    match message.get("mail_settings"):
        case {"sandbox_mode": {"enable": True}}:
            return True
    return False


def find_wrong(message: dict[str, object]) -> list[Wrong]:
    """All errors that SendGrid would report, at once as it does."""
    wrong = _wrong_recipients(message)
    sender = message.get("from")
    if not isinstance(sender, dict) or not sender.get("email"):
        wrong.append(NO_FROM)
    elif not _is_address(sender):
        wrong.append(BAD_FROM)
    if message.get("reply_to") is not None and not _is_address(message["reply_to"]):
        wrong.append(BAD_REPLY_TO)
    personalizations = _dicts(message.get("personalizations"))
    everyone_has_one = bool(personalizations) and all(block.get("subject") for block in personalizations)
    if not message.get("template_id"):
        if not message.get("subject") and not everyone_has_one:
            wrong.append(NO_SUBJECT)
        wrong += _wrong_content(message)
    return wrong


def _wrong_recipients(message: dict[str, object]) -> list[Wrong]:
    personalizations = _dicts(message.get("personalizations"))
    if not personalizations:
        return [NO_PERSONALIZATION]
    wrong = []
    for index, block in enumerate(personalizations):
        recipients = _dicts(block.get("to"))
        if not recipients:
            wrong.append(NO_TO.at(index=index))
        wrong += [
            BAD_TO.at(index=index, position=position)
            for position, recipient in enumerate(recipients)
            if not _is_address(recipient)
        ]
        seen: set[str] = set()
        for recipient in recipients:
            address = str(recipient.get("email", "")).lower()
            if address in seen:
                wrong.append(DUPLICATE.at(index=index, address=address))
                break
            seen.add(address)
    return wrong


def _wrong_content(message: dict[str, object]) -> list[Wrong]:
    content = _dicts(message.get("content"))
    if not content:
        return [NO_CONTENT]
    kinds = [block.get("type") for block in content]
    wrong = [
        EMPTY_VALUE.at(position=position)
        for position, block in enumerate(content)
        if not isinstance(block.get("value"), str) or not block["value"]
    ]
    if kinds.count("text/plain") > 1 or kinds.count("text/html") > 1:
        wrong.append(CONTENT_TWICE)
    order = [{"text/plain": 0, "text/html": 1}.get(str(kind), 2) for kind in kinds]
    if order != sorted(order):
        wrong.append(CONTENT_ORDER)
    return wrong


def _errors(http_status: int, wrong: list[Wrong], headers: dict[str, str] | None = None) -> web.Response:
    errors = [{"message": one.message, "field": one.field, "help": one.help} for one in wrong]
    return web.json_response({"errors": errors}, status=http_status, headers=headers)


def _dicts(value: object) -> list[dict[str, object]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _is_address(value: object) -> bool:
    return isinstance(value, dict) and _ADDRESS.fullmatch(str(value.get("email", ""))) is not None


def _shown(value: object) -> str:
    if not isinstance(value, dict):
        return ""
    email, name = str(value.get("email", "")), value.get("name")
    return f"{name} <{email}>" if name else email
