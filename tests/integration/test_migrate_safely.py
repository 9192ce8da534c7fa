"""Migrations: applied once, in order, whole or not at all, whoever runs them; and never to the wrong database."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import run
from sys import executable
from urllib.parse import urlsplit

import pytest

from db.migrate import LOCK_TIMEOUT_S, Migration, MigrationRefused, main, migrate, read_migrations, state
from dev.postgres import EmbeddedPostgres
from ops.__main__ import main as ops
from shared.database import Database
from tests.fixtures.database import fresh_database, outside_of_transactions
from tests.fixtures.shop import at_once

ROOT = Path(__file__).resolve().parent.parent.parent
BRIEFLY = "SET LOCAL lock_timeout = '2s';\n"
NETLIFYS_RECORD = """
    CREATE SCHEMA netlify;
    CREATE TABLE netlify.migrations (name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now());
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two migrations; the second has everything that a careless splitter of statements falls over."""
    made = tmp_path / "migrations"
    made.mkdir()
    (made / "0001_shops.sql").write_text("CREATE TABLE shops (id integer);\nINSERT INTO shops VALUES (1);\n")
    (made / "0002_rules.sql").write_text(
        """
        -- it's a comment; with a quote
        SET LOCAL lock_timeout = '2s';
        CREATE FUNCTION rule() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NEW.id < 0 THEN RAISE EXCEPTION 'no; not :this'; END IF;
            RETURN NEW;
        END $$;
        CREATE FUNCTION two() RETURNS integer LANGUAGE sql BEGIN ATOMIC SELECT CASE WHEN true THEN 2 END; END;
        CREATE TRIGGER rule BEFORE INSERT ON shops FOR EACH ROW EXECUTE FUNCTION rule();
        INSERT INTO shops VALUES (2);
        """
    )
    return made


@pytest.fixture
def empty(empty_database_url: str) -> Iterator[Database]:
    database = Database(empty_database_url)
    yield database
    database.close()


def shops(database: Database) -> list[int]:
    with database.transaction() as tx:
        return [row["id"] for row in tx.rows("SELECT id FROM shops ORDER BY id")]


def test_running_twice_applies_once(each_postgres: EmbeddedPostgres, folder: Path) -> None:
    with fresh_database(each_postgres) as name:
        database = Database(each_postgres.url(name))
        assert migrate(database, read_migrations(folder)) == ["0001_shops", "0002_rules"]
        assert migrate(database, read_migrations(folder)) == []
        assert shops(database) == [1, 2]
        database.close()


def test_a_new_file_is_applied_alone(empty: Database, folder: Path) -> None:
    migrate(empty, read_migrations(folder))
    (folder / "0003_more.sql").write_text(BRIEFLY + "INSERT INTO shops VALUES (3)")
    assert migrate(empty, read_migrations(folder)) == ["0003_more"]
    assert shops(empty) == [1, 2, 3]


def test_many_at_once_share_the_files_between_them(empty: Database, empty_database_url: str, folder: Path) -> None:
    for number in range(3, 13):
        (folder / f"{number:04}_more.sql").write_text(
            BRIEFLY + f"INSERT INTO shops VALUES ({number}); SELECT pg_sleep(0.01);"
        )
    migrations = read_migrations(folder)

    def run_one(_: int) -> list[str]:
        database = Database(empty_database_url, lock_timeout_s=60, statement_timeout_s=60)
        applied = migrate(database, migrations)
        database.close()
        return applied

    applied = [name for names in at_once(range(8), run_one) for name in names]
    assert sorted(applied) == [migration.name for migration in migrations]
    assert shops(empty) == list(range(1, 13))


def test_a_file_that_fails_leaves_nothing_of_itself(empty: Database, folder: Path) -> None:
    (folder / "0003_wrong.sql").write_text(BRIEFLY + "INSERT INTO shops VALUES (3); INSERT INTO nowhere VALUES (4);")
    with pytest.raises(MigrationRefused, match=r"0003_wrong\.sql failed and was rolled back.*nowhere"):
        migrate(empty, read_migrations(folder))
    assert shops(empty) == [1, 2]
    (folder / "0003_wrong.sql").write_text(BRIEFLY + "INSERT INTO shops VALUES (3);")
    assert migrate(empty, read_migrations(folder)) == ["0003_wrong"]
    assert shops(empty) == [1, 2, 3]


def test_an_applied_file_that_was_changed_is_refused(empty: Database, folder: Path) -> None:
    migrate(empty, read_migrations(folder))
    path = folder / "0001_shops.sql"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))  # as git may check it out: no change
    assert migrate(empty, read_migrations(folder)) == []
    path.write_text(path.read_text() + "SELECT 1;")
    for act in (migrate, state):
        with pytest.raises(MigrationRefused, match=r"0001_shops\.sql was changed"):
            act(empty, read_migrations(folder))


def test_a_database_ahead_of_the_checkout_is_refused(empty: Database, folder: Path) -> None:
    migrate(empty, read_migrations(folder))
    (folder / "0002_rules.sql").unlink()
    with pytest.raises(MigrationRefused, match=r"0002_rules.*use the checkout that applied it"):
        migrate(empty, read_migrations(folder))


def test_a_file_that_comes_late_with_an_early_number_is_refused(empty: Database, folder: Path) -> None:
    rules = (folder / "0002_rules.sql").rename(folder / "0003_rules.sql")
    migrate(empty, read_migrations(folder))
    (folder / "0002_late.sql").write_text(BRIEFLY + "INSERT INTO shops VALUES (9)")
    with pytest.raises(MigrationRefused, match="0002_late comes before 0003_rules"):
        migrate(empty, read_migrations(folder))
    assert rules.exists()
    assert shops(empty) == [1, 2]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("3_Shops.sql", "lower case"),
        ("shops.sql", "NNNN_name"),
        ("0003-shops.sql", "NNNN_name"),
        ("0003_shops.txt", "NNNN_name"),
        ("003_shops.sql", "NNNN_name"),
        ("0002_other.sql", "its number is taken by 0002_other"),
    ],
)
def test_a_name_that_netlify_would_not_take_is_refused(folder: Path, name: str, says: str) -> None:
    (folder / name).write_text(BRIEFLY + "SELECT 1")
    with pytest.raises(MigrationRefused, match=says):
        read_migrations(folder)


@pytest.mark.parametrize("sql", ["BEGIN; SELECT 1; COMMIT", "SELECT 1;\nROLLBACK;", "  start transaction;"])
def test_a_file_that_ends_its_own_transaction_is_refused(folder: Path, sql: str) -> None:
    (folder / "0003_wrong.sql").write_text(sql)
    with pytest.raises(MigrationRefused, match="take BEGIN and COMMIT out"):
        read_migrations(folder)


def test_a_later_file_that_would_wait_for_long_is_refused(folder: Path) -> None:
    """Everybody queues behind a statement that waits for a lock, also where Netlify applies the file."""
    for wrong in ("SELECT 1;", "SELECT 1; SET LOCAL lock_timeout = '2s';", "SET LOCAL lock_timeout = '2min';"):
        (folder / "0003_waits.sql").write_text(wrong)
        with pytest.raises(MigrationRefused, match=r"0003_waits\.sql: begin it with SET LOCAL lock_timeout"):
            read_migrations(folder)


# Where the tables are -------------------------------------------------------------------------------------------------


@pytest.fixture
def user_called_lipa(postgres_server: EmbeddedPostgres, empty_database_url: str) -> Iterator[str]:
    """The address of a database that belongs to a user called like the schema in which migrations are recorded."""
    name = urlsplit(empty_database_url).path[1:]
    outside_of_transactions(
        postgres_server, f"CREATE ROLE lipa LOGIN PASSWORD 'x'; ALTER DATABASE {name} OWNER TO lipa"
    )
    yield f"postgresql://lipa:x@127.0.0.1:{postgres_server.port}/{name}"
    outside_of_transactions(postgres_server, f"ALTER DATABASE {name} OWNER TO postgres")
    end_of = Database(empty_database_url)
    end_of.run("DROP OWNED BY lipa CASCADE")
    end_of.close()
    outside_of_transactions(postgres_server, "DROP ROLE lipa")


@pytest.mark.parametrize(
    "options", ["", "?options=-c%20search_path%3Dshop", "?options=-c%20search_path%3Dpg_temp,shop"]
)
def test_tables_land_in_public_whoever_migrates_and_whatever_the_address_says(
    user_called_lipa: str, options: str
) -> None:
    environ = {"DATABASE_URL": user_called_lipa + options}
    database = Database(environ["DATABASE_URL"])
    database.run("CREATE SCHEMA shop")
    assert main([], environ) == 0
    assert main(["--check"], environ) == 0
    assert database.rows("SELECT DISTINCT schemaname AS schema FROM pg_tables WHERE tablename = 'callback_inbox'") == [
        {"schema": "public"}
    ]
    assert ops(["verify"], environ) == 0
    database.close()


def test_tables_that_are_elsewhere_are_named_by_check_and_by_verify(
    empty_database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    environ = {"DATABASE_URL": empty_database_url}
    database = Database(empty_database_url)
    assert main([], environ) == 0
    database.run("ALTER TABLE callback_inbox SET SCHEMA lipa")  # as an earlier version did for a user called lipa
    for command in ([], ["--check"], ["--list"]):
        assert main(command, environ) == 1
        assert "the tables are in schema lipa, and the functions look for them in public" in capsys.readouterr().err
    assert ops(["verify"], environ) == 1
    said = capsys.readouterr().out
    assert "BROKEN  tables_are_in_public" in said
    assert "          lipa\n" in said
    database.run("DROP TABLE lipa.callback_inbox CASCADE")
    assert main(["--check"], environ) == 1
    assert "the tables were made, and are gone" in capsys.readouterr().err
    database.close()


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_cannot_hold_every_name_is_refused(
    postgres_server: EmbeddedPostgres, encoding: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made = f"CREATE DATABASE narrow ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0"
    outside_of_transactions(postgres_server, made)
    try:
        assert main([], {"DATABASE_URL": postgres_server.url("narrow")}) == 1
        assert f"encoding is {encoding}, and names need UTF8" in capsys.readouterr().err
    finally:
        outside_of_transactions(postgres_server, "DROP DATABASE narrow WITH (FORCE)")


def test_whoever_may_not_create_in_public_is_told(
    postgres_server: EmbeddedPostgres, empty_database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = urlsplit(empty_database_url).path
    outside_of_transactions(
        postgres_server, f"CREATE ROLE guest LOGIN PASSWORD 'x'; GRANT CREATE ON DATABASE {path[1:]} TO guest"
    )
    try:
        assert main([], {"DATABASE_URL": f"postgresql://guest:x@127.0.0.1:{postgres_server.port}{path}"}) == 1
        assert "permission denied for schema public" in (said := capsys.readouterr().err)
        assert "GRANT CREATE ON SCHEMA public" in said
    finally:
        outside_of_transactions(postgres_server, f"REVOKE ALL ON DATABASE {path[1:]} FROM guest; DROP ROLE guest")


# Migrations wait their turn -------------------------------------------------------------------------------------------


def test_a_migration_waits_for_a_reader_says_for_whom_and_gets_through(
    empty_database_url: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody waits behind it for more than 2 s."""
    database = Database(empty_database_url, lock_timeout_s=LOCK_TIMEOUT_S)
    migrate(database, read_migrations(folder))
    (folder / "0003_wider.sql").write_text(BRIEFLY + "ALTER TABLE shops ADD COLUMN name text;")
    reader = Database(empty_database_url + "&application_name=pg_dump", idle_timeout_s=60)
    said: list[str] = []
    longest_s = 0.0
    with ThreadPoolExecutor() as pool:
        with reader.transaction() as tx:
            tx.rows("SELECT * FROM shops")
            migrating = pool.submit(migrate, database, read_migrations(folder), None, said.append)
            shop = Database(empty_database_url)
            until = time.monotonic() + 6
            while time.monotonic() < until:
                began = time.monotonic()
                shop.run("INSERT INTO shops VALUES (7)")
                longest_s = max(longest_s, time.monotonic() - began)
            assert not migrating.done()
        assert migrating.result(timeout=30) == ["0003_wider"]
    assert longest_s < 3
    assert said
    assert "pg_dump (process " in said[0]
    for opened in (database, reader, shop):
        opened.close()


