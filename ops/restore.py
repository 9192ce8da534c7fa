"""`ops restore`: a backup into an empty database, whole or not at all, and then everything that can be checked.

One transaction holds all of it: schema and data, the comparison with what the backup says of each table, the migrations
that an older backup lacks, and the state in which nobody is asked to pay (ops/recovery.py). Who is killed before its
end leaves an empty database. Afterwards, read-only: the invariants, the audit log, every decision again.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from db.migrate import LOCK, MigrationRefused, apply_missing, read_migrations, refuse_an_unfit_database
from ops import audit, recovery, replay, verify
from ops.answers import Answer, Table
from ops.backups import UnusableBackup, archive, tools
from ops.backups.loading import load
from ops.backups.manifest import Manifest, differences, measure, signing_key
from ops.erasure_lines import Repeated, erase_again, lines_file
from ops.progress import progress
from ops.session import Commands, NotPossible, Session, WrongUse, add_confirm_above, add_who
from ops.words import counted, eat
from shared.audit_chain import AuditKey
from shared.database import Database, Transaction, connection_settings

MOST_SHOWN = 20


@dataclass(frozen=True)
class Check:
    """One thing that was done or looked at."""

    name: str
    took_s: float
    says: str
    found: Sequence[str] = ()
    """What is wrong with it."""


@dataclass(frozen=True)
class Backup:
    """A file, what opens it, and what it has to fit."""

    path: Path
    identity: Path
    keys: Sequence[AuditKey]
    """Of the audit log. None: they are lost, and nothing that they signed can be checked."""
    environment: str
    """`sandbox` or `production`; empty: this machine does not say."""

    def sha256(self) -> str:
        """Raises `WrongUse`."""
        try:
            with self.path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as failed:
            raise WrongUse(f"{self.path} cannot be read: {failed.strerror}") from None


def add_commands(commands: Commands) -> None:
    about = "a backup into an empty database, and check all that is in it; finish: customers can pay again"
    command = commands.add_parser("restore", help=about)
    file = "the backup, like lipa-production-….age; or the word finish, for the shop's own database"
    command.add_argument("file", type=Path, metavar="FILE", help=file)
    add_reading(command, required=False)
    into = "the empty database: best the name of the variable that has its address, like NEW_DATABASE_URL"
    command.add_argument("--into", metavar="DATABASE_URL", help=into)
    command.add_argument("--erasures", type=Path, metavar="MAILS", help="erase again by the lines in this file")
    recovery.add_options(command)
    add_who(command)
    command.set_defaults(run=_restore)


def add_reading(command: argparse.ArgumentParser, *, required: bool = True) -> None:
    """What opens a backup and checks it."""
    command.add_argument(
        "--identity", type=Path, required=required, metavar="KEYFILE", help="the private key, as age-keygen writes it"
    )
    lost = "AUDIT_SECRET is lost for ever: take the file without its signature, and do not check the audit log's"
    command.add_argument("--lost-audit-key", action="store_true", help=lost)
    add_confirm_above(command)


def backup_of(session: Session, chosen: argparse.Namespace, file: Path) -> Backup:
    """Raises `Misconfigured` where the key of the audit log is not at hand."""
    keys = () if chosen.lost_audit_key else session.audit_keys
    return Backup(file, chosen.identity, keys, session.environ.get("MPESA_ENV", "").strip())


def _restore(session: Session, chosen: argparse.Namespace) -> Answer:
    if str(chosen.file) == "finish":
        return recovery.finish(session, chosen)
    if chosen.identity is None or chosen.into is None:
        raise WrongUse("a backup needs --identity KEYFILE and --into DATABASE_URL; see python -m ops restore --help")
    text = lines_file(chosen.erasures) if chosen.erasures else ""
    url, began = _address(session, chosen.into), time.monotonic()
    backup, threshold_kes = backup_of(session, chosen, chosen.file), session.confirm_above_kes(chosen)
    who, sha256 = session.operator(chosen), backup.sha256()

    def recovers(tx: Transaction, manifest: Manifest) -> None:
        recovery.begin(tx, sha256, manifest.at, who, chosen.last_invoice)

    manifest, checks = bring_back(backup, url, recovers)
    repeated = _erased_again(url, backup.keys, text, who) if text else Repeated({})
    checks += said(examine(url, manifest, backup.keys, threshold_kes))
    document, lines = shown(manifest, checks, time.monotonic() - began)
    lines += repeated.lines if text else ()
    lines += [
        "Give the functions' role its rights: python -m db.migrate --roles, with this DATABASE_URL.",
        "Nobody is asked to pay until `ops restore finish`: docs/runbook.md, The worst day.",
    ]
    done = not wrong(checks) and repeated.complete
    return Answer({**document, "erasures": repeated.document}, lines, code=0 if done else 1)


def _erased_again(url: str, keys: Sequence[AuditKey], text: str, who: str) -> Repeated:
    database = Database(url, connect_timeout_s=30, statement_timeout_s=0, idle_timeout_s=0)
    try:
        return erase_again(database, keys, text, who)
    finally:
        database.close()


def _address(session: Session, named: str) -> str:
    """Raises `WrongUse`, which never shows an address."""
    if url := session.environ.get(named, "").strip():
        return url
    try:
        settings = connection_settings(named) if ":" in named or "=" in named else None
    except ValueError as unusable:
        raise WrongUse(f"--into: {unusable}") from None
    if settings is None:
        raise WrongUse(f"--into {named}: there is no such variable. Put the address of the empty database into it")
    if settings.password:
        print("ops: --into: others on this machine see a password on a command line: name a variable", file=sys.stderr)
    return named


# Bringing back --------------------------------------------------------------------------------------------------------


def bring_back(
    backup: Backup, url: str, begin: Callable[[Transaction, Manifest], None]
) -> tuple[Manifest, list[Check]]:
    """Into the empty database at `url`; `begin` is the last thing in the same transaction.

    Raises `UnusableBackup`, `NotPossible`, `WrongUse` or DatabaseError: nothing is in the database then, except after
    `CommitUnknown`.
    """
    database = Database(url, connect_timeout_s=30, statement_timeout_s=0, idle_timeout_s=0)
    try:
        with database.transaction() as tx:
            manifest, checks = _brought_back(backup, tx)
            begin(tx, manifest)
    except UnusableBackup as unusable:
        raise type(unusable)(f"{backup.path.name} is not restored: {unusable}") from None
    except MigrationRefused as refused:
        raise NotPossible(f"nothing was restored: {refused}") from None
    finally:
        database.close()
    return manifest, checks


def _brought_back(backup: Backup, tx: Transaction) -> tuple[Manifest, list[Check]]:
    tx.run(LOCK)
    refuse_an_unfit_database(tx)
    if there := [row["name"] for row in tx.rows(IN_IT)]:
        raise NotPossible(
            f"the database is not empty ({', '.join(there)} …): nothing was changed. Restore into a new one (CREATE "
            "DATABASE, or a new branch at your host), look at it, and let the shop use it then"
        )
    began = time.monotonic()
    hosts = ["netlify"] * len(tx.rows("SELECT WHERE to_regnamespace('netlify') IS NOT NULL"))  # the host's own record
    with archive.opened(backup.path, archive.identities(backup.identity)) as (manifest, dump):
        _refuse_what_does_not_fit(backup, manifest)
        pg_restore = tools.program("pg_restore", server=int(manifest.client_version.partition(".")[0]))
        with progress("rows", lambda: sum(of.rows for of in manifest.tables.values())) as advance:
            load(tx, dump, pg_restore, hosts, advance)
    loaded = time.monotonic()
    print("ops: every row is in; now they are compared", file=sys.stderr)
    told = {name: of for name, of in manifest.tables.items() if name.partition(".")[0] not in hosts}
    found = {name: of for name, of in measure(tx).items() if name.partition(".")[0] not in hosts}
    if differing := differences(told, found):
        raise NotPossible(
            f"nothing was restored: {counted(len(differing), 'table')} would not be as it was backed up: "
            f"{'; '.join(differing[:MOST_SHOWN])}. Take another backup",
            differences=differing,
        )
    rows = sum(of.rows for of in told.values())
    checks = [
        Check("rows", loaded - began, f"{counted(rows, 'row')} of {counted(len(told), 'table')}"),
        Check("checksums", time.monotonic() - loaded, "every table is as it was backed up"),
    ]
    if migrated := apply_missing(tx, read_migrations()):
        checks.append(Check("migrations", 0, f"applied to this older backup: {', '.join(migrated)}"))
    if hosts:
        tx.run("INSERT INTO netlify.migrations (name) SELECT name FROM lipa.migrations ON CONFLICT DO NOTHING")
    return manifest, checks


def _refuse_what_does_not_fit(backup: Backup, manifest: Manifest) -> None:
    if backup.keys:
        manifest.verify([signing_key(key) for key in backup.keys])
    if backup.environment not in ("", manifest.environment):
        raise NotPossible(
            f"this is a backup of the {manifest.environment} environment, and MPESA_ENV says {backup.environment}"
        )
    if newer := sorted(set(manifest.migrations) - {migration.name for migration in read_migrations()}):
        raise NotPossible(f"the backup has {', '.join(newer)}, which this checkout does not have: use a newer one")


IN_IT = """
    SELECT name FROM (
        SELECT oid, relname::text AS name, relnamespace AS place FROM pg_class
        UNION ALL SELECT oid, proname || '()', pronamespace FROM pg_proc) there
    WHERE place IN (to_regnamespace('public'), to_regnamespace('lipa'))
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = there.oid AND d.deptype = 'e')
    UNION ALL SELECT 'schema lipa' WHERE to_regnamespace('lipa') IS NOT NULL
    LIMIT 3
