"""`ops sent`: an order is on its way to its customer. Audited; who comes second is told who was first."""

from __future__ import annotations

import argparse
import json

from ops.session import Commands, NotPossible, Session, add_who, add_why
from ops.words import eat
from shared.gateway.sales import AsSent, Marked, NotPaidNow, SentBefore
from shared.payments import Status


def add_commands(commands: Commands) -> None:
    sent = commands.add_parser("sent", help="mark a paid order as sent to its customer")
    sent.add_argument("clue", metavar="TX", help="transaction id, receipt or order reference")
    add_why(sent, required=False)
    add_who(sent)
    sent.add_argument("--json", action="store_true", help="one JSON document")
    sent.set_defaults(run=_sent)


def _sent(session: Session, chosen: argparse.Namespace) -> int:
    transaction_id = paid_payment(session, chosen.clue)
    gateway, who = session.gateway(chosen), session.operator(chosen)
    done = gateway.sales.mark_as_sent(transaction_id, who, chosen.why)
    if chosen.json:
        print(json.dumps(_document(transaction_id, who, done)))
        return 0 if isinstance(done, Marked) else 1
    match done:
        case Marked(at):
            print(f"{transaction_id} is marked as sent, {eat(at)} EAT")
            return 0
        case SentBefore(by, at):
            raise NotPossible(
                f"{transaction_id} was marked as sent by {by}, {eat(at)} EAT. If it really goes out again: --why"
            )
        case NotPaidNow(status):
            raise NotPossible(f"{transaction_id} is {status}: only a paid order is sent; see `ops case`")
    raise NotPossible(f"there is no payment {transaction_id}")


def paid_payment(session: Session, clue: str) -> str:
    """The payment that `clue` names: of several the one that is paid. Raises `NotPossible`."""
    found = session.books.find(clue)
    paid = [row for row in found if row["status"] == Status.PAID.value]
    chosen = paid if len(paid) == 1 else found
    if len(chosen) != 1:
        known = "nothing is known about it" if not found else f"{len(found)} payments are known by it"
        raise NotPossible(f"{clue}: {known}; `ops case` finds a payment's id, which names one")
    return str(chosen[0]["id"])


def _document(transaction_id: str, who: str, done: AsSent | None) -> dict[str, object]:
    sent_by, sent_at, status = None, None, Status.PAID.value
    match done:
        case Marked(at):
            sent_by, sent_at = who, at.isoformat()
        case SentBefore(by, at):
            sent_by, sent_at = by, at.isoformat()
        case NotPaidNow(now):
            status = now
    return {
        "transaction_id": transaction_id,
        "marked": isinstance(done, Marked),
        "status": status,
        "sent_by": sent_by,
        "sent_at": sent_at,
    }
