"""`python -m db.migrate`: brings the database of DATABASE_URL (or NETLIFY_DB_URL) up to db/migrations.

Files are applied in the order of their numbers, each whole or not at all, and recorded with the SHA-256 of their text
in lipa.migrations. Running it again, or twice at once, does nothing more: an advisory lock inside each transaction puts
everybody in a row, also through a pooler. A database whose migrations Netlify applies by itself (table
netlify.migrations) is understood in both directions. The database is stamped with the environment of MPESA_ENV, where
that is set, and one stamped otherwise is not touched, so that sandbox and production never meet in one database.

    python -m db.migrate           apply what is missing
    python -m db.migrate --check   apply nothing; exit code 1 when something is missing
    python -m db.migrate --list    apply nothing; print each file and what became of it
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
from shared.settings import database_url
from shared.settings_reader import Misconfigured

MIGRATIONS = Path(__file__).resolve().parent / "migrations"
ROLES = Path(__file__).resolve().parent / "roles.sql"
FILE_NAME = re.compile(r"(?P<stem>(?P<number>\d+)_[a-z0-9_-]+)\.sql")
"""As Netlify Database wants them."""
ONE_AT_A_TIME = 0x11BA
"""Key of the advisory lock."""
ENVIRONMENTS = ("sandbox", "production")


class MigrationRefused(Exception):
    """Nothing was applied; a person has to decide."""


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
    """What a database says about the migrations."""

    applied: tuple[Migration, ...]
    missing: tuple[Migration, ...]


def read_migrations(folder: Path = MIGRATIONS) -> list[Migration]:
    """The files in order. Raises MigrationRefused for a name, a number or a statement that cannot be."""
    found: dict[int, str] = {}
    migrations = []
    for path in sorted(folder.iterdir()):
        parts = FILE_NAME.fullmatch(path.name)
        if parts is None:
            raise MigrationRefused(f"{path.name}: a migration is called NNNN_name.sql, in lower case (a-z 0-9 _ -)")
        number = int(parts["number"])
        if number in found:
            raise MigrationRefused(f"{path.name}: number {number} is taken by {found[number]}")
        if found and number < max(found):
            raise MigrationRefused(f"{path.name}: write the number with as many digits as the others")
        found[number] = path.name
        sql = path.read_text(encoding="utf-8")  # whatever line ends git checked out
        if ends_its_transaction(sql):
            raise MigrationRefused(f"{path.name}: each file is one transaction already; take BEGIN and COMMIT out")
        migrations.append(Migration(parts["stem"], sql))
    return migrations


def migrate(database: Database, migrations: Sequence[Migration], environment: str | None = None) -> list[str]:
    """Applies what is missing, stamps the environment, and returns the names of what this run applied.

    Raises MigrationRefused, or DatabaseError where the database did not do it: then the files before it are applied.
    """
    applied: list[str] = []
    while True:
        with database.transaction() as tx:
            tx.run("SELECT pg_advisory_xact_lock(:key)", key=ONE_AT_A_TIME)
            _make_records(tx)
            found = _state(tx, migrations)
            _adopt(tx, found.applied)
            _stamp(tx, environment)
            if not found.missing:
                return applied
            following = found.missing[0]
            try:
                tx.script(following.sql)
            except DatabaseError as error:
                raise _in_file(following, error) from None
            _record(tx, following)
        applied.append(following.name)


def grant_roles(database: Database) -> None:
    """The functions' own role, with the rights it needs and no others; it is left as it is where it has them.

    Raises MigrationRefused where the database's user may not make roles, or does not own the tables.
    """
    with database.transaction() as tx:
        tx.run("SELECT pg_advisory_xact_lock(:key)", key=ONE_AT_A_TIME)
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


def ends_its_transaction(sql: str) -> bool:
    """Whether a statement of the script begins or ends a transaction."""
    statements = _NO_STATEMENT.sub("", sql).split(";")
    return any(re.match(r"\s*(BEGIN|START|COMMIT|END|ROLLBACK|ABORT)\b", one, re.IGNORECASE) for one in statements)


_NO_STATEMENT = re.compile(
    r"'(?:[^']|'')*'|\"[^\"]*\"|--[^\n]*|/\*.*?\*/|(?P<quote>\$[A-Za-z_]*\$).*?(?P=quote)"
    r"|\bBEGIN\s+ATOMIC\b.*?;\s*END\b",
    re.DOTALL | re.IGNORECASE,
)


# Records --------------------------------------------------------------------------------------------------------------


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


def _exists(tx: Transaction, table: str) -> bool:
    return tx.row("SELECT 1 WHERE to_regclass(CAST(:name AS text)) IS NOT NULL", name=table) is not None


def _state(tx: Transaction, migrations: Sequence[Migration]) -> State:
    ours = {row["name"]: row for row in _rows(tx, "lipa.migrations")}
    netlify = {row["name"] for row in _rows(tx, "netlify.migrations")}
    known = {migration.name for migration in migrations}
    if ahead := sorted(ours.keys() - known):
        raise MigrationRefused(
            f"the database has {', '.join(ahead)}, which this checkout does not: update the checkout"
        )
    for migration in migrations:
        if migration.name in ours and ours[migration.name]["sha256"] != migration.sha256:
            raise MigrationRefused(
                f"{migration.name}.sql was changed after it had been applied: restore it and write a new migration"
            )
    applied = tuple(m for m in migrations if m.name in ours or m.name in netlify)
    missing = tuple(m for m in migrations if m not in applied)
    if applied and missing and missing[0].name < applied[-1].name:
        raise MigrationRefused(
            f"{missing[0].name} comes before {applied[-1].name}, which is applied: give it a new number"
        )
    return State(applied, missing)


def _rows(tx: Transaction, table: str) -> list[Row]:
    return tx.rows(f"SELECT * FROM {table}") if _exists(tx, table) else []  # noqa: S608  # one of two names above


def _record(tx: Transaction, migration: Migration, applied_by: str = "lipa") -> None:
    tx.run(
        "INSERT INTO lipa.migrations (name, sha256, applied_by) VALUES (:name, :sha256, :by) ON CONFLICT DO NOTHING",
        name=migration.name,
        sha256=migration.sha256,
        by=applied_by,
    )
    if applied_by == "lipa" and _exists(tx, "netlify.migrations"):
        tx.run("INSERT INTO netlify.migrations (name) VALUES (:name)", name=migration.name)


def _adopt(tx: Transaction, applied: Sequence[Migration]) -> None:
    """What Netlify applied is ours from now on: it must not change either."""
    for migration in applied:
        _record(tx, migration, applied_by="netlify")


def _stamp(tx: Transaction, environment: str | None) -> None:
    if environment is None or not _exists(tx, "installation"):
        return
    tx.run(
        "INSERT INTO installation (environment) VALUES (:environment) ON CONFLICT DO NOTHING", environment=environment
    )
    stamped = tx.row("SELECT environment FROM installation")
    if stamped is not None and stamped["environment"] != environment:
        raise MigrationRefused(
            f"this database belongs to the {stamped['environment']} environment, and MPESA_ENV says {environment}: "
            "use another database"
        )


# The command ----------------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m db.migrate", description=(__doc__ or "").split("\n", 1)[0])
    asked = parser.add_mutually_exclusive_group()
    asked.add_argument("--check", action="store_true", help="apply nothing; exit 1 when something is missing")
    asked.add_argument("--list", action="store_true", help="apply nothing; print each migration and its state")
    asked.add_argument("--roles", action="store_true", help="apply what is missing, then db/roles.sql")
    chosen = parser.parse_args(arguments)
    try:
        return _run(environ, check=chosen.check, only_list=chosen.list, roles=chosen.roles)
    except Misconfigured as wrong:
        print(f"db.migrate: {wrong}", file=sys.stderr)
        return 2
    except MigrationRefused as refused:
        print(f"db.migrate: refused: {refused}", file=sys.stderr)
        return 1
    except DatabaseError as error:
        print(f"db.migrate: {error}", file=sys.stderr)
        return 3


def _run(environ: Mapping[str, str], *, check: bool, only_list: bool, roles: bool = False) -> int:
    environment = _environment(environ)
    database = Database(database_url(environ), statement_timeout_s=300, lock_timeout_s=60, idle_timeout_s=60)
    migrations = read_migrations()
    try:
        if check or only_list:
            return _tell(state(database, migrations), quietly=check)
        if not environ.get("DATABASE_URL", "").strip() and not netlify_has_begun(database):
            raise MigrationRefused(
                "Netlify applies the migrations of this database itself, at the next deploy: deploy first, "
                "and run this again to stamp the environment"
            )
        applied = migrate(database, migrations, environment)
        if roles:
            grant_roles(database)
    finally:
        database.close()
    for one in applied:
        print(f"applied  {one}")
    print(_up_to_date(migrations) + (f"; environment: {environment}" if environment else ""))
    if roles:
        print("lipa_functions has the rights of db/roles.sql; give it a password and it can log in: docs/database.md")
    return 0


def _environment(environ: Mapping[str, str]) -> str | None:
    environment = environ.get("MPESA_ENV", "").strip() or None
    if environment not in (None, *ENVIRONMENTS):
        raise Misconfigured.of("MPESA_ENV", "'sandbox' or 'production'")
    return environment


def netlify_has_begun(database: Database) -> bool:
    """Whether Netlify has applied migrations to this database."""
    with database.transaction() as tx:
        return _exists(tx, "netlify.migrations")


def _tell(found: State, *, quietly: bool) -> int:
    if quietly:
        names = ", ".join(one.name for one in found.missing)
        print(f"missing: {names}" if names else _up_to_date(found.applied))
        return 1 if found.missing else 0
    for one in found.applied:
        print(f"applied  {one.name}")
    for one in found.missing:
        print(f"missing  {one.name}")
    return 0


def _up_to_date(migrations: Sequence[Migration]) -> str:
    return f"up to date: {migrations[-1].name}" if migrations else "up to date: there are no migrations"


def _in_file(migration: Migration, error: DatabaseError) -> DatabaseError | MigrationRefused:
    if isinstance(error, DatabaseUnavailable | CommitUnknown):
        return error
    hint = ""
    if getattr(error, "sqlstate", "") in ("42P07", "42710"):
        hint = " Was the schema loaded by hand? Begin with an empty database."
    return MigrationRefused(f"{migration.name}.sql failed and was rolled back. {error}{hint}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
