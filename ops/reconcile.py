"""`ops reconcile`: M-Pesa's statements compared with the books. With `--write` the rows are kept as evidence, and what
they name exactly is settled, under the operator's name. Without it nothing changes.

Exits 0 where nothing differs and every day is covered, 1 where somebody has to act or writing was refused, 2 where a
file cannot be used.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from ops.answers import Answer, Table
from ops.progress import progress
from ops.session import Commands, NotPossible, Session, WrongUse, add_confirm_above, add_who, add_yes
from ops.statements.comparison import compare
from ops.statements.loading import view
from ops.statements.months import standing
from ops.statements.reading import read_statement
from ops.statements.records import keep, settle_by_row
from ops.statements.showing import AGES, age_of, as_csv, differences_table, document, in_ranges, lines, record
from ops.statements.sides import FillReceipt, Kind, Reconciliation, Refund, Settle
from ops.statements.statement import Statement, UnusableFile
from ops.words import counted, visible
from shared.payments import Outcome
from shared.settings import references_are_reusable, shortcodes
from shared.values import EAT

DAYS_UNTIL_ALERT = 35
"""The alert not_reconciled counts them too."""
DOES = {FillReceipt: "fill in a receipt", Settle: "make a payment PAID", Refund: "make a payment REFUNDED"}
DONE = {
    Outcome.PAID: "written: PAID",
    Outcome.PAID_LATE: "written: PAID, late",
    Outcome.RECEIPT_FILLED: "written: the receipt is filled in",
    Outcome.REFUNDED: "written: REFUNDED",
    Outcome.REPEATED: "written before",
}
IN_REVIEW = "not settled: it is in review now"


class UnusableStatement(WrongUse):
    """A file that cannot be used, so nothing was."""

    def __init__(self, says: str, do_now: str) -> None:
        super().__init__(says)
        self.do_now = do_now


def add_commands(commands: Commands) -> None:
    about = "compare M-Pesa's statements with the books; without --write it changes nothing"
    reconcile = commands.add_parser("reconcile", help=about)
    reconcile.add_argument("files", nargs="*", metavar="FILE", help="as M-Pesa's portal exports it: .xls, .xlsx, .csv")
    reconcile.add_argument("--status", action="store_true", help="until when books were compared, and what is open")
    reconcile.add_argument("--write", action="store_true", help="keep the rows, and settle what they name exactly")
    reconcile.add_argument("--csv", metavar="FILE", help="write the differences into this file, for a spreadsheet")
    reconcile.add_argument("--shortcode", metavar="N", help="paybill or till (default: of the environment)")
    add_confirm_above(reconcile)
    add_who(reconcile)
    add_yes(reconcile)
    reconcile.set_defaults(run=_reconcile)


def _reconcile(session: Session, chosen: argparse.Namespace) -> Answer:
    if chosen.status == bool(chosen.files):
        raise WrongUse("name the statements' files, or --status; see python -m ops reconcile --help")
    if chosen.status:
        return _status(session, chosen)
    statements = [_read(path) for path in _paths(chosen.files)]
    shortcode, warnings = _of_this_shop(
        statements, (chosen.shortcode,) if chosen.shortcode else shortcodes(session.environ)
    )
    books = view(
        session.database,
        statements,
        session.confirm_above_kes(chosen),
        references_are_reusable=references_are_reusable(session.environ),
    )
    result = compare(statements, books)
    files = " ".join(f'"{name}"' if " " in name else name for name in chosen.files)
    written: dict[int, str] = {}
    _write_csv(chosen.csv, [record(each, books.now, files, written) for each in result.differences])
    if chosen.write:
        written = _write(session, chosen, result)
        _write_csv(chosen.csv, [record(each, books.now, files, written) for each in result.differences])
    open_ones = [each for each in result.differences if written.get(id(each), IN_REVIEW) == IN_REVIEW]
    left = replace(result, differences=tuple(open_ones))
    return Answer(
        document(result, books.now, shortcode=shortcode, files=files, warnings=warnings, written=written),
        _lines(result, lines(result, books.now, files, written), warnings, written=chosen.write),
        code=0 if left.agrees else 1,
    )


def _status(session: Session, chosen: argparse.Namespace) -> Answer:
    """Until when the books were compared, and what is open, by age. 1: somebody has to act."""
    reusable, now = references_are_reusable(session.environ), datetime.now(EAT)
    found = standing(session.database, session.confirm_above_kes(chosen), references_are_reusable=reusable)
    ages = {name: 0 for _, name in AGES}
    for each in found.differences:
        ages[age_of(each.at, now)] += 1
    last = max(found.days_covered, default=None)
    by_age = ", ".join(f"{count} of {name} days" for name, count in ages.items() if count)
    shown: list[str | Table] = [
        f"Compared with statements until {last or '- (no statement was written yet)'}",
        f"Days NOT covered before it, so not checked: {in_ranges(found.days_not_covered) or 'none'}",
        f"Months closed: {', '.join(found.closed) or 'none'}",
        f"{counted(len(found.differences), 'open difference')}{f': {by_age}' if by_age else ''}",
        differences_table(found.differences, now, "FILE", {}),
    ]
    overdue = last is None or last < now.date() - timedelta(days=DAYS_UNTIL_ALERT)
    return Answer(
        {
            "last_day_covered": last,
            "days_not_covered": list(found.days_not_covered),
            "closed_months": list(found.closed),
            "open_by_age_days": ages,
            "differences": [record(each, now, "FILE", {}) for each in found.differences],
        },
        shown,
        code=1 if overdue or found.differences or found.days_not_covered else 0,
    )


def _lines(
    result: Reconciliation, compared: Iterator[str | Table], warnings: Sequence[str], *, written: bool
) -> Iterator[str | Table]:
    yield from compared
    for warning in warnings:
        yield f"Warning: {warning}"
    if written:
        yield "The rows are kept. What was settled reaches customers and the shop with the next sweep."
        return
    for why in result.refuses:
        yield f"--write would be refused: {why}"
    if [each for each in result.differences if each.kind is Kind.MISSING_HERE]:
        yield "Write the statement before you book from it: ops book reads its rows in the database."
    if not result.refuses:
        yield f"Nothing was written. --write keeps the rows{''.join(f', {what}' for what in _plan(result))}."


def _plan(result: Reconciliation) -> list[str]:
    kinds = Counter(DOES[type(each)] for each in result.settlements)
    return [f"and would {what} {count} times" if count > 1 else f"and would {what}" for what, count in kinds.items()]


def _write_csv(name: str | None, records: Sequence[Mapping[str, object]]) -> None:
    if name is None:
        return
    try:
        Path(name).write_text("".join(as_csv(records)), encoding="utf-8", newline="")
    except OSError as failed:
        raise WrongUse(f"{visible(name)} cannot be written: {failed.strerror}") from None


# Files ----------------------------------------------------------------------------------------------------------------


def _paths(names: Sequence[str]) -> Iterator[Path]:
    """Windows leaves `*.csv` to the program."""
    for name in names:
        found = sorted(Path(name).parent.glob(Path(name).name)) if "*" in name else [Path(name)]
        if not found:
            raise UnusableStatement(f"there is no file {visible(name)}", "")
        yield from found


def _read(path: Path) -> Statement:
    try:
        with progress(f"reading {visible(path.name)}") as advance:
            read = 0

            def so_far(rows: int) -> None:
                nonlocal read
                advance(rows - read)
                read = rows

            return read_statement(path, so_far)
    except UnusableFile as unusable:
        where = f", row {unusable.row}" if unusable.row else ""
        raise UnusableStatement(f"{visible(path.name)}{where}: {unusable.says}", unusable.do_now) from None
    except OSError as failed:
        raise UnusableStatement(f"{visible(path.name)} cannot be read: {failed.strerror}", "") from None


def _of_this_shop(statements: Sequence[Statement], ours: Sequence[str]) -> tuple[str | None, list[str]]:
    """The shortcode that all files are of, and what is doubtful. A file's name is only a hint."""
    said = {each.shortcode: each.name for each in statements if each.shortcode}
    for other, name in said.items():
        if ours and other not in ours:
            raise UnusableStatement(
                f"{visible(name)} is of the shortcode {other}, the shop's is {' or '.join(ours)}",
                "Export the statement of your own paybill or till, or name the right one with --shortcode.",
            )
    if len(said) > 1 and not ours:
        raise UnusableStatement(f"the files are of several shortcodes: {', '.join(sorted(said))}", "Give those of one.")
    shortcode: str | None = next(iter(said), ours[0] if ours else None)
    warnings = [
        f"{visible(each.name)} seems to be of {each.shortcode_in_name}, by its name"
        for each in statements
        if each.shortcode is None and each.shortcode_in_name not in (None, *ours, shortcode)
    ]
    if not ours and not said:
        warnings.append("neither the file nor MPESA_SHORTCODE says whose statement it is")
    return shortcode, warnings


