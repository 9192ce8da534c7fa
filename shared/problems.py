"""Every error that the Python functions answer, in one table: RFC 9457 problem details with a stable `code`.

What the page shows for a code is in public/lipa/lipa.js. The bridge to Netlify has five errors of its own:
problems.js in its folder `runtime`. A code never changes its meaning. A detail says what the caller can do. It never
says what somebody else did with a phone, nor what an exception or a setting holds. public/openapi.json is printed from
this table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum

LARGEST_BODY_BYTES = 16 * 1024
DEEPEST_BODY = 8
"""Levels of objects and lists; the body itself is the first."""

ALL = ("stkpush", "status", "invoice", "callback", "preflight")
BODY = ("stkpush", "invoice")
PREFLIGHT = ("preflight",)
STKPUSH = ("stkpush",)
INVOICE = ("invoice",)
CALLBACK = ("callback",)


class Kind(Enum):
    """HTTP status, code, title, the functions that answer it, detail, and members that its body always has."""

    # fmt: off
    NOT_JSON = (
        400, "not_json", "Not JSON", ALL,
        "The body is not a JSON object.")
    TOO_DEEP = (
        400, "not_json", "Not JSON", BODY,
        f"The body is nested deeper than {DEEPEST_BODY} levels.")
    NOT_JSON_TYPE = (
        415, "not_json", "Not JSON", BODY,
        "Send a JSON object with Content-Type: application/json.")
    TOO_LARGE = (
        413, "too_large", "Too large", ALL,
        f"A body has at most {LARGEST_BODY_BYTES} bytes.")
    NOT_FOUND = (
        404, "not_found", "Not found", ("status", "invoice", "callback"),
        "There is nothing at this address.")
    METHOD_NOT_ALLOWED = (
        405, "method_not_allowed", "Method not allowed", ALL,
        "Use {allow}.")
    ORIGIN_NOT_ALLOWED = (
        403, "origin_not_allowed", "Origin not allowed", PREFLIGHT,
        "Pages of this origin may not use this API. The shop names those that may in ALLOWED_ORIGINS.")
    INTERNAL = (
        500, "internal", "Internal error", ALL,
        "Something went wrong here. It is logged; try again later.")
    MISCONFIGURED = (
        500, "misconfigured", "Misconfigured", ALL,
        "Set these environment variables and deploy again: {fields}")
    DATABASE_UNAVAILABLE = (
        503, "unavailable", "Unavailable", ALL,
        "The database did not answer. Try again in a moment.",
        {"retry_after_s": 5})

    INVALID = (
        422, "invalid", "Cannot be used", BODY,
        "Correct these and send again: {fields}.")
    IDEMPOTENCY_MISMATCH = (
        422, "idempotency_mismatch", "Another request had this key", STKPUSH,
        "This Idempotency-Key was used for a different request. Use a new key for a new payment.")
    PRICE_CHANGED = (
        422, "price_changed", "The price changed", STKPUSH,
        "This costs KES {amount_kes:,} now. Look at the new sum, and pay again.")
    ORDER_INVALID = (
        422, "order_invalid", "This payment link cannot be used", STKPUSH,
        "This {fields}.")
    TOO_SOON = (
        429, "too_soon", "Too soon", STKPUSH,
        "A payment like this one was asked for just now. Finish it on the phone, or wait and try again.")
    ALREADY_PAID = (
        409, "already_paid", "Already paid", STKPUSH,
        "This was paid before. Do not pay again; look for its M-Pesa SMS, or ask the shop.")
    TOO_MANY_PHONE = (
        429, "too_many", "Too many requests to pay", STKPUSH,
        "This phone was asked to pay several times. Give it a rest, and try again later.",
        {"limit": "phone"})
    TOO_MANY_ADDRESS = (
        429, "too_many", "Too many requests to pay", STKPUSH,
        "Many payments were asked for from your connection. Wait, or try another connection.",
        {"limit": "address"})
    TOO_MANY_SHOP = (
        429, "too_many", "Too many requests to pay", STKPUSH,
        "Very many customers are paying at the moment. Try again in a minute.",
        {"limit": "shop"})
    ABOVE_LIMIT_PAYMENT = (
        422, "above_limit", "Above a limit", STKPUSH,
        "This shop takes at most KES {most_kes:,} in one payment. Pay a smaller amount, or ask the shop.",
        {"limit": "payment"})
    ABOVE_LIMIT_PHONE_DAY = (
        422, "above_limit", "Above a limit", STKPUSH,
        "This shop takes at most KES {most_kes:,} a day through one phone. This payment would go above it. "
        "Pay a smaller amount, come back tomorrow, or ask the shop.",
        {"limit": "phone_day"})
    ABOVE_LIMIT_SHOP_DAY = (
        422, "above_limit", "Above a limit", STKPUSH,
        "This shop has reached what it takes through this page in a day. "
        "Come back tomorrow, or ask the shop how else to pay.",
        {"limit": "shop_day"})
    RECOVERING = (
        503, "recovering", "The shop's books are being restored", STKPUSH,
        "This shop restores its books and takes no payment meanwhile. Nothing was sent. "
        "If you paid already, keep the M-Pesa message and do not pay again.",
        {"retry_after_s": 900})
    PROMPT_OPEN = (
        409, "prompt_open", "A prompt is open", STKPUSH,
        "Another M-Pesa prompt is open on this phone. Finish or cancel it, wait a minute, and try again.",
        {"retry_after_s": 60})
    DARAJA_REJECTED = (
        502, "daraja_rejected", "M-Pesa refused", STKPUSH,
        "M-Pesa did not take this payment; nothing was charged. Please tell the shop.")
    DARAJA_UNAVAILABLE = (
        503, "unavailable", "Unavailable", STKPUSH,
        "M-Pesa cannot be reached at the moment. Nothing was sent; try again in a minute.",
        {"retry_after_s": 5})

    NOT_PAID = (
        409, "not_paid", "Not paid", INVOICE,
        "An invoice is sent for a paid payment: this one is not paid, or was refunded.")
    ADDRESS_REMOVED = (
        422, "invalid", "Cannot be used", INVOICE,
        "The e-mail address of this payment was removed from the books, and no other is taken for it. "
        "Ask the shop for the invoice.")
    TOO_OFTEN = (
        429, "too_often", "Too often", INVOICE,
        "The invoice was sent again three times within a day. Try tomorrow.")
    TOO_OFTEN_IN_ALL = (
        429, "too_often", "Too often", INVOICE,
        "The invoice was sent again ten times. It is not sent any more; ask the shop for it.")
    TOO_MANY_INVOICES = (
        429, "too_many", "Too many requests for invoices", INVOICE,
        "Many invoices were asked for from your connection. Wait, or try another connection.",
        {"limit": "address"})

    INBOX_FULL = (
        429, "inbox_full", "Inbox full", CALLBACK,
        "Too many callbacks came for this payment. This one was not stored.")
    NOT_STORED = (
        503, "unavailable", "Unavailable", CALLBACK,
        "The callback could not be stored.",
        {"retry_after_s": 5})
    # fmt: on

    def __init__(
        self,
        status: int,
        code: str,
        title: str,
        functions: tuple[str, ...],
        detail: str,
        members: Mapping[str, object] | None = None,
    ) -> None:
        self.status, self.code, self.title = status, code, title
        self.functions, self.detail, self.members = functions, detail, members or {}


@dataclass(frozen=True)
class FieldError:
    """One field that cannot be used, and what it must be."""

    field: str
    detail: str


class Problem(Exception):
    """An answer that is an error. Raise it; the edge answers it.

    `errors` name the fields that are wrong; `allow` is the header of a 405; `log` are safe fields for the log line.
    """

    def __init__(
        self,
        kind: Kind,
        *errors: FieldError,
        retry_after_s: int | None = None,
        most_kes: Decimal | None = None,
        amount_kes: Decimal | None = None,
        allow: str | None = None,
        log: Mapping[str, object] | None = None,
    ) -> None:
        self.kind, self.errors, self.log = kind, errors, log or {}
        self.status, self.code = kind.status, kind.code
        fields = "; ".join(f"{error.field} {error.detail}" for error in errors)
        self.detail = kind.detail.format(fields=fields, most_kes=most_kes, amount_kes=amount_kes, allow=allow)
        self.members = dict(kind.members)
        if most_kes is not None:
            self.members["most_kes"] = int(most_kes)
        if amount_kes is not None:
            self.members["amount"] = int(amount_kes)
        if retry_after_s is not None:
            self.members["retry_after_s"] = retry_after_s
        self.headers = {"content-type": "application/problem+json"}
        if "retry_after_s" in self.members:
            self.headers["retry-after"] = str(self.members["retry_after_s"])
        if allow is not None:
            self.headers["allow"] = allow
        super().__init__(f"{self.code}: {self.detail}")

    def body(self) -> dict[str, object]:
        """The problem details, as JSON has them."""
        body: dict[str, object] = {
            "type": "about:blank",
            "title": self.kind.title,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
        }
        if self.errors:
            body["errors"] = [{"field": error.field, "detail": error.detail} for error in self.errors]
        return body | self.members
