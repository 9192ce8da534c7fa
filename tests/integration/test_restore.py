"""A dump made by hand comes back whole, or as data into a migrated database: docs/backups.md. Also after an erasure."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from db.migrate import grant_roles, migrate, read_migrations
from dev.postgres import EmbeddedPostgres
from ops.__main__ import main
from shared.database import Database
from tests.fixtures.database import fresh_database
from tests.fixtures.shop import Shop
from tests.integration.test_privacy import CANCELLED, OTHER, THREE_DAYS, erase, settled

A_ROW = "SELECT md5(string_agg(t::text, '' ORDER BY t::text)) AS sum, count(*) AS rows FROM {} t"


def contents(database: Database) -> dict[str, tuple[int, str]]:
    """Of every table: how many rows, and a checksum over all of them."""
    tables = database.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
    found = {row["tablename"]: database.rows(A_ROW.format(row["tablename"]))[0] for row in tables}
    return {table: (row["rows"], row["sum"]) for table, row in found.items()}


@pytest.fixture
def with_history(shop: Shop) -> Shop:
    """Paid, failed, refunded, waiting for a person; two people of them erased; an anchor."""
    settled(shop, account_reference="ERASED")
    settled(shop, CANCELLED, amount=700, account_reference="ALSO")
    refunded = settled(shop, phone_number=OTHER, account_reference="BOBS", customer_email="bob@example.com")
    shop.sweep()
    refund = ("review", "refunded", refunded, "--receipt", "UE9RF00001", "--why", "sent back", "--who", "Amina")
    assert shop.ops(*refund) == 0
    shop.age(THREE_DAYS)
    assert erase(shop) == 0
    shop.pay(phone_number="254711000000", account_reference="OPEN")
    shop.sweep()
    return shop


@pytest.mark.parametrize("way", ["whole", "data only"])
def test_a_backup_comes_back_and_is_verified(
    with_history: Shop, postgres_server: EmbeddedPostgres, tmp_path: Path, way: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shop, dump = with_history, str(tmp_path / "lipa.dump")
    assert shop.row("SELECT count(*) AS n FROM transactions WHERE phone_number LIKE '2540%'") == {"n": 2}
    source = urlsplit(shop.database_url).path.removeprefix("/")
    with fresh_database(postgres_server) as name:
        restored = Database(postgres_server.url(name))
        if way == "whole":
            postgres_server.run("pg_dump", "-Fc", "-f", dump, "-d", source)
            postgres_server.run("pg_restore", "--exit-on-error", "--no-owner", "-d", name, dump)
        else:
            postgres_server.run("pg_dump", "-Fc", "--data-only", "--schema=public", "-f", dump, "-d", source)
            migrate(restored, read_migrations())
            postgres_server.run("pg_restore", "--data-only", "--single-transaction", "-d", name, dump)
        grant_roles(restored)
        assert contents(restored) == contents(shop.books)
        environment = {**os.environ, "DATABASE_URL": postgres_server.url(name)}
        for command in (["verify"], ["audit", "verify"], ["replay"]):
            assert main(command, environment) == 0, capsys.readouterr()
        (last,) = restored.rows("SELECT max(id) < nextval('audit_log_id_seq') AS goes_on FROM audit_log")
        assert last == {"goes_on": True}
        restored.close()
