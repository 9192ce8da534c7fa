"""E-mail through any SMTP server, inside TLS."""

from __future__ import annotations

import contextlib
import smtplib
import socket
import ssl
from collections.abc import Callable, Iterator
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate
from typing import NoReturn
from urllib.parse import unquote, urlsplit

from shared.certificates import tls_context
from shared.deadline import Deadline
from shared.mail.mailer import (
    ID_HEADER,
    Email,
    Mailer,
    MailRefused,
    MailStopped,
    MailUnanswered,
    checked_address,
    checked_id,
    in_a_header,
    in_time,
)
from shared.settings import MailSettings

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
LOGIN_WANTED = frozenset({530, 534, 535, 538})
"""RFC 4954: the server wants a login, or another one."""
TOO_LARGE = 552


class SmtpMailer(Mailer):
    """Any mail server: smtp://user:password@host:587 (STARTTLS) or smtps://…:465.

    Its certificate is verified; without TLS only to this machine.
    """

    def __init__(self, mail: MailSettings) -> None:
        self._mail = mail

    def send(self, email: Email, deadline: Deadline, message_id: str) -> None:
        letter = self._letter(email, checked_id(message_id))
        try:
            in_time(deadline, lambda connected: self._deliver(letter, email.to_address, deadline, connected))
        except Exception as failure:
            _translate(failure)

    def check(self, deadline: Deadline) -> None:
        """A login, and a command that does nothing."""

        def log_in(connected: Callable[[socket.socket], None]) -> None:
            with self._logged_in(deadline, connected) as client:
                client.noop()

        try:
            in_time(deadline, log_in)
        except Exception as failure:
            _translate(failure)

    def _deliver(
        self, letter: EmailMessage, to_address: str, deadline: Deadline, connected: Callable[[socket.socket], None]
    ) -> None:
        with self._logged_in(deadline, connected) as client:
            # Not send_message: it writes ">From" where a line of the text begins with "From".
            client.sendmail(self._mail.from_address, [to_address], letter.as_bytes())

    @contextlib.contextmanager
    def _logged_in(self, deadline: Deadline, connected: Callable[[socket.socket], None]) -> Iterator[smtplib.SMTP]:
        url = urlsplit(self._mail.smtp_url or "")
        host, own_name = url.hostname or "", _domain(self._mail.from_address)  # smtplib's default would ask DNS
        timeout_s = deadline.remaining_s() or 0.01
        with contextlib.closing(
            smtplib.SMTP_SSL(host, url.port or 465, own_name, timeout=timeout_s, context=tls_context())
            if url.scheme == "smtps"
            else smtplib.SMTP(host, url.port or 587, own_name, timeout=timeout_s)
        ) as client:
            connected(_socket(client))
            if url.scheme == "smtp":
                client.ehlo_or_helo_if_needed()
                if host not in LOOPBACK or client.has_extn("starttls"):
                    client.starttls(context=tls_context())
                    connected(_socket(client))
            if url.username:
                client.login(unquote(url.username), unquote(url.password or ""))
            yield client

    def _letter(self, email: Email, message_id: str) -> EmailMessage:
        letter = EmailMessage(policy=SMTP)
        letter["From"] = Address(in_a_header(email.from_name or ""), addr_spec=self._mail.from_address)
        letter["To"] = Address(in_a_header(email.to_name or ""), addr_spec=checked_address(email.to_address))
        letter["Reply-To"] = self._mail.reply_to
        letter["Subject"] = in_a_header(email.subject)
        letter["Date"] = formatdate(usegmt=True)
        letter["Message-ID"] = f"<{message_id}@{_domain(self._mail.from_address)}>"
        letter["Auto-Submitted"] = "auto-generated"
        letter[ID_HEADER] = message_id
        letter.set_content(email.text)
        letter.add_alternative(email.html, subtype="html")
        return letter


def _socket(client: smtplib.SMTP) -> socket.socket:
    if client.sock is None:
        raise smtplib.SMTPServerDisconnected
    return client.sock


def _translate(failure: Exception) -> NoReturn:
    """Raises what the caller acts on. Mail servers quote addresses, so only their code is passed on."""
    match failure:
        case TimeoutError():
            raise MailUnanswered("the mail server gave no answer in time") from None
        case smtplib.SMTPRecipientsRefused():
            _by_code(max(code for code, _ in failure.recipients.values()), "the recipient")
        case smtplib.SMTPDataError():
            _by_code(failure.smtp_code, "the message")
        case smtplib.SMTPSenderRefused() if failure.smtp_code == TOO_LARGE:
            _by_code(failure.smtp_code, "the message")
        case smtplib.SMTPSenderRefused() if failure.smtp_code >= 500 and failure.smtp_code not in LOGIN_WANTED:
            raise MailStopped(
                f"the mail server does not let us send from INVOICE_EMAIL_FROM ({failure.smtp_code})"
            ) from None
        case smtplib.SMTPResponseException() if failure.smtp_code >= 500:
            raise MailStopped(
                f"the mail server does not accept us ({failure.smtp_code}): check the user and password of SMTP_URL"
            ) from None
        case smtplib.SMTPResponseException():
            raise MailUnanswered(f"the mail server does not take mail now ({failure.smtp_code})") from None
        case smtplib.SMTPServerDisconnected():
            raise MailUnanswered("the mail server hung up") from None
        case smtplib.SMTPException() | UnicodeError():  # smtplib knows no password beyond ASCII
            raise MailStopped("the mail server offers no STARTTLS, or no way to log in: check SMTP_URL") from None
        case ssl.SSLCertVerificationError():
            raise MailStopped(f"the mail server's certificate was not accepted ({failure.verify_message})") from None
        case _:
            raise MailUnanswered(f"the mail server could not be asked ({type(failure).__name__})") from None


def _by_code(code: int, what: str) -> NoReturn:
    if code in LOGIN_WANTED:
        raise MailStopped(f"the mail server wants a login ({code}): check the user and password of SMTP_URL") from None
    if code >= 500:
        raise MailRefused(f"the mail server refused {what} with {code}") from None
    raise MailUnanswered(f"the mail server did not take {what} now ({code})") from None


def _domain(address: str) -> str:
    return address.rpartition("@")[2]
