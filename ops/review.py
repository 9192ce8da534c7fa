"""`ops review`: payments that wait for a person, and the operator's exits from REVIEW, and from PAID after a refund.

Each exit is final: it is shown and asked first, and written into the audit log with who and why.
"""

from __future__ import annotations

import argparse
import re

from ops.answers import Answer
from ops.books import Books
from ops.session import Commands, NotPossible, Session, add_clue, add_group, add_who, add_why, add_yes
from ops.words import counted, payment_line, payment_record, payment_table
from shared.gateway import Gateway
from shared.gateway.cases import Report
from shared.payments import OPEN, OperatorFailed, OperatorPaid, OperatorRefunded, Outcome, Status
from shared.settlement import settle

BECOMES = {
    "pay": "This says that the money came, under receipt {receipt}: it becomes PAID, and an invoice goes out.",
    "fail": "This says that no money came: it becomes FAILED.",
    "refunded": "This says that the whole amount went back, under receipt {receipt}: it becomes REFUNDED.",
}


def add_commands(commands: Commands) -> None:
    actions = add_group(commands, "review", "payments that wait for a person")
    actions.add_parser("list", help="which, why, and with which receipts").set_defaults(run=_list)
    for name, about, receipt_of in (
        ("pay", "the money is on the statement", "the money that came"),
        ("fail", "no money came", None),
        ("refunded", "the whole amount went back", "the reversal, not of the payment"),
    ):
        action = actions.add_parser(name, help=about)
        add_clue(action)
        if receipt_of is not None:
            action.add_argument("--receipt", required=True, metavar="R", help=f"the M-Pesa receipt of {receipt_of}")
        add_why(action)
        add_who(action)
        add_yes(action)
        action.set_defaults(run=_act)


def _list(session: Session, _: argparse.Namespace) -> Answer:
    """1: somebody has to settle one."""
    waiting = session.books.in_review()
    return Answer(
        {"payments": map(payment_record, waiting)},
        [f"{counted(len(waiting), 'payment waits', 'payments wait')} for a person", payment_table(waiting)],
        code=1 if waiting else 0,
    )


def _act(session: Session, chosen: argparse.Namespace) -> Answer:
    gateway, who, action = session.gateway(chosen), session.operator(chosen), chosen.action
    leaves = (Status.REVIEW, Status.PAID) if action == "refunded" else (Status.REVIEW,)
    payment = session.payment(chosen.clue, *leaves)
    transaction_id = str(payment["id"])
    session.ask(chosen, lambda: (payment_line(payment), BECOMES[action].format(**vars(chosen))))
    if action == "pay":
        status = pay(gateway, transaction_id, chosen.receipt, who, chosen.why)
    elif action == "fail":
        status = fail(gateway, transaction_id, who, chosen.why)
    else:
        status = refunded(gateway, transaction_id, chosen.receipt, who, chosen.why)
    return Answer({"transaction_id": transaction_id, "status": status}, [f"{transaction_id} is {status}"])


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
