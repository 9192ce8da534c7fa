"""`python -m db.migrate`: brings the database of DATABASE_URL (or NETLIFY_DB_URL) up to date with db/migrations.

Each file is one transaction under an advisory lock, so running it twice, or twice at once, is safe, also through a
pooler. What was applied is recorded in lipa.migrations with the SHA-256 of its text. Netlify applies the migrations of
its own databases and records them in netlify.migrations: that record is read, and added to. Where MPESA_ENV is set, the
database is stamped with it; a database with the other stamp is refused.

    python -m db.migrate           apply what is missing
    python -m db.migrate --check   apply nothing; exit code 1 when something is missing
    python -m db.migrate --list    apply nothing; print each file and whether it is applied
    python -m db.migrate --roles   apply what is missing, then db/roles.sql: the functions' own role, lipa_functions

Exit codes: 0 done · 1 refused, or something is missing (--check) · 2 wrong use · 3 the database did not answer.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from shared.database import (
    CommitUnknown,
    Database,
    DatabaseError,
    DatabaseUnavailable,
    Row,
    StatementFailed,
    Transaction,
)
from shared.environment import Misconfigured
from shared.settings import database_url

MIGRATIONS = Path(__file__).resolve().parent / "migrations"
ROLES = Path(__file__).resolve().parent / "roles.sql"
FILE_NAME = re.compile(r"[0-9]{4}_[a-z0-9_-]+\.sql")
"""As Netlify Database wants them."""
ENDS_THE_TRANSACTION = re.compile(
    r"^\s*(BEGIN|START\s+TRANSACTION|COMMIT|ROLLBACK)\b[^\n]*;", re.IGNORECASE | re.MULTILINE
)
LOCK = "SELECT pg_advisory_xact_lock(4538)"
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
        migrations.append(Migration(path.stem, sql))
    return migrations


def migrate(database: Database, migrations: Sequence[Migration], environment: str | None = None) -> list[str]:
    """Applies what is missing, stamps the environment, and returns the names of what this run applied.

    Raises MigrationRefused, or DatabaseError where the database did not do it: then the files before it are applied.
    """
    applied: list[str] = []
    while True:
        with database.transaction() as tx:
            tx.run(LOCK)
            _make_records(tx)
            found = _state(tx, migrations)
            for migration in found.applied:  # what Netlify applied must not change any more either
                _record(tx, migration, "netlify")
            _stamp(tx, environment)
            if not found.missing:
                return applied
            _apply(tx, found.missing[0])
        applied.append(found.missing[0].name)


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
    ours = {row["name"]: row["sha256"] for row in _rows(tx, "lipa.migrations")}
    names = ours.keys() | {row["name"] for row in _rows(tx, "netlify.migrations")}
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


def _apply(tx: Transaction, migration: Migration) -> None:
    try:
        tx.script(migration.sql)
    except (DatabaseUnavailable, CommitUnknown):
        raise
    except DatabaseError as error:
        by_hand = getattr(error, "sqlstate", "") in ("42P07", "42710")  # it exists already
        hint = " Was the schema loaded by hand? Begin with an empty database." * by_hand
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
    if environment is None or not _exists(tx, "installation"):
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
        print(f"db.migrate: {error}", file=sys.stderr)
        return 3


def _run(environ: Mapping[str, str], chosen: argparse.Namespace) -> int:
    environment = environ.get("MPESA_ENV", "").strip() or None
    if environment not in (None, *ENVIRONMENTS):
        raise Misconfigured.of("MPESA_ENV", "'sandbox' or 'production'")
    database = Database(database_url(environ), statement_timeout_s=300, lock_timeout_s=60, idle_timeout_s=60)
    migrations = read_migrations()
    try:
        if chosen.check or chosen.list:
            return _print_state(state(database, migrations), with_applied=chosen.list)
        if not environ.get("DATABASE_URL", "").strip() and not _netlify_has_begun(database):
            raise MigrationRefused(
                "Netlify applies the migrations of this database itself, at the next deploy: deploy first, "
                "and run this again to stamp the environment"
            )
        applied = migrate(database, migrations, environment)
        if chosen.roles:
            grant_roles(database)
    finally:
        database.close()
    for name in applied:
        print(f"applied  {name}")
    print(f"up to date: {migrations[-1].name}" + (f"; environment: {environment}" if environment else ""))
    if chosen.roles:
        print("lipa_functions has the rights of db/roles.sql; give it a password and it can log in: docs/database.md")
    return 0


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
