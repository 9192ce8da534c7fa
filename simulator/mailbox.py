"""Every e-mail that was sent here, however it came."""

from __future__ import annotations

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


class Mailbox:
    """Keeps the last 1,000."""

    def __init__(self) -> None:
        self._mails: list[Mail] = []

    def put(self, mail: Mail) -> None:
        self._mails = [*self._mails[-999:], mail]

    def find(self, mail_id: str) -> Mail | None:
        return next((mail for mail in self._mails if mail.id == mail_id), None)

    def mails(self) -> list[Mail]:
        """Newest first."""
        return self._mails[::-1]

    def clear(self) -> None:
        self._mails.clear()
