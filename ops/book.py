"""`ops book`: money that came another way becomes a payment: paid by hand, or named by a callback that got lost.

The receipt stands in a row of a statement that was written, or in a callback whose payment is not in the books. Money
of an order that failed, by the row's account or by a person's word, is booked onto the order's payment, and so is the
receipt of one that is paid without; everything else becomes a payment of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from ops.answers import Answer
from ops.booked_onto import is_paid, named_order, paid_already
from ops.receipt_search import CENTS, CLASSES, Findings, said_success, search
from ops.references import cleaned, is_reference, same_reference
from ops.session import Commands, NotPossible, Session, WrongUse, add_who, add_why, add_yes
from ops.words import eat, payment_line, receipt_number, visible
from shared.database import Database, Row
from shared.gateway import Gateway
from shared.gateway.bookings import Booking, NotBooked
from shared.gateway.cases import Report
from shared.gateway.inbox import Entry
from shared.payments import BookedByHand, ConfirmedBy, Status
from shared.settings import references_are_reusable
from shared.values import (
    HIDDEN_MSISDN,
    in_words,
    is_email_address,
    masked,
    new_id,
    read_amount_kes,
    read_line,
    read_msisdn,
)

_PARTY = re.compile(r"(?:^|\bfrom )(?P<number>(?:254|0)[17*][0-9*]{4,8})\s*-")
"""The payer in a row's cell; Safaricom masks digits of most numbers."""


def add_commands(commands: Commands) -> None:
    book = commands.add_parser("book", help="money that came another way becomes a payment, by its receipt")
    book.add_argument("receipt", metavar="RECEIPT", type=receipt_number)
    book.add_argument("--reference", metavar="ORDER", help="the order that it paid (default: the row's account)")
    book.add_argument(
        "--amount",
        metavar="KES",
        type=_amount,
        help="refused where it is not what came; says which amount is right where files disagree",
    )
    book.add_argument("--email", type=_email, help="where the invoice goes; without it there is none")
    book.add_argument("--name", type=_name, help="the customer's name")
    book.add_argument("--phone", type=_phone, help="the customer's number, where M-Pesa hides it")
    add_why(book)
    add_who(book)
    add_yes(book)
    book.set_defaults(run=_book)


def _amount(text: str) -> Decimal:
    with contextlib.suppress(ValueError):
        return read_amount_kes(text)
    raise argparse.ArgumentTypeError("must be whole shillings, like 1500")


def _email(text: str) -> str:
    if is_email_address(text.strip()):
        return text.strip()
    raise argparse.ArgumentTypeError("must be an e-mail address, like name@example.com")


def _name(text: str) -> str:
    if name := read_line(text):
        return name
    raise argparse.ArgumentTypeError("must be a name")


def _phone(text: str) -> str:
    try:
        return read_msisdn(text)
    except ValueError as refused:
        raise argparse.ArgumentTypeError(str(refused)) from None


@dataclass(frozen=True)
class Money:
    """What came, and where it is on file."""

    receipt: str
    amount_kes: Decimal
    at: datetime | None
    payer: str | None
    """None: M-Pesa does not say."""
    account: str | None
    row_id: int | None = None
    inbox_id: str | None = None
    transaction_id: str | None = None
    """Of the callback's address."""
    looks: str = ""
    """The payer, as far as a row shows the digits: a regular expression."""
    doubts: tuple[str, ...] = ()

    @property
    def where(self) -> str:
        return "a callback whose payment is not in the books" if self.inbox_id else "a row of a statement"