# Writing --------------------------------------------------------------------------------------------------------------


def _write(session: Session, chosen: argparse.Namespace, result: Reconciliation) -> dict[int, str]:
    """What became of each difference that is settled, by its id(). Raises `NotPossible`."""
    if result.refuses:
        raise NotPossible(f"nothing was written: {'; '.join(result.refuses)}")
    environment, ours = session.books.environment(), session.environ.get("MPESA_ENV", "").strip()
    if ours and environment not in (None, ours):
        raise NotPossible(f"nothing was written: the database is of {environment}, MPESA_ENV says {ours}")
    gateway, who = session.gateway(chosen), session.operator(chosen)
    session.ask(chosen, lambda: _shown(result))
    ids: dict[int, int] = {}
    for file in result.files:
        kept = keep(gateway.database, file.dated, who)
        ids |= {id(row): kept[row.number] for row in file.statement.rows if row.number in kept}
    settled = sorted(
        (each for each in result.differences if each.settlement), key=lambda each: isinstance(each.settlement, Refund)
    )
    written: dict[int, str] = {}
    with progress("settling", lambda: len(settled)) as advance:
        for each in settled:
            assert each.settlement is not None
            advance(1)
            try:
                outcome = settle_by_row(gateway, ids[id(each.settlement.row)], each.settlement.transaction_id, who)
            except NotPossible:
                continue
            if outcome in DONE:
                written[id(each)] = DONE[outcome]
            elif outcome is Outcome.TO_REVIEW:
                written[id(each)] = IN_REVIEW
    return written


def _shown(result: Reconciliation) -> Iterator[str]:
    rows = sum(len(file.statement.rows) for file in result.files)
    yield f"This keeps {counted(rows, 'row')} of {counted(len(result.files), 'file')} as evidence."
    for each in result.settlements:
        yield f"  {each.row.receipt}: {DOES[type(each)]}, {each.transaction_id}"
