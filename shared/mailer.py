"""One e-mail to one customer, through SendGrid or any SMTP server, over by a hard deadline.

Sent, or `MailRefused` (it will never be taken like this), or `MailUnanswered` (send it again later: it may arrive
twice, and carries the same id then). No error quotes an address.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import unquote, urlsplit

from shared.calls_out import LOOPBACK, Answer, CallFailed, Deadline, Request, exchange, tls_context
from shared.settings import MailSettings, is_email_address

if TYPE_CHECKING:
    import smtplib
    from email.message import EmailMessage

ID_HEADER = "X-Lipa-Message-Id"


class MailRefused(Exception):
    """It was refused, and will be again: put right what the message names."""


class MailUnanswered(Exception):
    """Nobody said that it was taken: send it again later."""


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
        return SmtpMailer(mail) if mail.smtp_url else SendGridMailer(mail)

    @abstractmethod
    def send(self, email: Email, deadline: Deadline, message_id: str) -> None:
        """Send it. `message_id` (letters, digits, . _ -) is the same whenever one message is sent: a repeat shows.

        Raises `MailRefused` or `MailUnanswered`.
        """


def one_line(text: str, longest: int = 200) -> str:
    """Text as one printable line: nothing in it can end a mail header or turn the direction of writing."""
    visible = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(visible.split())[:longest]


def _in_a_header(text: str) -> str:
    """One line for a header. Whoever reads `=?utf-8?q?…?=` there decodes it, to commas, brackets and line ends."""
    return one_line(text).replace("=?", "= ?")


# SendGrid -------------------------------------------------------------------------------------------------------------


class SendGridMailer(Mailer):
    """SendGrid's v3 API, in the words of its own package; carried by our own exchange.

    The package's client would follow redirects with the key in hand, obey proxy variables, and wait without a deadline.
    """

    def __init__(self, mail: MailSettings) -> None:
        self._mail = mail

    def send(self, email: Email, deadline: Deadline, message_id: str) -> None:
        try:
            answer = exchange(self._request(email, _checked_id(message_id)), deadline)
        except CallFailed as silent:
            raise MailUnanswered(f"SendGrid gave no answer ({silent})") from silent
        if answer.status == 202:
            return
        if 400 <= answer.status < 500 and answer.status not in (408, 429):
            raise MailRefused(_why_sendgrid_refused(answer))
        raise MailUnanswered(f"SendGrid answered HTTP {answer.status}")

    def _request(self, email: Email, message_id: str) -> Request:
        import sendgrid
        from sendgrid.helpers import mail as words
        from sendgrid.helpers.mail.exceptions import ApiKeyIncludedException

        api = sendgrid.SendGridAPIClient(self._mail.sendgrid_api_key, host=self._mail.sendgrid_base_url)
        try:
            letter = words.Mail(
                from_email=words.From(self._mail.from_address, _in_a_header(email.from_name or "") or None),
                to_emails=words.To(_checked_address(email.to_address), _in_a_header(email.to_name or "") or None),
                subject=_in_a_header(email.subject),
                plain_text_content=email.text,
                html_content=email.html,
            )
        except ApiKeyIncludedException:
            raise MailRefused("SendGrid's package takes something in the message for an API key") from None
        letter.reply_to = words.ReplyTo(self._mail.reply_to)
        letter.add_header(words.Header(ID_HEADER, message_id))
        letter.add_custom_arg(words.CustomArg("message_id", message_id))
        letter.tracking_settings = words.TrackingSettings(
            click_tracking=words.ClickTracking(False, False), open_tracking=words.OpenTracking(False)
        )
        headers = {**api.client.request_headers, "Content-Type": "application/json"}
        return Request("POST", f"{api.host}/v3/mail/send", headers, json.dumps(letter.get()).encode())


def _why_sendgrid_refused(answer: Answer) -> str:
    match answer.status:
        case 401:
            return "SendGrid does not accept SENDGRID_API_KEY: it was revoked, or belongs to another account"
        case 403:
            return (
                "SendGrid does not let this key send from INVOICE_EMAIL_FROM: verify the sender or its domain there, "
                "and give the key the permission Mail Send"
            )
        case _:
            return f"SendGrid refused the message with HTTP {answer.status}{_in_its_words(answer.body)}"


def _in_its_words(body: bytes) -> str:
    try:
        said = str(json.loads(body)["errors"][0]["message"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
    return ": " + re.sub(r"\S*@\S*", "…", one_line(said))


# SMTP -----------------------------------------------------------------------------------------------------------------


class SmtpMailer(Mailer):
    """Any mail server, by smtp://user:password@host:587 (STARTTLS) or smtps://…:465.

    Its certificate is verified; there is no plain text but to this machine.
    """

    def __init__(self, mail: MailSettings) -> None:
        self._mail = mail

    def send(self, email: Email, deadline: Deadline, message_id: str) -> None:
        letter = self._letter(email, _checked_id(message_id))
        delivery = _Delivery(self._mail, letter, deadline)
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
        letter["From"] = Address(_in_a_header(email.from_name or ""), addr_spec=self._mail.from_address)
        letter["To"] = Address(_in_a_header(email.to_name or ""), addr_spec=_checked_address(email.to_address))
        letter["Reply-To"] = self._mail.reply_to
        letter["Subject"] = _in_a_header(email.subject)
        letter["Date"] = formatdate(usegmt=True)
        letter["Message-ID"] = f"<{message_id}@{_domain(self._mail.from_address)}>"
        letter["Auto-Submitted"] = "auto-generated"
        letter[ID_HEADER] = message_id
        letter.set_content(email.text)
        letter.add_alternative(email.html, subtype="html")
        return letter


class _Delivery:
    """One conversation on its own thread, so that no dripping server holds up a function."""

    def __init__(self, mail: MailSettings, letter: EmailMessage, deadline: Deadline) -> None:
        self.over = threading.Event()
        self.failure: Exception | None = None
        self._mail = mail
        self._letter = letter
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
        client.send_message(self._letter)

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
        case smtplib.SMTPAuthenticationError() if failure.smtp_code >= 500:
            raise MailRefused("the mail server does not accept the user and password of SMTP_URL") from None
        case smtplib.SMTPRecipientsRefused():
            codes = [code for code, _ in failure.recipients.values()]
            _by_code(max(codes), "the recipient")
        case smtplib.SMTPResponseException():
            _by_code(failure.smtp_code, "the message")
        case smtplib.SMTPNotSupportedError():
            raise MailRefused("the mail server offers no STARTTLS, or no way to log in: check SMTP_URL") from None
        case _:
            raise MailUnanswered(f"the mail server could not be asked ({type(failure).__name__})") from None


def _by_code(code: int, what: str) -> NoReturn:
    if code >= 500:
        raise MailRefused(f"the mail server refused {what} with {code}") from None
    raise MailUnanswered(f"the mail server did not take {what} now ({code})") from None


# Both -----------------------------------------------------------------------------------------------------------------


def _checked_address(address: str) -> str:
    if not is_email_address(address):
        raise MailRefused("the customer's e-mail address is not one")
    return address


def _checked_id(message_id: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,100}", message_id):
        raise ValueError("message_id must be 1 to 100 letters, digits, dots, dashes and underscores")
    return message_id


def _domain(address: str) -> str:
    return address.rpartition("@")[2]
