"""One plain e-mail address, as a customer types it and a mail header can carry it."""

from __future__ import annotations

import re

EMAIL_ADDRESS = (
    r"(?!\.|.*(?:\.\.|\.@|=\?))[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}"
    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}"
)
"""No dot at an end of the name or beside another, and no `=?`, which mail programs decode."""
LONGEST_EMAIL_ADDRESS = 254


def is_email_address(value: str) -> bool:
    """One plain address: no display name, no list, nothing that could break out of a mail header."""
    return len(value) <= LONGEST_EMAIL_ADDRESS and re.fullmatch(EMAIL_ADDRESS, value) is not None
