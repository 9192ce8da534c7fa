"""Every e-mail that was taken here, however it came, and the ledger of all that were brought: the truth about mail."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import datetime
from typing import Literal


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
    """One letter on the doorstep: whether it was taken, and whether its sender was told so."""

    at: datetime
    via: Literal["sendgrid", "smtp"]
    to: tuple[str, ...]
    subject: str
    headers: tuple[tuple[str, str], ...]
    mail_id: str | None = None
    """It was taken: by this id it is in the mailbox."""
    answer: str | None = None
    """What the sender was told, HTTP's or SMTP's code; None: nothing, or nothing that means anything."""


class Mailbox:
    """Keeps the last 1,000 letters, and of the last 10,000 what became of them."""

    def __init__(self) -> None:
        self._mails: list[Mail] = []
        self._deliveries: deque[Delivery] = deque(maxlen=10_000)

    def brought(self, delivery: Delivery) -> Delivery:
        """The same, on the ledger; what becomes of it is written there."""
        self._deliveries.append(delivery)
        return delivery

    def deliveries(self) -> list[Delivery]:
        """Newest first."""
        return list(self._deliveries)[::-1]

    def put(self, mail: Mail) -> None:
        self._mails = [*self._mails[-999:], mail]

    def find(self, mail_id: str) -> Mail | None:
        return next((mail for mail in self._mails if mail.id == mail_id), None)

    def mails(self) -> list[Mail]:
        """Newest first."""
        return self._mails[::-1]

    def clear(self) -> None:
        self._mails.clear()
        self._deliveries.clear()
