"""SMTP into the same mailbox, on a free port of 127.0.0.1."""

from __future__ import annotations

import asyncio
import email
import email.policy
import logging
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from simulator.clock import Clock
from simulator.faults import Faults, Kind, Where
from simulator.ids import Ids
from simulator.live import Live
from simulator.mailbox import Mail, Mailbox

TAKEN = "250 OK"

logging.getLogger("mail.log").setLevel(logging.ERROR)  # aiosmtpd warns about its own use of a deprecated attribute


@dataclass
class MailHandler:
    clock: Clock
    ids: Ids
    live: Live
    faults: Faults
    mailbox: Mailbox

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # aiosmtpd's name
        fault = self.faults.take(Where.MAIL)
        match fault.kind if fault else None:
            case Kind.ERROR_500:
                return "451 4.3.0 Requested action aborted: local error in processing"
            case Kind.TOO_MANY_429:
                return "450 4.7.1 Too many messages, slow down"
            case Kind.FIREWALL_403 | Kind.FIREWALL_503:
                return "554 5.7.1 Message refused"
            case Kind.DROP:
                return _hang_up(server)
            case Kind.DROP_AFTER:
                self._take(envelope)
                return _hang_up(server)
            case Kind.SLOW if fault is not None:
                await self.clock.sleep(fault.seconds)
        self._take(envelope)
        return TAKEN

    def _take(self, envelope: Envelope) -> None:
        content = envelope.content if isinstance(envelope.content, bytes) else str(envelope.content).encode()
        message = email.message_from_bytes(content, policy=email.policy.default)
        self.mailbox.put(
            Mail(
                id=self.ids.message_id(),
                via="smtp",
                sender=str(message.get("From", envelope.mail_from)),
                to=tuple(envelope.rcpt_tos),
                reply_to=str(message["Reply-To"]) if message["Reply-To"] else None,
                subject=str(message.get("Subject", "")),
                text=_part(message, "plain"),
                html=_part(message, "html"),
                headers=tuple((name, str(value)) for name, value in message.items()),
                received_at=self.clock.now(),
            )
        )
        self.live.changed("mail")


def _hang_up(server: SMTP) -> str:
    if server.transport is not None:
        server.transport.close()
    return "421 closing"


def _part(message: EmailMessage, kind: str) -> str | None:
    part = message.get_body(preferencelist=(kind,))
    return None if part is None else str(part.get_content()).replace("\r\n", "\n")


async def start(handler: MailHandler) -> asyncio.Server:
    """Any user name and password is accepted, and none is asked for."""
    loop = asyncio.get_running_loop()

    def connection() -> SMTP:
        return SMTP(
            handler,
            loop=loop,
            hostname="simulator.localhost",
            ident="Lipa simulator",
            authenticator=_anybody,
            auth_require_tls=False,
        )

    return await loop.create_server(connection, "127.0.0.1", 0)


def _anybody(*_: Any) -> AuthResult:
    return AuthResult(success=True)
