"""Sessions that others have changed: no setting of a session, a role or a database changes what our statements mean."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from dev.ports import free_port
from dev.postgres import EmbeddedPostgres
from shared.collaborators import collaborators, receiver
from shared.database import Database, DatabaseError, DatabaseUnavailable, LoginRefused, connection_settings
from shared.database.connection import WRITING, Connection, beginning
from shared.deadline import Deadline
from tests.chaos.customers import decided
from tests.fixtures.database import FUNCTIONS, FUNCTIONS_PASSWORD, outside_of_transactions
from tests.fixtures.pgbouncer import PGBOUNCER, pgbouncer
from tests.fixtures.shop import Shop, forget_collaborators

# Every setting that PostgreSQL has ----------------------------------------------------------------------------------

SETTABLE = """
    SELECT name, vartype, enumvals, min_val, max_val, setting, boot_val FROM pg_settings
    WHERE context IN ('user', 'superuser')
      AND name NOT IN ('transaction_isolation', 'transaction_read_only', 'transaction_deferrable') ORDER BY name
"""
UNDONE_BY_NOBODY = {
    "log_statement_stats": "with log_parser_stats it is refused",
    "zero_damaged_pages": "damages",
    "ignore_checksum_failure": "damages",
    "backtrace_functions": "of no meaning",
    "restrict_nonsystem_relation_kind": "we have no views",
}
MEANING = """
    SELECT CAST('1500.00' AS numeric) AS amount, timestamptz '2026-11-22 09:30:01.000005+03' AS moment,
           timestamptz '2026-11-22 09:30' AS naive, CAST('{NULL}' AS text[]) AS nulls,
           CAST(interval '26 hours' AS text) AS hours,
           CAST('\\x00ff7b27' AS bytea) AS raw, CAST(ARRAY['a,b', NULL, 'NULL'] AS text[]) AS list,
           CAST('{"a": [1.5, null]}' AS jsonb) AS json, 0.1::float8 + 0.2::float8 AS float, 'a\\b' AS backslash,
           interval '1 day 2 hours' AS time, (NULL = NULL) IS NULL AS unknown, date '2026-02-01' AS day,
           current_setting('transaction_isolation') AS isolation, current_setting('transaction_read_only') AS read_only,
           current_setting('synchronous_commit') AS commits, current_setting('row_security') AS row_security,
           current_setting('gin_fuzzy_search_limit') AS found, current_setting('exit_on_error') AS ends,
           current_setting('transaction_timeout', true) AS timeout, current_user AS me, 'Amina 👩 ä' AS name,
           (SELECT count(*) FROM accounts) AS accounts, (SELECT array_agg(v ORDER BY v) FROM accounts) AS triggered
"""


def test_no_setting_of_the_session_changes_what_a_statement_means(empty_database_url: str) -> None:
    """Each of PostgreSQL's settings, with each other value that it takes, in the session before a transaction."""
    database = Database(empty_database_url)
    with database.transaction() as tx:
        tx.script(
            """
            CREATE TABLE accounts (id integer PRIMARY KEY, v text);
            CREATE FUNCTION shouts() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN NEW.v := upper(NEW.v); RETURN NEW; END $$;
            CREATE TRIGGER shouts BEFORE INSERT ON accounts FOR EACH ROW EXECUTE FUNCTION shouts();
            """
        )

    def what_it_means() -> object:
        with database.transaction() as tx:
            tx.run("INSERT INTO accounts VALUES (1, :v)", v="a\\b ä")
            meant = tx.row(MEANING)
            tx.run("DELETE FROM accounts")
        return meant

    meant, tried, wrong = what_it_means(), 0, []
    for setting in database.rows(SETTABLE):
        for value in foreign_values(setting):
            session = session_of(database)
            with contextlib.suppress(DatabaseError):  # it does not take each value; the next transaction begins anyway
                session.script(f"SET {setting['name']} = '{value}'")
                tried += 1
            if (means := what_it_means()) != meant:
                wrong.append((setting["name"], value, means))
            session_of(database).script(f"RESET {setting['name']}")
    database.close()
    assert wrong == []
    assert tried > 200


def foreign_values(setting: dict[str, object]) -> list[object]:
    if setting["name"] in UNDONE_BY_NOBODY or str(setting["name"]).startswith(("log_", "debug_")):
        return []
    match setting["vartype"]:
        case "bool":
            return ["off" if setting["setting"] == "on" else "on"]
        case "enum":
            return [value for value in setting["enumvals"] if value != setting["setting"]]  # type: ignore[attr-defined]
        case "integer" | "real":
            return [value for value in (setting["min_val"], "1", "1000") if value != setting["setting"]]
    return FOREIGN_TEXTS.get(str(setting["name"]), [])


