"""Daraja's words: every answer and callback as literal bytes. Nothing is decided here.

Sources: the Daraja 3.0 portal (2025-12-28) and captured sandbox traffic (2025-04 to 2026-10).
INF marks what neither shows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

JSON = "application/json"
"""INF: the content type of Daraja's own answers was never captured; that of its callbacks was."""
HTML = "text/html"


@dataclass(frozen=True)
class Answer:
    http_status: int
    body: bytes
    content_type: str = JSON


@dataclass(frozen=True)
class Refusal:
    """One of Daraja's errors. The same code has different messages: 500.001.1001 has at least six."""

    http_status: int
    error_code: str
    error_message: str

    def answer(self, request_id: str) -> Answer:
        body = {"requestId": request_id, "errorCode": self.error_code, "errorMessage": self.error_message}
        return Answer(self.http_status, encode(body).encode())


# --- Errors (Daraja portal, M-Pesa Express and Authorization) ---

INVALID_AUTHENTICATION = Refusal(400, "400.008.01", "Invalid Authentication passed")
INVALID_GRANT_TYPE = Refusal(400, "400.008.02", "Invalid grant type passed")
INVALID_AUTHENTICATION_HEADER = Refusal(404, "404.001.04", "Invalid Authentication Header")
INVALID_ACCESS_TOKEN = Refusal(404, "404.001.03", "Invalid Access Token")
RESOURCE_NOT_FOUND = Refusal(404, "404.001.01", "Resource not found")
INVALID_REQUEST_PAYLOAD = Refusal(400, "400.002.05", "Invalid Request Payload")
MERCHANT_DOES_NOT_EXIST = Refusal(500, "500.001.1001", "Merchant does not exist")
WRONG_CREDENTIALS = Refusal(500, "500.001.1001", "Wrong credentials")
SUBSCRIBER_LOCKED = Refusal(
    500,
    "500.001.1001",
    "Unable to lock subscriber, a transaction is already in process for the current subscriber",
)
TRANSACTION_DOES_NOT_EXIST = Refusal(500, "500.001.1001", "The transaction does not Exist")
BEING_PROCESSED = Refusal(500, "500.001.1001", "The transaction is being processed")
SYSTEM_BUSY = Refusal(500, "500.003.02", "System is busy. Please try again in few minutes.")
SPIKE_ARREST_500 = Refusal(500, "500.003.02", "Error Occurred: Spike Arrest Violation")
QUOTA_VIOLATION = Refusal(500, "500.003.03", "Error Occurred: Quota Violation")
INTERNAL_SERVER_ERROR = Refusal(500, "500.003.1001", "Internal Server Error")

NO_BODY = Answer(400, b"")
"""A wrong consumer key or secret: HTTP 400 and nothing else (observed 2026-08-17)."""


def method_not_allowed(method: str) -> Refusal:
    """Only "GET Method Not Allowed" is documented; other methods are INF by analogy."""
    return Refusal(405, "405.001", f"{method} Method Not Allowed")


def invalid(what: str) -> Refusal:
    return Refusal(400, "400.002.02", f"Bad Request - Invalid {what}")


SPIKE_ARREST = Answer(
    429,
    b'{"fault":{"faultstring":"Spike arrest violation. Allowed rate : MessageRate{messagesPerPeriod=5, '
    b'periodInMicroseconds=60000000, maxBurstMessageCount=1.0}","detail":{"errorcode":'
    b'"policies.ratelimit.SpikeArrestViolation"}}}',
)
"""The gateway's own envelope (captured on stkpushquery, 2025-10 and 2026-06): these bytes, whatever our limit is."""

FIREWALL_403 = Answer(
    403,
    b'<html style="height:100%"><head><META NAME="ROBOTS" CONTENT="NOINDEX, NOFOLLOW">'
    b'<meta name="format-detection" content="telephone=no"></head><body style="margin:0px;height:100%">'
    b'<iframe src="/_Incapsula_Resource?CWUDNSAI=23" frameborder=0 width="100%" height="100%"></iframe></body></html>',
    HTML,
)
"""Begins as captured on stkpush (2025-10-08) and stkpushquery (2025-10-04); the rest of the page is INF."""

