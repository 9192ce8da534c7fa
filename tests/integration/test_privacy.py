"""A person leaves the books, and the money stays: export, erasure and retention on real payments."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.__main__ import main
from shared.database import ConstraintBroken, Row
from tests.fixtures.shop import CUSTOMER, Reply, Shop, replayed_differently

NUMBER = CUSTOMER[3:]
EMAIL = "alice@example.com"
OTHER = "254700000042"
THREE_DAYS = 3 * 86_400
A_YEAR = 365.25 * 86_400


def run(shop: Shop, *arguments: str) -> int:
    return main(["privacy", *arguments], {"DATABASE_URL": shop.database_url})


def erase(shop: Shop, person: str = CUSTOMER, *more: str) -> int:
    return run(shop, "erase", person, "--who", "amina", "--why", "asked by letter of 3 May", *more)


def settled(shop: Shop, outcome: object = "pay", **order: object) -> str:
    """A payment that has come to its end, its invoice and alerts sent."""
    phone = str(order.get("phone_number", CUSTOMER))
    shop.simulator.client.script(phone, outcome, after_s=0)
    asked = shop.pay(**{"key": f"key-{order.get('account_reference', 'INV00042')}", **order}).body  # type: ignore[arg-type]
    shop.simulator.client.wait_for_callback(asked["checkout_request_id"])
    shop.sweep()
    return str(asked["transaction_id"])


def everything(shop: Shop) -> str:
    """Every value in every table, as text."""
    tables = [
        row["name"]
        for row in shop.rows(
            "SELECT table_name AS name FROM information_schema.tables "
            "WHERE table_schema = 'public' AND table_type = 'BASE TABLE' ORDER BY 1"
        )
    ]
    told = []
    for table in tables:
        for row in shop.rows(f"SELECT * FROM {table}"):  # noqa: S608
            told += [_readable(value) for value in row.values()]
    return "\n".join(told)


def _readable(value: object) -> str:
    return bytes(value).decode("utf-8", "replace") if isinstance(value, bytes | bytearray) else str(value)


def money(shop: Shop) -> list[Row]:
    """What must never change."""
    return shop.rows(
        """
        SELECT t.id, t.status, t.amount, t.created_at, t.pushed_at, t.paid_at, t.failed_at, t.refunded_at, t.updated_at,
               t.refund_receipt, t.result_code, t.review_reason, t.paid_late, c.amount AS confirmed, c.evidence,
               c.mpesa_receipt_number, c.transaction_date, c.received_at, v.invoice_number, v.amount AS invoiced,
               v.invoice_date, v.status AS invoice_status,
               ARRAY(SELECT i.outcome || array_to_string(i.receipts, ' ') FROM callback_inbox i
                     WHERE i.transaction_id = t.id ORDER BY i.received_at) AS callbacks
        FROM transactions t LEFT JOIN payment_confirmations c ON c.transaction_id = t.id
        LEFT JOIN invoices v ON v.transaction_id = t.id ORDER BY t.id
        """
    )


def test_a_person_leaves_the_books_and_the_money_stays(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    paid = settled(shop)
    settled(shop, {"code": "1032", "desc": "Request cancelled by user"}, amount=700, account_reference="CANCELLED")
    bystander = settled(shop, phone_number=OTHER, account_reference="BOBS", customer_email="bob@example.com", customer_name="Bob")
    shop.age(THREE_DAYS)
    before = money(shop)
    assert all(value in everything(shop) for value in (NUMBER, EMAIL, "Alice", "key-CANCELLED"))

    assert erase(shop) == 0

    assert "2 payments without the person" in capsys.readouterr().out
    left = everything(shop)
    assert [value for value in (NUMBER, EMAIL, "Alice", "key-CANCELLED") if value in left] == []
    assert money(shop) == before
    assert shop.payment(bystander)["phone_number"] == OTHER
    assert "bob@example.com" in left
    assert replayed_differently(shop.database_url) == []
    assert shop.status(paid).body["status"] == "paid"
    audit = shop.row(
        "SELECT * FROM audit_log WHERE event = 'PersonErased' AND transaction_id = CAST(:id AS uuid)", id=paid
    )
    assert (audit["actor"], audit["reason"]) == ("operator amina", "asked by letter of 3 May")
