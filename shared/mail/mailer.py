"""One e-mail to one customer, through SendGrid or any SMTP server, over by a hard deadline.

Sent, or one of three errors that say what to do now: `MailRefused` (this message will never be taken like this),
`MailStopped` (none will, until the shop's account or server is put right) and `MailUnanswered` (send it again later: it
may arrive twice, and carries the same id then). Both ways promise the same: tests/contract/test_mail_conformance.py.
No error quotes an address.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from shared.deadline import Deadline
from shared.email_address import is_email_address
from shared.settings import MailSettings

ID_HEADER = "X-Lipa-Message-Id"


class MailRefused(Exception):
    """It was refused, and will be again: put right what the message names."""


class MailStopped(Exception):
    """Not this message: none is taken until a key, a login, a sender or a certificate is put right."""


class MailUnanswered(Exception):
    """Nobody said that it was taken: send it again later, and nothing at all before `retry_after_s`, where given."""

    def __init__(self, why: str, retry_after_s: float | None = None) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Email:
    """One message. Whatever its names and subject contain, they are sent as one line each."""

    to_address: str = field(repr=False)
    to_name: str | None = field(repr=False)
    subject: str
    text: str = field(repr=False)
    html: str = field(repr=False)
    from_name: str | None = None


class Mailer(ABC):
    """A way out for e-mails."""

    @staticmethod
    def from_settings(mail: MailSettings) -> Mailer:
        """SMTP where SMTP_URL is set, else SendGrid."""
        if mail.smtp_url:
            from shared.mail.smtp import SmtpMailer

            return SmtpMailer(mail)
        from shared.mail.sendgrid import SendGridMailer

        return SendGridMailer(mail)

    @abstractmethod
    def send(self, email: Email, deadline: Deadline, message_id: str) -> None:
        """Send it. `message_id` (letters, digits, . _ -) is the same whenever one message is sent: a repeat shows.

        Raises `MailRefused`, `MailStopped` or `MailUnanswered`.
        """


def one_line(text: str, longest: int = 200) -> str:
    """Text as one printable line: nothing in it can end a mail header or turn the direction of writing."""
    visible = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(visible.split())[:longest]


def in_a_header(text: str) -> str:
    """One line for a header. Whoever reads `=?utf-8?q?…?=` there decodes it, to commas, brackets and line ends."""
    return one_line(text).replace("=?", "= ?")


def checked_address(address: str) -> str:
    """An address that both ways can carry. Raises `MailRefused`.

    Beyond ASCII nothing is tried: SendGrid has no SMTPUTF8, and a server that has it cannot promise it for the next
    one on the way. An internationalised domain is written as DNS has it (xn--…).
    """
    if not is_email_address(address):
        raise MailRefused("the customer's e-mail address is not one, or has letters beyond ASCII")
    return address


def checked_id(message_id: str) -> str:
    """`message_id`, where it cannot break a header; ValueError otherwise."""
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,100}", message_id):
        raise ValueError("message_id must be 1 to 100 letters, digits, dots, dashes and underscores")
    return message_id
