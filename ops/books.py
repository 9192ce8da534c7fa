"""What an operator reads: the questions of the commands, each with its SQL beside it. Nothing here writes."""

from __future__ import annotations

import uuid

from shared.database import Database, Row
from shared.gateway.outbox import MAILBOX
from shared.gateway.sales import REFUND_ASKED, REFUND_DROPPED
from shared.values import read_msisdn

NAMED = """
    t.id, t.status, t.review_reason, t.amount, t.account_reference, t.phone_number, t.created_at, t.paid_at,
    c.mpesa_receipt_number, c.evidence
"""


SHOWN = 50
"""At most so many payments for one clue: the newest."""
OF_THE_CLUE = MAILBOX.replace("{}.customer_email", ":clue")
ORDER = {"callback_inbox": "received_at", "idempotency_keys": "key"}
"""What a table's rows are ordered by, where it is not their id."""


class Books:
    """The database, as the operator's commands see it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def environment(self) -> str | None:
        """Which M-Pesa these books belong to; None while nobody has used them."""
        row = self._database.row("SELECT environment FROM installation")
        return str(row["environment"]) if row else None

    def in_review(self) -> list[Row]:
        """Payments that wait for a person, oldest first, with the receipts that callbacks and statements name."""
        return self._database.rows(
            f"""
            SELECT {NAMED}, t.updated_at,
                   ARRAY(SELECT unnest(i.receipts) AS receipt FROM callback_inbox i WHERE i.transaction_id = t.id
                         UNION SELECT r.receipt FROM statement_rows r WHERE r.transaction_id = t.id AND r.paid_in > 0
                         ORDER BY receipt) AS receipts_seen
            FROM transactions t LEFT JOIN payment_confirmations c ON c.transaction_id = t.id
            WHERE t.status = 'REVIEW' ORDER BY t.created_at
            """
        )

    def refund_wishes(self, transaction_id: str) -> list[Row]:
        """What was said about a refund of it, in order; the last one holds."""
        return self._database.rows(
            """
            SELECT kind, at, who, why FROM reconciliation_log
            WHERE subject = :id AND kind IN (:asked, :dropped) ORDER BY place
            """,
            id=transaction_id,
            asked=REFUND_ASKED,
            dropped=REFUND_DROPPED,
        )

    def without_receipt(self) -> list[Row]:
        """Paid on Daraja's word, but without the receipt number a query does not name; oldest first."""
        return self._database.rows(
            f"""
            SELECT {NAMED}
            FROM transactions t JOIN payment_confirmations c ON c.transaction_id = t.id
            WHERE t.status = 'PAID' AND c.mpesa_receipt_number IS NULL ORDER BY t.paid_at
            """
        )

    def find(self, clue: str) -> list[Row]:
        """Payments by whatever names them, newest first: what a customer, a statement or Safaricom's support quotes.

        `ops.session.CLUES` lists them.
        """
        clue = clue.strip()
        return self._database.rows(
            f"""
            WITH named (id) AS (
                SELECT CAST(:id AS uuid)
                UNION SELECT transaction_id FROM callback_inbox WHERE id = CAST(:id AS uuid)
                UNION SELECT transaction_id FROM callback_inbox
                      WHERE receipts && ARRAY[:clue, upper(:clue)] AND receipts <> '{{}}'
                UNION SELECT transaction_id FROM payment_confirmations WHERE mpesa_receipt_number = upper(:clue)
                UNION SELECT id FROM transactions WHERE refund_receipt = upper(:clue)
                UNION SELECT id FROM transactions WHERE checkout_request_id = :clue
                UNION SELECT transaction_id FROM invoices WHERE invoice_number = upper(:clue)
                UNION (SELECT id FROM transactions WHERE lower(account_reference) = lower(:clue)
                       ORDER BY created_at DESC LIMIT {SHOWN})
                UNION (SELECT id FROM transactions WHERE phone_number = :phone ORDER BY created_at DESC LIMIT {SHOWN})
                UNION (SELECT id FROM transactions t WHERE {MAILBOX.format("t")} = {OF_THE_CLUE}
                         AND lower(customer_email) = lower(:clue) ORDER BY created_at DESC LIMIT {SHOWN}))
            SELECT {NAMED}
            FROM named JOIN transactions t USING (id) LEFT JOIN payment_confirmations c ON c.transaction_id = t.id
            ORDER BY t.created_at DESC LIMIT {SHOWN}
            """,
            clue=clue,
            id=_as_id(clue),
            phone=_as_stored(clue),
        )

    def paid_twins(self, transaction_id: str) -> list[str]:
        """Other paid payments of the same order, where the shop was alerted that it was paid twice."""
        rows = self._database.rows(
            """
            SELECT o.id FROM transactions t JOIN transactions o
              ON lower(o.account_reference) = lower(t.account_reference) AND o.paid_at IS NOT NULL AND o.id <> t.id
            WHERE t.id = CAST(:id AS uuid) AND o.status = 'PAID'
              AND EXISTS (SELECT FROM outbox a WHERE a.kind = 'alert' AND a.topic = 'order_paid_twice'
                            AND a.transaction_id IN (o.id, t.id))
            ORDER BY o.paid_at
            """,
            id=transaction_id,
        )
        return [str(row["id"]) for row in rows]

    def receipts_told(self, transaction_id: str) -> set[str]:
        """Of the money that came in for a payment: confirmed, or only named by a callback or a statement."""
        rows = self._database.rows(
            """
            SELECT mpesa_receipt_number AS receipt FROM payment_confirmations
            WHERE transaction_id = CAST(:id AS uuid) AND mpesa_receipt_number IS NOT NULL
            UNION SELECT unnest(receipts) FROM callback_inbox WHERE transaction_id = CAST(:id AS uuid)
            UNION SELECT receipt FROM statement_rows WHERE transaction_id = CAST(:id AS uuid) AND paid_in > 0
            """,
            id=transaction_id,
        )
        return {str(row["receipt"]).upper() for row in rows}

    def receipt_is_taken(self, receipt: str, transaction_id: str) -> bool:
        """It confirms another payment, or names money that went back for one."""
        rows = self._database.rows(
            """
            SELECT 1 AS taken FROM payment_confirmations
            WHERE mpesa_receipt_number = :receipt AND transaction_id <> CAST(:id AS uuid)
            UNION ALL SELECT 1 FROM transactions WHERE refund_receipt = :receipt AND id <> CAST(:id AS uuid)
            """,
            receipt=receipt,
            id=transaction_id,
        )
        return bool(rows)

    def named_for_others(self, receipt: str, transaction_id: str) -> list[str]:
        """Other payments, also such as are not in the books, about which callbacks name this receipt."""
        rows = self._database.rows(
            """
            SELECT DISTINCT transaction_id FROM callback_inbox
            WHERE receipts <> '{}' AND receipts && ARRAY[CAST(:receipt AS text)]
              AND transaction_id <> CAST(:id AS uuid) LIMIT 3
            """,
            receipt=receipt,
            id=transaction_id,
        )
        return [str(row["transaction_id"]) for row in rows]

    def unclaimed_rows(self) -> list[Row]:
        """Rows of statements that are of no payment, as far as they can name somebody."""
        return self._database.rows(
            """
            SELECT at, receipt, paid_in, account, raw FROM statement_rows
            WHERE transaction_id IS NULL AND num_nonnulls(account, raw) > 0 ORDER BY at
            """
        )

    def statement_rows_of(self, transaction_id: str) -> list[Row]:
        """Rows of statements that are of this payment."""
        return self._database.rows(
            """
            SELECT at, class, paid_in, withdrawn, receipt, sha256, row_number FROM statement_rows
            WHERE transaction_id = CAST(:id AS uuid) ORDER BY id
            """,
            id=transaction_id,
        )

    def on_statements(self, receipt: str) -> list[Row]:
        """The rows of statements under a receipt, oldest file first."""
        return self._database.rows(
            """
            SELECT id, sha256, row_number, at, class, status, completed, paid_in, withdrawn, transaction_id
            FROM statement_rows WHERE receipt = upper(:receipt) ORDER BY id
            """,
            receipt=receipt,
        )

    def rows(self, table: str, transaction_id: str) -> list[Row]:
        """What a table holds about one payment, in order."""
        key, order = key_of(table), ORDER.get(table, "id")
        return self._database.rows(
            f"SELECT * FROM {table} WHERE {key} = CAST(:id AS uuid) ORDER BY {order}", id=transaction_id
        )

    def row(self, table: str, transaction_id: str) -> Row | None:
        """The same of a table that has one row for a payment."""
        rows = self.rows(table, transaction_id)
        return rows[0] if rows else None

    def payments_in_all(self) -> int:
        """As the statistics have it, where there are many: counting them takes long."""
        row = self._database.row("SELECT reltuples FROM pg_class WHERE oid = 'transactions'::regclass")
        return max(int(row["reltuples"]), 0) if row else 0

    def unsettled_callbacks(self) -> list[Row]:
        """Inbox entries that wait for a try, or that nobody could judge; the newest 200, oldest first."""
        return self._database.rows(
            """
            SELECT * FROM (
                SELECT id, transaction_id, received_at, tries, next_try_at, outcome, last_error, receipts,
                       source_address, source_check, count(*) OVER () AS in_all
                FROM callback_inbox
                WHERE outcome IS NULL OR outcome IN ('dead_letter', 'unreadable', 'unknown_transaction', 'held')
                ORDER BY received_at DESC LIMIT 200) newest
            ORDER BY received_at
            """
        )


def key_of(table: str) -> str:
    """The column that names a row's payment."""
    return "id" if table == "transactions" else "transaction_id"


def _as_id(clue: str) -> str | None:
    try:
        return str(uuid.UUID(clue))
    except ValueError:
        return None


def _as_stored(clue: str) -> str | None:
    """A phone number in any of its forms, as the books have it; None: it is none."""
    try:
        return read_msisdn(clue)
    except ValueError:
        return None
