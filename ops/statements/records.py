"""Statements on file, and what their rows settle. A file and its rows are written once; a row settles one payment.

Whether a row names a payment exactly is decided elsewhere (comparison.py). Here nothing is settled that the pure core
refuses: another amount, a receipt that is taken, anything large. To break off and run again changes nothing twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from ops.session import NotPossible
from shared.database import Database, Row
from shared.database.errors import Busy, CommitUnknown
from shared.deadline import retry
from shared.gateway.cases import Report
from shared.payments import Outcome, StatementPaid, StatementRefunded
from shared.settlement import TRIES, settle

if TYPE_CHECKING:
    from ops.statements.statement import Row as StatementRow
    from ops.statements.statement import Statement
    from shared.gateway import Gateway

AT_ONCE = 5000
GOES_BACK = ("reversal", "b2c")


def keep(database: Database, statement: Statement, who: str) -> dict[int, int]:
    """Write a file and its rows, whole or not at all. By the row's number in the file: its id, also where an earlier
    file had brought the row. Two people who write at once wait for each other.
    """
    return retry(partial(_keep, database, statement, who), (Busy, CommitUnknown), tries=TRIES)


def _keep(database: Database, statement: Statement, who: str) -> dict[int, int]:
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
        for some in _in_parts(sorted(statement.rows, key=_place)):
            rows = [_columns(row) for row in some]
            tx.run(
                f"""
                INSERT INTO statement_rows (sha256, row_number, receipt, at, class, status, completed, paid_in,
                                            withdrawn, account, linked_receipt, raw)
                SELECT :sha256, row_number, receipt, at, class, status, completed, paid_in, withdrawn,
                       account, linked_receipt, raw FROM {READ}
                ON CONFLICT DO NOTHING
                """,  # noqa: S608  # from below
                sha256=statement.sha256,
                rows=json.dumps(rows),
            )
            found = tx.rows(
                f"""
                SELECT r.row_number, kept.id FROM {READ} JOIN statement_rows kept
                  USING (receipt, class, paid_in, withdrawn, status)
                """,  # noqa: S608
                rows=json.dumps([{name: row[name] for name in ("row_number", *KEY)} for row in rows]),
            )
            ids |= {row["row_number"]: row["id"] for row in found}
        for sql in OF_KNOWN_RECEIPTS:
            tx.run(sql)
    return ids


def settle_by_row(
    gateway: Gateway, row_id: int, transaction_id: str, who: str, *, sha256: str | None = None
) -> Outcome:
    """What a completed row on file makes of the payment that it names exactly: paid, its receipt filled in, refunded.

    `sha256`: the file that has the row and speaks for it; else the one that brought it. Where the payment stands so
    by this row already: REPEATED, and nothing is written. NOTED: a person has to decide, or took it back. `gateway`
    has the shop's own CONFIRM_ABOVE_KES. Raises `NotPossible`, and what `settle` raises.
    """
    row = gateway.database.row(
        """
        SELECT r.*, f.balance_chain, f.sha256 AS said_by
        FROM statement_rows r JOIN statement_files f ON f.sha256 = coalesce(CAST(:sha256 AS text), r.sha256)
        WHERE r.id = :id
        """,
        id=row_id,
        sha256=sha256,
    )
    if row is None or not row["completed"] or row["balance_chain"] == "broken":
        raise NotPossible(f"statement row {row_id} settles nothing: see that it is completed, and its file unbroken")
    if row["transaction_id"] is not None:
        return Outcome.REPEATED if _is_done(gateway.database, row_id, transaction_id) else Outcome.NOTED
    event = _event(row)
    report = Report(
        event,
        f"operator {who}",
        transaction_date=row["at"] if isinstance(event, StatementPaid) else None,
        statement_row_id=row_id,
        why=_where(row),
    )
    settled = settle(gateway, transaction_id, report)
    if settled is None:
        raise NotPossible(f"there is no payment {transaction_id}")
    if settled.decision.outcome is Outcome.NOTED and _is_done(gateway.database, row_id, transaction_id):
        return Outcome.REPEATED  # the answer to COMMIT was lost, and the second try met what the first had written
    return settled.decision.outcome


def _is_done(database: Database, row_id: int, transaction_id: str) -> bool:
    """The payment stands as the row says, by this row's receipt."""
    row = database.row(
        """
        SELECT CASE WHEN r.paid_in > 0 THEN c.mpesa_receipt_number ELSE t.refund_receipt END = r.receipt AS done
        FROM statement_rows r JOIN transactions t ON t.id = r.transaction_id
        LEFT JOIN payment_confirmations c ON c.transaction_id = t.id
        WHERE r.id = :id AND t.id = CAST(:transaction_id AS uuid)
        """,
        id=row_id,
        transaction_id=transaction_id,
    )
    return row is not None and row["done"] is True


def _where(row: Row) -> str:
    """Where an auditor finds it: the file that brought the row, and the one that spoke for it."""
    other = f", as {row['said_by'][:12]} has it" if row["said_by"] != row["sha256"] else ""
    return f"statement {row['sha256'][:12]}, row {row['row_number']}{other}"


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


KEY = ("receipt", "class", "paid_in", "withdrawn", "status")
"""One row in all files."""


def _place(row: StatementRow) -> tuple[object, ...]:
    """The one order in which everybody inserts: else two would wait for each other."""
    return row.receipt, row.row_class.value, row.paid_in_kes, row.withdrawn_kes, row.status, row.number


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
