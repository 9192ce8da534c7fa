"""`ops sent`: an order is on its way to its customer. Audited; who comes second is told who was first."""

from __future__ import annotations

import argparse

from ops.answers import Answer
from ops.session import Commands, NotPossible, Session, add_clue, add_who, add_why
from ops.words import eat
from shared.gateway.sales import Marked, NotPaidNow, RefundAsked, SentBefore, TwinSent
from shared.payments import Status


def add_commands(commands: Commands) -> None:
    sent = commands.add_parser("sent", help="mark a paid order as sent to its customer")
    add_clue(sent)
    add_why(sent, required=False)
    add_who(sent)
    sent.set_defaults(run=_sent)


def _sent(session: Session, chosen: argparse.Namespace) -> Answer:
    transaction_id = str(session.payment(chosen.clue, Status.PAID)["id"])
    gateway, who = session.gateway(chosen), session.operator(chosen)
    match gateway.sales.mark_as_sent(transaction_id, who, chosen.why):
        case Marked(at):
            document = {"transaction_id": transaction_id, "sent_by": who, "sent_at": at}
            return Answer(document, [f"{transaction_id} is marked as sent, {eat(at)} EAT"])
        case SentBefore(by, at):
            says = f"{transaction_id} was marked as sent by {by}, {eat(at)} EAT. If it really goes out again: --why"
            raise NotPossible(says, sent_by=by, sent_at=at)
        case TwinSent(other):
            says = f"the same order was paid twice, and went out with {other}: refund one. If both go out: --why"
            raise NotPossible(says, sent_with=other)
        case RefundAsked(by, at):
            says = f"{by} asked for a refund of it, {eat(at)} EAT: do not send it. If it goes out all the same: --why"
            raise NotPossible(says, refund_asked_by=by, refund_asked_at=at)
        case NotPaidNow(status):
            raise NotPossible(f"{transaction_id} is {status}: only a paid order is sent; see `ops case`")
    raise NotPossible(f"there is no payment {transaction_id}")
