"""public/openapi.json, printed from the code: patterns, limits, codes, wordings and examples are the functions' own."""

from __future__ import annotations

import json
import tomllib
from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from dev.api_problems import Body, bridge_problems, examples
from netlify.functions import callback, invoice, status, stkpush
from shared.daraja.callback_address import TOKEN
from shared.email_address import EMAIL_ADDRESS, LONGEST_EMAIL_ADDRESS
from shared.gateway.statuses import StatusView
from shared.language import DEFAULT_LANG, LANGS
from shared.money import LARGEST_KES, SMALLEST_KES
from shared.orders import IDEMPOTENCY_KEY, LONGEST_DESCRIPTION, LONGEST_NAME, NOT_IN_A_LINE, REFERENCE, WEB_ADDRESS
from shared.payments import PUBLIC, Status
from shared.problems import LARGEST_BODY_BYTES, Kind
from shared.transaction_id import TRANSACTION_ID

Json = dict[str, Any]
ROOT = Path(__file__).resolve().parent.parent
AN_ID = "5f0c9a52-93f4-4c9b-8c52-0d6f3c5be001"
A_TOKEN = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
NOON = datetime(2026, 5, 4, 9, 15, 30, 204_000, tzinfo=UTC)
PROBLEM_JSON = "application/problem+json"


def openapi_json() -> str:
    """The whole file."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def document() -> Json:
    """The API as OpenAPI 3.1."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Lipa",
            "version": project["version"],
            "summary": "M-Pesa payments for a static site.",
            "description": "JSON in and out. Errors are problem details (RFC 9457) with a stable `code`. "
            "A body has at most 16 KB. The same addresses exist under /api/pay and /api/mpesa.",
            "license": {"name": project["license"], "identifier": project["license"]},
        },
        "servers": [{"url": "/api/pay"}, {"url": "/api/mpesa"}],
        "paths": {
            "/stkpush": {"post": _stkpush(), "options": _preflight("stkpush", "POST")},
            "/status/{transaction_id}": {
                "parameters": [_path_id()],
                "get": _status(),
                "options": _preflight("status", "GET"),
            },
            "/invoice": {"post": _invoice(), "options": _preflight("invoice", "POST")},
            "/callback/{transaction_id}/{token}": {"post": _callback()},
        },
        "components": {"schemas": _schemas(), "examples": _all_examples()},
    }


# The functions --------------------------------------------------------------------------------------------------------


def _stkpush() -> Json:
    order = {"phone_number": "0708 374 149", "amount": 1500, "account_reference": "INV00042"}
    more = {
        "transaction_desc": "Two bags of coffee",
        "customer_email": "alice@example.com",
        "customer_name": "Alice Wanjiru",
        "lang": "sw",
    }
    answers = {
        name: _given(stkpush.accepted("/api/pay/stkpush", AN_ID, state, checkout_id).body)
        for name, state, checkout_id in (
            ("asked", Status.PENDING, "ws_CO_04052026121530204708374149"),
            ("unclear", Status.UNCERTAIN, None),
            ("seen_before", Status.PAID, "ws_CO_04052026121530204708374149"),
        )
    }
    return {
        "operationId": "stkpush",
        "summary": "Ask a customer for money, once",
        "description": "202 means that the customer is being asked, or was: never that it is paid. "
        "`checkout_request_id` is null where M-Pesa's answer was unclear; the payment then resolves by itself.",
        "parameters": [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "description": "One for each attempt to pay. The same key with the same body is the same payment.",
                "schema": {"type": "string", "pattern": _whole(IDEMPOTENCY_KEY)},
                "example": "7b1f7b0e-4a51-4f0e-8f0b-3d1c1e1f9a10",
            }
        ],
        "requestBody": _body("Order", {"an_order": _given(order), "with_an_invoice": _given(order | more)}),
        "responses": {
            "202": _answer("The customer is being asked.", "Accepted", answers),
            **_problems("stkpush", "POST"),
        },
    }


