"""What an operator reads: the questions of the commands, each with its SQL beside it. Nothing here writes."""

from __future__ import annotations

from shared.database import Database, Row
from shared.values import read_msisdn

NAMED = """
    t.id, t.status, t.review_reason, t.amount, t.account_reference, t.phone_number, t.created_at, t.paid_at,
    c.mpesa_receipt_number, c.evidence
"""


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
        """Payments that wait for a person, oldest first, with the receipts that callbacks named for them."""
        return self._database.rows(
            f"""
            SELECT {NAMED}, t.updated_at,
                   ARRAY(SELECT DISTINCT receipt FROM callback_inbox i, unnest(i.receipts) receipt
                         WHERE i.transaction_id = t.id ORDER BY receipt) AS receipts_seen
            FROM transactions t LEFT JOIN payment_confirmations c ON c.transaction_id = t.id
            WHERE t.status = 'REVIEW' ORDER BY t.created_at
            """
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
        return self._database.rows(
            f"""
            SELECT {NAMED}
            FROM transactions t LEFT JOIN payment_confirmations c ON c.transaction_id = t.id
            WHERE t.id::text = lower(:clue) OR c.mpesa_receipt_number = upper(:clue) OR t.account_reference = :clue
               OR t.phone_number = :phone OR lower(t.customer_email) = lower(:clue)
               OR t.refund_receipt = upper(:clue) OR t.checkout_request_id = :clue
               OR t.id IN (SELECT i.transaction_id FROM callback_inbox i
                           WHERE i.id::text = lower(:clue) OR ARRAY[:clue, upper(:clue)] && i.receipts)
               OR t.id IN (SELECT v.transaction_id FROM invoices v WHERE v.invoice_number = upper(:clue))
            ORDER BY t.created_at DESC LIMIT 50
            """,
            clue=clue.strip(),
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
        """Of the money that came in for a payment: confirmed, or only named by a callback."""
        rows = self._database.rows(
            """
            SELECT mpesa_receipt_number AS receipt FROM payment_confirmations
            WHERE transaction_id = CAST(:id AS uuid) AND mpesa_receipt_number IS NOT NULL
            UNION SELECT unnest(receipts) FROM callback_inbox WHERE transaction_id = CAST(:id AS uuid)
            """,
            id=transaction_id,
        )
        return {str(row["receipt"]).upper() for row in rows}

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

    def all_payments(self) -> list[Row]:
        return self._database.rows(
            """
            SELECT t.*, c.mpesa_receipt_number,
                   ARRAY(SELECT q.result_code::text FROM query_answers q WHERE q.transaction_id = t.id)
                       AS answered_codes
            FROM transactions t LEFT JOIN payment_confirmations c ON c.transaction_id = t.id
            """
        )

    def all_callbacks(self) -> list[Row]:
        return self._database.rows(
            "SELECT id, transaction_id, received_at, body, outcome, receipts, erased_sha256 FROM callback_inbox"
        )

    def whole_audit(self) -> list[Row]:
        return self._database.rows("SELECT * FROM audit_log ORDER BY id")

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


def _as_stored(clue: str) -> str | None:
    """A phone number in any of its forms, as the books have it; None: it is none."""
    try:
        return read_msisdn(clue)
    except ValueError:
        return None