FIREWALL_503 = Answer(503, b"<html><body>Request unsuccessful. Incapsula incident ID: 0-0000000000</body></html>", HTML)


# --- OAuth ---


def token(access_token: str, *, expires_in_as_text: bool) -> Answer:
    """`expires_in` is a string in live bodies (2024-09 to 2025-10), a number in the portal and in runs of 2026-09."""
    expires_in = '"3599"' if expires_in_as_text else "3599"
    return Answer(200, f'{{ "access_token":"{access_token}", "expires_in": {expires_in} }}'.encode())


# --- STK push ---


def push_accepted(merchant_request_id: str, checkout_request_id: str) -> Answer:
    body = {
        "MerchantRequestID": merchant_request_id,
        "CheckoutRequestID": checkout_request_id,
        "ResponseCode": "0",
        "ResponseDescription": "Success. Request accepted for processing",
        "CustomerMessage": "Success. Request accepted for processing",
    }
    return Answer(200, encode(body).encode())


# --- STK query ---


def query_result(merchant_request_id: str, checkout_request_id: str, code: str, description: str) -> Answer:
    """`ResultCode` is always a string here. There is no receipt, amount, phone or date."""
    body = {
        "ResponseCode": "0",
        "ResponseDescription": "The service request has been accepted successfully",
        "MerchantRequestID": merchant_request_id,
        "CheckoutRequestID": checkout_request_id,
        "ResultCode": code,
        "ResultDesc": description,
    }
    return Answer(200, encode(body).encode())


def query_still_processing(merchant_request_id: str, checkout_request_id: str) -> Answer:
    """Seen from 6 s to 33 min after the push (captured 2025-10 to 2026-10)."""
    return query_result(merchant_request_id, checkout_request_id, "4999", "The transaction is still under processing")


def query_being_processed(checkout_request_id: str) -> Answer:
    """An ordinary state as HTTP 500; its requestId is the CheckoutRequestID (captured 2025-04-05)."""
    return BEING_PROCESSED.answer(checkout_request_id)


def query_empty_error(http_status: int, request_id: str) -> Answer:
    """An error code and no words: HTTP 200 at +1 s and +13 s (2026-10-02), HTTP 500 after the end (2026-09-23)."""
    return Refusal(http_status, "500.001.1001", "").answer(request_id)


# --- Callback ---


def callback(
    merchant_request_id: str,
    checkout_request_id: str,
    result_code: int | str,
    result_description: str,
    items: Sequence[dict[str, object]] | None,
) -> bytes:
    """The body POSTed to the CallBackURL; a failure (`items` None) has no CallbackMetadata at all."""
    body: dict[str, object] = {
        "MerchantRequestID": merchant_request_id,
        "CheckoutRequestID": checkout_request_id,
        "ResultCode": result_code,
        "ResultDesc": result_description,
    }
    if items is not None:
        body["CallbackMetadata"] = {"Item": list(items)}
    return encode({"Body": {"stkCallback": body}}).encode()


def c2b_confirmation(
    receipt: str, time_eat: str, amount: str, shortcode: str, bill_reference: str, balance: str, msisdn: str
) -> bytes:
    """The body of a C2B confirmation, version 2, its number masked (Daraja portal, Customer To Business)."""
    body: dict[str, object] = {
        "TransactionType": "Pay Bill",
        "TransID": receipt,
        "TransTime": time_eat,
        "TransAmount": amount,
        "BusinessShortCode": shortcode,
        "BillRefNumber": bill_reference,
        "InvoiceNumber": "",
        "OrgAccountBalance": balance,
        "ThirdPartyTransID": "",
        "MSISDN": f"{msisdn[:4]} ***** {msisdn[-3:]}",
        "FirstName": "ALICE",
        "MiddleName": "",
        "LastName": "",
    }
    return encode(body).encode()


def encode(value: object) -> str:
    """Compact JSON that keeps a Decimal as it was written: 1, 1.0 and 1.00 stay three different texts."""
    match value:
        case Decimal():
            return str(value)
        case dict():
            return "{" + ",".join(f"{json.dumps(key)}:{encode(item)}" for key, item in value.items()) + "}"
        case list():
            return "[" + ",".join(encode(item) for item in value) + "]"
        case _:
            return json.dumps(value, ensure_ascii=False)
