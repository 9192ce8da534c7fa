"""`ops drill`: the last backup put into a scratch PostgreSQL of our own and checked there, as on the worst day.

The scratch server begins empty, listens on no network, and leaves nothing; what a killed drill left, the next one
removes. How it went, and how long it took, is recorded in the shop's database.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from ops.answers import Answer
from ops.backups import UnusableBackup
from ops.backups import store as stores
from ops.restore import add_reading, backup_of, bring_back, examine, said, shown, wrong
from ops.session import Commands, NotPossible, Session, WrongUse, add_who

SCRATCH = Path(__file__).resolve().parents[1] / ".lipa" / "drill"
QUICK = {"wal_level": "minimal", "max_wal_senders": "0", "max_wal_size": "4GB", "maintenance_work_mem": "256MB"}
"""Nothing here has to outlive a crash."""


def add_commands(commands: Commands) -> None:
    command = commands.add_parser("drill", help="restore the last backup into a scratch server, and record how it went")
    which = command.add_mutually_exclusive_group(required=True)
    which.add_argument("file", nargs="?", type=Path, metavar="FILE", help="this backup")
    last = "the last backup in a folder, or in s3://BUCKET/PREFIX"
    which.add_argument("--from", dest="place", metavar="PLACE", help=last)
    add_reading(command)
    add_who(command)
    command.set_defaults(run=_drill)


def _drill(session: Session, chosen: argparse.Namespace) -> Answer:
    may = session.database.row("SELECT has_table_privilege('drills', 'INSERT') AS record")
    if may != {"record": True}:
        raise WrongUse("this database's user may not record a drill: take the owner's DATABASE_URL")
    if chosen.file is not None:
        return _drilled(session, chosen, chosen.file)
    store, environment = stores.store_at(chosen.place), session.books.environment()
    there = [name for name in store.kept() if f"/lipa-{environment}-" in name]
    if not there:
        raise NotPossible(f"there is no backup lipa-{environment}-….age in {store.place}, daily or monthly")
    with store.fetched(max(there, key=lambda name: name.rpartition("/")[2])) as file:
        return _drilled(session, chosen, file)


def _drilled(session: Session, chosen: argparse.Namespace, file: Path) -> Answer:
    who, began_at, began = session.operator(chosen), datetime.now(UTC), time.monotonic()
    backup = backup_of(session, chosen, file)
    sha256, threshold_kes = backup.sha256(), session.confirm_above_kes(chosen)

    def record(taken_at: datetime | None, found: str | None) -> None:
        session.database.run(
            """
            INSERT INTO drills (began_at, took_s, taken_at, backup_sha256, backup_bytes, is_good, found, who)
            VALUES (:began_at, :took_s, :taken_at, :sha256, :bytes, CAST(:found AS text) IS NULL, :found, :who)
            """,
            began_at=began_at,
            took_s=round(time.monotonic() - began),
            taken_at=taken_at,
            sha256=sha256,
            bytes=backup.path.stat().st_size,
            found=found and found[:2000],
            who=who,
        )

    try:
        with _scratch() as url:
            manifest, checks = bring_back(backup, url, lambda tx, manifest: None)
            checks += said(examine(url, manifest, backup.keys, threshold_kes))
    except (NotPossible, UnusableBackup) as refused:
        record(None, str(refused))
        raise
    found = wrong(checks)
    record(manifest.at, "; ".join(found) or None)
    document, lines = shown(manifest, checks, time.monotonic() - began)
    lines.append(f"{'not good' if found else 'good'}: recorded")
    return Answer(document, lines, code=1 if found else 0)


@contextmanager
def _scratch() -> Iterator[str]:
    """The address of an empty database. Raises `WrongUse` where there can be none here."""
    try:
        from dev.postgres import EmbeddedPostgres, PostgresFault  # fcntl and more, which Windows lacks
    except ImportError:
        raise WrongUse(
            "a drill runs a PostgreSQL of its own, on Linux and macOS only. Elsewhere make an empty database, and run "
            "`ops restore FILE --into DATABASE_URL`: it is the same, only not recorded"
        ) from None
    try:
        with EmbeddedPostgres(SCRATCH, durable=False, scratch=True, settings=QUICK) as server:
            yield server.url()
    except PostgresFault as fault:
        raise WrongUse(str(fault)) from None