def _book(session: Session, chosen: argparse.Namespace) -> Answer:
    found = search(session.database, chosen.receipt)
    if chosen.amount is not None:
        found = found.of_amount(chosen.amount)
    reference = _reference(found, chosen.reference)
    if booked := _booked_before(session.database, found, reference):
        return _answer(str(booked["id"]), booked["status"], f"{found.receipt} is booked already", written=False)
    gateway, who = session.gateway(chosen), session.operator(chosen)
    money = _money(found, gateway)
    if chosen.amount is not None and chosen.amount != money.amount_kes:
        raise NotPossible(f"{money.receipt} is of {in_words(money.amount_kes)}, not of {in_words(chosen.amount)}")
    reusable = references_are_reusable(session.environ)
    onto = named_order(session.database, money, reference, said=chosen.reference is not None, of_one_order=not reusable)
    twins = [] if reusable or is_paid(onto) else paid_already(session.database, reference)
    session.ask(chosen, lambda: _shown(money, reference, chosen, onto, twins))
    report = Report(
        BookedByHand(
            money.receipt, money.amount_kes, ConfirmedBy.OPERATOR if money.inbox_id else ConfirmedBy.STATEMENT
        ),
        f"operator {who}",
        inbox_id=money.inbox_id,
        receipts_seen=(money.receipt,) if money.inbox_id else (),
        transaction_date=money.at,
        payer=money.payer,
        statement_row_id=money.row_id,
        why=chosen.why,
    )
    booking = Booking(
        str(onto["id"]) if onto else money.transaction_id or new_id(),
        is_new=onto is None,
        msisdn=chosen.phone or money.payer or HIDDEN_MSISDN,
        amount_kes=money.amount_kes,
        account_reference=twins[0]["account_reference"] if twins else reference,
        customer_email=chosen.email,
        customer_name=chosen.name,
    )
    try:
        status = gateway.bookings.book(booking, report)
    except NotBooked as refused:
        raise NotPossible(_why_not(booking, refused)) from None
    after = f", and the order is paid twice: {', '.join(str(row['id']) for row in twins)}" if twins else ""
    done = f"{money.receipt} is booked: {in_words(money.amount_kes)} for {booking.account_reference}{after}"
    return _answer(booking.transaction_id, status, done, written=True)


def _answer(transaction_id: str, status: str, says: str, *, written: bool) -> Answer:
    document = {"transaction_id": transaction_id, "status": status, "written": written}
    return Answer(document, [says, f"payment {transaction_id} is {status}: `ops case {transaction_id}`"])


# What is refused ------------------------------------------------------------------------------------------------------


def _reference(found: Findings, given: str | None) -> str:
    """Given, or what the payer typed as the account number, where an order may be called so."""
    row = found.payment_row
    account = row["account"] if row else None
    reference = cleaned(given if given is not None else account)
    if is_reference(reference):
        return reference
    if given is not None:
        raise WrongUse("--reference must be 1 to 12 letters and digits, like INV00042")
    typed = f"the payer typed {visible(account)!r}, which is no order" if account else "it names no order"
    raise NotPossible(f"{visible(found.receipt)}: {typed}. Say which it paid: --reference ORDER")


def _booked_before(database: Database, found: Findings, reference: str) -> Row | None:
    """The payment, where this very booking was done before."""
    for row in found.payments:
        if row["mpesa_receipt_number"] == found.receipt and same_reference(row["account_reference"], reference):
            said = database.row(
                """
                SELECT id FROM audit_log WHERE transaction_id = CAST(:id AS uuid) AND event = 'BookedByHand'
                  AND said = :receipt AND (from_status <> to_status OR outcome = 'receipt_filled')
                """,
                id=str(row["id"]),
                receipt=found.receipt,
            )
            return row if said else None
    return None


def _money(found: Findings, gateway: Gateway) -> Money:
    """What came under this receipt. Raises `NotPossible`: nothing did, or a payment has it."""
    receipt, see = visible(found.receipt), f"see `ops receipts find {visible(found.receipt)}`"
    if found.payments:
        row = found.payments[0]
        back = "went back for" if row["refund_receipt"] == found.receipt else "belongs to"
        raise NotPossible(
            f"{receipt} {back} payment {row['id']}, for {row['account_reference']}: see `ops case {row['id']}`"
        )
    if found.named_by:
        row = found.named_by[0]
        raise NotPossible(f"a callback of payment {row['id']} names {receipt}: see `ops case {row['id']}`")
    if found.not_a_sale:
        raise NotPossible(f"{receipt} is no sale, says {found.not_a_sale['who']}: {found.not_a_sale['why']}; {see}")
    if found.reversal:
        raise NotPossible(f"{receipt} was reversed: the money went back; {see}")
    if found.has_cents:
        raise NotPossible(f"{receipt}: {CENTS}")
    if len(found.amounts) > 1:
        several = " and ".join(in_words(each) for each in sorted(found.amounts))
        raise NotPossible(
            f"{receipt} is on file with several amounts, {several}: compare it with the portal, and say --amount; {see}"
        )
    callback = next((each for each in found.callbacks if said_success(each)), None)
    by_callback = _of_callback(callback, found.receipt, gateway) if callback else None
    if found.payment_row is not None:
        money = _of_row(found.payment_row, found.went_back_kes)
        if by_callback is None:
            return money
        return replace(money, payer=money.payer or by_callback.payer, transaction_id=by_callback.transaction_id)
    if by_callback is not None:
        return by_callback
    if found.callbacks:
        raise NotPossible(f"a callback names {receipt} and could not be judged: `ops inbox list`; {see}")
    raise NotPossible(_no_money(found, see))