FOREIGN_TEXTS: dict[str, list[object]] = {
    "search_path": ["", "pg_temp, public", "nowhere"],
    "client_encoding": ["LATIN1", "SQL_ASCII", "EUC_JP"],
    "DateStyle": ["German, DMY", "SQL, DMY", "Postgres, YMD"],
    "TimeZone": ["Africa/Nairobi", "America/St_Johns"],
    "timezone_abbreviations": ["Australia", "India"],
    "lc_messages": ["C.UTF-8"],
    "lc_numeric": ["C.UTF-8"],
    "lc_time": ["C.UTF-8"],
    "lc_monetary": ["C.UTF-8"],
    "default_table_access_method": ["heap"],
}


def session_of(database: Database) -> Connection:
    with database.transaction() as tx:
        tx.row("SELECT 1")
    assert database._connection is not None
    return database._connection


# Show: a matrix of foreign states, and the five functions -------------------------------------------------------------

STATES = {
    "pg_dump was here": "SELECT set_config('search_path', '', false); SET DateStyle = ISO; SET row_security = off",
    "another schema": "SET search_path = elsewhere, public",
    "temporary tables like ours": """
        CREATE TEMP TABLE IF NOT EXISTS transactions (LIKE public.transactions);
        CREATE TEMP TABLE IF NOT EXISTS callback_inbox (LIKE public.callback_inbox); SET search_path = pg_temp, public
    """,
    "read-only": "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    "serializable": "SET default_transaction_isolation = 'serializable'; SET default_transaction_deferrable = on",
    "another encoding": "SET client_encoding = 'LATIN1'",
    "old strings": "SET standard_conforming_strings = off; SET bytea_output = 'escape'; SET backslash_quote = on",
    "another country": "SET DateStyle = 'German, DMY'; SET TimeZone = 'Asia/Kolkata'; SET IntervalStyle = 'iso_8601'",
    "impatient": "SET statement_timeout = 20; SET lock_timeout = 1; SET idle_in_transaction_session_timeout = 1",
    "patient for ever": "SET statement_timeout = 0; SET lock_timeout = 0",
    "commits that are not waited for": "SET synchronous_commit = off",
    "numbers in short": "SET extra_float_digits = -15; SET array_nulls = off; SET transform_null_equals = on",
    "any error ends it": "SET exit_on_error = on",
    "another role": "SET ROLE guest",
    "listens": "LISTEN shop; NOTIFY shop, 'hello'",
    "holds a cursor and a prepared statement": """
        DEALLOCATE ALL; CLOSE ALL; PREPARE mine AS SELECT 1; BEGIN; DECLARE held CURSOR WITH HOLD FOR SELECT 1; COMMIT
    """,
    "ends when idle": "SET idle_session_timeout = 1",
}


@pytest.fixture
def guest(postgres_server: EmbeddedPostgres, database_url: str) -> Iterator[None]:
    """A role without rights that the functions' own may take, a schema with a table like ours, temporary tables."""
    name = urlsplit(database_url).path[1:]
    owner = Database(database_url)
    with owner.transaction() as tx:
        tx.script(
            f"""
            CREATE ROLE guest; GRANT guest TO {FUNCTIONS};
            GRANT TEMPORARY ON DATABASE "{name}" TO {FUNCTIONS};
            CREATE SCHEMA elsewhere; GRANT USAGE, CREATE ON SCHEMA elsewhere TO {FUNCTIONS};
            CREATE TABLE elsewhere.transactions (LIKE public.transactions);
            """
        )
    owner.close()
    yield
    outside_of_transactions(postgres_server, f"REVOKE guest FROM {FUNCTIONS}; DROP ROLE guest")


@pytest.mark.parametrize("state", STATES)
def test_the_five_functions_work_in_a_session_that_somebody_else_has_changed(
    shop: Shop, guest: None, state: str
) -> None:
    def spoil() -> None:
        for made in (collaborators, receiver):
            if made.cache_info().currsize and (session := made().gateway.database._connection) is not None:
                with_its_result(session, STATES[state])

    every_function_works(shop, spoil)


