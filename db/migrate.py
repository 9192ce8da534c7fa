"""`python -m db.migrate`: migrates the database of DATABASE_URL or NETLIFY_DB_URL. One file: the whole command.

Each file is one transaction under an advisory lock, so running it twice, or twice at once, is safe, also through a
pooler. What was applied is recorded in lipa.migrations with the SHA-256 of its text. Netlify applies the migrations of
its own databases and records them in netlify.migrations: that record is read, and added to. Where MPESA_ENV is set, the
database is stamped with it; a database with the other stamp is refused.

    python -m db.migrate           apply what is missing
    python -m db.migrate --check   apply nothing; exit code 1 when something is missing
    python -m db.migrate --list    apply nothing; print each file and whether it is applied
    python -m db.migrate --roles   apply what is missing, then db/roles.sql: the functions' own role, lipa_functions

The tables are in schema public, whoever migrates. The shop takes payments meanwhile: a file waits 2 s for a lock, lets
everybody through who queued behind it, and tries again, for ten minutes.

Exit codes: 0 done · 1 refused, or something is missing (--check) · 2 wrong use · 3 the database did not answer.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from shared.database import (
    Busy,
    CommitUnknown,
    Database,
    DatabaseError,
    DatabaseUnavailable,
    NotAllowed,
    Row,
    StatementFailed,
    Transaction,
)
from shared.environment_variables import Misconfigured
from shared.settings import database_url

T = TypeVar("T")
MIGRATIONS = Path(__file__).resolve().parent / "migrations"
ROLES = Path(__file__).resolve().parent / "roles.sql"
FILE_NAME = re.compile(r"[0-9]{4}_[a-z0-9_-]+\.sql")
"""As Netlify Database wants them."""
ENDS_THE_TRANSACTION = re.compile(
    r"^\s*(BEGIN|START\s+TRANSACTION|COMMIT|ROLLBACK)\b[^\n]*;", re.IGNORECASE | re.MULTILINE
)
WAITS_BRIEFLY = re.compile(r"(\s|--[^\n]*\n)*SET LOCAL lock_timeout = '2s';")
"""How each file after the first begins: Netlify applies files too, and everybody queues behind one that waits."""
LOCK = "SELECT pg_advisory_xact_lock(4538)"
LOCK_TIMEOUT_S = 2
PAUSE_S = 1
"""For those who queued behind a file that waited."""
PATIENCE_S = 600
ENVIRONMENTS = ("sandbox", "production")


class MigrationRefused(Exception):
    """The database stays as it is; a person has to decide."""


@dataclass(frozen=True)
class Migration:
    """One file."""

    name: str
    """Without .sql, as Netlify records it."""
    sql: str = field(repr=False)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


@dataclass(frozen=True)
class State:
    """What is applied to a database, and what is missing, in order."""

    applied: tuple[Migration, ...]
    missing: tuple[Migration, ...]


def read_migrations(folder: Path = MIGRATIONS) -> list[Migration]:
    """The files in order. Raises MigrationRefused for a name or a statement that cannot be."""
    migrations: list[Migration] = []
    for path in sorted(folder.iterdir()):
        if FILE_NAME.fullmatch(path.name) is None:
            raise MigrationRefused(f"{path.name}: a migration is called NNNN_name.sql, in lower case (a-z 0-9 _ -)")
        if migrations and migrations[-1].name[:4] == path.name[:4]:
            raise MigrationRefused(f"{path.name}: its number is taken by {migrations[-1].name}.sql")
        sql = path.read_text(encoding="utf-8")  # whatever line ends git checked out
        if ENDS_THE_TRANSACTION.search(sql):
            raise MigrationRefused(f"{path.name}: each file is one transaction already; take BEGIN and COMMIT out")
        if migrations and not WAITS_BRIEFLY.match(sql):
            raise MigrationRefused(
                f"{path.name}: begin it with SET LOCAL lock_timeout = '2s'; the shop waits behind it"
            )
        migrations.append(Migration(path.stem, sql))
    return migrations


def migrate(
    database: Database,
    migrations: Sequence[Migration],
    environment: str | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> list[str]:
    """Applies what is missing, stamps the environment, and returns the names of what this run applied.

    A file that does not get its locks is tried again; `say` is given a line about who holds them. Raises
    MigrationRefused, or DatabaseError where the database did not do it: then the files before it are applied.
    """
    applied: list[str] = []
    while name := _patiently(database, lambda: _next(database, migrations, environment), say):
        applied.append(name)
    return applied


def _next(database: Database, migrations: Sequence[Migration], environment: str | None) -> str | None:
    """One transaction: the next file that is missing, and its name; None: nothing was missing."""
    with database.transaction() as tx:
        tx.run(LOCK)
        _make_records(tx)
        found = _state(tx, migrations)
        for migration in found.applied:  # what Netlify applied must not change any more either
            _record(tx, migration, "netlify")
        _stamp(tx, environment)
        if not found.missing:
            return None
        _apply(tx, found.missing[0])
    return found.missing[0].name


def apply_missing(tx: Transaction, migrations: Sequence[Migration]) -> list[str]:
    """What is missing in a database that nobody uses yet, in one transaction; the names. Raises as `migrate`."""
    missing = _state(tx, migrations).missing
    for migration in missing:
        _apply(tx, migration)
    return [migration.name for migration in missing]


def _patiently(database: Database, work: Callable[[], T], say: Callable[[str], None]) -> T:
    until, said = time.monotonic() + PATIENCE_S, ""
    while True:
        try:
            return work()
        except Busy:
            if time.monotonic() >= until:
                raise
        holders = ", ".join(_said_of(row) for row in database.rows(WHO_HOLDS_LOCKS)) or "nobody any more"
        if holders != said:
            say(f"waits for locks, and tries again until it is through; they are held by {holders}")
            said = holders
        time.sleep(PAUSE_S)


WHO_HOLDS_LOCKS = """
    SELECT a.pid, left(coalesce(nullif(a.application_name, ''), 'a session'), 40) AS program, a.usename AS name,
           floor(extract(epoch FROM clock_timestamp() - a.xact_start)) AS since_s
    FROM pg_stat_activity a
    WHERE a.pid <> pg_backend_pid() AND a.datname = current_database() AND EXISTS (
        SELECT FROM pg_locks l LEFT JOIN pg_class c ON c.oid = l.relation AND c.relkind = 'r'
        WHERE l.pid = a.pid AND l.granted
          AND (c.relnamespace = to_regnamespace('public') OR l.locktype = 'advisory' AND l.objid = 4538))
    ORDER BY a.xact_start LIMIT 3
