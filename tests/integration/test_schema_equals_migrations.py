"""db/schema.sql and db/migrations give the same database, on every PostgreSQL there is here."""

from __future__ import annotations

import re
from pathlib import Path

from db.migrate import migrate, read_migrations
from dev.postgres import EmbeddedPostgres
from shared.database import Database
from tests.fixtures.database import fresh_database

SCHEMA = Path(__file__).resolve().parent.parent.parent / "db" / "schema.sql"


def dumped(server: EmbeddedPostgres, database: str) -> list[str]:
    """pg_dump's own words for the schema, statement by statement, without what only records how it came about."""
    text = server.run("pg_dump", "--schema-only", "--exclude-schema=lipa", "--exclude-schema=netlify", "-d", database)
    kept = [
        line for line in text.splitlines() if line and not re.match(r"--|\\(un)?restrict|SET |SELECT pg_catalog", line)
    ]
    return sorted(re.split(r"(?<=;)\n(?=[A-Z])", "\n".join(kept)))


def load_schema(server: EmbeddedPostgres, name: str) -> None:
    database = Database(server.url(name))
    with database.transaction() as tx:
        tx.script(SCHEMA.read_text(encoding="utf-8"))
    database.close()


def test_the_schema_and_the_migrations_give_the_same_database(each_postgres: EmbeddedPostgres) -> None:
    with fresh_database(each_postgres) as from_schema, fresh_database(each_postgres) as from_migrations:
        load_schema(each_postgres, from_schema)
        database = Database(each_postgres.url(from_migrations))
        migrate(database, read_migrations())
        database.close()
        assert dumped(each_postgres, from_schema) == dumped(each_postgres, from_migrations)
        assert any(line.startswith("CREATE TABLE public.transactions") for line in dumped(each_postgres, from_schema))
