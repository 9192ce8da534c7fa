"""Everything stored about a person that is theirs, as one JSON file that they can read.

What identifies the asker is the number that they ask from, or the address. By number they get the payments asked of
that number; the name, the address and the description were typed by whoever ordered, who may be somebody else. By
address they get the payments that name it, with what was typed beside it; the number may be somebody else's. Of
records about other people's payments they get only what is said about them, not which payment it is: its id would let
them read its state.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from typing import Any

from ops import case
from ops.books import Books
from ops.erased_callbacks import read_stored
from ops.people import People, Person
from ops.statements import unclaimed
from ops.words import FILLING, counted
from shared.daraja.callback_reader import CallbackFailure, CallbackSuccess, CallbackUnknownCode, CallbackUnreadable
from shared.database import Database, Row
from shared.values import EAT, masked, read_msisdn

WHAT_IT_IS = (
    "Everything this shop's payment system has stored about the person asked for. `in_words` is each payment in "
    "plain words; what follows are the records themselves. Times are in UTC, amounts in Kenya shillings."
)
NOT_IN_IT = (
    "Names, e-mail addresses, descriptions and notes, where this file was asked for by phone number: whoever ordered "
    "typed them. They are in the file for the address.",
    "Phone numbers, where this file was asked for by e-mail address: they are masked. They are in the file for the "
    "number.",
    "Other people: their numbers are masked, their addresses are left out.",
    "Network addresses: of whoever asked for a prompt only a keyed digest is kept, for an hour, tied to no payment.",
    "M-Pesa PINs: they never reach the shop.",
    "Log lines, which hold no numbers, names or addresses.",
    "What Safaricom, the e-mail service and the shop's own order system know.",
)
ABOUT_THE_FILE = ("what_this_is", "not_in_this_file", "about", "written_at")
NAMED_ELSEWHERE = "named_by_evidence_about_other_payments"
ONLY_NAMED = "It names you, and says nothing more about you."
ONE_EACH = {"payment": "transactions", "confirmation": "payment_confirmations", "invoice": "invoices"}
SEVERAL = {
    "answers_of_daraja": "query_answers",
    "audit_log": "audit_log",
    "messages": "outbox",
    "request": "idempotency_keys",
    "erasures": "erasures",
    "statement_rows": "statement_rows",
}
SHOWN = {
    "payment": """
        id amount account_reference status review_reason response_code response_message result_code result_desc
        created_at updated_at pushed_at callback_received_at success_held_at paid_at paid_late refunded_at
        refund_receipt failed_at watched_at lang items order_sent_at
    """,
    "confirmation": "evidence amount mpesa_receipt_number transaction_date result_desc received_at",
    "invoice": "invoice_number invoice_date amount status sent_at etims_cu_invoice_number",
    "answers_of_daraja": "answered_at result_code said outcome",
    "audit_log": "at actor event outcome from_status to_status reason said",
    "messages": "kind topic created_at sent_at dropped last_error",
    "request": "key created_at",
    "erasures": "at scope who why",
    "statement_rows": "at class status paid_in withdrawn receipt linked_receipt",
}
"""Of each record the columns that are shown to everybody it is about."""
OF_THE_NUMBER = {
    "payment": ("phone_number", "merchant_request_id", "checkout_request_id"),
    "confirmation": ("phone_number",),
    "invoice": ("customer_phone",),
    "statement_rows": ("account", "raw"),
}
OF_THE_ADDRESS = {
    "payment": ("customer_email", "customer_name", "transaction_desc", "note"),
    "invoice": ("customer_email", "customer_name"),
}
_ADDRESS = re.compile(r"(?<![\w.+'-])[\w.+'-]++@[\w-]+(?:\.[\w-]+)+")
"""It reads a text once, whatever a stranger wrote: no step back within a name, and none begins within another."""
_NUMBER = re.compile(
    rf"(?<![0-9])(?:\+?254|0){FILLING}(?P<written>[17](?:{FILLING}[0-9]){{8}})(?![0-9])"
    r"|(?<=[0-9]{17})(?P<in_an_id>[17][0-9]{8})(?![0-9])"
)


def collect(database: Database, person: Person) -> dict[str, Any]:
    """The person's payments, with all that belongs to them, and where else they are named."""
    books, people = Books(database), People(database)
    orders = people.orders_of(person)
    theirs = [row for order in orders for row in order.payments if person.has(row)]
    other_attempts = [transaction_id for order in orders for transaction_id in order.ids]
    return {
        "what_this_is": WHAT_IT_IS,
        "not_in_this_file": NOT_IN_IT,
        "about": person.msisdn or person.email,
        "written_at": datetime.now(UTC),
        "payments": [_payment(books, person, str(row["id"])) for row in theirs],
        NAMED_ELSEWHERE: [
            said
            for each in people.named_elsewhere(person, but=other_attempts)
            if each != unclaimed.OF_NO_PAYMENT
            for said in _about_this_person(person, books.rows("callback_inbox", each))
        ],
        "statement_rows_of_no_payment": [
            {"at": row["at"], "receipt": row["receipt"], "paid_in": row["paid_in"], "says": ONLY_NAMED}
            for row in books.unclaimed_rows()
            if unclaimed.names(person, row)
        ],
        "audit_rows_whose_reason_names_you": people.in_the_audit_log(person),
    }