"""


def _said_of(row: Row) -> str:
    since = "" if row["since_s"] is None else f", since {10 * (int(row['since_s']) // 10)} s"
    return f"{row['program']} (process {row['pid']}, user {row['name']}{since})"


def grant_roles(database: Database) -> None:
    """The functions' own role, with the rights it needs and no others. Running it again changes nothing.

    Raises MigrationRefused where the database's user may not make roles, or does not own the tables.
    """
    with database.transaction() as tx:
        tx.run(LOCK)
        try:
            tx.script(ROLES.read_text(encoding="utf-8"))
        except StatementFailed as refused:
            raise MigrationRefused(
                f"roles.sql failed and was rolled back: run it as the owner, who may make roles. {refused}"
            ) from None


def state(database: Database, migrations: Sequence[Migration]) -> State:
    """What is applied and what is missing; changes nothing. Raises MigrationRefused where the two do not fit."""
    with database.transaction() as tx:
        return _state(tx, migrations)


# One database ---------------------------------------------------------------------------------------------------------


def _make_records(tx: Transaction) -> None:
    if _exists(tx, "lipa.migrations"):
        return
    tx.script(
        """
        CREATE SCHEMA IF NOT EXISTS lipa;
        CREATE TABLE lipa.migrations (
            name       text PRIMARY KEY,
            sha256     text NOT NULL,
            applied_by text NOT NULL CHECK (applied_by IN ('lipa', 'netlify')),
            applied_at timestamptz NOT NULL DEFAULT now()
        );
        """
    )


def _state(tx: Transaction, migrations: Sequence[Migration]) -> State:
    refuse_an_unfit_database(tx)
    ours = {row["name"]: row["sha256"] for row in _rows(tx, "lipa.migrations")}
    names = ours.keys() | {row["name"] for row in _rows(tx, "netlify.migrations")}
    if "0001_schema" in names and not _exists(tx, "public.callback_inbox"):
        raise MigrationRefused(
            "the tables were made, and are gone: restore them; or DROP SCHEMA lipa CASCADE and migrate again"
        )
    if ahead := sorted(ours.keys() - {migration.name for migration in migrations}):
        raise MigrationRefused(
            f"the database has {', '.join(ahead)}, which this checkout does not have: use the checkout that applied "
            "it, or an empty database"
        )
    for migration in migrations:
        if ours.get(migration.name, migration.sha256) != migration.sha256:
            raise MigrationRefused(
                f"{migration.name}.sql was changed after it had been applied: restore it and write a new migration"
            )
    applied = tuple(migration for migration in migrations if migration.name in names)
    missing = tuple(migration for migration in migrations if migration.name not in names)
    if applied and missing and missing[0].name < applied[-1].name:
        raise MigrationRefused(
            f"{missing[0].name} comes before {applied[-1].name}, which is applied: give it a new number"
        )
    return State(applied, missing)


def refuse_an_unfit_database(tx: Transaction) -> None:
    """Raises MigrationRefused where our tables cannot be in it as they have to."""
    row = tx.row(FITNESS)
    assert row is not None
    if row["encoding"] != "UTF8":
        raise MigrationRefused(
            f"the database's encoding is {row['encoding']}, and names need UTF8: CREATE DATABASE … ENCODING 'UTF8'"
        )
    if not row["has_public"]:
        raise MigrationRefused("the database has no schema public, where the tables belong: CREATE SCHEMA public")
    if elsewhere := row["elsewhere"]:
        raise MigrationRefused(
            f"the tables are in schema {elsewhere}, and the functions look for them in public. If no payment was "
            f"taken, DROP SCHEMA {', '.join(dict.fromkeys(('lipa', elsewhere)))} CASCADE and migrate again; else move "
            f"each of them: ALTER TABLE {elsewhere}.NAME SET SCHEMA public, and ALTER FUNCTION the same"
        )


FITNESS = """
    SELECT current_setting('server_encoding') AS encoding, to_regnamespace('public') IS NOT NULL AS has_public,
           (SELECT min(n.nspname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relname = 'callback_inbox' AND c.relkind = 'r' AND n.nspname NOT LIKE 'pg\\_%'
              AND to_regclass('public.callback_inbox') IS NULL) AS elsewhere
"""


def _apply(tx: Transaction, migration: Migration) -> None:
    tx.later("SELECT set_config('lipa.lock_tries', '1', true)")  # we try again ourselves, and say who holds the locks
    try:
        tx.script(migration.sql)
    except (DatabaseUnavailable, CommitUnknown, Busy):
        raise
    except DatabaseError as error:
        by_hand = getattr(error, "sqlstate", "") in ("42P07", "42710")  # it exists already
        hint = " Was the schema loaded by hand? Begin with an empty database." * by_hand
        if isinstance(error, NotAllowed):
            hint = " Migrate as the owner of the database, or GRANT CREATE ON SCHEMA public to this user."
        raise MigrationRefused(f"{migration.name}.sql failed and was rolled back. {error}{hint}") from None
    _record(tx, migration, "lipa")
    if _exists(tx, "netlify.migrations"):
        tx.run("INSERT INTO netlify.migrations (name) VALUES (:name)", name=migration.name)


def _record(tx: Transaction, migration: Migration, applied_by: str) -> None:
    tx.run(
        "INSERT INTO lipa.migrations (name, sha256, applied_by) VALUES (:name, :sha256, :by) ON CONFLICT DO NOTHING",
        name=migration.name,
        sha256=migration.sha256,
        by=applied_by,
    )


def _stamp(tx: Transaction, environment: str | None) -> None:
    if environment is None or not _exists(tx, "public.installation"):
        return
    tx.run(
        "INSERT INTO installation (environment) VALUES (:environment) ON CONFLICT DO NOTHING", environment=environment
    )
    (stamped,) = tx.rows("SELECT environment FROM installation")
    if stamped["environment"] != environment:
        raise MigrationRefused(
            f"this database belongs to the {stamped['environment']} environment, and MPESA_ENV says {environment}: "
            "use another database"
        )


def _rows(tx: Transaction, table: str) -> list[Row]:
    return tx.rows(f"SELECT * FROM {table}") if _exists(tx, table) else []  # noqa: S608  # one of two names above


def _exists(tx: Transaction, table: str) -> bool:
    return tx.row("SELECT 1 WHERE to_regclass(CAST(:name AS text)) IS NOT NULL", name=table) is not None


# The command ----------------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m db.migrate", description=(__doc__ or "").split("\n", 1)[0])
    asked = parser.add_mutually_exclusive_group()
    asked.add_argument("--check", action="store_true", help="apply nothing; exit 1 when something is missing")
    asked.add_argument("--list", action="store_true", help="apply nothing; print each file and whether it is applied")
    asked.add_argument("--roles", action="store_true", help="apply what is missing, then db/roles.sql")
    chosen = parser.parse_args(arguments)
    try:
        return _run(environ, chosen)
    except Misconfigured as wrong:
        print(f"db.migrate: {wrong}", file=sys.stderr)
        return 2
    except MigrationRefused as refused:
        print(f"db.migrate: refused: {refused}", file=sys.stderr)
        return 1
    except DatabaseError as error:
        print(f"db.migrate: {error.explained()}", file=sys.stderr)
        return 3


def _run(environ: Mapping[str, str], chosen: argparse.Namespace) -> int:
    environment = environ.get("MPESA_ENV", "").strip() or None
    if environment not in (None, *ENVIRONMENTS):
        raise Misconfigured.of("MPESA_ENV", "'sandbox' or 'production'")
    database = Database(
        database_url(environ), statement_timeout_s=300, lock_timeout_s=LOCK_TIMEOUT_S, idle_timeout_s=60
    )
    migrations = read_migrations()
    try:
        if chosen.check or chosen.list:
            return _print_state(state(database, migrations), with_applied=chosen.list)
        if not environ.get("DATABASE_URL", "").strip() and not _netlify_has_begun(database):
            raise MigrationRefused(
                "Netlify applies the migrations of this database itself, at the next deploy: deploy first, "
                "and run this again to stamp the environment"
            )
        applied = migrate(database, migrations, environment, _say)
        if chosen.roles:
            _patiently(database, lambda: grant_roles(database), _say)
    finally:
        database.close()
    for name in applied:
        print(f"applied  {name}")
    print(f"up to date: {migrations[-1].name}" + (f"; environment: {environment}" if environment else ""))
    if chosen.roles:
        print("lipa_functions has the rights of db/roles.sql; give it a password and it can log in: docs/database.md")
    return 0


def _say(line: str) -> None:
    print(f"db.migrate: {line}", file=sys.stderr, flush=True)


def _netlify_has_begun(database: Database) -> bool:
    with database.transaction() as tx:
        return _exists(tx, "netlify.migrations")


def _print_state(found: State, *, with_applied: bool) -> int:
    """The exit code of --check is 1 where something is missing; --list only lists."""
    for migration in found.applied if with_applied else ():
        print(f"applied  {migration.name}")
    for migration in found.missing:
        print(f"missing  {migration.name}")
    if with_applied:
        return 0
    if not found.missing:
        print(f"up to date: {found.applied[-1].name}")
    return 1 if found.missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
