"""Behind a pooler in transaction mode, where every transaction may meet another server session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from db.migrate import migrate, read_migrations, state
from dev.ports import free_port
from dev.postgres import EmbeddedPostgres
from shared.database import Database, DatabaseUnavailable
from tests.fixtures.pgbouncer import PGBOUNCER, POOL, pgbouncer
from tests.fixtures.shop import at_once

pytestmark = pytest.mark.skipif(not Path(PGBOUNCER).exists(), reason="PgBouncer is not installed (Debian: pgbouncer)")


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def url(postgres_server: EmbeddedPostgres, empty_database_url: str, port: int) -> str:
    name = empty_database_url.split("/")[3].split("?")[0]
    return f"postgresql://postgres:{postgres_server.password}@127.0.0.1:{port}/{name}"


@pytest.fixture
def pooled(postgres_server: EmbeddedPostgres, url: str, port: int) -> Iterator[Database]:
    with pgbouncer(postgres_server, port):
        database = Database(url)
        yield database
        database.close()


def test_our_timeouts_do_not_leak_to_whoever_gets_the_session_next(pooled: Database, url: str) -> None:
    with pooled.transaction() as tx:
        assert tx.row("SHOW statement_timeout") == {"statement_timeout": "5s"}
        tx.script("COMMIT; BEGIN")
        assert tx.row("SHOW statement_timeout") == {"statement_timeout": "0"}


def test_migrations_run_through_a_pooler_by_several_people_at_once(pooled: Database, url: str) -> None:
    def run(_: int) -> list[str]:
        database = Database(url, statement_timeout_s=60, lock_timeout_s=60)
        applied = migrate(database, read_migrations(), "sandbox")
        database.close()
        return applied

    applied = [name for names in at_once(range(POOL), run) for name in names]
    assert sorted(applied) == [migration.name for migration in read_migrations()]
    assert not state(pooled, read_migrations()).missing


def test_a_pooler_that_restarts_between_transactions_is_not_noticed(
    postgres_server: EmbeddedPostgres, url: str, port: int
) -> None:
    database = Database(url)
    for value in range(2):
        with pgbouncer(postgres_server, port), database.transaction() as tx:
            assert tx.row("SELECT CAST(:value AS integer) AS value", value=value) == {"value": value}
    with pytest.raises(DatabaseUnavailable):
        database.rows("SELECT 1")
