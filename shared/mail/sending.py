"""Sends what the outbox has leased, by the mailer that the settings choose, and records the result at once.

A fault of the message ends that message. A fault of the shop's account or of the mail server does not count as a try:
all mail waits and an alert is raised, whoever sends.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from shared.environment import Misconfigured
from shared.gateway.outbox import InvoiceDue
from shared.observability.log import failed

if TYPE_CHECKING:
    from datetime import datetime

    from shared.collaborators import Collaborators
    from shared.deadline import Deadline
    from shared.gateway.outbox import AnchorDue, LetterDue, MailDue, NoticeDue
    from shared.mail.letters import Kind, Letter
    from shared.mail.mailer import Email, Mailer
    from shared.settings import MailSettings

STOPPED_FOR_S = 300.0
"""Until one message is tried again: soon after a repair, and too rarely for the server to lock us out."""


class NoMailNow(Exception):
    """No mail is accepted at the moment: try no other message for a while."""


def mailer_from(mail: MailSettings) -> Mailer:
    """SMTP where SMTP_URL is set, else SendGrid; each is imported only where it is used."""
    if mail.smtp_url:
        from shared.mail.smtp import SmtpMailer

        return SmtpMailer(mail)
    from shared.mail.sendgrid import SendGridMailer

    return SendGridMailer(mail)


def send_letter(mine: Collaborators, due: InvoiceDue | NoticeDue, deadline: Deadline) -> None:
    """Raises `NoMailNow`, or `MailRefused` where only this message failed. Both are recorded."""
    from shared.mail.letters import Kind, write

    _require_settings(mine, due)
    if isinstance(due, InvoiceDue):
        message_id = f"{due.invoice_number}.{due.id}"
        letter = replace(
            _letter(mine, due, Kind.INVOICE, due.paid_at),
            invoice_number=due.invoice_number,
            invoice_date=due.invoice_date,
        )
    else:
        message_id = f"notice.{due.id}"
        letter = replace(
            _letter(mine, due, Kind(due.topic), due.at),
            refund_receipt=due.refund_receipt,
            refunded_kes=due.amount_kes if due.paid_at else None,
            result_code=due.result_code,
        )
    _send(mine, due, write(letter, mine.gateway.watch.letter_template_breaks), message_id, deadline)


def _letter(mine: Collaborators, due: LetterDue, kind: Kind, at: datetime) -> Letter:
    from shared.mail.letters import Letter

    shop, mail = mine.settings.letters.shop, mine.settings.letters.mail
    return Letter(
        kind=kind,
        lang=due.lang,
        transaction_id=due.transaction_id,
        customer_name=due.customer_name,
        customer_email=due.customer_email,
        customer_phone=due.customer_phone,
        amount_kes=due.amount_kes,
        account_reference=due.account_reference,
        description=due.transaction_desc,
        at=at,
        receipt=due.receipt,
        shop_name=shop.name,
        shop_address=shop.address,
        shop_tax_pin=shop.tax_pin,
        reply_to=mail.reply_to,
    )


def mail_anchor(mine: Collaborators, due: AnchorDue, deadline: Deadline) -> None:
    """To the shop itself. Raises as `send_letter`."""
    from shared.mail.anchor_mail import render

    _require_settings(mine, due)
    email = render(due.token, due.made_at, mine.settings.letters.mail.reply_to)
    _send(mine, due, email, f"anchor.{due.id}", deadline)


def _send(mine: Collaborators, due: MailDue, email: Email, message_id: str, deadline: Deadline) -> None:
    from shared.mail.mailer import MailRefused, MailStopped, MailUnanswered

    try:
        mine.mailer.send(email, deadline, message_id=message_id)
    except MailRefused as refusal:
        mine.gateway.outbox.failed(due, str(refusal), give_up=True)
        raise
    except MailStopped as stopped:
        _stop(mine, due, stopped)
        raise NoMailNow from stopped
    except MailUnanswered as silence:
        mine.gateway.outbox.failed(due, str(silence))
        if silence.retry_after_s is not None:
            mine.gateway.outbox.hold_mail(silence.retry_after_s)
        raise NoMailNow from silence
    mine.gateway.outbox.sent(due)


def _require_settings(mine: Collaborators, due: MailDue) -> None:
    """Settings of mail that cannot be used stop mail, as a refused key does, and nothing else."""
    try:
        _ = mine.settings.letters
    except Misconfigured as wrong:
        failed("mail", wrong)
        _stop(mine, due, wrong)
        raise NoMailNow from wrong


def _stop(mine: Collaborators, due: MailDue, reason: Exception) -> None:
    """All mail waits until a person has corrected something."""
    mine.gateway.outbox.put_back(due, str(reason))
    mine.gateway.outbox.hold_mail(STOPPED_FOR_S)
    mine.gateway.watch.mail_stops()
