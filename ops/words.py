"""Words that an operator types, and words from outside that an operator reads."""

from __future__ import annotations

import argparse
import re

from ops.redaction import FILLING
from shared.mail.mailer import one_line

_PHONE = re.compile(rf"(?<![0-9])(?:\+?254{FILLING}|0)?[17](?:{FILLING}[0-9]){{8}}(?![0-9])")


def impersonal_words(text: str) -> str:
    """For the audit log, which never changes: nobody may stand in it. Raises `argparse.ArgumentTypeError`."""
    words = " ".join(text.split())
    if not words or not words.isprintable() or len(words) > 300:
        raise argparse.ArgumentTypeError("must be words: at most 300 printable characters, and not none")
    if "@" in words or _PHONE.search(words):
        raise argparse.ArgumentTypeError(
            "must be words with no phone number and no e-mail address in them: they can never be erased"
        )
    return words


def visible(text: object) -> str:
    """What came from outside, as one line without anything that a terminal would obey."""
    return one_line(str(text))


def counted(number: int, what: str, many: str = "") -> str:
    """`1 payment`, `2 payments`; `many` where an s does not make it."""
    return f"{number:,} {what if number == 1 else many or what + 's'}"
