"""E-mail addresses that are safe in a mail header: one plain address, no display name, no list."""

from __future__ import annotations

import re

EMAIL_ADDRESS = (
    r"(?!\.|.*(?:\.\.|\.@|=\?))[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}"
    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}"
)
"""Not taken: a dot at either end of the name, two dots in a row, and `=?`, which mail programs decode."""
LONGEST_EMAIL_ADDRESS = 254


def is_email_address(value: str) -> bool:
    """True for one plain address."""
    return len(value) <= LONGEST_EMAIL_ADDRESS and re.fullmatch(EMAIL_ADDRESS, value) is not None