def test_our_own_later_files_try_again_where_netlify_applies_them(empty_database_url: str) -> None:
    """As one transaction on a plain session, without db.migrate."""
    first, *later = read_migrations()
    database = Database(empty_database_url, statement_timeout_s=60)
    with database.transaction() as tx:
        tx.script(first.sql)
    reader = Database(empty_database_url, idle_timeout_s=60)
    with ThreadPoolExecutor() as pool:

        def apply() -> None:
            for migration in later:
                with database.transaction() as tx:
                    tx.script(migration.sql)

        with reader.transaction() as tx:
            tx.rows("SELECT * FROM outbox")
            applying = pool.submit(apply)
            time.sleep(4)
            assert not applying.done()
        applying.result(timeout=60)
    database.close()
    reader.close()


# Netlify's own record -------------------------------------------------------------------------------------------------


def test_what_netlify_applied_is_not_applied_again(empty: Database, folder: Path) -> None:
    migrations = read_migrations(folder)
    with empty.transaction() as tx:
        tx.script(NETLIFYS_RECORD)
        tx.script(migrations[0].sql)
        tx.run("INSERT INTO netlify.migrations (name) VALUES (:name)", name="0001_shops")
    assert [one.name for one in state(empty, migrations).missing] == ["0002_rules"]
    assert migrate(empty, migrations) == ["0002_rules"]
    assert shops(empty) == [1, 2]
    (folder / "0001_shops.sql").write_text("SELECT 1")
    with pytest.raises(MigrationRefused, match="was changed"):
        migrate(empty, read_migrations(folder))


