"""What follows a restore into the shop's place: nobody is asked to pay until `ops restore finish`.

Callbacks, status, invoices and the sweep go on. Invoice numbers that may have been mailed are never given again: the
operator says which was the last, and until then a number is left out for each second that was lost.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from ops.answers import Answer
from ops.receipt_search import search
from ops.session import NotPossible, Session, add_why, add_yes
from ops.statements.coverage import Period, covered_by, within
from ops.statements.loading import kept_statements
from ops.statements.months import Month, compared
from ops.statements.sides import Kind
from ops.words import eat
from shared.database import Database, Transaction
from shared.settings import references_are_reusable
from shared.values import EAT

A_DAY = timedelta(days=1)
STILL_OPEN = "SELECT id, restored_at, backup_at, who FROM recoveries WHERE finished_at IS NULL ORDER BY id"


@dataclass(frozen=True)
class InvoiceNumber:
    """The last one of a year; number 0: none."""

    year: int
    number: int

    @classmethod
    def read(cls, text: str) -> InvoiceNumber:
        """For a parser: `INV-2026-001234`, or `none` for this year. Raises `argparse.ArgumentTypeError`."""
        if text.strip().lower() == "none":
            return cls(datetime.now(EAT).year, 0)
        found = re.fullmatch(r"INV-(20\d\d)-(\d{6,9})", text.strip().upper(), re.ASCII)
        if found is None:
            raise argparse.ArgumentTypeError("must be an invoice's number, like INV-2026-001234, or none")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"INV-{self.year}-{self.number:06}"


def begin(
    tx: Transaction, backup_sha256: str, backup_at: datetime, who: str, last_invoices: Sequence[InvoiceNumber] = ()
) -> None:
    """In the restore's own transaction; after it stkpush answers 503 `recovering`. `last_invoices`: the last that were
    mailed, where it is known.
    """
    begun = tx.row(
        "INSERT INTO recoveries (backup_sha256, backup_at, who) VALUES (:sha256, :backup_at, :who) RETURNING id",
        sha256=backup_sha256,
        backup_at=backup_at,
        who=who,
    )
    assert begun is not None
    leave_numbers_out(tx, begun["id"], last_invoices, who)


def leave_numbers_out(tx: Transaction, recovery_id: int, last_invoices: Sequence[InvoiceNumber], who: str) -> None:
    """Each series goes on after the last number that was mailed. Where that is of an older year, this year had none."""
    told = {each.year: each.number for each in last_invoices}
    if told:
        told = {datetime.now(EAT).year: 0} | told
    for year, number in told.items():
        tx.rows(
            "SELECT leave_invoice_numbers_out(:recovery, :year, :until, :who, 'the last one mailed before a restore')",
            recovery=recovery_id,
            year=year,
            until=number,
            who=who,
        )


def still_open(database: Database) -> str | None:
    """What to say while a restore is not finished; None: none is open."""
    row = database.row(f"{STILL_OPEN} LIMIT 1")
    if row is None:
        return None
    since, of = eat(row["restored_at"]), eat(row["backup_at"])
    return f"nobody can pay since the restore of {since} EAT, of the backup of {of} EAT: `ops restore finish`"


# Finishing ------------------------------------------------------------------------------------------------------------


def add_options(command: argparse.ArgumentParser) -> None:
    """Of `ops restore`, for a file and for the word finish."""
    command.add_argument(
        "--last-invoice",
        type=InvoiceNumber.read,
        action="append",
        default=[],
        metavar="NUMBER",
        help="the last invoice that was mailed, as mail of sales names it, like INV-2026-001234; none: none was",
    )
    add_why(command, required=False)
    add_yes(command)


@dataclass(frozen=True)
class Missing:
    """Something that is not done yet."""

    what: str
    says: str
    do_now: str


def finish(session: Session, chosen: argparse.Namespace) -> Answer:
    """Customers can pay again, once what was lost is found again; 1: something is missing, and nothing was written."""
    database, who = session.database, session.operator(chosen)
    waiting = database.rows(STILL_OPEN)
    if not waiting:
        raise NotPossible("no restore is waiting to be finished")
    lost = Period(min(row["backup_at"] for row in waiting), max(row["restored_at"] for row in waiting))
    missing = [
        *_invoices(database, waiting[-1]["id"], chosen.last_invoice),
        *_statements(database, lost),
        *_money(
            database,
            lost,
            session.confirm_above_kes(chosen),
            references_are_reusable=references_are_reusable(session.environ),
        ),
    ]
    document = {"finished": False, "lost_from": lost.starts, "lost_until": lost.ends, "missing": missing}
    about = [f"Lost: {eat(lost.starts)} to {eat(lost.ends)} EAT, between the backup and its restore."]
    about += [f"{each.what}: {each.says}. {each.do_now}" for each in missing]
    if missing and (chosen.why is None or any(each.what == "invoices" for each in missing)):
        about.append("Nobody can pay yet. With --why it is finished although statements or money are missing.")
        return Answer(document, about, code=1)
    session.ask(chosen, lambda: [*about, "Customers can pay again from then on."])
    facts = {"missing": [vars(each) for each in missing], "last_invoices": [str(each) for each in chosen.last_invoice]}
    with database.transaction() as tx:
        if not (still := tx.rows(f"{STILL_OPEN} FOR UPDATE")):
            raise NotPossible("somebody else has finished it just now")
        leave_numbers_out(tx, still[-1]["id"], chosen.last_invoice, who)
        tx.run(
            """
            UPDATE recoveries SET finished_at = now(), finished_by = :who, why = :why, facts = CAST(:facts AS jsonb)
            WHERE finished_at IS NULL
            """,
            who=who,
            why=chosen.why,
            facts=json.dumps(facts),
        )
    return Answer({**document, "finished": True}, [*about, "The restore is finished: customers can pay again."])


def _invoices(database: Database, recovery_id: int, told: Sequence[InvoiceNumber]) -> Iterator[Missing]:
    """Somebody has to say which number was mailed last: nobody else knows."""
    said = "SELECT FROM invoice_gaps WHERE recovery_id = :id AND who <> 'lipa' LIMIT 1"
    if not told and database.row(said, id=recovery_id) is None:
        yield Missing(
            "invoices",
            "nobody has said which invoice was mailed last before the database was lost",
            "Look into the mail of sales, and say it: --last-invoice INV-2026-001234, or none",
        )


def _statements(database: Database, lost: Period) -> Iterator[Missing]:
    now = datetime.now(EAT)
    with database.transaction(snapshot=True) as tx:
        files = list(kept_statements(tx, lost.starts, now, whole=False))
    if not within(lost, covered_by(files, now)):
        ends = [each.ends for each in covered_by(files, now) if each.starts <= lost.starts <= each.ends]
        until = f" (one does until {eat(ends[0])})" if ends else ""
        yield Missing(
            "statement",
            f"no statement on file covers {eat(lost.starts)} to {eat(lost.ends)} EAT{until}",
            "Export it, then: python -m ops reconcile FILE --write",
        )


def _money(
    database: Database, lost: Period, confirm_above_kes: Decimal, *, references_are_reusable: bool
) -> Iterator[Missing]:
    """Rows of statements, and callbacks, whose payment came after the backup and is not in the books yet."""
    since, now = lost.starts - A_DAY, datetime.now(EAT)
    named: set[str] = set()
    for name in sorted({f"{day:%Y-%m}" for day in Period(since, now).days}):
        month = Month.read(name)
        found = compared(database, month, confirm_above_kes, references_are_reusable=references_are_reusable)
        for each in found.result.differences:
            if each.kind is not Kind.TIMING and each.at >= since:
                named |= {each.receipt or ""}
                yield Missing(each.kind.value, f"{each.receipt or each.transaction_id}: {each.says}", each.do_now)
    callbacks = database.rows(
        """
        SELECT DISTINCT receipt FROM callback_inbox, unnest(receipts) AS receipt
        WHERE outcome = 'unknown_transaction' AND received_at >= :since ORDER BY 1
        """,
        since=lost.starts,
    )
    for row in callbacks:
        if row["receipt"] not in named and search(database, row["receipt"]).bookable:
            book = f'python -m ops book {row["receipt"]} --reference ORDER --why "…"'
            yield Missing("callback", f"{row['receipt']}: a callback brought money of a payment that was lost", book)
