"""Every e-mail that was accepted, and a ledger of every e-mail that was brought, accepted or not."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from simulator.live import Live


@dataclass(frozen=True)
class Mail:
    id: str
    via: Literal["sendgrid", "smtp"]
    sender: str
    to: tuple[str, ...]
    reply_to: str | None
    subject: str
    text: str | None
    html: str | None
    headers: tuple[tuple[str, str], ...]
    received_at: datetime


@dataclass
class Delivery:
    """One e-mail that was brought: whether it was accepted, and what its sender was answered."""

    at: datetime
    via: Literal["sendgrid", "smtp"]
    to: tuple[str, ...]
    subject: str
    headers: tuple[tuple[str, str], ...]
    mail_id: str | None = None
    """Its id in the mailbox; None: it was not accepted."""
    answer: str | None = None
    """The code of HTTP or SMTP that the sender got; None: no answer, or no valid one."""


class Mailbox:
    """Keeps the last 1,000 e-mails and the last 10,000 deliveries."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._mails: list[Mail] = []
        self._deliveries: deque[Delivery] = deque(maxlen=10_000)

    def brought(self, delivery: Delivery) -> Delivery:
        """Put it on the ledger; the caller adds what became of it."""
        self._deliveries.append(delivery)
        return delivery

    def deliveries(self) -> list[Delivery]:
        """Newest first."""
        return list(self._deliveries)[::-1]

    def accept(self, delivery: Delivery, mail: Mail) -> None:
        delivery.mail_id = mail.id
        self._mails = [*self._mails[-999:], mail]
        self._live.changed("mail")

    def find(self, mail_id: str) -> Mail | None:
        return next((mail for mail in self._mails if mail.id == mail_id), None)

    def mails(self) -> list[Mail]:
        """Newest first."""
        return self._mails[::-1]

    def clear(self) -> None:
        self._mails.clear()
        self._deliveries.clear()