"""
"""Extensions, which a host may have put there, do not count."""


# Checking -------------------------------------------------------------------------------------------------------------


def examine(url: str, manifest: Manifest, keys: Sequence[AuditKey], confirm_above_kes: Decimal) -> Iterator[Check]:
    """What `ops verify`, `ops audit verify` and `ops replay` say of the books at `url`; the last takes longest."""
    database = Database(url, connect_timeout_s=30, statement_timeout_s=0, idle_timeout_s=0)
    try:
        began = time.monotonic()
        results = verify.check(database)
        broken = [f"{result.name}: {', '.join(result.broken_by[:3])}" for result in results if not result.holds]
        yield Check("invariants", time.monotonic() - began, f"{len(results)} looked at", broken)
        if keys:
            began = time.monotonic()
            with progress("payments of the audit log") as advance:
                anchors = [manifest.audit] if manifest.tables["audit_log"].rows else []
                report = audit.verify(database, keys, anchors, advance)
            wrong = [f"{finding.transaction_id or 'the log'}: {finding.what}" for finding in report.findings]
            says = f"{counted(report.rows, 'row')}, and up to the row that the backup names"
            yield Check("audit", time.monotonic() - began, says, wrong)
        began = time.monotonic()
        with progress("payments replayed") as advance:
            decisions, differing = replay.replay(database, confirm_above_kes, advance=advance)
        wrong = [f"{difference.transaction_id}: {difference.what}" for difference in differing]
        yield Check("replay", time.monotonic() - began, f"{counted(decisions, 'decision')} taken again", wrong)
    finally:
        database.close()


def said(checks: Iterable[Check]) -> Iterator[Check]:
    """Each is printed when it is done: the last ones take long."""
    for check in checks:
        print(f"ops: {check.name}: {'WRONG' if check.found else 'ok'} ({check.took_s:.0f} s)", file=sys.stderr)
        yield check


def wrong(checks: Sequence[Check]) -> list[str]:
    return [f"{check.name}: {what}" for check in checks for what in check.found]


def shown(manifest: Manifest, checks: Sequence[Check], took_s: float) -> tuple[dict[str, object], list[str | Table]]:
    """For a program, and for people."""
    document: dict[str, object] = {
        "backup": {"at": manifest.at, "environment": manifest.environment, "audit": manifest.audit},
        "checks": [{**vars(check), "holds": not check.found, "took_s": round(check.took_s, 1)} for check in checks],
        "wrong": len(wrong(checks)),
        "took_s": round(took_s, 1),
    }
    rows = [(check.name, "failed" if check.found else "ok", f"{check.took_s:,.1f} s", check.says) for check in checks]
    lines: list[str | Table] = [
        f"the backup of {eat(manifest.at, seconds=True)} EAT, {manifest.environment}",
        Table.of(("Check", "", ">Took", "~What"), rows),
        *[f"WRONG  {what}" for what in wrong(checks)[:MOST_SHOWN]],
    ]
    return document, lines
