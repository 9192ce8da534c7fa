"""The one list of what a log line or a report to Sentry may contain.

A field must be listed by name, and its value must have the form of that name. A log line names the fields that did not
pass in `withheld`, and the tests fail where there is one. Numbers below 100,000 are counts and may have any name: no
phone number is that small, not even its last digits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from shared.audit_chain import TOKEN
from shared.values import TRANSACTION_ID

WORD = re.compile(r"[a-z][a-z_]{0,60}")
UUID = re.compile(TRANSACTION_ID)
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[0-9.:+Z]{0,20}")
PLACE = re.compile(r"(?!.*\d{7})[\w.<>:, ]{1,600}", re.ASCII)
PROSE = re.compile(r"(?!.*\d{7})(?!.*@)[ -~]{1,400}")
"""A sentence from our code. Only the code may fill such a field: the form cannot tell a name from a word."""

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


# Log lines ------------------------------------------------------------------------------------------------------------


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
    """Whether a field of this name and value may be written or sent."""
    if isinstance(value, bool | int | float):
        return bool(FIELD_NAME.fullmatch(name)) and _is_count(value)
    form = FORMS.get(name)
    return form is not None and isinstance(value, str) and form.fullmatch(value) is not None


def _is_count(value: object) -> bool:
    return isinstance(value, bool | int | float) and -LARGEST_COUNT <= value <= LARGEST_COUNT


# Reports to Sentry ----------------------------------------------------------------------------------------------------

COUNT, FIELDS = "a count", "fields of a log line"
CODE = re.compile(r"(?!/|.*\d{7})[\w.<>/-]{1,200}", re.ASCII)
"""A name from the code, or a relative path: absolute ones may contain a person's name."""
EVENT_ID = re.compile(r"[0-9a-f]{32}")
FRAME = {"filename": CODE, "function": CODE, "module": CODE, "lineno": COUNT, "in_app": COUNT}
REPORT: Mapping[str, object] = {
    "event_id": EVENT_ID,
    "timestamp": re.compile(r"[0-9T:.Z+-]{10,40}"),
    "platform": WORD,
    "level": WORD,
    "environment": WORD,
    "release": re.compile(r"[A-Za-z0-9._@/+-]{1,100}"),
    "message": PROSE,
    "fingerprint": [re.compile(rf"{UUID.pattern}|[a-z_]{{1,60}}|[0-9-]{{1,12}}")],
    "exception": {"values": [{"type": CODE, "module": CODE, "stacktrace": {"frames": [FRAME]}}]},
    "tags": FIELDS,
    "contexts": {"lipa": FIELDS},
    # of a check-in
    "type": re.compile("check_in"),
    "check_in_id": EVENT_ID,
    "monitor_slug": re.compile(r"[a-z-]{1,40}"),
    "status": WORD,
    "duration": COUNT,
    "monitor_config": {
        "schedule": {"type": WORD, "value": re.compile(r"[*/0-9 ]{9,20}")},
        "timezone": re.compile("UTC"),
        "checkin_margin": COUNT,
        "max_runtime": COUNT,
        "failure_issue_threshold": COUNT,
        "recovery_threshold": COUNT,
    },
}


def safe_report(report: Any) -> Any:
    """What of a report may be sent: built anew from `REPORT`, so that an SDK that gathers more sends no more."""
    return _listed(report, REPORT)


def _listed(value: object, form: object) -> Any:
    match form:
        case Mapping() if isinstance(value, Mapping):
            kept = {name: _listed(value.get(name), each) for name, each in form.items()}
            return {name: each for name, each in kept.items() if each is not None}
        case [each] if isinstance(value, list):
            return [kept for one in value if (kept := _listed(one, each)) is not None]
        case re.Pattern() if isinstance(value, str) and form.fullmatch(value):
            return value
        case "a count" if _is_count(value):
            return value
        case "fields of a log line" if isinstance(value, Mapping):
            return {name: each for name, each in value.items() if is_safe(name, each)}
    return None
