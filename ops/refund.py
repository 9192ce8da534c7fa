"""`ops refund`: a refund, from the wish to M-Pesa's statement. The money goes back in M-Pesa's portal, by a person.

    refund TX --why "…"               asks for it: the order leaves the packer's list, and the portal's steps are shown
    review refunded TX --receipt R    records the reversal; customer and shop get mail
    reconcile FILE --write            the statement's row confirms it, or records it where nobody did
    refund TX --drop --why "…"        it is not wanted any more
    refund list                       what is asked for, and what no statement shows

What was asked is kept in the signed log of reconciliation: only added to, nothing personal.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from datetime import datetime, timedelta

from ops import reconciliation_log
from ops.answers import Answer, Table
from ops.session import Commands, NotPossible, Session, WrongUse, add_clue, add_who, add_why
from ops.statements.coverage import Period, joined, surely_within
from ops.words import counted, eat
from shared.database import Database, Row
from shared.gateway.sales import LAST_SAID, REFUND_ASKED, REFUND_DROPPED
from shared.payments import OPEN, Status
from shared.values import in_words

OF_MONEY_THAT_CAME = (Status.PAID, Status.REVIEW)
PAYMENTS = f"""
    SELECT t.id, t.status, t.amount, t.account_reference, t.created_at, t.paid_at, t.refunded_at, t.refund_receipt,
           t.customer_email, t.order_sent_at, c.mpesa_receipt_number, a.asked_at, a.asked_by, a.why
    FROM transactions t LEFT JOIN payment_confirmations c ON c.transaction_id = t.id
    LEFT JOIN LATERAL ({LAST_SAID}) a ON a.kind = '{REFUND_ASKED}'
