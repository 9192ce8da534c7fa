"""Which columns hold personal values, and what an erasure makes of them."""

from __future__ import annotations

TABLES = (
    *("transactions", "callback_inbox", "query_answers", "payment_confirmations", "invoices", "outbox"),
    *("idempotency_keys", "statement_rows"),
)
"""Where personal values are."""
NULLED: dict[str, tuple[str, ...]] = {
    "transactions": ("transaction_desc", "customer_name", "note", "response_message", "result_desc", "watched_at"),
    "callback_inbox": ("last_error",),
    "query_answers": ("said",),
    "payment_confirmations": ("phone_number", "result_desc"),
    "invoices": ("customer_name", "customer_phone"),
    "outbox": ("last_error",),
    "statement_rows": ("account", "raw"),
}
CONTACT: dict[str, tuple[str, ...]] = {
    "transactions": NULLED["transactions"],
    "query_answers": ("said",),
    "invoices": ("customer_name",),
}
"""Of NULLED what only served to reach the customer, or to talk about the payment."""
REPLACED: dict[str, tuple[str, ...]] = {
    "transactions": (
        "phone_number",
        "merchant_request_id",
        "checkout_request_id",
        "account_reference",
        "customer_email",
    ),
    "callback_inbox": ("body",),
    "invoices": ("customer_email",),
}
"""Columns whose values become a placeholder. The audit log holds nothing personal, and never changes."""
