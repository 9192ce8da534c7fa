"""db/schema.sql and db/migrations give the same database, on every PostgreSQL there is here."""

from __future__ import annotations

import re
from pathlib import Path

from db.migrate import migrate, read_migrations
from dev.postgres import EmbeddedPostgres
from ops.verify import broken_invariants
from shared.database import Database
from tests.fixtures.database import fresh_database

INVOICE = """
    INSERT INTO invoices (transaction_id, customer_email, amount, invoice_number)
    VALUES (gen_random_uuid(), 'alice@example.com', 1500, :number)
"""
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


def test_books_that_have_numbers_with_gaps_go_on_after_the_highest_and_have_no_more_gaps(
    empty_database_url: str,
) -> None:
    """As an older version left them: numbers of one sequence for all years, a settlement rolled back in between."""
    given = ("INV-2025-000001", "INV-2025-000002", "INV-2026-000003", "INV-2026-000007", "INV-{year}-1000001")
    migrations = read_migrations()
    before = next(place for place, migration in enumerate(migrations) if migration.name == "0009_invoice_numbers")
    database = Database(empty_database_url)
    migrate(database, migrations[:before])
    with database.transaction() as tx:
        tx.run("SET LOCAL session_replication_role = 'replica'")
        (row,) = tx.rows("SELECT extract(year FROM now() AT TIME ZONE 'Africa/Nairobi')::integer AS year")
        numbers = sorted({number.format(year=row["year"]) for number in given})
        for number in numbers:
            tx.run(INVOICE, number=number)
    migrate(database, migrations)
    assert broken_invariants(empty_database_url) == []
    with database.transaction() as tx:
        tx.run("SET LOCAL session_replication_role = 'replica'")
        for number in (f"INV-{row['year']}-1000002", f"INV-{row['year']}-1000003"):
            tx.run(INVOICE.replace(", invoice_number", "").replace(", :number", ""))
            assert tx.rows("SELECT FROM invoices WHERE invoice_number = :number", number=number)
    assert broken_invariants(empty_database_url) == []
    with database.transaction() as tx:
        tx.run("SET LOCAL session_replication_role = 'replica'")
        tx.run("DELETE FROM invoices WHERE invoice_number LIKE '%-1000002'")
    assert broken_invariants(empty_database_url) == ["invoice_numbers_have_no_gap"]
    database.close()
