"""The daily e-mail to the shop with the anchor of its audit log. Pure: text in, text out."""

from __future__ import annotations

from datetime import datetime, timedelta
from html import escape

from shared.mail.mailer import Email
from shared.values import EAT

TEXT = """\
Keep this message: you need do nothing else. It comes once a day.

{token}

This line is a digest of the history of all your payments until midnight of {day}. If anybody ever changes, removes or
restores a part of that history, the line no longer matches. To compare:

python -m ops audit verify --anchor {token}
"""


def render(token: str, made_at: datetime, to_address: str) -> Email:
    """The message about the day that ended before `made_at`."""
    before = made_at.astimezone(EAT) - timedelta(days=1)
    day = f"{before.day} {before:%B %Y}"
    text = TEXT.format(token=token, day=day)
    html = "".join(f"<p>{escape(part)}</p>" for part in text.strip().split("\n\n"))
    return Email(to_address, None, f"Payment history until {day}: keep this message", text, html)
