"""Web addresses in a line of text: mail programs make links of them, and nobody may advertise through our letters."""

from __future__ import annotations

ENDINGS = (
    "com|net|org|info|biz|app|dev|shop|store|site|online|xyz|top|link|live"
    "|click|club|vip|win|bet|co|ke|io|ly|me|gg|cc|tv|tk|ru|cn"
)
"""Of addresses that people write without www. A title before a name ("Dr.Otieno") is not one."""
_IN_ANY_CASE = "".join([letter if letter == "|" else f"[{letter.upper()}{letter}]" for letter in ENDINGS])
WEB_ADDRESS = (
    r"://|(^|[^A-Za-z0-9])[Ww][Ww][Ww]\.|[A-Za-z0-9-]\.[A-Za-z]{2,}/"
    rf"|[A-Za-z0-9-]{{2}}\.({_IN_ANY_CASE})([^A-Za-z0-9]|$)"
)
"""A pattern without flags: JSON Schema and JavaScript read it alike."""
