"""E-mail through SendGrid's v3 API."""

from __future__ import annotations

import json
import re
import ssl
import time
from datetime import UTC
from email.utils import parsedate_to_datetime

from shared.calls_out import Answer, CallFailed, Request, exchange
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
    one_line,
)
from shared.settings import MailSettings

A_RESET_S = 60.0
"""How long nothing is sent after a 429 that names no time: most of SendGrid's limits are a minute's."""
LONGEST_RESET_S = 3600.0


class SendGridMailer(Mailer):
    """SendGrid's v3 API, in the words of its own package; carried by our own exchange.

    The package's client would follow redirects with the key in hand, obey proxy variables, and wait without a deadline.
    """

    def __init__(self, mail: MailSettings) -> None:
        self._mail = mail

    def send(self, email: Email, deadline: Deadline, message_id: str) -> None:
        try:
            answer = exchange(self._request(email, checked_id(message_id)), deadline)
        except CallFailed as silent:
            if isinstance(silent.__cause__, ssl.SSLCertVerificationError):
                raise MailStopped(f"whoever answers for SendGrid cannot prove it ({silent})") from silent
            raise MailUnanswered(f"SendGrid gave no answer ({silent})") from silent
        match answer.status:
            case 202:
                return
            case 200 if self._mail.sendgrid_sandbox:  # checked, and not sent
                return
            case 401 | 403:
                raise MailStopped(_why_sendgrid_stops(answer))
            case 429:
                raise MailUnanswered("SendGrid answered HTTP 429: too much at once", _reset_s(answer))
            case status if 400 <= status < 500 and status != 408:
                raise MailRefused(f"SendGrid refused the message with HTTP {status}{_in_its_words(answer.body)}")
            case status:
                raise MailUnanswered(f"SendGrid answered HTTP {status}")

    def _request(self, email: Email, message_id: str) -> Request:
        import sendgrid
        from sendgrid.helpers import mail as words
        from sendgrid.helpers.mail.exceptions import ApiKeyIncludedException

        api = sendgrid.SendGridAPIClient(self._mail.sendgrid_api_key, host=self._mail.sendgrid_base_url)
        try:
            letter = words.Mail(
                from_email=words.From(self._mail.from_address, in_a_header(email.from_name or "") or None),
                to_emails=words.To(checked_address(email.to_address), in_a_header(email.to_name or "") or None),
                subject=in_a_header(email.subject),
                plain_text_content=email.text,
                html_content=email.html,
            )
        except ApiKeyIncludedException:
            raise MailRefused("SendGrid's package takes something in the message for an API key") from None
        letter.reply_to = words.ReplyTo(self._mail.reply_to)
        letter.add_header(words.Header(ID_HEADER, message_id))
        letter.add_header(words.Header("Auto-Submitted", "auto-generated"))
        letter.add_custom_arg(words.CustomArg("message_id", message_id))
        letter.tracking_settings = words.TrackingSettings(
            click_tracking=words.ClickTracking(False, False), open_tracking=words.OpenTracking(False)
        )
        if self._mail.sendgrid_sandbox:
            letter.mail_settings = words.MailSettings(sandbox_mode=words.SandBoxMode(True))
        headers = {**api.client.request_headers, "Content-Type": "application/json"}
        return Request("POST", f"{api.host}/v3/mail/send", headers, json.dumps(letter.get()).encode())


def _why_sendgrid_stops(answer: Answer) -> str:
    said = _in_its_words(answer.body)
    if answer.status == 401:
        return (
            "SendGrid does not accept SENDGRID_API_KEY: it was revoked, belongs to another account, or the plan's "
            f"mails are used up{said}"
        )
    return (
        "SendGrid does not let this key send from INVOICE_EMAIL_FROM: verify the sender or its domain there, and give "
        f"the key the permission Mail Send{said}"
    )


def _reset_s(answer: Answer) -> float:
    """From now on, by X-RateLimit-Reset (a Unix time) or Retry-After (seconds, or a date)."""
    now = time.time()
    for name in ("x-ratelimit-reset", "retry-after"):
        said = answer.headers.get(name, "").strip()
        if re.fullmatch(r"[0-9]{1,12}", said):
            seconds = float(said) - now if float(said) > now / 2 else float(said)
        else:
            try:
                at = parsedate_to_datetime(said)
            except (ValueError, TypeError):
                continue
            seconds = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - now
        return min(max(seconds, 1.0), LONGEST_RESET_S)
    return A_RESET_S


def _in_its_words(body: bytes) -> str:
    try:
        said = str(json.loads(body)["errors"][0]["message"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
    return ": " + re.sub(r"\S*@\S*", "…", one_line(said))
