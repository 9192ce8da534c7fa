"""An example of every problem that each function answers, from the table of shared/problems.py."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

from netlify.functions.invoice import NONE_TAKEN
from shared.orders import read_stkpush
from shared.problems import FieldError, Kind, Problem

Body = dict[str, Any]
BRIDGE = Path(__file__).resolve().parent.parent / "netlify" / "plugins" / "python-functions" / "runtime" / "problems.js"
RETRY_AFTER_S = {
    Kind.TOO_SOON: 117,
    Kind.TOO_MANY_PHONE: 540,
    Kind.TOO_MANY_ADDRESS: 540,
    Kind.TOO_MANY_SHOP: 40,
    Kind.ABOVE_LIMIT_PHONE_DAY: 21_600,
    Kind.ABOVE_LIMIT_SHOP_DAY: 21_600,
    Kind.TOO_OFTEN: 43_200,
    Kind.TOO_MANY_INVOICES: 1_260,
}
MOST_KES = {Kind.ABOVE_LIMIT_PAYMENT: Decimal(20_000), Kind.ABOVE_LIMIT_PHONE_DAY: Decimal(50_000)}
ERRORS = {
    Kind.MISCONFIGURED: (FieldError("MPESA_ENV", "must hold 'sandbox' or 'production'"),),
    Kind.ADDRESS_REMOVED: (NONE_TAKEN,),
    Kind.ORDER_INVALID: (FieldError("order", "is a payment link that is out of date. Ask the shop for a new one"),),
}
AMOUNT_KES = {Kind.PRICE_CHANGED: Decimal(1_650)}


def examples(function: str, method: str) -> dict[str, Body]:
    """The bodies of the problems that a function answers, by the names of the examples."""
    return dict(_example(kind, function, method) for kind in Kind if function in kind.functions) | bridge_problems()


def _example(kind: Kind, function: str, method: str) -> tuple[str, Body]:
    name = kind.name.lower()
    match kind:
        case Kind.METHOD_NOT_ALLOWED:
            return f"use_{method.lower()}", Problem(kind, allow=method).body()
        case Kind.INVALID:
            return f"{name}_{function}", _invalid(function).body()
    errors, retry_after_s = ERRORS.get(kind, ()), RETRY_AFTER_S.get(kind)
    most_kes, amount_kes = MOST_KES.get(kind), AMOUNT_KES.get(kind)
    problem = Problem(kind, *errors, retry_after_s=retry_after_s, most_kes=most_kes, amount_kes=amount_kes)
    return name, problem.body()


def _invalid(function: str) -> Problem:
    if function == "invoice":
        return Problem(Kind.INVALID, FieldError("transaction_id", "must be the id that the payment was given"))
    try:
        read_stkpush({"phone_number": "0812", "amount": 0, "account_reference": "INV00042"})
    except Problem as problem:
        return problem
    raise AssertionError("this order is fine")


def bridge_problems() -> dict[str, Body]:
    """What Netlify's Node answers where Python gave no answer, by code."""
    text = BRIDGE.read_text("utf-8")
    found = re.findall(r"^  (function_\w+): \{\n    title: '(.+)',\n    detail: '(.+)',$", text, re.MULTILINE)
    return {
        code: {"type": "about:blank", "title": title, "status": 502, "code": code, "detail": detail}
        for code, title, detail in found
    }
