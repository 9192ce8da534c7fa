"""Payments a page at a time, each with the evidence that bears on it: what `ops replay` reads. Nothing here writes.

What is decided about a payment also depends on others: on those that have a receipt or an id which its evidence names,
and on other attempts at its order. They are read beside it. The books of a small shop are one page.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from shared.daraja.callback_reader import CallbackUnreadable, read_message
from shared.database import Database, Row, Transaction

PAGE = 5000
BEFORE_ALL = "00000000-0000-0000-0000-000000000000"
PAYMENTS = """
    SELECT t.id, t.status, t.amount, t.created_at, t.phone_number, t.account_reference, t.merchant_request_id,
           t.checkout_request_id, t.ids_are_learnt, t.review_reason, t.result_code, t.success_held_at, t.paid_at,
           t.refund_receipt, t.pushed_at, c.mpesa_receipt_number, c.transaction_date,
           ARRAY(SELECT q.result_code::text FROM query_answers q WHERE q.transaction_id = t.id) AS answered_codes
    FROM transactions t LEFT JOIN payment_confirmations c ON c.transaction_id = t.id
"""
CALLBACKS = "SELECT id, transaction_id, received_at, body, outcome, receipts, erased_sha256 FROM callback_inbox"
STATEMENT_ROWS = "SELECT receipt, at, paid_in, withdrawn FROM statement_rows WHERE completed"
REOPENED = "transaction_id IN (SELECT transaction_id FROM audit_log WHERE event = 'OperatorReopened')"
"""Payments that once had a receipt of a refund: no column says so any more."""
BY_STATEMENT = ("StatementPaid", "StatementRefunded", "BookedByHand")
AMONG = "IN (SELECT CAST(name AS {type}) FROM jsonb_array_elements_text(CAST(:names AS jsonb)) AS name)"


@dataclass(frozen=True)
class Page:
    """Payments, their callbacks and their history; `own` are the ids of those that the page is about."""

    own: frozenset[str]
    payments: list[Row]
    callbacks: list[Row]
    history: list[Row]
    statement_rows: list[Row]
    """Completed rows under receipts that the history names."""


def pages(database: Database, most: int = PAGE) -> Iterator[Page]:
    """All payments, in the order of their ids. Each page is read in one snapshot."""
    after = BEFORE_ALL
    while True:
        with database.transaction(snapshot=True) as tx:
            rows = tx.rows(
                f"{PAYMENTS} WHERE t.id > CAST(:after AS uuid) ORDER BY t.id LIMIT :most",
                after=after,
                most=most,
            )
            page = _whole(tx, rows)
        yield page
        if len(rows) < most:
            return
        after = str(rows[-1]["id"])


def callbacks_of_no_payment(database: Database) -> list[Row]:
    """Callbacks to genuine addresses whose payment is not in the books."""
    return database.rows(f"{CALLBACKS} i WHERE NOT EXISTS (SELECT FROM transactions t WHERE t.id = i.transaction_id)")


def _whole(tx: Transaction, rows: list[Row]) -> Page:
    page = Page(frozenset(str(row["id"]) for row in rows), [], [], [], [])
    known: set[str] = set()
    while rows:
        page.payments.extend(rows)
        ids = [str(row["id"]) for row in rows]
        known.update(ids)
        callbacks = _among(tx, f"{CALLBACKS} WHERE transaction_id", "uuid", ids)
        history = _among(tx, "SELECT * FROM audit_log WHERE transaction_id", "uuid", ids)
        page.callbacks.extend(callbacks)
        page.history.extend(history)
        said = {str(step["said"]) for step in history if step["event"] in BY_STATEMENT}
        page.statement_rows.extend(_among(tx, f"{STATEMENT_ROWS} AND receipt", "text", sorted(said)))
        beside = _beside(tx, page, ids, callbacks, history) - known
        rows = _among(tx, f"{PAYMENTS} WHERE t.id", "uuid", sorted(beside))
    page.history.sort(key=lambda step: step["id"])
    return page


def _beside(tx: Transaction, page: Page, ids: list[str], callbacks: list[Row], history: list[Row]) -> set[str]:
    """Payments of the same order that were paid meanwhile, and those that have what this evidence names."""
    names = {name for row in callbacks for name in _named(row)} | {step["said"] for step in history if step["said"]}
    for row in page.payments:
        names -= {row["mpesa_receipt_number"], row["checkout_request_id"], row["merchant_request_id"]}
    found = _among(
        tx,
        """
        SELECT o.id FROM transactions t JOIN transactions o
          ON o.phone_number = t.phone_number AND o.amount = t.amount AND o.id <> t.id
         AND lower(o.account_reference) = lower(t.account_reference)
         AND o.paid_at BETWEEN t.created_at - interval '25 hours'
                           AND (SELECT max(a.at) FROM audit_log a WHERE a.transaction_id = t.id)
        WHERE t.id
        """,
        "uuid",
        ids,
    )
    for table, column, name in (
        ("payment_confirmations", "transaction_id", "mpesa_receipt_number"),
        ("transactions", "id", "refund_receipt"),
        ("transactions", "id", "checkout_request_id"),
        ("transactions", "id", "merchant_request_id"),
        ("audit_log", "transaction_id", f"{REOPENED} AND said"),
    ):
        found += _among(tx, f"SELECT {column} AS id FROM {table} WHERE {name}", "text", sorted(names))  # noqa: S608
    return {str(row["id"]) for row in found}


def _named(callback: Row) -> Iterator[str]:
    yield from callback["receipts"]
    message, receipts = read_message(bytes(callback["body"]))
    yield from receipts
    if not isinstance(message, CallbackUnreadable):
        named = (message.ids.merchant_request_id, message.ids.checkout_request_id)
        yield from (name for name in named if name and "\x00" not in name)


def _among(tx: Transaction, sql: str, kind: str, names: Iterable[str]) -> list[Row]:
    """Rows whose column, with which the SQL ends, is one of these."""
    listed = list(names)
    return tx.rows(f"{sql} {AMONG.format(type=kind)}", names=json.dumps(listed)) if listed else []
