"""Which mailer the settings choose."""

from __future__ import annotations

from shared.mail.mailer import Mailer
from shared.settings import MailSettings


def mailer_from(mail: MailSettings) -> Mailer:
    """SMTP where SMTP_URL is set, else SendGrid; each is imported only where it is used."""
    if mail.smtp_url:
        from shared.mail.smtp import SmtpMailer

        return SmtpMailer(mail)
    from shared.mail.sendgrid import SendGridMailer

    return SendGridMailer(mail)
