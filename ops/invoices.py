"""`ops invoice resend`: the same invoice once more, under its number. The sweep sends it.

Each is written into the audit log, with who and why.
"""

from __future__ import annotations

import argparse

from ops.answers import Answer
from ops.session import Commands, NotPossible, Session, add_clue, add_group, add_who, add_why
from ops.words import counted
from shared.gateway import Gateway
from shared.gateway.invoices import AddressErased, NoAddress, Operator, Requested, Waiting
from shared.payments import Status


def add_commands(commands: Commands) -> None:
    actions = add_group(commands, "invoice", "invoices that customers wait for")
    again = actions.add_parser("resend", help="the same invoice once more, to the address on file")
    whose = again.add_mutually_exclusive_group(required=True)
    add_clue(whose, nargs="?")
    whose.add_argument("--failed", action="store_true", help="every invoice that was given up, as after an outage")
    add_why(again)
    add_who(again)
    again.set_defaults(run=_resend)


def _resend(session: Session, chosen: argparse.Namespace) -> Answer:
    gateway, who = session.gateway(chosen), session.operator(chosen)
    if chosen.failed:
        done = resend_given_up(gateway, who, chosen.why)
    else:
        done = [str(session.payment(chosen.clue, Status.PAID, Status.REFUNDED)["id"])]
        resend(gateway, done[0], who, chosen.why)
    lines = [
        f"the sweep sends the invoice of {transaction_id}: in an idle shop within SWEEP_IDLE_MINUTES"
        for transaction_id in done
    ]
    return Answer({"transaction_ids": done}, [*lines, f"{counted(len(done), 'invoice')} to be sent again"])


def resend(gateway: Gateway, transaction_id: str, who: str, why: str) -> None:
    """Raises `NotPossible`."""
    match gateway.invoices.send_again(transaction_id, Operator(who, why)):
        case Requested():
            return
        case NoAddress():
            raise NotPossible(f"{transaction_id} has no e-mail address: POST /api/pay/invoice takes one, once")
        case AddressErased():
            raise NotPossible(f"the e-mail address of {transaction_id} was erased: its invoice goes nowhere any more")
        case Waiting():
            raise NotPossible(f"the invoice of {transaction_id} still waits to be sent: the sweep does it")
        case _:
            raise NotPossible(f"{transaction_id} is not paid: it has no invoice to send")


def resend_given_up(gateway: Gateway, who: str, why: str) -> list[str]:
    """Every invoice that was given up. Gives the payments' ids."""
    asked = Operator(who, why)
    return [
        transaction_id
        for transaction_id in gateway.invoices.given_up()
        if isinstance(gateway.invoices.send_again(transaction_id, asked), Requested)
    ]
