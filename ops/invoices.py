"""`ops invoice resend`: the same invoice once more, under its number. The sweep sends it.

Each is written into the audit log, with who and why.
"""

from __future__ import annotations

import argparse

from ops.books import Books
from ops.session import Commands, NotPossible, Session, add_group, add_who, add_why
from ops.words import counted
from shared.gateway import Gateway
from shared.gateway.invoices import AddressErased, NoAddress, Operator, Requested, Waiting


def add_commands(commands: Commands) -> None:
    actions = add_group(commands, "invoice", "invoices that customers wait for")
    again = actions.add_parser("resend", help="the same invoice once more, to the address on file")
    whose = again.add_mutually_exclusive_group(required=True)
    whose.add_argument("clue", metavar="TX|INVOICE", nargs="?", help="transaction id, invoice number, or receipt")
    whose.add_argument("--failed", action="store_true", help="every invoice that was given up, as after an outage")
    add_why(again)
    add_who(again)
    again.set_defaults(run=_resend)


def _resend(session: Session, chosen: argparse.Namespace) -> int:
    gateway, who = session.gateway(chosen), session.operator(chosen)
    done = (
        resend_given_up(gateway, who, chosen.why) if chosen.failed else [resend(gateway, chosen.clue, who, chosen.why)]
    )
    for transaction_id in done:
        print(f"the sweep sends the invoice of {transaction_id}: in an idle shop within SWEEP_IDLE_MINUTES")
    print(f"{counted(len(done), 'invoice')} to be sent again")
    return 0


def resend(gateway: Gateway, clue: str, who: str, why: str) -> str:
    """The payment that `clue` names, by its id or its invoice's number. Gives its id. Raises `NotPossible`."""
    found = Books(gateway.database).find(clue)
    if len(found) != 1:
        known = "nothing is known about it" if not found else f"{len(found)} payments are known by it"
        raise NotPossible(f"{clue}: {known}; `ops case` finds a payment's id, which names one")
    transaction_id = str(found[0]["id"])
    match gateway.invoices.send_again(transaction_id, Operator(who, why)):
        case Requested():
            return transaction_id
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
