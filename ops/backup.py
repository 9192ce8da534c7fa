"""`ops backup`: the whole database, encrypted, in a folder or a bucket elsewhere; and the keys for it.

A backup is good once it was written whole, is listed where it is kept with the size that was written, and the database
has a row of it. `docs/backups.md` says how to set it up; `ops restore` brings one back.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.answers import Answer
from ops.backups import BackupFailed
from ops.backups.manifest import Manifest, head, measure, migrations, schemas, signing_key
from ops.backups.tools import Program, program, reading
from ops.checks.database import POOLED_HOST
from ops.progress import progress
from ops.session import Commands, NotPossible, Session, WrongUse
from ops.words import counted, eat
from shared.audit_chain import AuditKey
from shared.database import Database, DatabaseError, Transaction
from shared.environment_variables import Misconfigured
from shared.settings import database_url

if TYPE_CHECKING:
    from ops.backups.store import Sink

POOLED = (
    "this is a pooled address, and a dump needs a session of its own: take the direct one. On Neon that is the same "
    "host without -pooler; on Supabase the direct connection; elsewhere the server's "
    "own port, usually 5432. Nothing was written (docs/backups.md)"
)
POOLERS_PORTS = (6432, 6543)
DUMP = ("--format=custom", "--no-sync", "--lock-wait-timeout=60s")
MB = 10**6


def add_commands(commands: Commands) -> None:
    command = commands.add_parser("backup", help="the whole database, encrypted, into a folder or a bucket elsewhere")
    command.add_argument("--to", metavar="PLACE", help="a folder, or s3://BUCKET/PREFIX (default: BACKUP_TO)")
    command.add_argument(
        "--recipient",
        action="append",
        metavar="AGE1",
        help="a public key of age; give two (default: BACKUP_RECIPIENTS, with a space between)",
    )
    command.set_defaults(run=_backup)
    key = commands.add_parser("backup-key", help="make a private key that opens backups, and print its public one")
    key.add_argument("file", metavar="FILE", type=Path, help="a new file for the private key: keep it off this machine")
    key.set_defaults(run=_key)


def _backup(session: Session, chosen: argparse.Namespace) -> Answer:
    from ops.backups import archive
    from ops.backups import store as stores

    to = chosen.to or session.environ.get("BACKUP_TO", "").strip()
    given = chosen.recipient or session.environ.get("BACKUP_RECIPIENTS", "").replace(",", " ").split()
    if not to or not given:
        raise WrongUse("say where to with --to or BACKUP_TO, and for whom with --recipient or BACKUP_RECIPIENTS")
    recipients, store, key = archive.recipients(given), stores.store_at(to), _signing_key(session)
    session.database = Database(database_url(session.environ), statement_timeout_s=0, idle_timeout_s=0)
    dumper = _ready(session.database)
    store.kept()  # refused here, before an hour of work
    began = time.monotonic()
    with ExitStack() as running:
        with session.database.transaction(snapshot=True) as tx:
            with progress("rows measured", lambda: _estimated_rows(tx)) as advance:
                manifest = _measured(tx, dumper, advance).signed(key)
            exported = tx.rows("SELECT pg_export_snapshot() AS name")[0]["name"]
            options = [*DUMP, f"--snapshot={exported}", *[f"--schema={name}" for name in schemas(tx)]]
            dump = running.enter_context(reading(dumper, session.database.settings, *options))
            dump.wait_for_first()  # it has the snapshot now, and this transaction need not stay open
        name = stores.name_for(store, manifest)
        with store.writing(name) as sink, progress("MB") as megabytes:
            counting = _Counting(sink, megabytes)
            archive.write(counting, manifest, dump, recipients)
    listed = store.kept(name.partition("/")[0] + "/").get(name)
    if listed != counting.size:
        found = "is not there" if listed is None else f"has {listed:,} bytes"
        raise BackupFailed(f"{counting.size:,} bytes were written to {store.place}, and {name} {found}: look at it")
    facts = {"rows": sum(of.rows for of in manifest.tables.values()), "seconds": round(time.monotonic() - began)}
    row = {
        "at": manifest.at,
        "place": f"{store.place}/{name}",
        "size_bytes": counting.size,
        "sha256": counting.sha256.hexdigest(),
        "recipients": [archive.fingerprint(recipient) for recipient in recipients],
        "server_version": manifest.server_version,
        "client_version": manifest.client_version,
        "migration": manifest.migrations[-1],
    }
    _note(session.database, row, facts)
    return Answer({**row, **facts}, _lines(row, facts))


def _signing_key(session: Session) -> AuditKey:
    given = session.environ.get("BACKUP_SECRET", "").strip()
    if not given:
        return signing_key(session.audit_keys[0])
    if not re.fullmatch(r"[0-9a-f]{64}", given):
        raise Misconfigured.of("BACKUP_SECRET", "what `python -m ops backup-secret` prints")
    return AuditKey(given)


def _ready(database: Database) -> Program:
    """The pg_dump to take. Raises where this address, server or user cannot make a backup."""
    settings = database.settings
    if POOLED_HOST.search(settings.host) or (settings.port in POOLERS_PORTS and not settings.socket_path):
        raise NotPossible(POOLED)
    row = database.row(
        """
        SELECT current_setting('server_version_num')::int / 10000 AS server,
               coalesce(has_any_column_privilege(to_regclass('public.backups'), 'INSERT'), false) AS may_note
        """
    )
    assert row is not None
    if not database.has_own_session:
        raise NotPossible(POOLED)
    if not row["may_note"]:
        raise NotPossible(
            "this user may not write the table backups, which knows of each good one: make migrate, and "
            "`python -m db.migrate --roles`, with the owner's DATABASE_URL (docs/backups.md). Nothing was written"
        )
    return program("pg_dump", server=row["server"])


def _estimated_rows(tx: Transaction) -> int:
    """What the server's statistics say, for the bar."""
    (row,) = tx.rows(
        """
        SELECT coalesce(sum(greatest(reltuples, 0)), 0)::bigint AS rows FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
        """
    )
    return int(row["rows"])