def test_what_we_applied_is_in_netlifys_record(empty: Database, folder: Path) -> None:
    """Read back by the statement that @netlify/database-dev sends to see what is applied."""
    with empty.transaction() as tx:
        tx.script(NETLIFYS_RECORD)
    names = migrate(empty, read_migrations(folder))
    assert migrate(empty, read_migrations(folder)) == []
    with empty.transaction() as tx:
        found = tx.rows("SELECT name FROM netlify.migrations WHERE name = ANY(CAST(:names AS text[]))", names=names)
    assert sorted(row["name"] for row in found) == names == ["0001_shops", "0002_rules"]


# The command ----------------------------------------------------------------------------------------------------------


def test_the_command_applies_checks_and_lists(empty_database_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    environ = {"DATABASE_URL": empty_database_url, "MPESA_ENV": "sandbox"}
    first = read_migrations()[0].name
    assert main(["--check"], environ) == 1
    assert main(["--list"], environ) == 0
    assert f"missing  {first}" in capsys.readouterr().out
    assert main([], environ) == 0
    assert f"applied  {first}" in capsys.readouterr().out
    assert main(["--check"], environ) == 0
    assert main(["--list"], environ) == 0
    assert f"applied  {first}" in capsys.readouterr().out


def test_sandbox_and_production_never_share_a_database(
    empty_database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([], {"DATABASE_URL": empty_database_url}) == 0
    assert main([], {"DATABASE_URL": empty_database_url, "MPESA_ENV": "production"}) == 0
    assert main([], {"DATABASE_URL": empty_database_url, "MPESA_ENV": "sandbox"}) == 1
    assert "belongs to the production environment" in capsys.readouterr().err
    assert main([], {"DATABASE_URL": empty_database_url, "MPESA_ENV": "production"}) == 0


def test_the_wrong_environments_database_is_not_even_migrated(empty: Database) -> None:
    migrations = read_migrations()
    migrate(empty, migrations, "production")
    more = [*migrations, Migration("9999_more", "CREATE TABLE more (id integer)")]
    with pytest.raises(MigrationRefused, match="belongs to the production environment"):
        migrate(empty, more, "sandbox")
    assert [one.name for one in state(empty, more).missing] == ["9999_more"]
    assert migrate(empty, more, "production") == ["9999_more"]


def test_a_fresh_netlify_database_is_left_to_netlify(
    empty_database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    environ = {"NETLIFY_DB_URL": empty_database_url}
    assert main([], environ) == 1
    assert "deploy first" in capsys.readouterr().err
    database = Database(empty_database_url)
    assert len(state(database, read_migrations()).applied) == 0
    with database.transaction() as tx:
        tx.script(NETLIFYS_RECORD)
    database.close()
    assert main([], environ) == 0


@pytest.mark.parametrize(
    ("environ", "code", "says"),
    [
        ({}, 2, "DATABASE_URL must hold"),
        ({"DATABASE_URL": "mysql://u:s3cret@h/d"}, 2, "DATABASE_URL must begin with"),
        ({"NETLIFY_DB_URL": "mysql://u:s3cret@h/d"}, 2, "NETLIFY_DB_URL must hold"),
        ({"DATABASE_URL": "postgres://u:s3cret@127.0.0.1:1/d"}, 3, "Nothing was done"),
        ({"DATABASE_URL": "postgres://u@127.0.0.1:1/d", "MPESA_ENV": "live"}, 2, "MPESA_ENV must hold"),
    ],
)
def test_what_is_wrong_with_the_environment_is_said_in_a_sentence(
    environ: dict[str, str], code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([], environ) == code
    printed = capsys.readouterr().err
    assert says in printed
    assert "s3cret" not in printed


def test_the_command_runs_from_the_shell() -> None:
    environ = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "NETLIFY_DB_URL")}
    done = run([executable, "-m", "db.migrate"], cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
