"""What statements on file say of a month, compared with the books as they are now. Reads only."""

from __future__ import annotations

import calendar
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal

from ops import reconciliation_log
from ops.progress import progress
from ops.statements.comparison import compare
from ops.statements.coverage import covered_by, days_between, midnight, period_of, whole_days
from ops.statements.loading import kept_statements, view
from ops.statements.sides import BooksView, Difference, Reconciliation
from ops.statements.statement import Statement
from shared.database import Database, Row
from shared.values import EAT

CLOSED, REOPENED = "closed", "reopened"


@dataclass(frozen=True, slots=True)
class Month:
    """One of Nairobi's months."""

    first: date

    @classmethod
    def read(cls, text: str) -> Month:
        """`2026-10`. Raises ValueError."""
        if not re.fullmatch(r"2[01][0-9]{2}-(0[1-9]|1[0-2])", text, re.ASCII):
            raise ValueError("must be a month, like 2026-10")
        return cls(date.fromisoformat(f"{text}-01"))

    @property
    def last(self) -> date:
        return self.first.replace(day=calendar.monthrange(self.first.year, self.first.month)[1])

    @property
    def starts(self) -> datetime:
        return midnight(self.first)

    @property
    def ends(self) -> datetime:
        """When the next one begins."""
        return midnight(self.last + timedelta(days=1))

    @property
    def days(self) -> list[date]:
        return days_between(self.first, self.last)

    def __str__(self) -> str:
        return f"{self.first:%Y-%m}"


@dataclass(frozen=True)
class Compared:
    """A month: what the statements on file say of it."""

    month: Month
    books: BooksView
    result: Reconciliation

    @property
    def days_not_covered(self) -> list[date]:
        covered = set(self.result.days_covered)
        return [day for day in self.month.days if day not in covered]


def compared(
    database: Database, month: Month, confirm_above_kes: Decimal, *, references_are_reusable: bool
) -> Compared:
    starts, ends = month.starts, month.ends - timedelta(seconds=1)
    with database.transaction(snapshot=True) as tx:
        kept = list(kept_statements(tx, starts, ends, whole=True))
    given = [_in(starts, ends, each) for each in kept]
    given = [each for each in given if each.rows or (each.starts and each.ends and each.starts <= each.ends)]
    books = view(database, given, confirm_above_kes, references_are_reusable=references_are_reusable)
    return Compared(month, books, compare(given, books))


def _in(starts: datetime, ends: datetime, kept: Statement) -> Statement:
    """What a statement says of this time. It may have rows a little outside the period that it states."""
    if kept.starts is None or kept.ends is None:
        return kept
    until = min(kept.ends, ends)
    return replace(kept, starts=max(kept.starts, starts), ends=until, made_at=until)


def closings(database: Database) -> dict[str, Row]:
    """By month: the last word about it, where it is that it is closed."""
    last = {row["subject"]: row for row in reconciliation_log.entries(database) if row["kind"] in (CLOSED, REOPENED)}
    return {month: row for month, row in last.items() if row["kind"] == CLOSED}


@dataclass(frozen=True)
class Standing:
    """Of all months that statements on file speak of."""

    days_covered: Sequence[date]
    days_not_covered: Sequence[date]
    """Before the last day covered: no statement covers them, and nobody closed their month in spite of it."""
    differences: Sequence[Difference]
    """Open now. What was open when its month was closed is in that month's report, and not here."""
    closed: Sequence[str]


def standing(database: Database, confirm_above_kes: Decimal, *, references_are_reusable: bool) -> Standing:
    """A closed month is compared again only where a statement or a payment of it came or changed since."""
    now = datetime.now(EAT)
    with database.transaction(snapshot=True) as tx:
        files = list(kept_statements(tx, now, now, whole=False))
        rows = tx.rows(
            "SELECT DISTINCT to_char(at AT TIME ZONE 'Africa/Nairobi', 'YYYY-MM') AS month FROM statement_rows"
        )
        begin = tx.row("SELECT min(created_at) AS at FROM transactions")
    periods = filter(None, (period_of(file, now) for file in files))
    months = sorted(
        {str(Month(day.replace(day=1))) for each in periods for day in each.days} | {r["month"] for r in rows}
    )
    covered = whole_days(covered_by(files, now))
    closed = closings(database)
    accepted_days = {day for closing in closed.values() for day in closing["facts"]["days_not_covered"]}
    first = begin["at"].astimezone(EAT).date() if begin and begin["at"] and covered else None
    wanted = days_between(first, covered[-1]) if first else []
    gaps = sorted(day for day in set(wanted).difference(covered) if str(day) not in accepted_days)
    found: dict[object, Difference] = {}
    with progress("comparing months", lambda: len(months)) as advance:
        for name in months:
            advance(1)
            month, closing = Month.read(name), closed.get(name)
            if closing is not None and not _changed_since(database, month, closing):
                continue
            accepted = {_name(each) for each in closing["facts"]["differences"]} if closing else set()
            of_month = compared(database, month, confirm_above_kes, references_are_reusable=references_are_reusable)
            for each in of_month.result.differences:
                key = (each.kind.value, each.receipt, each.transaction_id)
                if key not in accepted:
                    found.setdefault(key, each)
    return Standing(covered, gaps, list(found.values()), sorted(closed))


def _name(difference: Mapping[str, object]) -> tuple[object, object, object]:
    """By which a closed month knows a difference that was open when it was closed."""
    return difference["kind"], difference["receipt"], difference["transaction_id"]


def _changed_since(database: Database, month: Month, closing: Row) -> bool:
    """A file came that the closing does not name, a payment changed, or a person spoke about a row."""
    row = database.row(
        """
        SELECT EXISTS (SELECT FROM statement_files WHERE starts < :ends AND ends >= :starts
                       AND sha256 <> ALL (string_to_array(:files, ' ')))
            OR EXISTS (SELECT FROM statement_rows WHERE at >= :starts AND at < :ends
                       AND sha256 <> ALL (string_to_array(:files, ' ')))
            OR EXISTS (SELECT FROM transactions
                       WHERE created_at >= :starts - interval '1 day' AND created_at < :ends AND updated_at > :at)
            OR EXISTS (SELECT FROM reconciliation_log l JOIN statement_rows r ON r.receipt = l.subject
                       WHERE l.at > :at AND r.at >= :starts AND r.at < :ends)
            AS changed
        """,
        at=closing["at"],
        files=" ".join(each["sha256"] for each in closing["facts"]["files"]),
        starts=month.starts,
        ends=month.ends,
    )
    return row is None or bool(row["changed"])
