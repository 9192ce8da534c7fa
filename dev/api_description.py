"""public/openapi.json, printed from the code.

Bodies are the models of shared/orders.py, answers those of dev/api_answers.py, errors the table of
shared/problems.py. The examples are made by the functions themselves.
"""

from __future__ import annotations

import json
import tomllib
from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from dev.api_answers import Accepted, InvoiceSent, OnFile, Payment, Problem
from dev.api_problems import examples
from netlify.functions import callback, invoice, status, stkpush
from shared.admission import Asked
from shared.daraja.callback_address import TOKEN
from shared.edge import Request
from shared.gateway.statuses import StatusView
from shared.orders import IDEMPOTENCY_KEY, InvoiceRequest, StkpushRequest
from shared.payments import Status
from shared.problems import LARGEST_BODY_BYTES
from shared.values import TRANSACTION_ID

Json = dict[str, Any]
ROOT = Path(__file__).resolve().parent.parent
AN_ID = "5f0c9a52-93f4-4c9b-8c52-0d6f3c5be001"
A_TOKEN = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
CHECKOUT_ID = "ws_CO_04052026121530204708374149"
NOON = datetime(2026, 5, 4, 9, 15, 30, 204_000, tzinfo=UTC)


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
        "components": {"schemas": _schemas(), "examples": _problem_examples()},
    }


