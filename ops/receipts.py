"""`ops receipts missing`: paid payments whose receipt number is not known yet. Changes nothing."""

from __future__ import annotations

import argparse

from ops.answers import Answer
from ops.session import Commands, Session, add_group
from ops.words import counted, payment_record, payment_table


def add_commands(commands: Commands) -> None:
    actions = add_group(commands, "receipts", "M-Pesa receipt numbers")
    actions.add_parser("missing", help="paid, but no callback named the receipt").set_defaults(run=_missing)


def _missing(session: Session, _: argparse.Namespace) -> Answer:
    missing = session.books.without_receipt()
    return Answer(
        {"payments": map(payment_record, missing)},
        [f"{counted(len(missing), 'paid payment')} without a receipt number", payment_table(missing)],
    )
