"""E-mail through any SMTP server, inside TLS."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from typing import TYPE_CHECKING, NoReturn
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
)
from shared.settings import MailSettings
from shared.settings_reader import LOOPBACK

if TYPE_CHECKING:
    import smtplib
    from email.message import EmailMessage

LOGIN_WANTED = frozenset({530, 534, 535, 538})
"""RFC 4954: the server wants a login, or another one."""
TOO_LARGE = 552


class SmtpMailer(Mailer):
    """Any mail server, by smtp://user:password@host:587 (STARTTLS) or smtps://…:465.

    Its certificate is verified; there is no plain text but to this machine.
    """

    def __init__(self, mail: MailSettings) -> None:
        self._mail = mail

    def send(self, email: Email, deadline: Deadline, message_id: str) -> None:
        letter = self._letter(email, checked_id(message_id))
        delivery = _Delivery(self._mail, letter, email.to_address, deadline)
        threading.Thread(target=delivery.run, name="smtp", daemon=True).start()
        delivery.over.wait(deadline.remaining_s())
        if not delivery.over.is_set():
            delivery.cut()
            raise MailUnanswered("the mail server gave no answer in time")
        if delivery.failure is not None:
            _translate(delivery.failure)

    def _letter(self, email: Email, message_id: str) -> EmailMessage:
        from email.headerregistry import Address
        from email.message import EmailMessage
        from email.policy import SMTP
        from email.utils import formatdate

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


class _Delivery:
    """One conversation on its own thread, so that no dripping server holds up a function."""

    def __init__(self, mail: MailSettings, letter: EmailMessage, to_address: str, deadline: Deadline) -> None:
        self.over = threading.Event()
        self.failure: Exception | None = None
        self._mail = mail
        self._letter = letter
        self._to_address = to_address
        self._deadline = deadline
        self._given_up = False
        self._client: smtplib.SMTP | None = None

    def run(self) -> None:
        try:
            self._talk()
        except Exception as failed:
            self.failure = failed
        finally:
            if self._client is not None:
                self._client.close()
            self.over.set()

    def cut(self) -> None:
        self._given_up = True
        if self._client is not None and self._client.sock is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(self._client.sock, socket.SHUT_RDWR)

    def _talk(self) -> None:
        url = urlsplit(self._mail.smtp_url or "")
        self._client = client = self._connected(url.scheme == "smtps", url.hostname or "", url.port)
        if url.scheme == "smtp":
            client.ehlo_or_helo_if_needed()
            if url.hostname not in LOOPBACK or client.has_extn("starttls"):
                client.starttls(context=tls_context())
        if url.username:
            client.login(unquote(url.username), unquote(url.password or ""))
        if self._given_up:
            raise TimeoutError
        # Not send_message: it writes ">From" where a line of the text begins with "From".
        client.sendmail(self._mail.from_address, [self._to_address], self._letter.as_bytes())

    def _connected(self, tls_at_once: bool, host: str, port: int | None) -> smtplib.SMTP:
        import smtplib

        name = _domain(self._mail.from_address)  # to say who we are; the default would look our own address up in DNS
        remaining_s = max(self._deadline.remaining_s(), 0.01)
        if tls_at_once:
            return smtplib.SMTP_SSL(host, port or 465, name, timeout=remaining_s, context=tls_context())
        return smtplib.SMTP(host, port or 587, name, timeout=remaining_s)


def _translate(failure: Exception) -> NoReturn:
    """Into what the caller does next. Mail servers quote addresses, so only their code is passed on."""
    import smtplib

    match failure:
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
            raise MailStopped(
                f"whoever answers for the mail server cannot prove it: its certificate was not accepted "
                f"({failure.verify_message})"
            ) from None
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
