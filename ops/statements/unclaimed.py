"""Rows of statements that are of no payment, and the people in them: an account that somebody typed, a masked name."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from ops.people import Person
from shared.database import Database, Row, Transaction

OF_NO_PAYMENT = "00000000-0000-0000-0000-000000000000"
"""Under this id their erasures are recorded."""
AT_ONCE = 1000
FORGET = "UPDATE statement_rows SET account = NULL, raw = NULL"
UNCLAIMED = "transaction_id IS NULL AND num_nonnulls(account, raw) > 0"


def forget_its_receipts(tx: Transaction, transaction_id: str) -> Counter[str]:
    """Rows under receipts that this payment has, or that callbacks about it named, which nobody gave to it yet."""
    emptied = tx.run(
        f"""
        {FORGET} WHERE {UNCLAIMED} AND receipt IN (
            SELECT unnest(i.receipts) FROM callback_inbox i WHERE i.transaction_id = CAST(:id AS uuid)
            UNION SELECT mpesa_receipt_number FROM payment_confirmations WHERE transaction_id = CAST(:id AS uuid)
            UNION SELECT refund_receipt FROM transactions WHERE id = CAST(:id AS uuid))
        """,  # noqa: S608  # words from above
        id=transaction_id,
    )
    return Counter(statement_rows=emptied)


def forget_those_naming(tx: Transaction, person: Person) -> Counter[str]:
    """Rows whose account or cells hold the person's number or address."""
    done: Counter[str] = Counter()
    for row in tx.rows(f"SELECT id, account, raw FROM statement_rows WHERE {UNCLAIMED}"):  # noqa: S608
        if names(person, row):
            done["statement_rows"] += tx.run(f"{FORGET} WHERE id = :id", id=row["id"])
    return done


def names(person: Person, row: Row) -> bool:
    """Whether a row holds the number as it is, or the address."""
    return person.is_named_in_body(f"{row['account']} {row['raw']}".encode())


def forget_past(tx: Transaction, age: timedelta) -> Counter[str]:
    some = f"SELECT id FROM statement_rows WHERE {_PAST} LIMIT {AT_ONCE}"  # noqa: S608
    return Counter(statement_rows=tx.run(f"{FORGET} WHERE id IN ({some})", age=age))


def are_past(database: Database, age: timedelta) -> bool:
    return database.row(f"SELECT id FROM statement_rows WHERE {_PAST} LIMIT 1", age=age) is not None  # noqa: S608


_PAST = f"{UNCLAIMED} AND at < now() - CAST(:age AS interval)"