def _status() -> Json:
    return {
        "operationId": "status",
        "summary": "Where a payment stands",
        "description": "Who holds the id may read it. While there is a `retry_after_s`, ask again after so many "
        "seconds: also a failed payment can turn out paid.",
        "responses": {
            "200": _answer("The payment.", "Payment", {name: _given(told) for name, told in _payments().items()}),
            **_problems("status", "GET"),
        },
    }


def _invoice() -> Json:
    once = {"transaction_id": AN_ID}
    return {
        "operationId": "invoice",
        "summary": "Send the invoice of a paid payment again",
        "description": "To the address stored with the payment, and to no other; three times a day, ten times in all.",
        "requestBody": _body(
            "InvoiceRequest",
            {"again": _given(once), "to_a_first_address": _given(once | {"customer_email": "alice@example.com"})},
        ),
        "responses": {
            "202": _answer("It is on its way.", "InvoiceSent", {"on_its_way": _given(invoice.on_its_way(AN_ID).body)}),
            **_problems("invoice", "POST"),
        },
    }


def _callback() -> Json:
    paid = [
        {"Name": "Amount", "Value": 1500},
        {"Name": "MpesaReceiptNumber", "Value": "UE4JS31RBV"},
        {"Name": "TransactionDate", "Value": 20260504121530},
        {"Name": "PhoneNumber", "Value": 254708374149},
    ]
    told = {
        "MerchantRequestID": "5998-46a7-a4aa-5a37a83f21ad3833",
        "CheckoutRequestID": "ws_CO_04052026121530204708374149",
        "ResultCode": 0,
        "ResultDesc": "The service request is processed successfully.",
        "CallbackMetadata": {"Item": paid},
    }
    bytes_as_they_are = {
        "description": "Whatever Safaricom sends is kept as it is before it is judged, in any content type.",
        "required": False,
        "content": {
            "application/json": {"schema": {}, "examples": {"paid": _given({"Body": {"stkCallback": told}})}},
        },
    }
    token = {
        "name": "token",
        "in": "path",
        "required": True,
        "description": "An HMAC of the id, which only this shop can write. Anything else is a 404, and is not kept.",
        "schema": {"type": "string", "pattern": _whole(TOKEN)},
        "example": A_TOKEN,
    }
    return {
        "operationId": "callback",
        "summary": "Safaricom tells what became of a payment",
        "description": "For Safaricom alone.",
        "parameters": [_path_id(), token],
        "requestBody": bytes_as_they_are,
        "responses": {
            "200": _answer("It is on file.", "OnFile", {"on_file": _given(callback.ACCEPTED)}),
            **_problems("callback", "POST"),
        },
    }


def _preflight(function: str, method: str) -> Json:
    allow = {
        "Access-Control-Allow-Origin": {"schema": {"type": "string"}},
        "Access-Control-Allow-Methods": {"schema": {"type": "string", "const": method}},
    }
    return {
        "operationId": f"{function}_preflight",
        "summary": "A browser asks beforehand whether a page of another origin may",
        "parameters": [
            {
                "name": "Origin",
                "in": "header",
                "required": True,
                "schema": {"type": "string", "minLength": 1},
                "example": "https://shop.example",
            },
        ],
        "responses": {
            "204": {"description": "It may: the origin is one of ALLOWED_ORIGINS.", "headers": allow},
            **_problems("preflight", method),
        },
    }


# What they take and give ----------------------------------------------------------------------------------------------