def _no_money(found: Findings, see: str) -> str:
    receipt = visible(found.receipt)
    if not found.own_rows:
        missing = "it is mistyped, or its statement is not written yet (`ops reconcile FILE --write`)"
        return f"nothing on file names {receipt}: {missing}; {see}"
    row = next((row for row in found.own_rows if row["completed"]), None)
    if row is None:
        return f"{receipt} did not go through: the statement says {visible(found.own_rows[0]['status'])}; {see}"
    return f"{receipt} is {CLASSES[row['class']]}, not a payment; {see}"


def _of_row(row: Row, went_back_kes: Decimal) -> Money:
    doubts = {
        "The file's running balance does not add up from row to row": row["balance_chain"] == "broken",
        "Lipa does not know this kind of transaction": row["class"] == "other",
        f"KES {went_back_kes:,.0f} of it went back since": went_back_kes > 0,
    }
    with contextlib.suppress(ValueError):
        amount_kes = read_amount_kes(row["paid_in"])
        return Money(
            row["receipt"],
            amount_kes,
            row["at"],
            _payer(row["raw"])[0],
            row["account"],
            row_id=row["id"],
            looks=_payer(row["raw"])[1],
            doubts=tuple(
                f"{doubt}: compare this row with the portal first." for doubt, is_so in doubts.items() if is_so
            ),
        )
    raise NotPossible(f"{row['receipt']}: KES {row['paid_in']:,.0f} is more than one payment can be")


def _of_callback(callback: Row, receipt: str, gateway: Gateway) -> Money:
    said = said_success(callback)
    if said is None or said.amount_kes is None:
        raise NotPossible(f"the callback that names {receipt} names no amount: compare it with the portal")
    entry = Entry(str(callback["id"]), str(callback["transaction_id"]), bytes(callback["body"]))
    if not gateway.inbox.is_sealed(entry, callback["seal"]):
        raise NotPossible(
            f"the callback that names {receipt} has no seal, so it may be forged: look in the portal first"
        )
    payer = None
    with contextlib.suppress(ValueError):
        payer = read_msisdn(said.phone)
    return Money(receipt, said.amount_kes, said.transaction_date, payer, None, None, entry.id, entry.transaction_id)


def _payer(raw: str | None) -> tuple[str | None, str]:
    """The one number that the row's cells name as the payer's (None: none, or masked), and what it looks like."""
    named = {found["number"] for cell in json.loads(raw or "[]") if (found := _PARTY.search(str(cell)))}
    number = re.sub("^0", "254", named.pop()) if len(named) == 1 else "*"
    with contextlib.suppress(ValueError):
        return read_msisdn(number), f"^{number}$"
    return None, "^" + re.sub(r"\*+", ".*", number) + "$"


# What is shown ------------------------------------------------------------------------------------------------------


def _shown(
    money: Money, reference: str, chosen: argparse.Namespace, onto: Row | None, twins: list[Row]
) -> Iterator[str]:
    yield f"{money.receipt}: {in_words(money.amount_kes)}, {eat(money.at)} EAT, from {money.where}."
    yield from money.doubts
    if money.account and not same_reference(money.account, reference):
        yield f"The payer typed another account: {visible(money.account)}."
    payer = chosen.phone or money.payer
    yield f"It is booked as paid for {reference}, by {masked(payer) if payer else 'a number that M-Pesa hides'}."
    if onto is not None and is_paid(onto):
        yield f"It becomes the receipt of this payment, which has none yet: {payment_line(onto)}"
    elif onto is not None:
        yield f"It becomes the money of this payment, with what is on file of its customer: {payment_line(onto)}"
    elif chosen.email:
        yield f"An invoice goes to {visible(chosen.email)}."
    else:
        yield "No invoice goes out: --email ADDRESS sends one."
    for row in twins:
        yield f"This order is paid already, so it is paid twice, with an alert: {payment_line(row)}"


def _why_not(booking: Booking, refused: NotBooked) -> str:
    see = f"see `ops case {booking.transaction_id}`"
    if booking.is_new:
        return f"the receipt went to another payment just now; see `ops receipts find {refused.receipt}`"
    if refused.status in (Status.PAID, Status.REFUNDED):
        return f"the payment that it names is {refused.status} by now; {see}"
    return f"the payment that it names is {refused.status}: Safaricom may still answer; {see}"
