"""What follows a restore into the shop's place: nobody is asked to pay until `ops restore finish`.

Callbacks, status, invoices and the sweep go on. Invoice numbers that may have been mailed are never given again: the
operator says which was the last, and until then a number is left out for each second that was lost.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ops.words import eat
from shared.database import Database, Transaction
from shared.values import EAT

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
