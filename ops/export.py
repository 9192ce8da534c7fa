"""Everything stored about a person, as one JSON file that they can read."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from ops import case
from ops.books import Books
from ops.people import People, Person
from shared.daraja.models import EAT
from shared.database import Database, Row

WHAT_IT_IS = (
    "Everything this shop's payment system has stored about the person asked for. `in_words` tells each payment in "
    "plain words; what follows it are the records themselves. Times are in UTC, amounts in Kenya shillings."
)
NOT_IN_IT = [
    "Network addresses: of whoever asked for a prompt only a keyed digest is kept, for an hour, tied to no payment.",
    "M-Pesa PINs: they never reach the shop.",
    "Log lines, which hold no numbers, names or addresses.",
    "What Safaricom, the e-mail service and the shop's own order system know.",
]


def collect(database: Database, person: Person) -> dict[str, object]:
    """The person's payments, with all that belongs to them, and where else they are named."""
    books, people = Books(database), People(database)
    ids = [transaction_id for order in people.orders_of(person) for transaction_id in order.ids]
    return {
        "what_this_is": WHAT_IT_IS,
        "not_in_this_file": NOT_IN_IT,
        "about": person.msisdn or person.email,
        "written_at": datetime.now(UTC),
        "payments": [_payment(database, books, transaction_id) for transaction_id in ids],
        "named_by_evidence_about_other_payments": [
            {
                "transaction_id": each,
                "callbacks": books.callbacks(each),
            }
            for each in people.named_elsewhere(person, but=ids)
        ],
    }


def write(found: dict[str, object], path: Path) -> None:
    """For its owner's eyes only; FileExistsError where there is such a file already."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(found, file, indent=2, ensure_ascii=False, default=_plain)
        file.write("\n")


def told(found: dict[str, object]) -> Iterator[str]:
    """What the file holds, in a few lines."""
    payments = found["payments"]
    assert isinstance(payments, list)
    yield f"{len(payments)} payments"
    for each in payments:
        row = each["payment"]
        yield (
            f"  {row['created_at'].astimezone(EAT):%Y-%m-%d}  KES {row['amount']:,.0f}  {row['account_reference']}  "
            f"{row['status']}  {len(each['callbacks'])} callbacks, {len(each['answers_of_daraja'])} answers, "
            f"{len(each['audit_log'])} audit rows, {'an' if each['invoice'] else 'no'} invoice"
        )
    elsewhere = found["named_by_evidence_about_other_payments"]
    assert isinstance(elsewhere, list)
    if elsewhere:
        yield f"named by evidence about {len(elsewhere)} other payments"


def _payment(database: Database, books: Books, transaction_id: str) -> dict[str, object]:
    return {
        "in_words": [line for line in case.tell(books, transaction_id) if line],
        "payment": books.payment(transaction_id),
        "confirmation": books.confirmation(transaction_id),
        "invoice": books.invoice(transaction_id),
        "callbacks": books.callbacks(transaction_id),
        "answers_of_daraja": books.answers(transaction_id),
        "audit_log": books.audit(transaction_id),
        "messages": books.sent(transaction_id),
        "request": _rows(database, "idempotency_keys", transaction_id),
        "erasures": _rows(database, "erasures", transaction_id),
    }


def _rows(database: Database, table: str, transaction_id: str) -> list[Row]:
    with database.transaction() as tx:
        return tx.rows(
            f"SELECT * FROM {table} WHERE transaction_id = CAST(:id AS uuid)",  # noqa: S608  # one of two names above
            id=transaction_id,
        )


def _plain(value: object) -> object:
    """JSON has no times, sums or bytes."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, bytes | bytearray):
        try:
            return bytes(value).decode()
        except UnicodeDecodeError:
            return {"base64": base64.b64encode(value).decode()}
    return str(value)
