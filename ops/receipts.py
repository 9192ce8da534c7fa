"""`ops receipts`: which paid payments have none yet, where one is on file, and money that is no sale, or no refund."""

from __future__ import annotations

import argparse

from ops import reconciliation_log
from ops.answers import Answer
from ops.receipt_search import A_SALE_AFTER_ALL, GOES_BACK, NOT_A_SALE, Findings, document, lines, search
from ops.session import Commands, NotPossible, Session, add_group, add_who, add_why
from ops.words import counted, payment_record, payment_table, receipt_number, visible
from shared.database import Database


def add_commands(commands: Commands) -> None:
    actions = add_group(commands, "receipts", "M-Pesa receipt numbers: missing, find, not-a-sale")
    actions.add_parser("missing", help="paid, but no callback named the receipt").set_defaults(run=_missing)
    find = actions.add_parser("find", help="where a receipt is on file: books, inbox, statements, or nowhere")
    find.add_argument("receipt", metavar="RECEIPT")
    find.set_defaults(run=_find)
    no_sale = actions.add_parser("not-a-sale", help="money that came or went, and is no sale or refund")
    no_sale.add_argument("receipt", metavar="RECEIPT", type=receipt_number)
    no_sale.add_argument("--undo", action="store_true", help="it is a sale after all")
    add_why(no_sale)
    add_who(no_sale)
    no_sale.set_defaults(run=_not_a_sale)


def _missing(session: Session, _: argparse.Namespace) -> Answer:
    missing = session.books.without_receipt()
    return Answer(
        {"payments": map(payment_record, missing)},
        [f"{counted(len(missing), 'paid payment')} without a receipt number", payment_table(missing)],
    )


def _find(session: Session, chosen: argparse.Namespace) -> Answer:
    """1: it is not in the books, so somebody has to act."""
    found = search(session.database, chosen.receipt)
    return Answer(document(found), lines(found), code=0 if found.payments or found.not_a_sale else 1)


def _not_a_sale(session: Session, chosen: argparse.Namespace) -> Answer:
    found = search(session.database, chosen.receipt)
    said, wanted = found.not_a_sale is not None, not chosen.undo
    if said != wanted and wanted and (why_not := _why_not(session.database, found)):
        raise NotPossible(why_not)
    if said != wanted:
        kind = NOT_A_SALE if wanted else A_SALE_AFTER_ALL
        who, key = session.operator(chosen), session.audit_keys[0]
        with session.database.transaction() as tx:
            reconciliation_log.add(tx, key, kind, found.receipt, {}, who, chosen.why)
    now = f"{found.receipt} is {'no' if wanted else 'a'} sale" + " already, nothing was written" * (said == wanted)
    return Answer({"receipt": found.receipt, "not_a_sale": wanted, "written": said != wanted}, [now])


def _why_not(database: Database, found: Findings) -> str:
    """Only money that moved, and that no payment has, can be no sale; nor what took a whole payment back. Of several
    amounts, those that no payment has.
    """
    receipt = visible(found.receipt)
    if found.disagrees:
        return ""
    went = [row for row in found.own_rows if row["completed"] and row["class"] in GOES_BACK and row["withdrawn"] > 0]
    for row in (*found.payments, *found.named_by):
        if row["refund_receipt"] != found.receipt or not went or row["amount"] in {each["withdrawn"] for each in went}:
            return f"{receipt} belongs to payment {row['id']}: see `ops case {row['id']}`"
    if found.payment_row is None and not went and not found.callbacks:
        return f"nothing on file says that money moved under {receipt}: see `ops receipts find {receipt}`"
    for row in went:
        for payment in search(database, row["linked_receipt"]).payments if row["linked_receipt"] else ():
            if payment["status"] in ("PAID", "REVIEW") and payment["amount"] == row["withdrawn"]:
                see = f"ops review refunded {payment['id']} --receipt {receipt}"
                return f'{receipt} took all of payment {payment["id"]} back: `{see} --why "…"`'
    return ""
