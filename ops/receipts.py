"""`ops receipts missing`: paid payments whose receipt number is not known yet. Changes nothing."""

from __future__ import annotations

import argparse

from ops.session import Commands, Session, add_group
from ops.words import counted, print_payments


def add_commands(commands: Commands) -> None:
    actions = add_group(commands, "receipts", "M-Pesa receipt numbers")
    actions.add_parser("missing", help="paid, but no callback named the receipt").set_defaults(run=_missing)


def _missing(session: Session, _: argparse.Namespace) -> int:
    missing = session.books.without_receipt()
    print(f"{counted(len(missing), 'paid payment')} without a receipt number")
    print_payments(missing)
    return 0
