"""`ops review`: payments that wait for a person, and the operator's exits from REVIEW, and from PAID after a refund.

Each exit is written into the audit log, with who and why.
"""

from __future__ import annotations

import argparse
import re

from ops.books import Books
from ops.session import Commands, NotPossible, Session, add_group, add_who, add_why, transaction_id
from ops.words import counted, print_payments
from shared.gateway import Gateway
from shared.gateway.cases import Report
from shared.payments import OPEN, OperatorFailed, OperatorPaid, OperatorRefunded, Outcome, Status
from shared.settlement import settle


def add_commands(commands: Commands) -> None:
    actions = add_group(commands, "review", "payments that wait for a person")
    actions.add_parser("list", help="which, why, and with which receipts").set_defaults(run=_list)
    for name, about, receipt_of in (
        ("pay", "the money is on the statement", "the money that came"),
        ("fail", "no money came", None),
        ("refunded", "the whole amount went back", "the reversal, not of the payment"),
    ):
        action = actions.add_parser(name, help=about)
        action.add_argument("transaction_id", metavar="TX", type=transaction_id)
        if receipt_of is not None:
            action.add_argument("--receipt", required=True, metavar="R", help=f"the M-Pesa receipt of {receipt_of}")
        add_why(action)
        add_who(action)
        action.set_defaults(run=_act)


def _list(session: Session, _: argparse.Namespace) -> int:
    waiting = session.books.in_review()
    print(f"{counted(len(waiting), 'payment waits', 'payments wait')} for a person")
    print_payments(waiting)
    return 0


def _act(session: Session, chosen: argparse.Namespace) -> int:
    gateway, who = session.gateway(chosen), session.operator(chosen)
    if chosen.action == "pay":
        status = pay(gateway, chosen.transaction_id, chosen.receipt, who, chosen.why)
    elif chosen.action == "fail":
        status = fail(gateway, chosen.transaction_id, who, chosen.why)
    else:
        status = refunded(gateway, chosen.transaction_id, chosen.receipt, who, chosen.why)
    print(f"{chosen.transaction_id} is {status}")
    return 0


def pay(gateway: Gateway, transaction_id: str, receipt: str, who: str, why: str) -> Status:
    """The money is on the statement under this receipt number. From REVIEW only. Raises `NotPossible`."""
    receipt = _receipt(receipt)
    return _settle(gateway, transaction_id, Report(OperatorPaid(receipt), f"operator {who}", why=why))


def fail(gateway: Gateway, transaction_id: str, who: str, why: str) -> Status:
    """No money came. From REVIEW only. Raises `NotPossible`."""
    return _settle(gateway, transaction_id, Report(OperatorFailed(), f"operator {who}", why=why))


def refunded(gateway: Gateway, transaction_id: str, receipt: str, who: str, why: str) -> Status:
    """The whole amount went back, under this receipt number. From REVIEW and PAID. Raises `NotPossible`.

    A reversal has a receipt of its own (Daraja portal, Reversal: TransactionID beside OriginalTransactionID).
    """
    receipt = _receipt(receipt)
    if receipt in Books(gateway.database).receipts_told(transaction_id):
        raise NotPossible(
            f"{receipt} is the receipt of the money that came in. What went back has a receipt of its own: it "
            "stands on the statement beside the reversal"
        )
    return _settle(gateway, transaction_id, Report(OperatorRefunded(receipt), f"operator {who}", why=why))


def _settle(gateway: Gateway, transaction_id: str, report: Report) -> Status:
    books = Books(gateway.database)
    before = {row["id"] for row in books.rows("audit_log", transaction_id)}
    settled = settle(gateway, transaction_id, report)
    if settled is None:
        raise NotPossible(f"there is no payment {transaction_id}; `ops case` finds one by receipt, reference or phone")
    decision = settled.decision
    if decision.outcome is Outcome.NOTED and not _was_written(books, transaction_id, report, before):
        raise NotPossible(_why_not(books, transaction_id, decision.status, report))
    return decision.status


def _was_written(books: Books, transaction_id: str, report: Report, before: set[object]) -> bool:
    """The answer to COMMIT was lost, and the second try met what the first had written."""
    word = (report.actor, report.name, report.receipt, report.why)
    return any(
        (row["actor"], row["event"], row["said"], row["reason"]) == word and row["from_status"] != row["to_status"]
        for row in books.rows("audit_log", transaction_id)
        if row["id"] not in before
    )


def _why_not(books: Books, transaction_id: str, status: Status, report: Report) -> str:
    see = f"see `ops case {transaction_id}`"
    if status in OPEN:
        return f"the payment is {status}: Safaricom may still answer. Silence brings it to review by itself; {see}"
    if status is not Status.REVIEW and not (status is Status.PAID and isinstance(report.event, OperatorRefunded)):
        return f"the payment is {status} and no longer in review; {see}"
    others = [str(row["id"]) for row in books.find(report.receipt or "") if str(row["id"]) != transaction_id]
    return f"receipt {report.receipt} belongs to another payment: see `ops case {' or '.join(others[:2])}`"


def _receipt(text: str) -> str:
    receipt = text.strip().upper()
    if not re.fullmatch(r"(?=.*[A-Z])[A-Z0-9]{8,20}", receipt):
        raise NotPossible(f"{text!r} is no M-Pesa receipt number: it has about ten letters and digits, like TJ3MX6CLYC")
    return receipt