class _NoTitles(GenerateJsonSchema):
    """A field's title would only repeat its name."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def _schemas() -> Json:
    models = (StkpushRequest, Accepted, Payment, InvoiceRequest, InvoiceSent, OnFile, Problem)
    _, printed = TypeAdapter.json_schemas(
        [(model.__name__, "validation", TypeAdapter[Any](model)) for model in models],
        schema_generator=_NoTitles,
        ref_template="#/components/schemas/{model}",
    )
    schemas: Json = printed["$defs"]
    schemas["StkpushRequest"] = {"oneOf": [_one_way(schemas["StkpushRequest"], *way) for way in WAYS_TO_ORDER]}
    return schemas


WAYS_TO_ORDER = (
    ("amount", {"items", "order"}),
    ("items", {"order"}),
    ("order", {"amount", "items", "account_reference", "transaction_desc"}),
)
"""What a request must have beside the phone number, and what it then may not have."""


def _one_way(schema: Json, needed: str, without: set[str]) -> Json:
    properties = {name: about for name, about in schema["properties"].items() if name not in without}
    for about in properties.values():  # nothing is sent where nothing is meant
        if about.get("default", ...) is None:
            del about["default"]
    return {**schema, "properties": properties, "required": ["phone_number", needed], "title": f"By {needed}"}


# The functions --------------------------------------------------------------------------------------------------------


def _stkpush() -> Json:
    order = {"phone_number": "0708 374 149", "amount": 1500, "account_reference": "INV00042"}
    more = {
        "transaction_desc": "Two bags of coffee",
        "customer_email": "alice@example.com",
        "customer_name": "Alice Wanjiru",
        "note": "Size M. Deliver to Plot 7, Ngong Road",
        "lang": "sw",
    }
    cart = {"phone_number": "0708 374 149", "items": [{"id": "nyeri-aa", "quantity": 2}], "amount": 1500}
    link = {"phone_number": "0708 374 149", "order": "eyJzaG9wIjoi…"}
    answers = {
        "asked": _accepted(Status.PENDING, CHECKOUT_ID),
        "unclear": _accepted(Status.UNCERTAIN, None),
        "seen_before": _accepted(Status.PAID, CHECKOUT_ID),
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
                "schema": {"type": "string", "pattern": f"^{IDEMPOTENCY_KEY}$"},
                "example": "7b1f7b0e-4a51-4f0e-8f0b-3d1c1e1f9a10",
            }
        ],
        "requestBody": _body(
            "StkpushRequest",
            {"an_amount": order, "with_an_invoice": order | more, "a_cart": cart, "a_payment_link": link},
        ),
        "responses": {
            "202": _answer("The customer is being asked.", "Accepted", answers),
            **_problems("stkpush", "POST"),
        },
    }


def _accepted(status: Status, checkout_request_id: str | None) -> Any:
    request = Request("POST", "/api/pay/stkpush", {}, b"", "https://shop.example")
    return stkpush.accepted(request, Asked(AN_ID, status, checkout_request_id, Decimal(1500), "INV00042")).body


def _status() -> Json:
    answers = {
        "pending": _payment(Status.PENDING),
        "paid": _payment(Status.PAID, receipt="UE4JS31RBV", result_code="0"),
        "failed": _payment(Status.CANCELLED, result_code="1032"),
        "under_review": _payment(Status.REVIEW, age_s=4000),
        "refunded": _payment(Status.REFUNDED, receipt="UE4JS31RBV", result_code="0", age_s=4000),
    }
    return {
        "operationId": "status",
        "summary": "Where a payment stands",
        "description": "Who holds the id may read it. While there is a `retry_after_s`, ask again after so many "
        "seconds: also a failed payment can turn out paid.",
        "responses": {"200": _answer("The payment.", "Payment", answers), **_problems("status", "GET")},
    }


def _payment(state: Status, *, receipt: str | None = None, result_code: str | None = None, age_s: float = 12) -> Json:
    view = StatusView(
        transaction_id=AN_ID,
        status=state,
        amount_kes=Decimal(1500),
        account_reference="INV00042",
        receipt=receipt,
        result_code=result_code,
        response_code="0",
        pushed=True,
        success_held=False,
        age_s=age_s,
        updated_at=NOON,
        sweep_is_late=False,
    )
    return status.described(view)


def _invoice() -> Json:
    once = {"transaction_id": AN_ID}
    bodies = {"again": once, "to_a_first_address": once | {"customer_email": "alice@example.com"}}
    return {
        "operationId": "invoice",
        "summary": "Send the invoice of a paid payment again",
        "description": "To the address stored with the payment, and to no other; three times a day, ten times in all.",
        "requestBody": _body("InvoiceRequest", bodies),
        "responses": {
            "202": _answer("It is on its way.", "InvoiceSent", {"on_its_way": invoice.on_its_way(AN_ID).body}),
            **_problems("invoice", "POST"),
        },
    }


def _callback() -> Json:
    items = {
        "Amount": 1500,
        "MpesaReceiptNumber": "UE4JS31RBV",
        "TransactionDate": 20260504121530,
        "PhoneNumber": 254708374149,
    }
    paid = {
        "MerchantRequestID": "5998-46a7-a4aa-5a37a83f21ad3833",
        "CheckoutRequestID": CHECKOUT_ID,
        "ResultCode": 0,
        "ResultDesc": "The service request is processed successfully.",
        "CallbackMetadata": {"Item": [{"Name": name, "Value": value} for name, value in items.items()]},
    }
    body = {"schema": {}, "examples": {"paid": {"value": {"Body": {"stkCallback": paid}}}}}
    token = {
        "name": "token",
        "in": "path",
        "required": True,
        "description": "An HMAC of the id, which only this shop can write. Anything else is a 404, and is not kept.",
        "schema": {"type": "string", "pattern": f"^{TOKEN}$"},
        "example": A_TOKEN,
    }
    return {
        "operationId": "callback",
        "summary": "Safaricom says what became of a payment",
        "description": "For Safaricom alone.",
        "parameters": [_path_id(), token],
        "requestBody": {
            "description": "Whatever Safaricom sends is kept as it is before it is judged, in any content type.",
            "required": False,
            "content": {"application/json": body},
        },
        "responses": {
            "200": _answer("It is on file.", "OnFile", {"on_file": callback.ACCEPTED}),
            **_problems("callback", "POST"),
        },
    }


def _preflight(function: str, method: str) -> Json:
    allow = {
        "Access-Control-Allow-Origin": {"schema": {"type": "string"}},
        "Access-Control-Allow-Methods": {"schema": {"type": "string", "const": method}},
    }
    origin = {
        "name": "Origin",
        "in": "header",
        "required": True,
        "schema": {"type": "string", "minLength": 1},
        "example": "https://shop.example",
    }
    return {
        "operationId": f"{function}_preflight",
        "summary": "A browser asks beforehand whether a page of another origin may",
        "parameters": [origin],
        "responses": {
            "204": {"description": "It may: the origin is one of ALLOWED_ORIGINS.", "headers": allow},
            **_problems("preflight", method),
        },
    }


# How OpenAPI says it --------------------------------------------------------------------------------------------------


def _path_id() -> Json:
    schema = {"type": "string", "pattern": f"^{TRANSACTION_ID}$"}
    return {"name": "transaction_id", "in": "path", "required": True, "schema": schema, "example": AN_ID}


def _body(schema: str, bodies: Json) -> Json:
    size = f"At most {LARGEST_BODY_BYTES // 1024} KB."
    return {"required": True, "description": size, "content": {"application/json": _content(schema, bodies)}}


def _answer(description: str, schema: str, bodies: Json) -> Json:
    return {"description": description, "content": {"application/json": _content(schema, bodies)}}


def _content(schema: str, bodies: Json) -> Json:
    values = {name: {"value": body} for name, body in bodies.items()}
    return {"schema": {"$ref": f"#/components/schemas/{schema}"}, "examples": values}


def _problems(function: str, method: str) -> Json:
    """The errors of one function by HTTP status: the codes each can have, and an example of each."""
    by_status: dict[int, dict[str, Json]] = defaultdict(dict)
    for name, body in examples(function, method).items():
        by_status[body["status"]][name] = body
    return {str(http_status): _problem(http_status, bodies) for http_status, bodies in sorted(by_status.items())}


def _problem(http_status: int, bodies: dict[str, Json]) -> Json:
    codes = list(dict.fromkeys(body["code"] for body in bodies.values()))
    schema = {
        "allOf": [{"$ref": "#/components/schemas/Problem"}],
        "properties": {"status": {"const": http_status}, "code": {"enum": codes}},
    }
    references = {name: {"$ref": f"#/components/examples/{name}"} for name in bodies}
    answer: Json = {
        "description": ", ".join(f"`{code}`" for code in codes),
        "content": {"application/problem+json": {"schema": schema, "examples": references}},
    }
    if any("retry_after_s" in body for body in bodies.values()):
        seconds = {"description": "Seconds.", "schema": {"type": "integer", "minimum": 0}}
        answer["headers"] = {"Retry-After": seconds}
    return answer


def _problem_examples() -> Json:
    bodies: Json = {}
    for function in ("stkpush", "status", "invoice", "callback", "preflight"):
        for method in ("GET", "POST"):
            bodies |= examples(function, method)
    return {name: {"value": body} for name, body in sorted(bodies.items())}
