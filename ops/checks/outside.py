"""Whom the shop calls: Daraja gives a token, the mail service takes our mail. No phone rings, nothing is sent."""

from __future__ import annotations

from ops.checks import Finding, Shop, failed, ok
from shared.collaborators import mailer_from
from shared.daraja.answers import Rejected, Unavailable
from shared.daraja.client import AccessTokens
from shared.deadline import Deadline
from shared.gateway import app_of
from shared.gateway.daraja import Tokens
from shared.mail.mailer import MailRefused, MailStopped, MailUnanswered

ANSWERS_WITHIN_S = 20


def daraja_token(shop: Shop) -> Finding:
    """A new one, under the lease that all instances share: it takes the place of the old one for all of them."""
    mine = shop.settings.need("daraja").daraja
    app = app_of(mine.consumer_key)
    store, until = Tokens(shop.database, app), Deadline.after(ANSWERS_WITHIN_S)
    tokens = AccessTokens(mine, store)
    try:
        if (present := store.read_token()) is None:
            tokens.current(until)
        else:
            tokens.renewed(present, until)
    except Rejected as refused:
        if not refused.explanation.startswith("Safaricom"):
            return failed(f"Daraja refused: {refused.explanation}", "Correct MPESA_BASE_URL")
        had_one = shop.database.row("SELECT FROM access_tokens WHERE app = :app AND token IS NOT NULL", app=app)
        which = "MPESA_CONSUMER_SECRET: this key had a token before" if had_one is not None else "one of the two"
        return failed(
            f"Daraja refuses MPESA_CONSUMER_KEY with MPESA_CONSUMER_SECRET (HTTP {refused.code}); wrong is {which}",
            f"Copy both from one app on the Daraja portal, one for {mine.environment}: docs/deploying.md, step 1",
        )
    except Unavailable as silent:
        edge = "a page" in str(silent)
        between = "A firewall answers in Daraja's place: try from another network" if edge else "Try again"
        return failed(f"no token: {silent}", f"{between}; if it lasts, docs/runbook.md, Safaricom's support")
    return ok(f"Daraja gave a token for {mine.environment}")


def mail(shop: Shop) -> Finding:
    mine = shop.settings.letters.mail
    service = "the mail server" if mine.smtp_url else "SendGrid"
    names = "SMTP_URL" if mine.smtp_url else "SENDGRID_API_KEY and INVOICE_EMAIL_FROM"
    try:
        mailer_from(mine).check(Deadline.after(ANSWERS_WITHIN_S))
    except (MailRefused, MailStopped) as refused:
        return failed(str(refused), f"Correct {names}: docs/deploying.md, step 3")
    except MailUnanswered as silent:
        return failed(f"{service} took no mail: {silent}", f"Try again; if it lasts, correct {names}")
    how = "the mail server takes the login" if mine.smtp_url else "SendGrid takes a message in its sandbox mode"
    return ok(f"{how}; nothing was sent")