"""
PROMISED = timedelta(days=3)
"""What public/refunds.html says."""


def add_commands(commands: Commands) -> None:
    refund = commands.add_parser("refund", help="give a payment back: ask, how to in the portal; `refund list`")
    add_clue(refund)
    refund.add_argument("--drop", action="store_true", help="it is not wanted any more")
    add_why(refund, required=False)
    add_who(refund)
    refund.set_defaults(run=_refund)


def _refund(session: Session, chosen: argparse.Namespace) -> Answer:
    if chosen.clue == "list":  # an order with this reference has an id and a receipt too
        return _list(session.database)
    if not chosen.why:
        raise WrongUse("say why: --why")
    transaction_id = str(session.payment(chosen.clue, *OF_MONEY_THAT_CAME)["id"])
    who, written = session.operator(chosen), False
    with session.database.transaction() as tx:
        tx.later("SELECT id FROM transactions WHERE id = CAST(:id AS uuid) FOR UPDATE", id=transaction_id)
        (row,) = tx.rows(f"{PAYMENTS} WHERE t.id = CAST(:id AS uuid)", id=transaction_id)
        if not chosen.drop:
            _refuse_unless_money_came(row)
        elif row["asked_at"] is None:
            raise NotPossible(f"nobody asked for a refund of {transaction_id}")
        if chosen.drop or row["asked_at"] is None:
            kind = REFUND_DROPPED if chosen.drop else REFUND_ASKED
            reconciliation_log.add(tx, session.audit_keys[0], kind, transaction_id, {}, who, chosen.why)
            written = True
    about = f"{in_words(row['amount'])} for {row['account_reference']} ({transaction_id})"
    if chosen.drop:
        return Answer(_document(row, "dropped", [], written), [f"No refund of {about} is wanted any more."])
    steps = list(_steps(row))
    before = f", asked for by {row['asked_by']} on {eat(row['asked_at'])} EAT" if row["asked_at"] else ""
    lines = [f"A refund of {about} is asked for{before}.", *_warnings(row), "", "In the M-Pesa organisation portal:"]
    lines += [f"  {number}. {step}" for number, step in enumerate(steps, 1)]
    lines += ["", "Then, here:", f"  {_record(transaction_id)}"]
    return Answer(_document(row, "asked", steps, written), lines)


def _refuse_unless_money_came(row: Row) -> None:
    status, see = Status(row["status"]), f"see `ops case {row['id']}`"
    if status is Status.REFUNDED:
        raise NotPossible(f"it went back already, under receipt {row['refund_receipt']}; {see}")
    if status in OPEN:
        raise NotPossible(f"it is {status}: whether money came is not known yet; {see}")
    if status not in OF_MONEY_THAT_CAME:
        raise NotPossible(f"it is {status}: no money came that could go back; {see}")


def _warnings(row: Row) -> Iterator[str]:
    if row["status"] == Status.REVIEW.value:
        yield "It is in review: first see in the portal that the money came, and how much."
    if row["order_sent_at"]:
        yield f"The order was marked as sent on {eat(row['order_sent_at'])} EAT: agree about the goods first."
    if not row["customer_email"]:
        yield "No e-mail address is known: only M-PESA's SMS will reach the customer."


def _steps(row: Row) -> Iterator[str]:
    receipt, amount = row["mpesa_receipt_number"], in_words(row["amount"])
    yield "Sign in as a user who may reverse: your business administrator gives this right. Some need a second person."
    if receipt:
        yield f"Find the receipt {receipt}: {amount}, account {row['account_reference']}."
    else:
        yield f"The receipt is not known: find {amount} for {row['account_reference']} of {eat(row['created_at'])} EAT."
    yield f"Reverse all of it, {amount}. Safaricom documents no reversal of a part, and no time limit: do it today."
    yield (
        "“Insufficient balance”: the money was moved to your bank. Bring it back into the account, or pay the customer "
        "by a business payment (B2C), if your shop has it."
    )
    yield "“Already reversed”: do not pay again. Its receipt is on the statement."
    yield f"Write down the receipt of what went back{f': it is not {receipt}' if receipt else ''}."


def _record(transaction_id: object) -> str:
    return f'python -m ops review refunded {transaction_id} --receipt REVERSAL --why "…"'


def _document(row: Row, state: str, steps: list[str], written: bool) -> dict[str, object]:
    about = {
        "transaction_id": row["id"],
        "amount_kes": row["amount"],
        "mpesa_receipt_number": row["mpesa_receipt_number"],
    }
    return {**about, "state": state, "written": written, "order_sent_at": row["order_sent_at"], "steps": steps}


# The list -------------------------------------------------------------------------------------------------------------


def _list(database: Database) -> Answer:
    """1: somebody has to act."""
    with database.transaction(snapshot=True) as tx:
        asked = tx.rows(
            f"""
            {PAYMENTS}
            WHERE t.status IN ('PAID', 'REVIEW') AND a.asked_at IS NOT NULL AND t.id IN (
                SELECT CAST(subject AS uuid) FROM reconciliation_log WHERE kind = '{REFUND_ASKED}')
            ORDER BY a.asked_at
            """
        )
        recorded = tx.rows(
            f"""
            {PAYMENTS}
            WHERE t.refunded_at IS NOT NULL AND NOT EXISTS (
                SELECT FROM statement_rows r WHERE r.receipt IN (t.refund_receipt, c.mpesa_receipt_number)
                  AND r.completed AND r.withdrawn > 0 AND r.class <> 'charge')
            ORDER BY t.refunded_at
            """
        )
        files = tx.rows("SELECT starts, ends FROM statement_files WHERE balance_chain <> 'broken' AND ends > starts")
        now = tx.rows("SELECT now() AS now")[0]["now"]
    covered = joined(Period(file["starts"], file["ends"]) for file in files)
    refunds = [_listed(row, row["asked_at"], "asked", now) for row in asked]
    for row in recorded:
        back = Period(row["paid_at"] or row["created_at"], row["refunded_at"])
        state = "refund_unseen" if surely_within(back, covered) else "recorded"
        refunds.append(_listed(row, row["refunded_at"], state, now))
    to_do = sum(each["state"] != "recorded" for each in refunds)
    columns = ("Refund", ">Days", ">Amount", "Order", "Payment", "~Do now")
    cells = [
        (
            *(str(it["state"]), str(it["age_days"]), in_words(it["amount_kes"]), str(it["account_reference"])),
            *(str(it["transaction_id"]), str(it["do_now"])),
        )
        for it in refunds
    ]
    table = Table(columns, [(row, "  ".join(row)) for row in cells])
    head = f"{counted(len(asked), 'refund')} asked for; {counted(len(recorded), 'recorded one')} on no statement yet"
    return Answer({"refunds": refunds}, [head, table], code=1 if to_do else 0)


def _listed(row: Row, since: datetime, state: str, now: datetime) -> Row:
    age = now - since
    do_now = {
        "asked": "Reverse it in the portal, then: " + _record(row["id"]),
        "recorded": "Nothing: the next statement shows it (`ops reconcile FILE --write`)",
        "refund_unseen": f"The statements have no row of {row['refund_receipt']}: python -m ops case {row['id']}",
    }[state]
    late = f"LATE, promised within {PROMISED.days} days. " if state == "asked" and age > PROMISED else ""
    return {
        "transaction_id": row["id"],
        "state": state,
        "amount_kes": row["amount"],
        "account_reference": row["account_reference"],
        "mpesa_receipt_number": row["mpesa_receipt_number"],
        "asked_at": row["asked_at"],
        "asked_by": row["asked_by"],
        "why": row["why"],
        "refund_receipt": row["refund_receipt"],
        "refunded_at": row["refunded_at"],
        "age_days": age.days,
        "do_now": late + do_now,
    }