def is_empty(found: dict[str, Any]) -> bool:
    """Nothing is stored about them."""
    return not any(found[name] for name in found if name not in ABOUT_THE_FILE)


def write(found: dict[str, Any], path: Path) -> None:
    """For its owner's eyes only; FileExistsError where there is such a file already."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(found, file, indent=2, ensure_ascii=False, default=_plain)
        file.write("\n")


def summary(found: dict[str, Any]) -> Iterator[str]:
    """What the file holds, in a few lines."""
    yield counted(len(found["payments"]), "payment")
    for each in found["payments"]:
        row = each["payment"]
        yield (
            f"  {row['created_at'].astimezone(EAT):%Y-%m-%d}  KES {row['amount']:,.0f}  {row['account_reference']}  "
            f"{row['status']}  {counted(len(each['callbacks']), 'callback')}, "
            f"{counted(len(each['answers_of_daraja']), 'answer')}, {counted(len(each['audit_log']), 'audit row')}, "
            f"{'an' if each['invoice'] else 'no'} invoice"
        )
    if found[NAMED_ELSEWHERE]:
        yield f"named {counted(len(found[NAMED_ELSEWHERE]), 'time')} beside other people's payments"


# One payment ----------------------------------------------------------------------------------------------------------


def _payment(books: Books, person: Person, transaction_id: str) -> dict[str, Any]:
    words = takewhile(lambda line: not line.startswith("Do now:"), case.lines(books, transaction_id))
    return {
        "in_words": [without_others(person, line) for line in words if line],
        **{name: _shown(person, name, books.row(table, transaction_id)) for name, table in ONE_EACH.items()},
        **{
            name: [_shown(person, name, row) for row in books.rows(table, transaction_id)]
            for name, table in SEVERAL.items()
        },
        "callbacks": [
            {"received_at": row["received_at"], **_said(person, row)}
            for row in books.rows("callback_inbox", transaction_id)
        ],
    }


def _shown(person: Person, name: str, record: Row | None) -> dict[str, Any] | None:
    if record is None:
        return None
    columns = SHOWN[name].split()
    if person.msisdn:
        columns += OF_THE_NUMBER.get(name, ())
    elif str(record.get("customer_email") or "").lower() == str(person.email).lower():
        columns += OF_THE_ADDRESS.get(name, ())
    return {column: without_others(person, record[column]) for column in columns}


def _said(person: Person, row: Row) -> dict[str, Any]:
    """What a callback says, as far as it is this person's."""
    said = read_stored(row)
    match said:
        case CallbackSuccess():
            return {
                "result_code": "0",
                "result_desc": without_others(person, said.description),
                "amount": said.amount_kes,
                "mpesa_receipt_number": said.receipt,
                "transaction_date": said.transaction_date,
                "phone_number": _payer(person, said.phone),
            }
        case CallbackFailure() | CallbackUnknownCode():
            return {"result_code": said.code, "result_desc": without_others(person, said.description)}
        case CallbackUnreadable():
            return {"unreadable": said.reason}


def _about_this_person(person: Person, callbacks: list[Row]) -> Iterator[dict[str, Any]]:
    """What callbacks about somebody else's payment say about this person: what they paid, or that they are named."""
    named = False
    for row in callbacks:
        said = read_stored(row)
        if isinstance(said, CallbackSuccess) and _msisdn(said.phone) == person.msisdn is not None:
            named = True
            yield {
                "received_at": row["received_at"],
                "says": "Somebody else was asked to pay, and you paid.",
                "phone_number": said.phone,
                "amount": said.amount_kes,
                "mpesa_receipt_number": said.receipt,
                "transaction_date": said.transaction_date,
            }
        elif person.is_named_in_body(bytes(row["body"])):
            named = True
            yield {"received_at": row["received_at"], "says": ONLY_NAMED}
    if not named:
        yield {"received_at": None, "says": ONLY_NAMED}


def _payer(person: Person, phone: str | None) -> str | None:
    """The payer's number; masked where it is not the person's, or where Safaricom masked it."""
    number = _msisdn(phone)
    if number is None:
        return phone if phone and "*" in phone else None
    return phone if number == person.msisdn else masked(number)


def _msisdn(phone: str | None) -> str | None:
    try:
        return read_msisdn(phone)
    except ValueError:
        return None


def without_others(person: Person, value: Any) -> Any:
    """A text in which only this person's number and address stand as they are."""
    if not isinstance(value, str):
        return value
    numbers_hidden = _NUMBER.sub(lambda found: _number(person, found), value)
    return _ADDRESS.sub(lambda found: _address(person, found), numbers_hidden)


def _number(person: Person, found: re.Match[str]) -> str:
    digits = re.sub("[^0-9]", "", found["written"] or found["in_an_id"])
    return found[0] if digits == person.number else masked(f"254{digits}")


def _address(person: Person, found: re.Match[str]) -> str:
    return found[0] if found[0].lower() == str(person.email).lower() else "…@…"


def _plain(value: object) -> str:
    """JSON has no times, sums or ids."""
    return value.isoformat() if isinstance(value, datetime) else str(value)
