"""`ops case`: everything known about one payment, in order: what Safaricom said, what it means, what to do now.

For whoever answers "I paid, where is my order?".
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator

from ops import receipt_search
from ops.advice import do_now
from ops.answers import Answer, Table
from ops.books import Books
from ops.history import Moment, history
from ops.session import Commands, InNoPayment, Session, add_clue
from ops.words import eat, order_lines, order_record, payment_record, payment_table
from shared.database import Row
from shared.payments import PUBLIC, Status
from shared.values import HIDDEN_MSISDN, in_words, masked

WIDTH = 110


def add_commands(commands: Commands) -> None:
    about = commands.add_parser("case", help="everything known about one payment, in order")
    add_clue(about)
    about.set_defaults(run=_case)


def _case(session: Session, chosen: argparse.Namespace) -> Answer:
    try:
        found = session.payments(chosen.clue)
    except InNoPayment as receipt:
        document: dict[str, object] = {"payments": [], "case": None, "receipt": receipt_search.document(receipt.found)}
        return Answer(document, receipt_search.lines(receipt.found), code=1)
    if len(found) > 1:
        several = f"{len(found)} payments; `ops case TX` shows one:"
        return Answer({"payments": map(payment_record, found), "case": None}, [several, payment_table(found)])
    transaction_id = str(found[0]["id"])
    document = {"payments": map(payment_record, found), "case": _document(session.books, transaction_id)}
    return Answer(document, _parts(session.books, transaction_id, for_the_shop=True))


def _document(books: Books, transaction_id: str) -> dict[str, object]:
    (payment,) = books.rows("transactions", transaction_id)
    confirmation, invoice = books.row("payment_confirmations", transaction_id), books.row("invoices", transaction_id)
    advice = do_now(books, payment)
    return {
        **order_record(payment),
        "customer_reads": PUBLIC[Status(payment["status"])],
        "confirmed_by": confirmation and confirmation["evidence"],
        "refund_receipt": payment["refund_receipt"],
        "order_sent_at": payment["order_sent_at"],
        "invoice_number": invoice and invoice["invoice_number"],
        "invoice_status": invoice and invoice["status"],
        "history": [{"at": it.at, "what": it.what, "means": it.means} for it in history(books, payment)],
        "do_now": advice.sentences,
        "commands": [{"command": command, "when": when} for command, when in advice.commands],
    }


def lines(books: Books, transaction_id: str) -> Iterator[str]:
    """Everything that happened, in order, and what to do now; phone numbers are masked, and nobody is named."""
    for part in _parts(books, transaction_id, for_the_shop=False):
        yield from [part] if isinstance(part, str) else [line for _, text in part.rows for line in text.split("\n")]


def _parts(books: Books, transaction_id: str, *, for_the_shop: bool) -> Iterator[str | Table]:
    """`for_the_shop`: also what was ordered, by whom, and how to reach them."""
    payment = books.row("transactions", transaction_id)
    if payment is None:
        yield f"There is no payment {transaction_id}."
        return
    status = Status(payment["status"])
    yield f"Payment {transaction_id}"
    by = "from" if payment["phone_number"] == HIDDEN_MSISDN else "asked of"
    yield (
        f"{in_words(payment['amount'])} for {payment['account_reference']}, "
        f"{by} {masked(payment['phone_number'])}. Times are East Africa Time."
    )
    if for_the_shop:
        yield from order_lines(payment)
    yield ""
    yield _in_order(history(books, payment))
    yield ""
    yield f"It is {status}; the customer reads “{PUBLIC[status]}”."
    yield from _confirmation(books, payment)
    advice = do_now(books, payment)
    yield from _wrapped("Do now: ", " ".join(advice.sentences))
    for command, when in advice.commands:
        yield f"  {command}   # {when}"


def _in_order(moments: list[Moment]) -> Table:
    """A decision stands under its evidence. Where something came between them, it says what was judged."""
    rows: list[tuple[list[str], str]] = []
    before = ""
    for moment in moments:
        at = eat(moment.at, seconds=True)
        under = list(_wrapped(" " * 23, f"It means: {moment.means}")) if moment.means else []
        if moment.judges and moment.judges == before:
            (when, what, means), text = rows.pop()
            rows.append(([when, what, f"{means}\n{moment.means}".strip()], "\n".join([text, *under])))
            continue
        rows.append(([at, moment.what, moment.means], "\n".join([*_wrapped(f"  {at}  ", moment.what), *under])))
        before = moment.about
    return Table(("When (EAT)", "~What happened", "~What it means"), rows)


def _wrapped(begins: str, text: str) -> Iterator[str]:
    indent = " " * (len(begins) + 2 * begins.isspace())
    yield from textwrap.wrap(text, WIDTH, initial_indent=begins, subsequent_indent=indent, break_on_hyphens=False)


def _confirmation(books: Books, payment: Row) -> Iterator[str]:
    confirmation = books.row("payment_confirmations", str(payment["id"]))
    if confirmation is not None:
        word = {"callback": "Safaricom's callback", "query": "Safaricom's answer", "operator": "a person"}
        word["statement"] = "a statement"
        receipt = confirmation["mpesa_receipt_number"] or "missing"
        yield f"Confirmed by {word[confirmation['evidence']]}: {in_words(confirmation['amount'])}, receipt {receipt}."
    if payment["refund_receipt"]:
        yield f"It went back under receipt {payment['refund_receipt']}."
    invoice = books.row("invoices", str(payment["id"]))
    if invoice is not None:
        yield f"Invoice {invoice['invoice_number']}: {invoice['status']}."