@pytest.mark.skipif(not Path(PGBOUNCER).exists(), reason="PgBouncer is not installed (Debian: pgbouncer)")
def test_the_five_functions_work_behind_a_pooler_whose_one_session_somebody_else_has_changed(
    shop: Shop, guest: None, postgres_server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    url = f"postgresql://{FUNCTIONS}:{FUNCTIONS_PASSWORD}@127.0.0.1:{port}{urlsplit(shop.database_url).path}"
    with pgbouncer(postgres_server, port, pool=1, users={FUNCTIONS: FUNCTIONS_PASSWORD}):
        monkeypatch.setenv("DATABASE_URL", url)
        forget_collaborators()
        for number, spoils in enumerate(STATES.values()):
            every_function_works(shop, lambda spoils=spoils: somebody_does(url, spoils), number)  # type: ignore[misc]
            somebody_does(url, "DISCARD ALL")
        forget_collaborators()


def somebody_does(url: str, spoils: str) -> None:
    somebody = Connection(connection_settings(url), connect_timeout_s=5, read_timeout_s=10)
    with_its_result(somebody, spoils)
    somebody.close()
    if spoils == STATES["ends when idle"]:
        time.sleep(0.1)  # it ends now, and not in the middle of the next request


def with_its_result(session: Connection, spoils: str) -> None:
    """Each statement by itself, as another program sends them."""
    with contextlib.suppress(DatabaseUnavailable):  # it ends when idle, and has ended
        for sql in spoils.split(";"):
            session.script(sql)


def every_function_works(shop: Shop, spoil: Callable[[], None], number: int = 0) -> None:
    shop.simulator.client.script(None, "pay", after_s=0, callback_count=0)
    spoil()
    order = {"phone_number": f"07083741{number:02}", "account_reference": f"INV{number:05}", "customer_name": "Amina ä"}
    paid = shop.pay(**order)
    assert paid.status == 202, paid.body
    transaction_id = str(paid.body["transaction_id"])
    spoil()
    assert shop.status(transaction_id).body["status"] == "pending"
    spoil()
    told = shop.call(
        "callback", "POST", shop.callback_path(transaction_id), raw=decided(shop, transaction_id).success()
    )
    assert told.status == 200
    spoil()
    assert shop.status(transaction_id).body["status"] == "paid"
    spoil()
    assert shop.sweep().status == 200
    spoil()
    again = {"transaction_id": transaction_id}
    assert shop.call("invoice", "POST", "/api/mpesa/invoice", again).status == 202
    assert shop.payment(transaction_id)["customer_name"] == "Amina ä"


# Sessions end by themselves, and those that cannot write are not kept -------------------------------------------------


@pytest.fixture
def limited(postgres_server: EmbeddedPostgres, database_url: str) -> Iterator[str]:
    """An address whose role may have 24 sessions."""
    outside_of_transactions(postgres_server, "CREATE ROLE few LOGIN PASSWORD 'few' CONNECTION LIMIT 24")
    yield f"postgresql://few:few@127.0.0.1:{postgres_server.port}{urlsplit(database_url).path}"
    outside_of_transactions(postgres_server, "DROP ROLE few")


def test_frozen_instances_let_go_of_their_sessions(limited: str, database: Database) -> None:
    """Also after a ROLLBACK, which takes back what the transaction had set for the session."""
    instances = [Database(limited) for _ in range(24)]
    for number, instance in enumerate(instances):
        with contextlib.suppress(KeyError), instance.transaction() as tx:
            tx.row("SELECT 1")
            if number % 2:
                raise KeyError
    with pytest.raises(LoginRefused, match="no connection left") as refused:
        for _ in range(100):  # the first may be over before the last has begun
            instances.append(Database(limited))
            instances[-1].rows("SELECT 1")
    assert "pooled address" in refused.value.explained()
    began = time.monotonic()
    late = Database(limited)
    until_it_works(late)
    assert time.monotonic() - began < 24
    until = Deadline.after(24)
    while len(database.rows("SELECT FROM pg_stat_activity WHERE usename = 'few'")) > 1:  # the late one is left
        assert not until.passed()
        time.sleep(0.2)
    until_it_works(instances[0])  # a frozen one wakes
    for database in (late, *instances):
        database.close()


def until_it_works(database: Database) -> None:
    until = Deadline.after(24)
    while not until.passed():
        with contextlib.suppress(LoginRefused):
            assert database.rows("SELECT 1 AS one") == [{"one": 1}]
            return
        time.sleep(0.2)
    raise AssertionError("there is still no connection left")


def test_a_pooler_keeps_its_sessions_for_as_long_as_it_wants(
    postgres_server: EmbeddedPostgres, empty_database_url: str
) -> None:
    if not Path(PGBOUNCER).exists():
        pytest.skip("PgBouncer is not installed (Debian: pgbouncer)")
    port = free_port()
    with pgbouncer(postgres_server, port):
        pooled = Database(
            f"postgresql://postgres:{postgres_server.password}@127.0.0.1:{port}{urlsplit(empty_database_url).path}"
        )
        with pytest.raises(KeyError), pooled.transaction() as tx:
            tx.row("SELECT 1")
            raise KeyError
        assert pooled.row("SELECT current_setting('idle_session_timeout') AS ends") == {"ends": "0"}
        pooled.close()


def test_a_database_that_is_set_read_only_is_written_to(shop: Shop, postgres_server: EmbeddedPostgres) -> None:
    """READ WRITE is said with BEGIN: what was answered 25006 is stored."""
    assert shop.pay().status == 202
    name = urlsplit(shop.database_url).path[1:]
    outside_of_transactions(postgres_server, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    forget_collaborators()  # a new session, which is read-only
    assert shop.pay(phone_number="0708374150", account_reference="INV00043").status == 202
    assert shop.sweep().status == 200


def test_the_role_that_alter_role_gives_at_the_login_is_kept(limited: str, postgres_server: EmbeddedPostgres) -> None:
    """Hosts that rotate users give each the rights of one owner in this way."""
    outside_of_transactions(postgres_server, f"GRANT {FUNCTIONS} TO few; ALTER ROLE few SET role = '{FUNCTIONS}'")
    database = Database(limited)
    for spoils in ("SELECT 1", "SET ROLE NONE", "SELECT 1"):
        session_of(database).script(spoils)
        assert database.row("SELECT current_user AS me") == {"me": FUNCTIONS}
    database.close()


def test_a_transaction_begins_as_who_logged_in_on_every_version() -> None:
    """On PostgreSQL 18 the first of the two restores the role too; 15 to 17 need the second."""
    said = [sql for sql, _ in beginning(WRITING, {}, None)]
    assert said[:3] == [WRITING, "SET LOCAL SESSION AUTHORIZATION DEFAULT", "SET LOCAL role TO DEFAULT"]


class Standby(EmbeddedPostgres):
    """A server that waits to be promoted."""

    def _postmaster_file(self) -> list[str]:
        return ["ready" if line == "standby" else line for line in super()._postmaster_file()]

    def become_a_standby(self) -> None:
        self.stop()
        (self.data / "standby.signal").touch()
        self._give(self.data / "standby.signal")
        self.start()


def test_a_standby_is_refused_with_its_words_and_the_first_request_after_its_promotion_works(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    for folder in tmp_path.parents:
        if folder.name.startswith("pytest"):
            folder.chmod(0o755)
    server = Standby(tmp_path / "server", durable=False)
    with server:
        Database(server.url()).change("CREATE TABLE notes (text text)")
        server.become_a_standby()
        database = Database(server.url())
        for _ in range(2):
            with pytest.raises(DatabaseUnavailable, match=r"cannot set transaction read-write mode during recovery"):
                database.run("INSERT INTO notes VALUES ('a')")
        assert database._connection is None
        with database.transaction(snapshot=True) as tx:  # an operator may read there
            assert tx.rows("SELECT * FROM notes") == []
        server.run("psql", "-qc", "SELECT pg_promote()")
        assert database.run("INSERT INTO notes VALUES ('a')") == 1
        database.close()


# The address ----------------------------------------------------------------------------------------------------------


def test_a_rotated_password_is_taken_at_the_next_transaction(limited: str, postgres_server: EmbeddedPostgres) -> None:
    """20 rotations under load: nothing is lost, whether the server ends the old sessions or keeps them."""
    environ = {"DATABASE_URL": limited}
    stop, failed, done = threading.Event(), [], []

    def work() -> None:
        database = Database(lambda: environ["DATABASE_URL"])
        while not stop.is_set():
            until = Deadline.after(20)
            while True:  # as a callback is tried
                try:
                    with database.patient(until):
                        done.append(database.rows("SELECT 1"))
                    break
                except DatabaseUnavailable as failure:
                    if until.passed():
                        failed.append(failure)
                        break
                    time.sleep(0.02)
        database.close()

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for number in range(20):
        outside_of_transactions(postgres_server, f"ALTER ROLE few PASSWORD 'rotated{number}'")
        if number % 2:
            ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'few'"
            outside_of_transactions(postgres_server, ended)
        time.sleep(0.05)  # the host hands the new one over a little later
        environ["DATABASE_URL"] = limited.replace(":few@", f":rotated{number}@")
        time.sleep(0.1)
    stop.set()
    for worker in workers:
        worker.join(timeout=60)
    assert failed == []
    assert len(done) > 100


def test_another_address_replaces_an_open_connection_and_a_wrong_one_does_not(
    postgres_server: EmbeddedPostgres, database_url: str, empty_database_url: str
) -> None:
    environ = {"DATABASE_URL": database_url}
    database = Database(lambda: environ["DATABASE_URL"])

    def where() -> str:
        row = database.row("SELECT current_database() AS name")
        assert row is not None
        return f"/{row['name']}"

    assert where() == urlsplit(database_url).path
    environ["DATABASE_URL"] = empty_database_url  # a branch was restored, and the host points to it
    assert where() == urlsplit(empty_database_url).path
    for wrong in ("", "mysql://x"):
        environ["DATABASE_URL"] = wrong
        assert where() == urlsplit(empty_database_url).path
    environ.clear()
    assert where() == urlsplit(empty_database_url).path
    database.close()
