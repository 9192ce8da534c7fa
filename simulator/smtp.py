"""SMTP into the same mailbox, on free ports of 127.0.0.1."""

from __future__ import annotations

import asyncio
import email
import email.policy
import logging
import ssl
import warnings
from dataclasses import dataclass, replace
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.utils import getaddresses
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from simulator.clock import Clock
from simulator.ids import Ids
from simulator.mailbox import Delivery, Mail, Mailbox
from simulator.outages import Cut, Faults, Kind, Where, cut, meet
from simulator.settings import SimulatorSettings

TAKEN = "250 OK"
FAULTS = {
    Kind.ERROR_500: "451 4.3.0 Requested action aborted: local error in processing",
    Kind.TOO_MANY_429: "450 4.7.1 Too many messages, slow down",
    Kind.UNAUTHORIZED_401: "535 5.7.8 Authentication credentials invalid",
    Kind.FIREWALL_403: "530 5.7.0 Authentication required",
    Kind.FIREWALL_503: "421 4.3.2 Service not available",
    Kind.REFUSED_400: "554 5.6.0 Message refused",
    Kind.TOO_LARGE_413: "552 5.3.4 Message size exceeds fixed limit",
    Kind.GARBAGE: "certainly no SMTP",
}

logging.getLogger("mail.log").setLevel(logging.ERROR)  # aiosmtpd warns about its own use of a deprecated attribute


@dataclass
class MailHandler:
    clock: Clock
    ids: Ids
    faults: Faults
    mailbox: Mailbox

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # aiosmtpd's name
        mail = self._read(envelope)
        delivery = self.mailbox.brought(Delivery(mail.received_at, "smtp", mail.to, mail.subject, mail.headers))

        async def take() -> str:
            taken = replace(mail, id=self.ids.message_id(), received_at=self.clock.now())
            self.mailbox.accept(delivery, taken)
            return TAKEN

        answer = await meet(self.faults.take(Where.MAIL, mail.to), FAULTS, self.clock, take)
        if isinstance(answer, Cut):
            cut(server.transport, answer)
            return "421 closing"
        code = answer.partition(" ")[0]
        if code.isdecimal() and server.transport is not None and not server.transport.is_closing():
            delivery.answer = code
        return answer

    def _read(self, envelope: Envelope) -> Mail:
        content = envelope.content if isinstance(envelope.content, bytes) else str(envelope.content).encode()
        message = email.message_from_bytes(content, policy=email.policy.default)
        raw = email.message_from_bytes(content)
        addresses = {name: _addresses(str(raw[name])) for name in ("From", "To", "Reply-To") if raw[name]}
        return Mail(
            id="",
            via="smtp",
            sender=addresses.get("From", str(envelope.mail_from)),
            to=tuple(envelope.rcpt_tos),
            reply_to=addresses.get("Reply-To"),
            subject=str(message.get("Subject", "")),
            text=_part(message, "plain"),
            html=_part(message, "html"),
            headers=tuple((name, addresses.get(name, str(value))) for name, value in message.items()),
            received_at=self.clock.now(),
        )


def _addresses(raw: str) -> str:
    """As mail programs show them: split, then decoded. (email.policy.default leaves blanks in long names.)"""
    shown = []
    for name, address in getaddresses([raw]):
        decoded = str(make_header(decode_header(name)))
        shown.append(f"{decoded} <{address}>" if decoded else address)
    return ", ".join(shown)


def _part(message: EmailMessage, kind: str) -> str | None:
    part = message.get_body(preferencelist=(kind,))
    return None if part is None else str(part.get_content()).replace("\r\n", "\n")


async def start(handler: MailHandler, settings: SimulatorSettings) -> list[asyncio.Server]:
    """Without a certificate one server, in plain text; with one two servers: STARTTLS (required), and TLS at once.

    Without `smtp_password` any login is accepted, and none is required.
    """
    loop = asyncio.get_running_loop()
    certificate = None
    if settings.smtp_certificate is not None:
        certificate = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.load_cert_chain(settings.smtp_certificate)

    def authenticate(_server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, given: Any) -> AuthResult:
        password = settings.smtp_password
        return AuthResult(success=password is None or given.password == password.encode(), handled=False)

    def connection(upgrades: ssl.SSLContext | None) -> SMTP:
        with warnings.catch_warnings(action="ignore"):  # aiosmtpd does not know that the socket may be TLS already
            return SMTP(
                handler,
                loop=loop,
                hostname="simulator.localhost",
                ident="Lipa simulator",
                tls_context=upgrades,
                require_starttls=upgrades is not None,
                authenticator=authenticate,
                auth_require_tls=upgrades is not None,
                auth_required=settings.smtp_password is not None,
            )

    servers = [await loop.create_server(lambda: connection(certificate), "127.0.0.1", 0)]
    if certificate is not None:
        servers.append(await loop.create_server(lambda: connection(None), "127.0.0.1", 0, ssl=certificate))
    return servers