def _schemas() -> Json:
    return {
        "Order": _object(
            {
                "phone_number": _phone(),
                "amount": _amount(),
                "account_reference": {
                    "type": "string",
                    "pattern": _whole(REFERENCE),
                    "description": "The customer sees it in the prompt and on the statement.",
                },
                "transaction_desc": _line(LONGEST_DESCRIPTION),
                "customer_email": _email("The invoice goes there, and notices of what else becomes of the payment."),
                "customer_name": _line(LONGEST_NAME),
                "lang": {
                    "enum": [*LANGS, None],
                    "default": DEFAULT_LANG,
                    "description": "What the invoice and notices are written in: English or Swahili.",
                },
            },
            required=["phone_number", "amount", "account_reference"],
        ),
        "Accepted": _object(
            {
                "transaction_id": _id(),
                "checkout_request_id": {"type": ["string", "null"]},
                "status": _public_status(),
                "message": {"type": "string"},
                "status_url": {"type": "string", "pattern": _whole(f"/api/(pay|mpesa)/status/{TRANSACTION_ID}")},
                "poll_after_s": {"type": "integer", "minimum": 1},
            }
        ),
        "Payment": _object(
            {
                "transaction_id": _id(),
                "status": _public_status(),
                "amount": {"type": "integer", "minimum": int(SMALLEST_KES), "maximum": int(LARGEST_KES)},
                "account_reference": {"type": "string", "pattern": _whole(REFERENCE)},
                "message": {"type": "string"},
                "updated_at": {"type": "string", "format": "date-time"},
                "mpesa_receipt_number": {"type": "string"},
                "result_code": {"type": "string", "description": "M-Pesa's own: see docs/result-codes.md."},
                "next_action": {"type": "string", "description": "What the customer should do now."},
                "retry_after_s": {"type": "integer", "minimum": 1},
            },
            required=["transaction_id", "status", "amount", "account_reference", "message", "updated_at"],
        ),
        "InvoiceRequest": _object(
            {"transaction_id": _id(), "customer_email": _email("Taken once, where none is stored.")},
            required=["transaction_id"],
        ),
        "InvoiceSent": _object({"transaction_id": _id(), "message": {"type": "string"}}),
        "OnFile": _object({name: {"const": value} for name, value in callback.ACCEPTED.items()}),
        "Problem": {
            "type": "object",
            "description": "RFC 9457. `code` never changes its meaning; `detail` is for people.",
            "required": ["type", "title", "status", "code", "detail"],
            "properties": {
                "type": {"const": "about:blank"},
                "title": {"type": "string"},
                "status": {"type": "integer"},
                "code": {"enum": sorted({kind.code for kind in Kind} | bridge_problems().keys())},
                "detail": {"type": "string"},
                "errors": {
                    "type": "array",
                    "items": _object({"field": {"type": "string"}, "detail": {"type": "string"}}),
                },
                "retry_after_s": {"type": "integer", "minimum": 0, "description": "As in the header Retry-After."},
                "limit": {"type": "string", "description": "Which limit refused."},
                "most_kes": {"type": "integer", "description": "What that limit allows."},
            },
            "additionalProperties": False,
        },
    }


def _payments() -> dict[str, Json]:
    """One payment of each public status, as the status function describes it."""
    receipt, asked, never = "UE4JS31RBV", 12.0, None
    views = {
        "pending": (Status.PENDING, never, never, asked),
        "paid": (Status.PAID, receipt, "0", asked),
        "failed": (Status.CANCELLED, never, "1032", asked),
        "under_review": (Status.REVIEW, never, never, 4000.0),
        "refunded": (Status.REFUNDED, receipt, "0", 4000.0),
    }
    return {
        name: status.described(
            StatusView(
                transaction_id=AN_ID,
                status=state,
                amount_kes=Decimal(1500),
                account_reference="INV00042",
                receipt=its_receipt,
                result_code=result_code,
                response_code="0",
                pushed=True,
                success_held=False,
                age_s=age_s,
                updated_at=NOON,
                sweep_is_late=False,
            )
        )
        for name, (state, its_receipt, result_code, age_s) in views.items()
    }


def _phone() -> Json:
    """Digits with filling between them, as `shared.phone` takes them; also as a number."""
    gap = r"[ \-.()]*"
    digits = (f"[0-9]{gap}") * 8
    written = rf"^{gap}(\+?{gap}2{gap}5{gap}4{gap}|0{gap})?[71]{gap}{digits}$"
    ranges = [
        {"type": "integer", "minimum": int(f"{country}{kind}00000000"), "maximum": int(f"{country}{kind}99999999")}
        for country in ("", "254")
        for kind in (1, 7)
    ]
    return {
        "anyOf": [{"type": "string", "maxLength": 30, "pattern": written}, *ranges],
        "description": "A Kenyan mobile number in any form: 0712…, 0110…, 712…, 254…, +254….",
    }


