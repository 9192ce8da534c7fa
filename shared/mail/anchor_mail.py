"""E-mail to the shop with lines to keep: the daily anchor of its audit log, and erasures. Pure: text in, text out."""

from __future__ import annotations

from collections.abc import Sequence
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
ERASED = """\
Keep this message: you need do nothing else. It comes when somebody was erased from your books.

{lines}

These lines name nobody. A backup that is older than this still has the person. If you ever restore one, give this
message, saved as a file, to: python -m ops privacy repeat FILE
"""


def render(token: str, made_at: datetime, to_address: str) -> Email:
    """The message about the day that ended before `made_at`."""
    before = made_at.astimezone(EAT) - timedelta(days=1)
    day = f"{before.day} {before:%B %Y}"
    return _email(to_address, f"Payment history until {day}: keep this message", TEXT.format(token=token, day=day))


def erasures(lines: Sequence[str], to_address: str) -> Email:
    """The message after persons were erased."""
    return _email(to_address, "Erased from your books: keep this message", ERASED.format(lines="\n".join(lines)))


def _email(to_address: str, subject: str, text: str) -> Email:
    html = "".join(f"<p>{escape(part)}</p>" for part in text.strip().split("\n\n"))
    return Email(to_address, None, subject, text, html)
