"""What is on file against a person's word about a payment: callbacks and statement rows that say something else."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ops.books import Books
from ops.erased_callbacks import read_stored
from shared.daraja.callback_reader import CallbackSuccess
from shared.database import Row
from shared.values import in_words


def against_paying(books: Books, payment: Row, receipt: str) -> list[str]:
    """Why this receipt can hardly be the money of this payment, each as a part of a sentence."""
    return _unless_taken(books, payment, receipt, _against_paying)


def _unless_taken(
    books: Books, payment: Row, receipt: str, doubts: Callable[[Books, Row, str], Iterator[str]]
) -> list[str]:
    """A receipt that is another payment's is refused whatever else is on file."""
    taken = books.receipt_is_taken(receipt, str(payment["id"]))
    return [] if taken else list(dict.fromkeys(doubts(books, payment, receipt)))


def _against_paying(books: Books, payment: Row, receipt: str) -> Iterator[str]:
    wanted, transaction_id = payment["amount"], str(payment["id"])
    told = [
        said
        for row in books.rows("callback_inbox", transaction_id)
        if isinstance(said := read_stored(row), CallbackSuccess)
    ]
    for said in told:
        amounts = {amount for amount in (said.amount_kes, said.amount_said) if amount is not None}
        if said.receipt == receipt and amounts - {wanted}:
            yield f"a callback says {in_words(min(amounts - {wanted}))} under {receipt}, not {in_words(wanted)}"
    named = {said.receipt for said in told if said.receipt}
    if named and receipt not in named:
        yield f"callbacks about this payment name the receipt {', '.join(sorted(named))}, not {receipt}"
    for other in books.named_for_others(receipt, transaction_id):
        yield f"a callback about another payment names {receipt} (`ops case {other}`)"
    rows = books.on_statements(receipt)
    came_in = [row for row in rows if row["paid_in"] > 0]
    for row in came_in:
        if row["paid_in"] != wanted:
            yield f"a statement says KES {row['paid_in']:,} under {receipt}, not {in_words(wanted)}"
        if not row["completed"]:
            yield f"a statement says that {receipt} is {row['status']}"
        if row["transaction_id"] is not None and str(row["transaction_id"]) != transaction_id:
            yield f"the statement row of {receipt} is of another payment (`ops case {row['transaction_id']}`)"
    if rows and not came_in:
        yield f"a statement says that money went out under {receipt}"


def against_refunding(books: Books, payment: Row, receipt: str) -> list[str]:
    """Why this receipt can hardly be that of the whole amount going back."""
    return _unless_taken(books, payment, receipt, _against_refunding)


def _against_refunding(books: Books, payment: Row, receipt: str) -> Iterator[str]:
    wanted = payment["amount"]
    rows = books.on_statements(receipt)
    went_out = [row for row in rows if row["withdrawn"] > 0]
    for row in went_out:
        if row["class"] != "charge" and row["withdrawn"] != wanted:
            yield f"a statement says that KES {row['withdrawn']:,} went out under {receipt}, not {in_words(wanted)}"
        if not row["completed"]:
            yield f"a statement says that {receipt} is {row['status']}"
        if row["transaction_id"] is not None and row["transaction_id"] != payment["id"]:
            yield f"the statement row of {receipt} is of another payment (`ops case {row['transaction_id']}`)"
    if any(row["paid_in"] > 0 for row in rows):
        yield f"a statement says that money came in under {receipt}"
    for other in books.named_for_others(receipt, str(payment["id"])):
        yield f"a callback names {receipt} as money that came in (`ops case {other}`)"