def _amount() -> Json:
    """Whole shillings as a number or as digits; the pattern says the range for the digits."""
    most = int(LARGEST_KES)
    assert most == 250_000
    pattern = (
        "0{0,6}[1-9]|0{0,5}[1-9][0-9]|0{0,4}[1-9][0-9]{2}|0{0,3}[1-9][0-9]{3}|0{0,2}[1-9][0-9]{4}"
        "|0?(1[0-9]{5}|2[0-4][0-9]{4}|250000)"
    )
    return {
        "anyOf": [
            {"type": "integer", "minimum": int(SMALLEST_KES), "maximum": most},
            {"type": "string", "pattern": _whole(pattern)},
        ],
        "description": "Whole Kenyan shillings.",
    }


def _line(longest: int) -> Json:
    """By Unicode's categories. Halves of pairs are left out: most patterns cannot name them."""
    categories = "".join(rf"\p{{{category}}}" for category in NOT_IN_A_LINE if category != "Cs")
    return {
        "type": ["string", "null"],
        "maxLength": longest,
        "pattern": f"^( |[^{categories}])*$",
        "not": {"type": "string", "pattern": WEB_ADDRESS},
        "description": "One line of printable characters that holds no web address.",
    }


def _email(description: str) -> Json:
    return {
        "anyOf": [
            {"type": "string", "maxLength": LONGEST_EMAIL_ADDRESS, "pattern": _whole(EMAIL_ADDRESS)},
            {"enum": ["", None]},
        ],
        "description": description,
    }


def _public_status() -> Json:
    return {"enum": sorted({*PUBLIC.values()})}


def _id() -> Json:
    return {"type": "string", "pattern": _whole(TRANSACTION_ID), "description": "In lower case, as it was given out."}


def _path_id() -> Json:
    return {"name": "transaction_id", "in": "path", "required": True, "schema": _id(), "example": AN_ID}


# How OpenAPI says it --------------------------------------------------------------------------------------------------


def _problems(function: str, method: str) -> Json:
    """Answers by HTTP status: which codes it can have, an example of each."""
    by_status: dict[int, dict[str, Json]] = defaultdict(dict)
    for name, body in examples(function, method).items():
        by_status[body["status"]][name] = body
    answers: Json = {}
    for http_status, bodies in sorted(by_status.items()):
        codes = list(dict.fromkeys(body["code"] for body in bodies.values()))
        kind = {
            "allOf": [{"$ref": "#/components/schemas/Problem"}],
            "properties": {"status": {"const": http_status}, "code": {"enum": codes}},
        }
        content = {"schema": kind, "examples": {name: {"$ref": f"#/components/examples/{name}"} for name in bodies}}
        answers[str(http_status)] = {
            "description": ", ".join(f"`{code}`" for code in codes),
            "content": {PROBLEM_JSON: content},
        }
        if any("retry_after_s" in body for body in bodies.values()):
            seconds = {"description": "Seconds.", "schema": {"type": "integer", "minimum": 0}}
            answers[str(http_status)]["headers"] = {"Retry-After": seconds}
    return answers


def _all_examples() -> dict[str, Json]:
    bodies: dict[str, Body] = {}
    for function in ("stkpush", "status", "invoice", "callback", "preflight"):
        for method in ("GET", "POST"):
            bodies |= examples(function, method)
    return {name: _given(body) for name, body in sorted(bodies.items())}


def _answer(description: str, schema: str, examples: Json) -> Json:
    content = {"schema": {"$ref": f"#/components/schemas/{schema}"}, "examples": examples}
    return {"description": description, "content": {"application/json": content}}


def _body(schema: str, examples: Json) -> Json:
    content = {"schema": {"$ref": f"#/components/schemas/{schema}"}, "examples": examples}
    size = f"At most {LARGEST_BODY_BYTES // 1024} KB."
    return {"required": True, "description": size, "content": {"application/json": content}}


def _object(properties: Json, *, required: list[str] | None = None) -> Json:
    return {
        "type": "object",
        "required": [*properties] if required is None else required,
        "properties": properties,
        "additionalProperties": False,
    }


def _given(value: object) -> Json:
    return {"value": value}


def _whole(pattern: str) -> str:
    return f"^({pattern})$"
