"""`ops review`: payments that wait for a person, and what a person says of them; also a refund of what was paid.

What a person says is final: it is shown and asked first, compared with the evidence on file, and written into the audit
log with who and why. `reopen` takes it back, and is written there too.
"""

from __future__ import annotations

import argparse

from ops.answers import Answer
from ops.books import Books
from ops.doubts import against_paying, against_refunding
from ops.session import Commands, NotPossible, Session, add_clue, add_group, add_who, add_why, add_yes
from ops.words import counted, payment_line, payment_record, payment_table, receipt_number
from shared.gateway import Gateway
from shared.gateway.cases import Report, stood_before
from shared.payments import OPEN, OperatorFailed, OperatorPaid, OperatorRefunded, OperatorReopened, Outcome, Status
from shared.settlement import settle

BECOMES = {
    "pay": "This says that the money came, under receipt {receipt}: it becomes PAID, and an invoice goes out.",
    "fail": "This says that no money came: it becomes FAILED.",
    "refunded": "This says that the whole amount went back, under receipt {receipt}: it becomes REFUNDED.",
    "reopen": "This takes back what a person said: it becomes {before} again.",
}
LEAVES = {"refunded": (Status.REVIEW, Status.PAID), "reopen": (Status.REFUNDED, Status.FAILED)}


def add_commands(commands: Commands) -> None:
    actions = add_group(commands, "review", "payments that wait for a person")
    actions.add_parser("list", help="which, why, and with which receipts").set_defaults(run=_list)
    for name, about, receipt_of in (
        ("pay", "the money is on the statement", "the money that came"),
        ("fail", "no money came", None),
        ("refunded", "the whole amount went back", "the reversal, not of the payment"),
        ("reopen", "`fail` or `refunded` was wrong: back to what it was before", None),
    ):
        action = actions.add_parser(name, help=about)
        add_clue(action)
        if receipt_of is not None:
            action.add_argument(
                "--receipt",
                required=True,
                type=receipt_number,
                metavar="R",
                help=f"the M-Pesa receipt of {receipt_of}",
            )
            action.add_argument(
                "--against-evidence",
                action="store_true",
                help="the evidence on file says otherwise, and you know better",
            )
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
    payment = session.payment(chosen.clue, *LEAVES.get(action, (Status.REVIEW,)))
    transaction_id = str(payment["id"])
    facts = vars(chosen) | ({"before": _before(gateway, transaction_id)} if action == "reopen" else {})
    if action in ("pay", "refunded"):
        check = against_paying if action == "pay" else against_refunding
        _compare(check(session.books, payment, chosen.receipt), chosen.why, ignored=chosen.against_evidence)
    session.ask(chosen, lambda: (payment_line(payment), BECOMES[action].format(**facts)))
    if action == "pay":
        status = pay(gateway, transaction_id, chosen.receipt, who, chosen.why, against_evidence=chosen.against_evidence)
    elif action == "fail":
        status = fail(gateway, transaction_id, who, chosen.why)
    elif action == "reopen":
        status = reopen(gateway, transaction_id, who, chosen.why)
    else:
        status = refunded(
            gateway, transaction_id, chosen.receipt, who, chosen.why, against_evidence=chosen.against_evidence
        )
    return Answer({"transaction_id": transaction_id, "status": status}, [f"{transaction_id} is {status}"])


def pay(
    gateway: Gateway, transaction_id: str, receipt: str, who: str, why: str, *, against_evidence: bool = False
) -> Status:
    """The money is on the statement under this receipt number. From REVIEW only. Raises `NotPossible`.

    Evidence on file that says another amount, or another receipt, refuses it, unless `against_evidence`.
    """
    books, receipt = Books(gateway.database), _receipt(receipt)
    if payment := books.row("transactions", transaction_id):
        why = _compare(against_paying(books, payment, receipt), why, ignored=against_evidence)
    return _settle(gateway, transaction_id, Report(OperatorPaid(receipt), f"operator {who}", why=why))


def fail(gateway: Gateway, transaction_id: str, who: str, why: str) -> Status:
    """No money came. From REVIEW only. Raises `NotPossible`."""
    return _settle(gateway, transaction_id, Report(OperatorFailed(), f"operator {who}", why=why))


def refunded(
    gateway: Gateway, transaction_id: str, receipt: str, who: str, why: str, *, against_evidence: bool = False
) -> Status:
    """The whole amount went back, under this receipt number. From REVIEW and PAID. Raises `NotPossible`.

    A reversal has a receipt of its own (Daraja portal, Reversal: TransactionID beside OriginalTransactionID).
    """
    books, receipt = Books(gateway.database), _receipt(receipt)
    if receipt in books.receipts_told(transaction_id):
        raise NotPossible(
            f"{receipt} is the receipt of the money that came in. What went back has a receipt of its own: it "
            "stands on the statement beside the reversal"
        )
    if payment := books.row("transactions", transaction_id):
        why = _compare(against_refunding(books, payment, receipt), why, ignored=against_evidence)
    return _settle(gateway, transaction_id, Report(OperatorRefunded(receipt), f"operator {who}", why=why))


def reopen(gateway: Gateway, transaction_id: str, who: str, why: str) -> Status:
    """`fail` or `refunded` was wrong: back to what it was before, PAID or REVIEW. Raises `NotPossible`.

    The refund's receipt is free again: it may be that of another payment. The confirmation, the invoice and the mark
    that the order was sent stay as they were; the audit log keeps all of it.
    """
    return _settle(gateway, transaction_id, Report(OperatorReopened(), f"operator {who}", why=why))


def _before(gateway: Gateway, transaction_id: str) -> Status:
    with gateway.database.transaction() as tx:
        before = stood_before(tx, transaction_id)
    if before is None:
        raise NotPossible(NOTHING_TO_TAKE_BACK.format(see=f"see `ops case {transaction_id}`"))
    return before.status


def _compare(doubts: list[str], why: str, *, ignored: bool) -> str:
    """The reason for the audit log, which says where a person knew better."""
    if doubts and not ignored:
        raise NotPossible(
            f"the evidence on file says otherwise: {'; '.join(doubts)}. Look in the portal again. If you know better, "
            "say so with --against-evidence",
            evidence=doubts,
        )
    return f"against the evidence on file: {why}" if doubts else why


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
    word = (report.actor, report.name, report.receipt)
    return any(
        (row["actor"], row["event"], row["said"]) == word
        and str(row["reason"]).endswith(str(report.why))
        and row["from_status"] != row["to_status"]
        for row in books.rows("audit_log", transaction_id)
        if row["id"] not in before
    )


NOTHING_TO_TAKE_BACK = "nothing that a person said made the payment what it is, so there is nothing to take back; {see}"


def _why_not(books: Books, transaction_id: str, status: Status, report: Report) -> str:
    see = f"see `ops case {transaction_id}`"
    if isinstance(report.event, OperatorReopened):
        return NOTHING_TO_TAKE_BACK.format(see=see)
    if status in OPEN:
        return f"the payment is {status}: Safaricom may still answer. Silence brings it to review by itself; {see}"
    if status is not Status.REVIEW and not (status is Status.PAID and isinstance(report.event, OperatorRefunded)):
        return f"the payment is {status} and no longer in review; {see}"
    others = [str(row["id"]) for row in books.find(report.receipt or "") if str(row["id"]) != transaction_id]
    return f"receipt {report.receipt} belongs to another payment: see `ops case {' or '.join(others[:2])}`"


def _receipt(text: str) -> str:
    try:
        return receipt_number(text)
    except argparse.ArgumentTypeError as not_one:
        raise NotPossible(str(not_one)) from None
