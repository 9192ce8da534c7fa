"""What may leave the house in a log line or a report: the fields of this list, in the forms it gives, and nothing else.

Two guards, because one is forgotten: a field has to be listed by name, and its value has to have the form of that name.
What does not pass is not written; its name stands in `withheld` instead, and the tests fail where one does. Numbers
below 100,000 are counts and may have any name: no phone number, also none cut to its last digits, is that small.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from shared.audit_chain import TOKEN
from shared.transaction_id import TRANSACTION_ID

WORD = re.compile(r"[a-z][a-z_]{0,60}")
UUID = re.compile(TRANSACTION_ID)
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[0-9.:+Z]{0,20}")
PLACE = re.compile(r"(?!.*\d{7})[\w.<>:, ]{1,600}", re.ASCII)
PROSE = re.compile(r"(?!.*\d{7})(?!.*@)[ -~]{1,400}")
"""A sentence of ours, out of the code: the form is the second guard, not the first."""

FORMS: Mapping[str, re.Pattern[str]] = {
    "function": WORD,
    "code": WORD,
    "transaction_id": UUID,
    "inbox_id": UUID,
    "payment_status": re.compile(r"[A-Z]{4,12}"),
    "outcome": WORD,
    "failure": PLACE,
    "while_doing": WORD,
    "daraja_code": re.compile(r"(?!.*\d{7})[A-Za-z0-9._]{1,50}"),
    "daraja_says": PROSE,
    "alert": WORD,
    "since": MOMENT,
    "says": PROSE,
    "do_now": PROSE,
    "runbook": re.compile(r"docs/[a-z.]+#[a-z_]+"),
    "variables": re.compile(r"[A-Z][A-Z0-9_]{1,40}(, [A-Z][A-Z0-9_]{1,40}){0,40}"),
    "library": re.compile(r"(?!.*\d{7})[\w.]{1,80}", re.ASCII),
    "at": PLACE,
    "anchor": TOKEN,
    "template": re.compile(r"([a-z]{2}/)?[a-z_]{1,30}\.(txt|html)"),
    "broken_at": re.compile(r"(line \d{1,5}: )?[A-Za-z0-9 -]{1,60}"),
}
LARGEST_COUNT = 99_999
FIELD_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")


def safe_fields(fields: Mapping[str, object]) -> dict[str, object]:
    """The fields that may be written, and the names of those that may not as `withheld`. What is None is left out."""
    kept: dict[str, object] = {}
    withheld: list[str] = []
    for name, value in fields.items():
        if value is None:
            continue
        if is_safe(name, value):
            kept[name] = value
        else:
            withheld.append(name if FIELD_NAME.fullmatch(name) else "unnamed")
    return kept | ({"withheld": sorted(withheld)} if withheld else {})


def is_safe(name: str, value: object) -> bool:
    """Whether a field of this name and value may leave the house."""
    if isinstance(value, bool | int | float):
        return bool(FIELD_NAME.fullmatch(name)) and -LARGEST_COUNT <= value <= LARGEST_COUNT
    form = FORMS.get(name)
    return form is not None and isinstance(value, str) and form.fullmatch(value) is not None
