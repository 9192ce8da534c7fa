"""Everything stored about a person, as one JSON file that they can read, and nothing about anybody else.

Whoever has an address need not have the phone, nor the other way round, and evidence may name several people: other
people's numbers are masked and their addresses and names taken out. Of evidence about somebody else's payment only what
it says about this person is told, not which payment that is: its id would let them read its state.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from ops import case
from ops.books import Books
from ops.people import People, Person
from ops.redaction import FILLING, Redaction, nine_digits, numbers_told
from ops.words import counted
from shared.daraja.callback_reader import CallbackSuccess, read_callback
from shared.database import Database, Row
from shared.east_africa_time import EAT

WHAT_IT_IS = (
    "Everything this shop's payment system has stored about the person asked for. `in_words` tells each payment in "
    "plain words; what follows it are the records themselves. Times are in UTC, amounts in Kenya shillings."
)
NOT_IN_IT = [
    "Network addresses: of whoever asked for a prompt only a keyed digest is kept, for an hour, tied to no payment.",
    "M-Pesa PINs: they never reach the shop.",
    "Log lines, which hold no numbers, names or addresses.",
    "What Safaricom, the e-mail service and the shop's own order system know.",
    "Other people: their numbers are masked, their names and addresses taken out (erased@erased.invalid stands "
    "there). Where this file was asked for by e-mail address, every number is: for the rest ask from the number.",
]
NAMED_ELSEWHERE = "named_by_evidence_about_other_payments"
ONLY_NAMED = "It names you, and says nothing more about you."
ADDRESS = re.compile(r"(?<![\w.+'-])[\w.+'-]++@[\w-]+(?:\.[\w-]+)+")
"""It reads a text once, whatever a stranger wrote: no step back within a name, and none begins within another."""
_PHONE = re.compile(rf"(?<![0-9])(?:\+?254|0){FILLING}[17](?:{FILLING}[0-9]){{8}}(?![0-9])")
_IN_AN_ID = re.compile(r"[0-9]{17}([17][0-9]{8})(?![0-9])")


def collect(database: Database, person: Person) -> dict[str, object]:
    """The person's payments, with all that belongs to them, and where else they are named."""
    books, people = Books(database), People(database)
    orders = people.orders_of(person)
    ids = [str(row["id"]) for order in orders for row in order.payments if person.has(row)]
    other_attempts = [transaction_id for order in orders for transaction_id in order.ids]
    return {
        "what_this_is": WHAT_IT_IS,
        "not_in_this_file": NOT_IN_IT,
        "about": person.msisdn or person.email,
        "written_at": datetime.now(UTC),
        "payments": [_without_others(person, _payment(database, books, transaction_id)) for transaction_id in ids],
        NAMED_ELSEWHERE: [
            told
            for each in people.named_elsewhere(person, but=other_attempts)
            for told in _about_this_person(person, books.callbacks(each))
        ],
        "audit_rows_whose_reason_names_you": people.in_the_audit_log(person),
    }


def is_empty(found: dict[str, object]) -> bool:
    """Nothing is stored about them."""
    return not (found["payments"] or found[NAMED_ELSEWHERE] or found["audit_rows_whose_reason_names_you"])


def write(found: dict[str, object], path: Path) -> None:
    """For its owner's eyes only; FileExistsError where there is such a file already."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(found, file, indent=2, ensure_ascii=False, default=_plain)
        file.write("\n")


def told(found: dict[str, object]) -> Iterator[str]:
    """What the file holds, in a few lines."""
    payments = found["payments"]
    assert isinstance(payments, list)
    yield counted(len(payments), "payment")
    for each in payments:
        row = each["payment"]
        yield (
            f"  {row['created_at'].astimezone(EAT):%Y-%m-%d}  KES {row['amount']:,.0f}  {row['account_reference']}  "
            f"{row['status']}  {counted(len(each['callbacks']), 'callback')}, "
            f"{counted(len(each['answers_of_daraja']), 'answer')}, {counted(len(each['audit_log']), 'audit row')}, "
            f"{'an' if each['invoice'] else 'no'} invoice"
        )
    elsewhere = found[NAMED_ELSEWHERE]
    assert isinstance(elsewhere, list)
    if elsewhere:
        yield f"named {counted(len(elsewhere), 'time')} beside other people's payments"


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


# Nobody else ----------------------------------------------------------------------------------------------------------


def _without_others(person: Person, record: dict[str, object]) -> dict[str, object]:
    """The record, in which only this person's number and addresses stand as they are."""
    texts = list(_texts(record))
    own = (person.msisdn or "")[3:]
    numbers = {number for text in texts for number in _numbers(text)} - {own}
    payment: Any = record["payment"]
    hers = {payment["customer_email"]} if person.msisdn else {person.email}
    addresses = {found[0] for text in texts for found in ADDRESS.finditer(text)}
    others = addresses - {each for each in addresses if each.lower() in {str(mine).lower() for mine in hers}}
    redaction = Redaction({number: f"{number[0]}*****{number[-3:]}" for number in numbers}, tuple(sorted(others)))
    shown = {name: _shown(redaction, value) for name, value in record.items()}
    callbacks: Any = record["callbacks"]
    about_others = replace(redaction, whole_person=True)
    of_whom = [redaction if _names(person, bytes(row["body"])) else about_others for row in callbacks]
    return shown | {"callbacks": [_shown(each, row) for each, row in zip(of_whom, callbacks, strict=True)]}


def _about_this_person(person: Person, callbacks: list[Row]) -> Iterator[dict[str, object]]:
    """What callbacks about somebody else's payment say about this person: what they paid, or that they are named."""
    own = (person.msisdn or "")[3:]
    named = False
    for row in callbacks:
        body = bytes(row["body"])
        told = read_callback(body)
        if isinstance(told, CallbackSuccess) and own and nine_digits(told.phone or "") == own:
            named = True
            yield {
                "received_at": row["received_at"],
                "says": "Somebody else was asked to pay, and you paid.",
                "phone_number": told.phone,
                "amount": told.amount_kes,
                "mpesa_receipt_number": told.receipt,
                "transaction_date": told.transaction_date,
            }
        elif _names(person, body):
            named = True
            yield {"received_at": row["received_at"], "says": ONLY_NAMED}
    if not named:
        yield {"received_at": None, "says": ONLY_NAMED}


def _names(person: Person, body: bytes) -> bool:
    text = body.decode("utf-8", "replace")
    number = {person.msisdn[3:]: "*" * 9} if person.msisdn else {}
    return Redaction(number, (person.email,) if person.email else ()).shown(text) != text


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, str):
        yield value
    elif isinstance(value, bytes | bytearray):
        yield bytes(value).decode("utf-8", "surrogateescape")


def _numbers(text: str) -> set[str]:
    """The last nine digits of every number that stands in a text, also at the end of an id."""
    written = {nine_digits(found[0]) for found in _PHONE.finditer(text)} - {None}
    told = numbers_told(text.encode("utf-8", "surrogateescape"))
    return {str(number) for number in written} | set(_IN_AN_ID.findall(text)) | told


def _shown(redaction: Redaction, value: object) -> object:
    if isinstance(value, dict):
        return {name: _shown(redaction, each) for name, each in value.items()}
    if isinstance(value, list):
        return [_shown(redaction, each) for each in value]
    if isinstance(value, str):
        return redaction.shown(value)
    if isinstance(value, bytes | bytearray):
        text = bytes(value).decode("utf-8", "surrogateescape")
        return redaction.shown(text).encode("utf-8", "surrogateescape")
    return value


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