def _measured(tx: Transaction, dumper: Program, advance: Callable[[int], None]) -> Manifest:
    about = tx.row(
        """
        SELECT date_trunc('second', now()) AS at, environment, stamped_at,
               split_part(current_setting('server_version'), ' ', 1) AS server_version
        FROM installation
        """
    )
    if about is None:
        raise NotPossible("this database is empty: nobody has used it yet, so there is nothing to keep")
    return Manifest(
        **about,
        client_version=dumper.version,
        migrations=migrations(tx),
        tables=measure(tx, advance),
        audit=head(tx).token(about["stamped_at"]),
    )


class _Counting:
    """Gives on what it is given, with its size and SHA-256."""

    def __init__(self, sink: Sink, megabytes: Callable[[int], None]) -> None:
        self.size, self.sha256 = 0, hashlib.sha256()
        self._sink, self._megabytes = sink, megabytes

    def write(self, data: bytes) -> int:
        self._sink.write(data)
        self.sha256.update(data)
        before, self.size = self.size, self.size + len(data)
        self._megabytes(self.size // MB - before // MB)
        return len(data)


def _note(database: Database, row: dict[str, Any], facts: dict[str, Any]) -> None:
    try:
        database.run(
            """
            INSERT INTO backups (at, place, size_bytes, sha256, recipients, server_version, client_version, migration,
                                 facts)
            VALUES (:at, :place, :size_bytes, :sha256, string_to_array(:recipients, ' '), :server_version,
                    :client_version, :migration, CAST(:facts AS jsonb))
            """,
            **{**row, "recipients": " ".join(row["recipients"]), "facts": json.dumps(facts)},
        )
    except DatabaseError as failed:
        raise BackupFailed(
            f"{row['place']} is whole, and the database could not note it, so it counts as missing ({failed}): "
            "run this again"
        ) from None


def _lines(row: dict[str, Any], facts: dict[str, Any]) -> Iterator[str]:
    yield (
        f"{row['place']}: {row['size_bytes'] / MB:,.1f} MB, {counted(facts['rows'], 'row')} as of "
        f"{eat(row['at'], seconds=True)} EAT, in {facts['seconds']:,} s"
    )
    yield f"SHA-256 {row['sha256']}; readable with the private keys of {', '.join(row['recipients'])}"
    if len(row["recipients"]) < 2:
        yield "One key alone opens it, and a lost key takes every backup with it: give a second --recipient"


def _key(_: Session, chosen: argparse.Namespace) -> Answer:
    from pyrage.x25519 import Identity

    from ops.backups.archive import fingerprint
    from ops.backups.store import only_ours

    made = Identity.generate()
    public = made.to_public()
    text = f"# created: {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}\n# public key: {public}\n{made}\n"
    try:
        with open(chosen.file, "x", opener=only_ours, encoding="ascii") as file:
            file.write(text)
    except FileExistsError:
        raise NotPossible(f"{chosen.file} is there already, and may open backups: it is left as it is") from None
    except OSError as failed:
        raise WrongUse(f"{chosen.file} cannot be written: {failed.strerror}") from None
    document = {"recipient": str(public), "fingerprint": fingerprint(public), "file": str(chosen.file)}
    return Answer(
        document,
        [
            f"--recipient {public}",
            f"The private key is in {chosen.file}: move it to where it stays safe, off this machine. Without it nobody "
            "can read a backup that was made for it.",
        ],
    )
