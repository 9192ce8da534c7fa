"""A clock of the database that was a day ahead for a minute: what it wrote costs no more than the rules allow.

Each column that decides anything is set a day ahead, as such a clock leaves it, and the shop goes on.
"""

from __future__ import annotations

import pytest

from shared.gateway.instants import AHEAD
from tests.fixtures.shop import CUSTOMER, Shop

NEEDS_NOTHING = {
    "audit_anchors.made_at": "the next anchor covers the day",
    "audit_log.at": "history",
    "backups.at": "the alert counts none that is later than now",
    "backups.noted_at": "nobody decides by it",
    "callback_inbox.judged_at": "a reminder after a day",
    "callback_inbox.received_at": "an order among callbacks of the same moment",
    "callback_keys.retired_at": "it is set or not",
    "callback_keys.since": "nobody decides by it",
    "drills.began_at": "the alert comes later by as much",
    "drills.taken_at": "nobody decides by it",
    "erasures.at": "history",
    "golive_steps.at": "history",
    "idempotency_keys.created_at": "a key is kept for 31 days in place of 30",
    "installation.stamped_at": "history is counted from there",
    "invoice_gaps.at": "history",
    "invoices.etims_signed_at": "nobody decides by it",
    "invoices.invoice_date": "it is what the invoice says",
    "invoices.sent_at": "it is set or not",
    "outbox.created_at": "what is counted of a day is counted for two",
    "outbox.sent_at": "it is set or not",
    "payment_confirmations.received_at": "nobody decides by it",
    "payment_confirmations.transaction_date": "Daraja's",
    "query_answers.answered_at": "what is counted of a week",
    "reconciliation_log.at": "history",
    "recoveries.backup_at": "more numbers of invoices are left out",
    "recoveries.finished_at": "it is set or not",
    "recoveries.restored_at": "more numbers of invoices are left out",
    "statement_files.ends": "Safaricom's",
    "statement_files.starts": "Safaricom's",
    "statement_files.written_at": "the alert comes late by as much",
    "statement_rows.at": "Safaricom's",
    "transactions.callback_received_at": "it is set or not",
    "transactions.failed_at": "no later than now for the schedule of queries",
    "transactions.last_query_at": "nobody decides by it",
    "transactions.paid_at": "a double payment is one within two days",
    "transactions.order_sent_at": "nobody decides by it",
    "transactions.refunded_at": "nobody decides by it",
    "transactions.success_held_at": "the alert of a success that waits comes a day late; the query does not",
    "transactions.updated_at": "a reminder after a day",
    "transactions.watched_at": "who comes first among queries",
}
"""Columns that are left as they are, and what that costs."""
ADMITTED_BY = {"transactions.created_at", "transactions.pushed_at", "push_callers.asked_at"}
"""Windows of limits: what lies ahead does not count."""


def test_every_moment_is_thought_of(shop: Shop) -> None:
    found = shop.rows(
        """
        SELECT c.table_name || '.' || c.column_name AS name FROM information_schema.columns c
        JOIN information_schema.tables t USING (table_schema, table_name)
        WHERE c.table_schema = 'public' AND c.data_type = 'timestamp with time zone' AND t.table_type = 'BASE TABLE'
        """
    )
    put_right = {f"{table}.{column}" for table, column, *_ in AHEAD}
    assert {row["name"] for row in found} - put_right - ADMITTED_BY == set(NEEDS_NOTHING)


@pytest.fixture
def day_ahead(shop: Shop) -> Shop:
    """A payment is asked for, callbacks and mail wait, and all of it was written by that clock."""
    shop.simulator.client.script(CUSTOMER, "ignore", after_s=600)
    asked = shop.pay(key="the-key-of-an-order").body
    assert asked["status"] == "pending"
    shop.sweep()
    shop.overwrite("INSERT INTO mail_pause (until) VALUES (now())")
    shop.overwrite("INSERT INTO query_budget (app) SELECT app FROM access_tokens ON CONFLICT DO NOTHING")
    shop.overwrite("INSERT INTO incidents (topic) VALUES ('work_stuck') ON CONFLICT DO NOTHING")
    for table, column, *_ in AHEAD:
        shop.overwrite(f"UPDATE {table} SET {column} = now() + interval '1 day'")
    for table, column in (name.split(".") for name in ADMITTED_BY):
        shop.overwrite(f"UPDATE {table} SET {column} = {column} + interval '1 day'")
    return shop


def test_nothing_that_is_due_waits_for_that_day(day_ahead: Shop) -> None:
    done = day_ahead.sweep().body
    assert done["moments_put_right"] >= 4
    for table, column, _, most, _ in AHEAD:
        late = day_ahead.rows(f"SELECT 1 AS one FROM {table} WHERE {column} > now() + interval '{most}'")
        assert late == [], f"{table}.{column}"
    assert "moments_put_right" not in day_ahead.sweep().body


def test_a_customer_may_pay_and_no_limit_counts_what_lies_ahead(day_ahead: Shop) -> None:
    """Another order of the same phone, whose only push was a day ahead; before any sweep has put anything right."""
    day_ahead.sweep()
    day_ahead.simulator.client.answer(CUSTOMER, "ignore")
    reply = day_ahead.pay(amount=700, account_reference="ANOTHER")
    assert reply.status == 202, reply.body


@pytest.mark.parametrize(
    ("sql", "refused_by"),
    [
        ("INSERT INTO push_callers (address_digest, asked_at) VALUES ('a caller', now() + interval '1 day')", None),
        ("INSERT INTO push_callers (address_digest, asked_at) VALUES ('a caller', now())", "address"),
        (
            "INSERT INTO transactions (phone_number, amount, account_reference, created_at, pushed_at)"
            " VALUES ('254722000000', 1, 'X', now() + interval '1 day', now() + interval '1 day')",
            None,
        ),
        (
            "INSERT INTO transactions (phone_number, amount, account_reference, pushed_at)"
            " VALUES ('254722000000', 1, 'X', now())",
            "shop",
        ),
    ],
)
def test_a_window_ends_now(shop: Shop, sql: str, refused_by: str | None) -> None:
    shop.history_is_made_up = True
    shop.overwrite(sql)
    room = shop.row("SELECT refused_by FROM room_for_push('a caller', 1, 1, 1, NULL)")
    assert room == {"refused_by": refused_by}
    shop.overwrite("DELETE FROM transactions")
