"""A reconciliation as a document, as lines, and as CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

from ops.answers import Table
from ops.sales import harmless
from ops.statements.explanations import kes
from ops.statements.sides import Difference, File, FillReceipt, Reconciliation, Refund, Settle, Total
from ops.statements.statement import RowClass
from ops.words import counted, eat, visible

SETTLES = {FillReceipt: "fills_receipt", Settle: "pays", Refund: "refunds"}
COLUMNS = (
    "kind", "amount_kes", "at", "age_days", "receipt", "transaction_id", "says", "do_now", "settles", "written",
)  # fmt: skip
AGES = ((1, "0-1"), (7, "2-7"), (30, "8-30"), (10**6, "> 30"))
"""Days, and how they are called."""


def number(amount_kes: Decimal) -> int | float:
    """Whole shillings are whole in JSON; only banks' apps and charges have cents."""
    return int(amount_kes) if amount_kes == amount_kes.to_integral_value() else float(round(amount_kes, 2))


def total(of: Total) -> dict[str, object]:
    return {"count": of.count, "in_kes": number(of.in_kes), "out_kes": number(of.out_kes)}


def age_of(at: datetime, now: datetime) -> str:
    days = (now - at) / timedelta(days=1)
    return next(name for most, name in AGES if days < most + 1)


def command(difference: Difference, files: str) -> str:
    """To copy, with the files' names. An order's reference may have FILE in it."""
    return difference.do_now.replace("reconcile FILE", f"reconcile {files}")


def record(difference: Difference, now: datetime, files: str, written: Mapping[int, str]) -> dict[str, object]:
    """One difference, as JSON has it."""
    settlement = difference.settlement
    return {
        "kind": difference.kind.value,
        "receipt": difference.receipt,
        "transaction_id": difference.transaction_id,
        "amount_kes": number(difference.amount_kes),
        "at": difference.at,
        "age_days": max(0, (now - difference.at).days),
        "says": difference.says,
        "do_now": command(difference, files),
        "settles": SETTLES[type(settlement)] if settlement else None,
        "written": written.get(id(difference)),
    }


def document(
    result: Reconciliation,
    now: datetime,
    *,
    shortcode: str | None,
    files: str,
    warnings: Sequence[str],
    written: Mapping[int, str],
) -> dict[str, object]:
    """`files`: as they stand in a command. `written`: what became of a difference, by its id()."""
    period = result.period
    return {
        "shortcode": shortcode,
        "period": {"from": period and period.starts, "to": period and period.ends},
        "files": [_file(file) for file in result.files],
        "classes": {name.value: total(result.classes.get(name, Total())) for name in RowClass},
        "matched": result.matched.count,
        "explained": {
            "matched": total(result.matched),
            "returned": total(result.returned),
            "no_sale": total(result.no_sale),
            "not_judged": total(result.not_judged),
        },
        "not_completed": result.not_completed,
        "differences": [record(each, now, files, written) for each in result.differences],
        "days_covered": list(result.days_covered),
        "days_not_covered": list(result.days_not_covered),
        "balance_chain": result.balance_chain,
        "warnings": list(warnings),
    }


def _file(file: File) -> dict[str, object]:
    statement = file.statement
    return {
        "sha256": statement.sha256,
        "name": statement.name,
        "family": statement.family,
        "rows": len(statement.rows),
        "balance_chain": statement.balance_chain,
        "clock": file.clock.says or None,
        "unknown": dict(statement.unknown),
    }


# For people -----------------------------------------------------------------------------------------------------------


