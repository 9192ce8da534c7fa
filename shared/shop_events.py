"""What the shop is told of a payment: a mail of each sale, and an event for its webhook. Pure.

Both are rows of the outbox, written with the change. What a webhook says is made when it is sent, and never stored.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

from shared.payments import PUBLIC, Decision, Outcome, Status
from shared.values import ERASED_EMAIL, HIDDEN_MSISDN, is_erased

WEBHOOK_TRIES_AFTER_S = (0, 60, 300, 1800, 7200, 43_200, 86_400)
"""Each counted from the try before. Then it is given up, with an alert."""
WEBHOOK_TRIES = len(WEBHOOK_TRIES_AFTER_S)


def sale_of(was: Status, decision: Decision) -> str | None:
    """Which mail the shop gets of a change: `paid`, `paid_late`, `refunded`. None: it is no sale."""
    if decision.status is was or decision.status not in (Status.PAID, Status.REFUNDED):
        return None
    return Outcome.PAID_LATE.value if decision.outcome is Outcome.PAID_LATE else PUBLIC[decision.status]


def webhook_of(was: Status, decision: Decision) -> str | None:
    """Which event the webhook gets: `paid`, `refunded`, `under_review`, `failed`. None: the public status stays."""
    now = PUBLIC[decision.status]
    return None if now == PUBLIC[was] else now


@dataclass(frozen=True, kw_only=True)
class Sold:
    """What was bought, and by whom. None: not known, or erased."""

    transaction_id: str
    account_reference: str
    amount_kes: Decimal
    items: Sequence[dict[str, object]] | None
    description: str | None = field(repr=False)
    receipt: str | None
    paid_at: datetime | None
    customer_name: str | None = field(repr=False)
    customer_email: str | None = field(repr=False)
    customer_phone: str | None = field(repr=False)
    note: str | None = field(repr=False)
    invoice_number: str | None = None


def known_email(stored: str | None) -> str | None:
    return None if stored == ERASED_EMAIL else stored


def known_phone(stored: str) -> str | None:
    return None if is_erased(stored) or stored == HIDDEN_MSISDN else stored


def event_body(event: str, at: datetime, sold: Sold) -> bytes:
    """The body of a webhook, in the form of Standard Webhooks."""
    data = {
        "transaction_id": sold.transaction_id,
        "account_reference": sold.account_reference,
        "amount_kes": int(sold.amount_kes),
        "items": sold.items,
        "mpesa_receipt_number": sold.receipt,
        "paid_at": sold.paid_at and _instant(sold.paid_at),
        "customer": {
            "name": sold.customer_name,
            "email": sold.customer_email,
            "phone_number": sold.customer_phone,
            "note": sold.note,
        },
    }
    told = {"type": event, "timestamp": _instant(at), "data": data}
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()


def signed_headers(secrets: Sequence[bytes], event_id: str, sent_at: datetime, body: bytes) -> dict[str, str]:
    """The three headers of Standard Webhooks; one signature for each secret, so that one can be replaced by another."""
    timestamp = str(int(sent_at.timestamp()))
    signed = f"{event_id}.{timestamp}.".encode() + body
    signatures = [base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode() for secret in secrets]
    return {
        "webhook-id": event_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
