"""E-mail through SendGrid's v3 API, by its own package."""

from __future__ import annotations

import http.client
import json
import re
import socket
import ssl
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn

import python_http_client
import sendgrid
from python_http_client.client import Response
from sendgrid.helpers import mail as helpers
from sendgrid.helpers.mail.exceptions import ApiKeyIncludedException

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
    mail_line,
)
from shared.settings import MailSettings

DEFAULT_PAUSE_S = 60.0
"""After a 429 that names no time: most of SendGrid's limits are per minute."""
LONGEST_PAUSE_S = 3600.0


class SendGridMailer(Mailer):
    def __init__(self, mail: MailSettings) -> None:
        self._mail = mail

    def send(self, email: Email, deadline: Deadline, message_id: str) -> None:
        message = self._message(email, checked_id(message_id))
        try:
            answer = in_time(deadline, lambda connected: self._post(message, deadline, connected))
        except python_http_client.HTTPError as refusal:
            _raise(refusal.status_code, refusal.headers, refusal.body)
        except ssl.SSLCertVerificationError as unknown:
            raise MailStopped(f"SendGrid's certificate was not accepted ({unknown.verify_message})") from unknown
        except (OSError, http.client.HTTPException) as failure:
            raise MailUnanswered(f"SendGrid gave no answer ({_name(failure)})") from failure
        if answer.status_code == 202 or (answer.status_code == 200 and self._mail.sendgrid_sandbox):
            return
        raise MailUnanswered(f"SendGrid answered HTTP {answer.status_code}")

    def check(self, deadline: Deadline) -> None:
        """A message in SendGrid's sandbox mode: it is looked at whole, and not sent."""
        message = Email(self._mail.reply_to, None, "A test of the settings", "Not sent.", "<p>Not sent.</p>")
        SendGridMailer(replace(self._mail, sendgrid_sandbox=True)).send(message, deadline, "test-of-the-settings")

    def _post(self, message: helpers.Mail, deadline: Deadline, connected: Callable[[socket.socket], None]) -> Any:
        api = sendgrid.SendGridAPIClient(self._mail.sendgrid_api_key, host=self._mail.sendgrid_base_url)
        endpoint = api.client.mail.send
        headers = {**endpoint.request_headers, "Content-Type": "application/json"}
        body = json.dumps(message.get()).encode()
        request = urllib.request.Request(endpoint._build_url(None), body, headers, method="POST")  # noqa: S310  # http(s), by the settings
        return Response(endpoint._make_request(_opener(connected), request, deadline.remaining_s() or 0.01))

    def _message(self, email: Email, message_id: str) -> helpers.Mail:
        try:
            message = helpers.Mail(
                from_email=helpers.From(self._mail.from_address, in_a_header(email.from_name or "") or None),
                to_emails=helpers.To(checked_address(email.to_address), in_a_header(email.to_name or "") or None),
                subject=in_a_header(email.subject),
                plain_text_content=email.text,
                html_content=email.html,
            )
        except ApiKeyIncludedException:
            raise MailRefused("SendGrid's package takes something in the message for an API key") from None
        message.reply_to = helpers.ReplyTo(self._mail.reply_to)
        message.add_header(helpers.Header(ID_HEADER, message_id))
        message.add_header(helpers.Header("Auto-Submitted", "auto-generated"))
        message.add_custom_arg(helpers.CustomArg("message_id", message_id))
        message.tracking_settings = helpers.TrackingSettings(
            click_tracking=helpers.ClickTracking(False, False), open_tracking=helpers.OpenTracking(False)
        )
        if self._mail.sendgrid_sandbox:
            message.mail_settings = helpers.MailSettings(sandbox_mode=helpers.SandBoxMode(True))
        return message


def _opener(connected: Callable[[socket.socket], None]) -> urllib.request.OpenerDirector:
    """In place of urllib's default, which obeys proxy variables and follows redirects with the API key.

    The package's `post` would make the default for each letter, and load all certificate authorities for it.
    """
    opener = urllib.request.OpenerDirector()
    for handler in (
        _Connecting(connected),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
    ):
        opener.add_handler(handler)
    return opener


class _Connecting(urllib.request.AbstractHTTPHandler):
    """Connects before anything is sent, and reports the socket."""

    def __init__(self, connected: Callable[[socket.socket], None]) -> None:
        super().__init__()
        self._connected = connected

    def https_open(self, request: urllib.request.Request) -> Any:
        return self.do_open(self._connection, request, context=tls_context())

    def http_open(self, request: urllib.request.Request) -> Any:
        return self.do_open(self._connection, request)

    https_request = http_request = urllib.request.AbstractHTTPHandler.do_request_

    def _connection(self, host: str, /, **options: Any) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if "context" in options else http.client.HTTPConnection
        connection = kind(host, **options)
        connection.connect()
        self._connected(connection.sock)
        return connection


def _raise(status: int, headers: Mapping[str, str], body: bytes) -> NoReturn:
    """What an answer that is no success means for the caller."""
    said = _error_message(body)
    match status:
        case 401:
            raise MailStopped(
                "SendGrid does not accept SENDGRID_API_KEY: it was revoked, belongs to another account, or the plan's "
                f"mails are used up{said}"
            )
        case 403:
            raise MailStopped(
                "SendGrid does not let this key send from INVOICE_EMAIL_FROM: verify the sender or its domain there, "
                f"and give the key the permission Mail Send{said}"
            )
        case 429:
            raise MailUnanswered("SendGrid answered HTTP 429: too many requests", _pause_s(headers))
        case _ if 400 <= status < 500 and status != 408:
            raise MailRefused(f"SendGrid refused the message with HTTP {status}{said}")
    raise MailUnanswered(f"SendGrid answered HTTP {status}")


def _pause_s(headers: Mapping[str, str]) -> float:
    """From now on, by X-RateLimit-Reset (a Unix time) or Retry-After (seconds, or a date)."""
    now = time.time()
    for name in ("X-RateLimit-Reset", "Retry-After"):
        value = (headers.get(name) or "").strip()
        if re.fullmatch(r"[0-9]{1,12}", value):
            seconds = float(value) - now if float(value) > now / 2 else float(value)
        else:
            try:
                at = parsedate_to_datetime(value)
            except (ValueError, TypeError):
                continue
            seconds = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - now
        return min(max(seconds, 1.0), LONGEST_PAUSE_S)
    return DEFAULT_PAUSE_S


def _error_message(body: bytes) -> str:
    """SendGrid's own, without addresses; empty where there is none."""
    try:
        message = str(json.loads(body)["errors"][0]["message"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
    return ": " + re.sub(r"\S*@\S*", "…", mail_line(message))


def _name(failure: Exception) -> str:
    reason = getattr(failure, "reason", None)
    return type(reason if isinstance(reason, Exception) else failure).__name__
