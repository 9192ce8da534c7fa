"""Statements on file, and what their rows settle. A file and its rows are written once; a row settles one payment.

Whether a row names a payment exactly is decided elsewhere (comparison.py). Here nothing is settled that the pure core
refuses: another amount, a receipt that is taken, anything large. To break off and run again changes nothing twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ops.session import NotPossible
from shared.database import Database, Row
from shared.gateway.cases import Report
from shared.payments import Outcome, StatementPaid, StatementRefunded
from shared.settlement import settle

if TYPE_CHECKING:
    from ops.statements.statement import Row as StatementRow
    from ops.statements.statement import Statement
    from shared.gateway import Gateway

AT_ONCE = 2000
GOES_BACK = ("reversal", "b2c")


def keep(database: Database, statement: Statement, who: str) -> dict[int, int]:
    """Write a file and its rows, whole or not at all. By the row's number in the file: its id, also where an earlier
    file had brought the row.
    """
    ids: dict[int, int] = {}
    with database.transaction() as tx:
        tx.run(
            """
            INSERT INTO statement_files (sha256, family, shortcode, starts, ends, row_count, balance_chain, who)
            VALUES (:sha256, :family, :shortcode, :starts, :ends, :row_count, :balance_chain, :who)
            ON CONFLICT DO NOTHING
            """,
            sha256=statement.sha256,
            family=statement.family,
            shortcode=statement.shortcode,
            starts=statement.starts,
            ends=statement.ends,
            row_count=len(statement.rows),
            balance_chain=statement.balance_chain,
            who=who,
        )
        for some in _in_parts(statement.rows):
            rows = json.dumps([_columns(row) for row in some])
            tx.run(
                f"""
                INSERT INTO statement_rows (sha256, row_number, receipt, at, class, status, completed, paid_in,
                                            withdrawn, account, linked_receipt, raw)
                SELECT :sha256, row_number, receipt, at, class, status, completed, paid_in, withdrawn,
                       account, linked_receipt, raw FROM {READ} ORDER BY row_number
                ON CONFLICT DO NOTHING
                """,  # noqa: S608  # from below
                sha256=statement.sha256,
                rows=rows,
            )
            found = tx.rows(
                f"""
                SELECT r.row_number, kept.id FROM {READ} JOIN statement_rows kept
                  USING (receipt, class, paid_in, withdrawn, status)
                """,  # noqa: S608
                rows=rows,
            )
            ids |= {row["row_number"]: row["id"] for row in found}
        for sql in OF_KNOWN_RECEIPTS:
            tx.run(sql)
    return ids


def settle_by_row(gateway: Gateway, row_id: int, transaction_id: str, who: str) -> Outcome:
    """What a completed row on file makes of the payment that it names exactly: paid, its receipt filled in, refunded.

    Where that was done before: REPEATED, and nothing is written. NOTED: a person has to decide. `gateway` has the
    shop's own CONFIRM_ABOVE_KES. Raises `NotPossible`, and what `settle` raises.
    """
    row = gateway.database.row(
        """
        SELECT r.*, f.balance_chain FROM statement_rows r JOIN statement_files f USING (sha256) WHERE r.id = :id
        """,
        id=row_id,
    )
    if row is None or not row["completed"] or row["balance_chain"] == "broken":
        raise NotPossible(f"statement row {row_id} settles nothing: see that it is completed, and its file unbroken")
    if row["transaction_id"] is not None:
        return Outcome.REPEATED if str(row["transaction_id"]) == transaction_id else Outcome.NOTED
    event = _event(row)
    report = Report(
        event,
        f"operator {who}",
        transaction_date=row["at"] if isinstance(event, StatementPaid) else None,
        statement_row_id=row_id,
        why=f"statement {row['sha256'][:12]}, row {row['row_number']}",
    )
    settled = settle(gateway, transaction_id, report)
    if settled is None:
        raise NotPossible(f"there is no payment {transaction_id}")
    if settled.decision.outcome is Outcome.NOTED and _is_of(gateway.database, row_id) == transaction_id:
        return Outcome.REPEATED  # the answer to COMMIT was lost, and the second try met what the first had written
    return settled.decision.outcome


def _is_of(database: Database, row_id: int) -> str | None:
    row = database.row("SELECT transaction_id FROM statement_rows WHERE id = :id", id=row_id)
    return str(row["transaction_id"]) if row and row["transaction_id"] else None


def _event(row: Row) -> StatementPaid | StatementRefunded:
    if row["class"] == "payment" and row["paid_in"] > 0:
        return StatementPaid(row["receipt"], row["paid_in"])
    if row["class"] in GOES_BACK and row["withdrawn"] > 0:
        return StatementRefunded(row["receipt"], row["withdrawn"])
    raise NotPossible(f"statement row {row['id']} is {row['class']}: it settles nothing by itself")


OF_KNOWN_RECEIPTS = (
    """
    UPDATE statement_rows r SET transaction_id = c.transaction_id FROM payment_confirmations c
    WHERE r.transaction_id IS NULL AND c.mpesa_receipt_number = r.receipt
    """,
    """
    UPDATE statement_rows r SET transaction_id = t.id FROM transactions t
    WHERE r.transaction_id IS NULL AND t.refund_receipt = r.receipt
    """,
)
"""Rows of money that the books have already: they settle nothing, and are erased with their payment."""
READ = """
    jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (row_number integer, receipt text, at timestamptz, class text,
        status text, completed boolean, paid_in numeric(12, 2), withdrawn numeric(12, 2), account text,
        linked_receipt text, raw text)
"""


def _columns(row: StatementRow) -> dict[str, object]:
    texts = {"status": row.status, "account": row.account, "linked_receipt": row.linked_receipt, "raw": row.raw}
    return {
        "row_number": row.number,
        "receipt": row.receipt,
        "at": row.at.isoformat(),
        "class": row.row_class.value,
        "completed": row.completed,
        "paid_in": str(row.paid_in_kes),
        "withdrawn": str(row.withdrawn_kes),
        **{name: text and text.replace("\x00", "") for name, text in texts.items()},  # PostgreSQL's text has none
    }


def _in_parts(rows: Sequence[StatementRow]) -> Iterator[Sequence[StatementRow]]:
    for start in range(0, len(rows), AT_ONCE):
        yield rows[start : start + AT_ONCE]
