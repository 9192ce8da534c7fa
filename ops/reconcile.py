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
from ops.statements.rows import Key, key_of
from ops.statements.showing import AGES, age_of, as_csv, differences_table, document, in_ranges, lines, record
from ops.statements.sides import FillReceipt, Kind, Reconciliation, Refund, Settle
from ops.statements.statement import Statement, UnusableFile
from ops.words import counted, visible
from shared.database.errors import DatabaseError, DatabaseUnavailable
from shared.gateway.watch import DAYS_UNTIL_RECONCILED
from shared.payments import Outcome
from shared.settings import references_are_reusable, shortcodes
from shared.values import EAT

DOES = {FillReceipt: "fill in a receipt", Settle: "make a payment PAID", Refund: "make a payment REFUNDED"}
DONE = {
    Outcome.PAID: "written: PAID",
    Outcome.PAID_LATE: "written: PAID, late",
    Outcome.RECEIPT_FILLED: "written: the receipt is filled in",
    Outcome.REFUNDED: "written: REFUNDED",
    Outcome.REPEATED: "written before",
}
IN_REVIEW = "not settled: it is in review now"
A_PERSON = "not settled: a person has to decide, or has taken it back; see `ops case {}`"


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
    paths = list(_paths(chosen.files))
    if chosen.csv and Path(chosen.csv).exists() and any(path.exists() and path.samefile(chosen.csv) for path in paths):
        raise WrongUse(f"{visible(chosen.csv)} is a statement: --csv would write over it")
    statements = [_read(path) for path in paths]
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
    strangers = list(_of_nobody_known(result, chosen, session.environ))
    refuses = [*result.refuses, *strangers]
    files = " ".join(f'"{name}"' if " " in name else name for name in chosen.files)
    written: dict[int, str] = {}
    _write_csv(chosen.csv, [record(each, books.now, files, written) for each in result.differences])
    if chosen.write:
        if refuses:
            raise NotPossible(f"nothing was written: {'; '.join(refuses)}")
        written = _write(session, chosen, result)
        try:
            _write_csv(chosen.csv, [record(each, books.now, files, written) for each in result.differences])
        except WrongUse as failed:
            warnings.append(str(failed))
    open_ones = [each for each in result.differences if written.get(id(each)) not in DONE.values()]
    left = replace(result, differences=tuple(open_ones))
    return Answer(
        document(
            result, books.now, shortcode=shortcode, files=files, warnings=[*warnings, *strangers], written=written
        ),
        _lines(result, lines(result, books.now, files, written), warnings, refuses, written=chosen.write),
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
        f"Compared with statements until {last or '- (no whole day yet)'}",
        f"Days NOT covered before it, so not checked: {in_ranges(found.days_not_covered) or 'none'}",
        f"Months closed: {', '.join(found.closed) or 'none'}",
        f"{counted(len(found.differences), 'open difference')}{f': {by_age}' if by_age else ''}",
        differences_table(found.differences, now, "FILE", {}),
    ]
    overdue = last is None or last < now.date() - timedelta(days=DAYS_UNTIL_RECONCILED)
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
    result: Reconciliation,
    compared: Iterator[str | Table],
    warnings: Sequence[str],
    refuses: Sequence[str],
    *,
    written: bool,
) -> Iterator[str | Table]:
    yield from compared
    for warning in warnings:
        yield f"Warning: {warning}"
    if written:
        yield "The rows are kept. What was settled reaches customers and the shop with the next sweep."
        return
    for why in refuses:
        yield f"--write would be refused: {why}"
    if [each for each in result.differences if each.kind in (Kind.MISSING_HERE, Kind.DUPLICATE_ROW)]:
        yield "Write the statement before you book from it: ops book reads its rows in the database."
    if not refuses:
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
    unknown = not ours and not said
    return shortcode, ["neither the file nor MPESA_SHORTCODE says whose statement it is"] if unknown else []


def _of_nobody_known(result: Reconciliation, chosen: argparse.Namespace, environ: Mapping[str, str]) -> Iterator[str]:
    """Why files that do not say whose they are must not be written: their rows would stay among the shop's."""
    ours = (chosen.shortcode,) if chosen.shortcode else shortcodes(environ)
    for file in result.files:
        name, by_name = visible(file.statement.name), file.statement.shortcode_in_name
        if file.statement.shortcode is not None or by_name in ours:
            continue
        if by_name is not None and ours:
            yield f"{name} is of {by_name}, by its name: --shortcode {by_name} says that this is the shop's too"
        elif not file.clock.shared and not chosen.shortcode:
            yield f"{name} does not say whose it is, and shares no receipt with the books: say it with --shortcode N"


# Writing --------------------------------------------------------------------------------------------------------------


def _write(session: Session, chosen: argparse.Namespace, result: Reconciliation) -> dict[int, str]:
    """What became of each difference that is settled, by its id(). Raises `NotPossible`."""
    environment, ours = session.books.environment(), session.environ.get("MPESA_ENV", "").strip()
    if ours and environment not in (None, ours):
        raise NotPossible(f"nothing was written: the database is of {environment}, MPESA_ENV says {ours}")
    gateway, who = session.gateway(chosen), session.operator(chosen)
    session.ask(chosen, lambda: _shown(result))
    ids: dict[Key, int] = {}
    speaks: dict[Key, str] = {}
    for number, file in enumerate(result.files):
        try:
            kept = keep(gateway.database, file.dated, who)
        except DatabaseError as failed:
            if not number:
                raise
            raise NotPossible(
                f"{number} of {counted(len(result.files), 'file')} are kept and nothing is settled; run it again. "
                f"{failed.explained()}"
            ) from None
        found = {key_of(row): kept[row.number] for row in file.statement.rows if row.number in kept}
        ids |= found
        speaks |= dict.fromkeys(found, file.statement.sha256) if file.settles else {}
    settled = sorted(
        (each for each in result.differences if each.settlement), key=lambda each: isinstance(each.settlement, Refund)
    )
    written: dict[int, str] = {}
    with progress("settling", lambda: len(settled)) as advance:
        for each in settled:
            assert each.settlement is not None
            advance(1)
            key, transaction_id = key_of(each.settlement.row), each.settlement.transaction_id
            try:
                outcome = settle_by_row(gateway, ids[key], transaction_id, who, sha256=speaks.get(key))
            except (NotPossible, DatabaseError) as refused:  # what is settled stands, and is said
                written[id(each)] = f"not settled: {refused}"
                if isinstance(refused, DatabaseUnavailable):
                    break
                continue
            not_done = IN_REVIEW if outcome is Outcome.TO_REVIEW else A_PERSON.format(transaction_id)
            written[id(each)] = DONE.get(outcome, not_done)
    return written


def _shown(result: Reconciliation) -> Iterator[str]:
    rows = sum(len(file.statement.rows) for file in result.files)
    yield f"This keeps {counted(rows, 'row')} of {counted(len(result.files), 'file')} as evidence."
    for each in result.settlements:
        yield f"  {each.row.receipt}: {DOES[type(each)]}, {each.transaction_id}"