def lines(result: Reconciliation, now: datetime, files: str, written: Mapping[int, str]) -> Iterator[str | Table]:
    """What was compared, the sums, the differences, and the days that nobody compared."""
    for file in result.files:
        yield _about(file)
        for kind, count in file.statement.unknown:
            yield f"  {counted(count, 'row')} of a kind that Lipa does not know: {visible(kind)}"
    yield "By class"
    yield Table.of(
        ("Class", ">Rows", ">In", ">Out"),
        [
            (name, f"{each.count:,}", kes(each.in_kes), kes(each.out_kes))
            for name, each in result.classes.items()
            if each.count
        ],
    )
    yield (
        f"Explained: {counted(result.matched.count, 'row')} by the books, {result.no_sale.count:,} no sale, "
        f"{result.returned.count:,} of money that came and went back; {result.not_completed:,} not completed"
    )
    yield counted(len(result.differences), "difference")
    yield differences_table(result.differences, now, files, written)
    yield f"Days covered by statements: {in_ranges(result.days_covered) or 'none'}"
    yield f"Days NOT covered, so not checked: {in_ranges(result.days_not_covered) or 'none'}"


def _about(file: File) -> str:
    statement, period = file.statement, file.period
    about = [f"{visible(statement.name)}: {counted(len(statement.rows), 'row')}, family {statement.family}"]
    if period:
        by_name = ", as far as its rows: only its name states a period" if statement.period_in_name else ""
        about.append(f"{eat(period.starts)} to {eat(period.ends)} EAT{by_name}")
    if statement.opening_kes is not None and statement.closing_kes is not None:
        moved = [row for row in statement.rows if row.completed]
        came, went = sum(row.paid_in_kes for row in moved), sum(row.withdrawn_kes for row in moved)
        equal = "=" if statement.opening_kes + came - went == statement.closing_kes else "is NOT"
        about.append(
            f"{kes(statement.opening_kes)} + {kes(Decimal(came))} - {kes(Decimal(went))} {equal}"
            f" {kes(statement.closing_kes)}"
        )
    missing = ": rows may be missing, so it covers no day" if statement.balance_chain == "broken" else ""
    about.append(f"balance chain {statement.balance_chain}{missing}")
    if file.clock.says:
        about.append(f"WRONG CLOCK: {file.clock.says}; only receipts are compared")
    return ", ".join(about)


def differences_table(
    differences: Sequence[Difference], now: datetime, files: str, written: Mapping[int, str]
) -> Table:
    return Table(
        ("Kind", ">Amount", "When (EAT)", ">Days", "Receipt or payment", "~What it means, what to do"),
        [_difference(each, now, files, written) for each in differences],
    )


def _difference(
    difference: Difference, now: datetime, files: str, written: Mapping[int, str]
) -> tuple[tuple[str, ...], str]:
    """For a table: its cells, and the same as text."""
    days = max(0, (now - difference.at).days)
    does = written.get(id(difference)) or visible(command(difference, files))
    about = (difference.kind.value, kes(difference.amount_kes), eat(difference.at), str(days))
    named = visible(difference.receipt or difference.transaction_id or "")
    says = visible(difference.says)
    kind, amount, at, _ = about
    text = f"  {kind:15} {amount:>12}  {at}  {days:>4} d old  {named}\n      {says}\n      -> {does}"
    return (*about, named, f"{says}\n-> {does}"), text


def in_ranges(days: Sequence[date]) -> str:
    """`2026-10-01 to 2026-10-07, 2026-10-09`."""
    if not days:
        return ""
    ranges = [[days[0], days[0]]]
    for before, day in pairwise(days):
        if day - before == timedelta(days=1):
            ranges[-1][1] = day
        else:
            ranges.append([day, day])
    return ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in ranges)


def as_csv(records: Iterable[Mapping[str, object]]) -> Iterator[str]:
    """Lines for a spreadsheet, which runs none of them as a formula."""

    class Lines:
        write = staticmethod(str)

    out = csv.DictWriter(Lines(), COLUMNS, lineterminator="\n")
    yield str(out.writeheader())
    for each in records:
        cells = {**each, "at": eat(each["at"], seconds=True) if isinstance(each["at"], datetime) else ""}
        yield str(out.writerow({name: harmless(cell) for name, cell in cells.items()}))
