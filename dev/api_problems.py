"""Every error that the API can answer, each with the real answer as its example: made by the functions' own code."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

from netlify.functions.callback import inbox_full
from netlify.functions.invoice import address_removed, not_paid, too_many_asked, too_often
from shared.edge import (
    Code,
    FieldError,
    Problem,
    internal,
    invalid,
    method_not_allowed,
    misconfigured,
    not_found,
    not_json,
    origin_not_allowed,
    too_large,
    unavailable,
)
from shared.limits import MoneyLimit, Scope
from shared.orders import read_order
from shared.pushing import prompt_open, rejected
from shared.refusals import above_limit, idempotency_mismatch, too_many, too_soon
from shared.settings_reader import Misconfigured

BRIDGE = Path(__file__).resolve().parent.parent / "netlify" / "plugins" / "python-functions" / "runtime" / "problems.js"


def _refused(body: dict[str, object]) -> Problem:
    try:
        read_order(body)
    except Problem as problem:
        return problem
    raise AssertionError("this order is fine")


def _not_an_id() -> Problem:
    return invalid(FieldError("transaction_id", "must be the id that the payment was given"))


Told = dict[str, Problem]
"""Examples by name; a code that is answered in several ways has one of each."""

UNREADABLE = not_json("The body is not a JSON object.")
EVERYWHERE: dict[Code, Told] = {
    "not_json": {"not_json": UNREADABLE},
    "too_large": {"too_large": too_large()},
    "internal": {"internal": internal()},
    "misconfigured": {
        "misconfigured": misconfigured(Misconfigured.of("MPESA_ENV", "'sandbox' or 'production'")),
    },
    "unavailable": {"unavailable": unavailable("The database did not answer. Try again in a moment.")},
}
NOT_JSON: dict[Code, Told] = {
    "not_json": {
        "not_json": UNREADABLE,
        "not_json_type": not_json("Send a JSON object with Content-Type: application/json.", status=415),
    },
}
OF_PREFLIGHT: dict[Code, Told] = {"origin_not_allowed": {"origin_not_allowed": origin_not_allowed()}}


def wrong_method(allowed: str) -> dict[Code, Told]:
    return {"method_not_allowed": {f"use_{allowed.lower()}": method_not_allowed((allowed,))}}


OF_STKPUSH: dict[Code, Told] = {
    **NOT_JSON,
    "invalid": {"invalid_order": _refused({"phone_number": "0812", "amount": 0, "account_reference": "INV00042"})},
    "idempotency_mismatch": {"idempotency_mismatch": idempotency_mismatch()},
    "too_soon": {"too_soon": too_soon(117)},
    "too_many": {f"too_many_{scope}": too_many(scope, 540) for scope in Scope},
    "above_limit": {
        "above_limit_payment": above_limit(MoneyLimit.PAYMENT, Decimal(20_000), None),
        "above_limit_phone_day": above_limit(MoneyLimit.PHONE_DAY, Decimal(50_000), 21_600),
        "above_limit_shop_day": above_limit(MoneyLimit.SHOP_DAY, Decimal(500_000), 21_600),
    },
    "prompt_open": {"prompt_open": prompt_open()},
    "daraja_rejected": {"daraja_rejected": rejected()},
}
OF_STATUS: dict[Code, Told] = {"not_found": {"not_found": not_found()}}
OF_INVOICE: dict[Code, Told] = {
    **NOT_JSON,
    **OF_STATUS,
    "invalid": {"invalid_id": _not_an_id(), "address_removed": address_removed()},
    "not_paid": {"not_paid": not_paid()},
    "too_often": {"too_often": too_often(43_200), "too_often_in_all": too_often(None)},
    "too_many": {"too_many_invoices": too_many_asked(1_260)},
}
OF_CALLBACK: dict[Code, Told] = {**OF_STATUS, "inbox_full": {"inbox_full": inbox_full()}}


def bridge_problems() -> dict[str, dict[str, Any]]:
    """What Netlify's Node answers where Python gave no answer, by code."""
    text = BRIDGE.read_text("utf-8")
    found = re.findall(r"^  (function_\w+): \{\n    title: '(.+)',\n    detail: '(.+)',$", text, re.MULTILINE)
    return {
        code: {"type": "about:blank", "title": title, "status": 502, "code": code, "detail": detail}
        for code, title, detail in found
    }
