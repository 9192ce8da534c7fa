"""`ops close`: a month is over, and compared with M-Pesa's statements. What a person says of it is one signed row and a
report to print. Neither changes any more: reopening a month is another row.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from ops import reconciliation_log
from ops.answers import Answer
from ops.session import Commands, NotPossible, Session, WrongUse, add_confirm_above, add_who, add_why, add_yes
from ops.statements.explanations import kes
from ops.statements.months import CLOSED, REOPENED, Compared, Month, closings, compared
from ops.statements.report import report
from ops.statements.showing import in_ranges
from ops.statements.sides import Total
from ops.words import counted, eat
from shared.database import Database, Row, Transaction
from shared.settings import references_are_reusable
from shared.values import EAT


def add_commands(commands: Commands) -> None:
    close = commands.add_parser(
        "close", help="close a month that was compared with its statements, and print its report"
    )
    close.add_argument("month", metavar="YYYY-MM", type=_month)
    close.add_argument("--to", metavar="FILE", help="the report, as HTML (default: lipa-YYYY-MM.html)")
    close.add_argument("--reopen", action="store_true", help="take the closing back; its row and report stay")
    add_why(close, required=False)
    add_confirm_above(close)
    add_who(close)
    add_yes(close)
    close.set_defaults(run=_close)


def _month(text: str) -> Month:
    try:
        return Month.read(text)
    except ValueError as wrong:
        raise argparse.ArgumentTypeError(str(wrong)) from None


def _close(session: Session, chosen: argparse.Namespace) -> Answer:
    month, closing = chosen.month, closings(session.database).get(str(chosen.month))
    file = Path(chosen.to or f"lipa-{month}.html")
    if chosen.reopen:
        return _reopen(session, chosen, closing)
    if closing is not None:
        if chosen.to is None:
            raise NotPossible(f"{month} was closed by {closing['who']}; --to FILE prints its report, --reopen opens it")
        return _print_again(closing, file)
    if file.exists():
        raise NotPossible(f"{file} is there already: name another file with --to")
    found = compared(
        session.database,
        month,
        session.confirm_above_kes(chosen),
        references_are_reusable=references_are_reusable(session.environ),
    )
    facts = _facts(session.database, found)
    _may_close(found, chosen.why)
    who = session.operator(chosen)
    session.ask(chosen, lambda: _summary(month, facts))
    with session.database.transaction() as tx:
        if _is_closed(tx, month):
            raise NotPossible(f"{month} was closed by somebody else in between: look at `ops reconcile --status`")
        now = tx.row("SELECT now() AS at")
        assert now is not None
        text = report(month, facts, who, chosen.why, now["at"])
        facts["report_sha256"] = hashlib.sha256(text.encode()).hexdigest()
        reconciliation_log.add(tx, session.audit_keys[0], CLOSED, str(month), facts, who, chosen.why)
    _write(file, text)
    return Answer(
        {"month": str(month), "closed": True, "file": str(file), "facts": facts},
        [*_summary(month, facts), f"{month} is closed. The report: {file}"],
    )


def _reopen(session: Session, chosen: argparse.Namespace, closing: Row | None) -> Answer:
    if closing is None:
        raise NotPossible(f"{chosen.month} is not closed")
    if chosen.why is None:
        raise WrongUse("--reopen needs --why")
    who = session.operator(chosen)
    session.ask(
        chosen, lambda: [f"{chosen.month} was closed by {closing['who']} on {eat(closing['at'])}. This opens it."]
    )
    with session.database.transaction() as tx:
        if not _is_closed(tx, chosen.month):
            raise NotPossible(f"{chosen.month} is not closed")
        key = session.audit_keys[0]
        reconciliation_log.add(tx, key, REOPENED, str(chosen.month), {"closed_in": closing["place"]}, who, chosen.why)
    return Answer(
        {"month": str(chosen.month), "closed": False, "file": None, "facts": {}},
        [f"{chosen.month} is open again. Its report of {eat(closing['at'])} stays as it is."],
    )


def _is_closed(tx: Transaction, month: Month) -> bool:
    """Now. Whoever else closes or opens a month waits for the end of this transaction."""
    tx.row("SELECT FROM installation FOR UPDATE")
    last = tx.row(
        """
        SELECT kind FROM reconciliation_log WHERE subject = :month AND kind IN (:closed, :reopened)
        ORDER BY place DESC LIMIT 1
        """,
        month=str(month),
        closed=CLOSED,
        reopened=REOPENED,
    )
    return last is not None and last["kind"] == CLOSED


def _print_again(closing: Row, file: Path) -> Answer:
    month, facts = Month.read(closing["subject"]), dict(closing["facts"])
    digest = facts.pop("report_sha256", None)
    text = report(month, facts, closing["who"], closing["why"], closing["at"])
    if hashlib.sha256(text.encode()).hexdigest() != digest:
        raise NotPossible(
            f"the report of {month} cannot be printed as it was: `ops audit verify` says whether its row was changed"
        )
    _write(file, text)
    return Answer(
        {"month": str(month), "closed": True, "file": str(file), "facts": closing["facts"]},
        [f"The report of {month}, as it was: {file}"],
    )


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8", newline="")
    except OSError as failed:
        raise NotPossible(
            f"the month is closed, and {file} cannot be written: {failed.strerror}; --to names another"
        ) from None


# What is closed -------------------------------------------------------------------------------------------------------


def _may_close(found: Compared, why: str | None) -> None:
    """Raises `NotPossible`."""
    month, today = found.month, found.books.now.astimezone(EAT).date()
    if month.last >= today:
        raise NotPossible(f"{month} is not over yet: close it when it is, with the statement of its last day written")
    broken = found.result.balance_chain == "broken"
    if why is None and found.days_not_covered:
        raise NotPossible(
            f"no statement on file{' whose balances add up' if broken else ''} covers"
            f" {in_ranges(found.days_not_covered)}: give one to ops reconcile --write,"
            " or say with --why why the month is closed without"
        )
    if why is None and found.result.differences:
        count = counted(len(found.result.differences), "difference")
        raise NotPossible(
            f"{count} open: see `ops reconcile --status`, or say with --why why the month is closed with them"
        )


def _facts(database: Database, found: Compared) -> dict[str, Any]:
    """For the signed row: nothing in it is about a person."""
    result, month = found.result, found.month
    files = {row["sha256"]: row for row in database.rows("SELECT * FROM statement_files")}
    books = database.row(
        """
        SELECT count(*) FILTER (WHERE paid_at >= :starts AND paid_at < :ends) AS sales,
               coalesce(sum(amount) FILTER (WHERE paid_at >= :starts AND paid_at < :ends), 0) AS sales_kes,
               count(*) FILTER (WHERE refunded_at >= :starts AND refunded_at < :ends) AS refunds,
               coalesce(sum(amount) FILTER (WHERE refunded_at >= :starts AND refunded_at < :ends), 0) AS refunds_kes
        FROM transactions
        WHERE paid_at >= :starts AND paid_at < :ends OR refunded_at >= :starts AND refunded_at < :ends
        """,
        starts=month.starts,
        ends=month.ends,
    )
    assert books is not None
    return {
        "books": {name: int(value) for name, value in books.items()},
        "files": [
            {
                "sha256": each.statement.sha256,
                "family": each.statement.family,
                "rows": len(each.statement.rows),
                "balance_chain": each.statement.balance_chain,
                "written_by": files[each.statement.sha256]["who"],
            }
            for each in result.files
        ],
        "classes": {name.value: _sum(each) for name, each in result.classes.items() if each.count},
        "matched": _sum(result.matched),
        "returned": _sum(result.returned),
        "no_sale": _sum(result.no_sale),
        "differences": [
            {
                "kind": each.kind.value,
                "receipt": each.receipt,
                "transaction_id": each.transaction_id,
                "amount_kes": _plain(each.amount_kes),
                "at": each.at.astimezone(EAT).isoformat(),
            }
            for each in result.differences
        ],
        "days_not_covered": [str(day) for day in found.days_not_covered],
    }


def _sum(of: Total) -> dict[str, object]:
    return {"count": of.count, "in_kes": _plain(of.in_kes), "out_kes": _plain(of.out_kes)}


def _plain(amount_kes: Decimal) -> int | str:
    """As the signed row keeps it: a text where it has cents."""
    return int(amount_kes) if amount_kes == amount_kes.to_integral_value() else f"{amount_kes:.2f}"


def _summary(month: Month, facts: Mapping[str, Any]) -> Iterator[str]:
    books = facts["books"]
    yield f"{month}: {counted(books['sales'], 'sale')} of {kes(Decimal(books['sales_kes']))} in the books, and"
    yield f"  {counted(books['refunds'], 'refund')} of {kes(Decimal(books['refunds_kes']))}"
    matched = counted(facts["matched"]["count"], "row")
    yield f"  {counted(len(facts['files']), 'statement')}, {matched} explained by the books"
    if broken := sum(each["balance_chain"] == "broken" for each in facts["files"]):
        yield f"  {counted(broken, 'statement')} whose balances do not add up: rows may be missing"
    yield f"  {counted(len(facts['differences']), 'difference')} open"
    if days := [date.fromisoformat(day) for day in facts["days_not_covered"]]:
        yield f"  NOT covered by any statement: {in_ranges(days)}"
