"""What a way to send e-mail promises; SendGrid and SMTP keep it (tests/contract/test_mail_conformance.py).

An e-mail is sent before a deadline, or one of three errors says what to do: `MailRefused` (never send this message
again), `MailStopped` (send nothing until the shop's account or server is repaired) or `MailUnanswered` (send it again
later; it may arrive twice, under the same id). No error contains an address. shared/collaborators.py chooses the way.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import TypeVar

from shared.deadline import Deadline
from shared.values import is_email_address, one_line

ID_HEADER = "X-Lipa-Message-Id"


class MailRefused(Exception):
    """This message will never be accepted: the text says what to put right."""


class MailStopped(Exception):
    """No message is accepted until a key, a login, a sender or a certificate is put right."""


class MailUnanswered(Exception):
    """Nobody confirmed it: send it again later. `retry_after_s`: no mail at all before then."""

    def __init__(self, why: str, retry_after_s: float | None = None) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Email:
    """One message. Names and subject are each sent as one line, whatever they contain."""

    to_address: str = field(repr=False)
    to_name: str | None = field(repr=False)
    subject: str
    text: str = field(repr=False)
    html: str = field(repr=False)
    from_name: str | None = None


class Mailer(ABC):
    """A way to send e-mail."""

    @abstractmethod
    def send(self, email: Email, deadline: Deadline, message_id: str) -> None:
        """Send it. A retry carries the same `message_id` (letters, digits, . _ -).

        Raises `MailRefused`, `MailStopped` or `MailUnanswered`.
        """

    @abstractmethod
    def check(self, deadline: Deadline) -> None:
        """Whether the service takes mail of ours, as far as it says so without sending any. Raises as `send` does."""


def mail_line(text: str, longest: int = 200) -> str:
    """One printable line: it cannot end a header or change the direction of writing."""
    return one_line(text)[:longest]


def in_a_header(text: str) -> str:
    """One line for a header. Mail programs would decode `=?utf-8?q?…?=` there, also to commas and line ends."""
    return mail_line(text).replace("=?", "= ?")


def checked_address(address: str) -> str:
    """An address that SendGrid and every mail server accept. Raises `MailRefused`.

    ASCII only: SendGrid has no SMTPUTF8, and a mail server cannot promise it for the next one. An internationalised
    domain is written as in DNS (xn--…).
    """
    if not is_email_address(address):
        raise MailRefused("the customer's e-mail address is not one, or has letters beyond ASCII")
    return address


def checked_id(message_id: str) -> str:
    """`message_id`; ValueError where it could break a header."""
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,100}", message_id):
        raise ValueError("message_id must be 1 to 100 letters, digits, dots, dashes and underscores")
    return message_id


T = TypeVar("T")


def in_time(deadline: Deadline, work: Callable[[Callable[[socket.socket], None]], T]) -> T:
    """What `work` returns or raises; TimeoutError once the deadline passes.

    `work` runs on a thread: a socket's timeout bounds neither DNS nor a server that sends a byte at a time. It reports
    each connected socket, and sends nothing before it has: at the deadline these are shut down, and later ones refused.
    """
    connected: list[socket.socket] = []
    over = threading.Event()
    result: Future[T] = Future()

    def report(sock: socket.socket) -> None:
        connected.append(sock)
        if over.is_set():
            raise TimeoutError

    def run() -> None:
        try:
            result.set_result(work(report))
        except Exception as failure:
            result.set_exception(failure)

    threading.Thread(target=run, name="mail", daemon=True).start()
    if not wait([result], deadline.remaining_s()).done:
        over.set()
        for sock in connected:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)  # SSLSocket's own would break the reader's TLS state
        raise TimeoutError
    return result.result()
