"""The e-mail that takes a day's anchor out of the house, to the shop's own address. Pure: text in, text out."""

from __future__ import annotations

from datetime import datetime, timedelta
from html import escape

from shared.east_africa_time import EAT
from shared.mail.mailer import Email

TEXT = """\
Keep this message. It holds one line about your payments:

{token}

It stands for every entry in the history of every payment until midnight of {day}. Should anybody ever change, remove or
restore anything of that history, this line no longer fits. To compare:

python -m ops audit verify --anchor {token}

Nothing has happened, and nothing is to be done: such a message comes once a day.
"""


def render(token: str, made_at: datetime, to_address: str) -> Email:
    """The message about the day that ended before `made_at`."""
    before = made_at.astimezone(EAT) - timedelta(days=1)
    day = f"{before.day} {before:%B %Y}"
    text = TEXT.format(token=token, day=day)
    html = "".join(f"<p>{escape(part)}</p>" for part in text.strip().split("\n\n"))
    return Email(to_address, None, f"Payment history until {day}: keep this message", text, html)
