"""What a transaction promises: types, round trips, rollback, timeouts, and errors named for what to do next."""

from __future__ import annotations

import contextlib
import datetime
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from enum import StrEnum

import pytest

from dev.ports import free_port
from dev.postgres import EmbeddedPostgres
from shared.database import (
    Busy,
    CommitUnknown,
    ConstraintBroken,
    Database,
    DatabaseError,
    DatabaseUnavailable,
    StatementFailed,
)


@pytest.fixture
def url(empty_database_url: str) -> str:
    """A database with one table of accounts."""
    database = Database(empty_database_url)
    with database.transaction() as tx:
        tx.script(
            """
            CREATE TABLE accounts (
                id integer PRIMARY KEY, owner text NOT NULL, balance numeric(10, 2) NOT NULL DEFAULT 0,
                CONSTRAINT never_below_zero CHECK (balance >= 0),
                CONSTRAINT one_account_an_owner UNIQUE (owner) DEFERRABLE INITIALLY DEFERRED
            );
            INSERT INTO accounts VALUES (1, 'amina', 100), (2, 'brian', 100);
            """
        )
    database.close()
    return empty_database_url


@pytest.fixture
def bank(url: str) -> Iterator[Database]:
    database = Database(url)
    yield database
    database.close()


@pytest.fixture
def other(url: str) -> Iterator[Database]:
    """Somebody else, connected to the same database."""
    database = Database(url)
    yield database
    database.close()


def test_what_a_database_is_set_to_does_not_weaken_a_transaction(empty_database_url: str) -> None:
    """Locks count on reading what was committed before them; 200 to Safaricom counts on a COMMIT that is on disk."""
    owner = Database(empty_database_url)
    with owner.transaction() as tx:
        name = tx.row("SELECT current_database() AS name")["name"]  # type: ignore[index]
        tx.script(
            f"""
            ALTER DATABASE "{name}" SET default_transaction_isolation = 'repeatable read';
            ALTER DATABASE "{name}" SET synchronous_commit = off
            """
        )
    owner.close()
    database = Database(empty_database_url)
    with database.transaction() as tx:
        said = tx.row(
            "SELECT current_setting('transaction_isolation') AS locks, current_setting('synchronous_commit') AS commits"
        )
    database.close()
    assert said == {"locks": "read committed", "commits": "on"}


def balance(database: Database, account: int) -> int:
    with database.transaction() as tx:
        row = tx.row("SELECT balance FROM accounts WHERE id = :id", id=account)
    assert row is not None
    return int(row["balance"])


def name_in(url: str) -> str:
    return url.split("/")[3].split("?")[0]


def withdraw(database: Database, account: int, amount: int) -> None:
    with database.transaction() as tx:
        tx.run("UPDATE accounts SET balance = balance - :amount WHERE id = :id", id=account, amount=amount)


COPY = "COPY accounts (id, owner, balance) FROM stdin"


def test_rows_are_copied_in_within_a_transaction(bank: Database, other: Database) -> None:
    with bank.transaction() as tx:
        tx.run("UPDATE accounts SET balance = 1 WHERE id = 1")
        tx.copy_in(COPY, (line for line in (b"3\tchebet\\n\t5.50\n4\tda", b"vid\t0\n", b"")))
        tx.copy_in(COPY, [])
        assert tx.row("SELECT count(*) AS n FROM accounts") == {"n": 4}
        assert other.row("SELECT count(*) AS n FROM accounts") == {"n": 2}
    assert other.rows("SELECT owner, balance FROM accounts WHERE id <> 2 ORDER BY id") == [
        {"owner": "amina", "balance": 1},
        {"owner": "chebet\n", "balance": Decimal("5.50")},
        {"owner": "david", "balance": 0},
    ]


def cut_off() -> Iterator[bytes]:
    yield b"3\tchebet\t5\n"
    raise EOFError


@pytest.mark.parametrize(
    ("rows", "raises"),
    [([b"3\tchebet\t-5\n"], ConstraintBroken), ([b"x\n"] * 3, DatabaseError), (cut_off(), EOFError)],
    ids=["against a rule", "not rows", "cut off"],
)
def test_rows_that_do_not_all_come_in_leave_nothing(
    bank: Database, other: Database, rows: Iterable[bytes], raises: type[Exception]
) -> None:
    with pytest.raises(raises), bank.transaction() as tx:
        tx.run("UPDATE accounts SET balance = 1")
        tx.copy_in(COPY, rows)
    expected = [{"id": 1, "balance": 100}, {"id": 2, "balance": 100}]
    for database in (other, bank):
        assert database.rows("SELECT id, balance FROM accounts ORDER BY id") == expected


def test_values_come_back_as_what_they_were(bank: Database) -> None:
    class Colour(StrEnum):
        RED = "red"

    moment = datetime.datetime(2026, 11, 22, 9, 30, 1, 5, tzinfo=datetime.timezone(datetime.timedelta(hours=3)))
    name = uuid.uuid4()
    with bank.transaction() as tx:
        row = tx.row(
            """
            SELECT CAST(:amount AS numeric) AS amount, CAST(:moment AS timestamptz) AS moment,
                   CAST(:name AS uuid) AS name, CAST(:raw AS bytea) AS raw, CAST(:missing AS text) AS missing,
                   CAST(:list AS text[]) AS list, CAST(:json AS jsonb) AS json, CAST(:colour AS text) AS colour,
                   CAST(:yes AS boolean) AS yes, CAST(:count AS integer) AS count
            """,
            amount=Decimal("1500.00"),
            moment=moment,
            name=name,
            raw=b"\x00\xff{'",
            missing=None,
            list=["a,b", 'c"d'],
            json={"a": [1, None]},
            colour=Colour.RED,
            yes=True,
            count=7,
        )
    assert row == {
        "amount": Decimal("1500.00"),
        "moment": moment,
        "name": name,
        "raw": b"\x00\xff{'",
        "missing": None,
        "list": ["a,b", 'c"d'],
        "json": {"a": [1, None]},
        "colour": "red",
        "yes": True,
        "count": 7,
    }
    assert row["moment"].utcoffset() == datetime.timedelta(0)


def test_rows_row_and_run_answer_what_their_names_say(bank: Database) -> None:
    with bank.transaction() as tx:
        assert [row["owner"] for row in tx.rows("SELECT owner FROM accounts ORDER BY id")] == ["amina", "brian"]
        assert tx.rows("SELECT owner FROM accounts WHERE id > :id", id=2) == []
        assert tx.row("SELECT owner FROM accounts WHERE id = :id", id=3) is None
        assert tx.run("UPDATE accounts SET balance = 0 WHERE id > :id", id=0) == 2
        assert tx.run("CREATE TABLE notes (text text)") == 0
        assert tx.row("INSERT INTO notes VALUES (:text) RETURNING text", text="x") == {"text": "x"}


def test_a_missing_or_superfluous_parameter_is_named(bank: Database) -> None:
    with pytest.raises(TypeError, match="owner"), bank.transaction() as tx:
        tx.row("SELECT :id", id=1, owner="amina")
    with pytest.raises(TypeError, match="id"), bank.transaction() as tx:
        tx.row("SELECT :id")


def test_only_an_answer_that_is_needed_costs_a_round_trip(bank: Database) -> None:
    withdraw(bank, 1, 1)

    def trips_of(work: Callable[[], object]) -> int:
        before = bank.round_trips
        work()
        return bank.round_trips - before

    def asks_three_times() -> None:
        with bank.transaction() as tx:
            tx.rows("SELECT 1")
            tx.later("UPDATE accounts SET balance = :b", b=1)
            assert tx.rows("SELECT balance FROM accounts WHERE id = :a", a=1) == [{"balance": 1}]
            tx.run("UPDATE accounts SET balance = :b", b=2)
            tx.later("UPDATE accounts SET balance = :b", b=3)

    def asks_nothing() -> None:
        with bank.transaction() as tx:
            tx.later("UPDATE accounts SET balance = :b", b=4)
            tx.later("UPDATE accounts SET balance = balance + 1")

    assert trips_of(lambda: withdraw(bank, 1, 1)) == 2
    assert trips_of(asks_three_times) == 4
    assert balance(bank, 1) == 3
    assert trips_of(asks_nothing) == 1
    assert bank.row("SELECT balance FROM accounts WHERE id = 1") == {"balance": 5}
    assert trips_of(lambda: bank.rows("SELECT 1")) == 1
    assert trips_of(lambda: bank.run("UPDATE accounts SET balance = 1")) == 1


def test_what_nobody_waits_for_is_stored_with_the_rest_or_not_at_all(bank: Database) -> None:
    with pytest.raises(ConstraintBroken, match="never_below_zero"), bank.transaction() as tx:
        tx.later("UPDATE accounts SET balance = 7 WHERE id = 1")
        tx.later("UPDATE accounts SET balance = -1 WHERE id = 2")
        tx.later("UPDATE accounts SET balance = 8 WHERE id = 1")
    assert balance(bank, 1) == 100
    with pytest.raises(KeyError), bank.transaction() as tx:
        tx.later("UPDATE accounts SET balance = 7 WHERE id = 1")
        raise KeyError
    assert balance(bank, 1) == 100


def test_an_exception_rolls_back_and_passes_through_and_the_session_is_kept(bank: Database) -> None:
    pid = pid_of(bank)
    with pytest.raises(KeyError), bank.transaction() as tx:
        tx.run("UPDATE accounts SET balance = 0")
        raise KeyError
    assert balance(bank, 1) == 100
    assert pid_of(bank) == pid


def test_a_failure_that_was_swallowed_inside_the_block_is_no_commit(bank: Database) -> None:
    with pytest.raises(StatementFailed, match="the block went on"), bank.transaction() as tx:
        tx.run("UPDATE accounts SET balance = 0")
        with contextlib.suppress(StatementFailed):
            tx.run("SELECT * FROM nowhere")
    with pytest.raises(StatementFailed), bank.transaction() as tx, contextlib.suppress(StatementFailed):
        tx.run("SELECT * FROM nowhere")
    with pytest.raises(StatementFailed, match="an earlier statement"), bank.transaction() as tx:
        tx.later("UPDATE accounts SET balance = 0")
        with contextlib.suppress(StatementFailed):
            tx.run("SELECT * FROM nowhere")
        tx.run("UPDATE accounts SET balance = 1")
    assert balance(bank, 1) == 100


def test_transactions_of_one_database_do_not_nest(bank: Database) -> None:
    with bank.transaction(), pytest.raises(RuntimeError), bank.transaction():
        pass
    assert balance(bank, 1) == 100


# Errors ---------------------------------------------------------------------------------------------------------------


def test_a_broken_rule_is_named_and_its_values_are_not(bank: Database) -> None:
    with pytest.raises(ConstraintBroken) as broken:
        withdraw(bank, 1, 98765)
    assert (broken.value.constraint, broken.value.sqlstate) == ("never_below_zero", "23514")
    assert "98765" not in str(broken.value)
    assert "amina" not in str(broken.value)
    assert broken.value.__cause__ is None
    assert broken.value.__context__ is None


def test_a_rule_that_is_checked_at_commit_is_told_as_surely(bank: Database) -> None:
    with pytest.raises(ConstraintBroken) as broken, bank.transaction() as tx:
        tx.run("UPDATE accounts SET owner = 'amina'")
    assert broken.value.constraint == "one_account_an_owner"
    with bank.transaction() as tx:
        assert tx.row("SELECT count(DISTINCT owner) AS owners FROM accounts") == {"owners": 2}


@pytest.mark.parametrize(
    ("sql", "value", "sqlstate"),
    [
        ("SELECT CAST(:x AS uuid)", "254722000000", "22P02"),
        ("SELECT CAST(:x AS text)", "nul\0nul 254722000000", "22021"),
        ("SELECT CAST(:x AS text)", "254722000000 \ud800", ""),
        ("SELECT CAST(:x AS jsonb)", {"amount": Decimal(254722000000)}, ""),
        ("SELECT 1 / (CAST(:x AS integer) - 5)", 5, "22012"),
    ],
)
def test_a_value_the_database_cannot_take_fails_without_being_shown(
    bank: Database, sql: str, value: object, sqlstate: str
) -> None:
    with pytest.raises(StatementFailed) as failed, bank.transaction() as tx:
        tx.row(sql, x=value)
    assert failed.value.sqlstate == sqlstate
    assert "254722000000" not in f"{failed.value!r}{failed.value.__cause__!r}{failed.value.__context__!r}"
    assert balance(bank, 1) == 100


def test_a_wrong_statement_says_what_is_wrong_with_it(bank: Database) -> None:
    with pytest.raises(StatementFailed, match=r'column "colour" does not exist.*42703'), bank.transaction() as tx:
        tx.row("SELECT colour FROM accounts WHERE id = :id", id=1)


def test_a_lock_that_is_not_free_in_time_is_busy(url: str, bank: Database) -> None:
    impatient = Database(url, lock_timeout_s=0.1)
    with bank.transaction() as tx:
        tx.run("UPDATE accounts SET balance = 50 WHERE id = 1")
        with pytest.raises(Busy, match="55P03"):
            withdraw(impatient, 1, 1)
    withdraw(impatient, 1, 1)
    assert balance(bank, 1) == 49
    impatient.close()


def test_a_statement_that_takes_too_long_is_busy(url: str) -> None:
    database = Database(url, statement_timeout_s=1)
    with pytest.raises(Busy, match="57014"), database.transaction() as tx:
        tx.rows("SELECT pg_sleep(60)")
    assert balance(database, 1) == 100
    database.close()


def test_a_deadlock_is_busy_for_one_and_nothing_for_the_other(bank: Database, other: Database) -> None:
    meet = threading.Barrier(2, timeout=30)
    ended: list[str] = []

    def swap(database: Database, first: int, second: int) -> None:
        try:
            with database.transaction() as tx:
                tx.run("UPDATE accounts SET balance = balance + 1 WHERE id = :id", id=first)
                meet.wait()
                tx.run("UPDATE accounts SET balance = balance + 1 WHERE id = :id", id=second)
            ended.append("done")
        except Busy as busy:
            ended.append("deadlock" if "40P01" in str(busy) else str(busy))

    threads = [threading.Thread(target=swap, args=a) for a in ((bank, 1, 2), (other, 2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(ended) == ["deadlock", "done"]
    assert balance(bank, 1) == balance(bank, 2) == 101


def test_two_transactions_that_cannot_be_put_in_an_order_are_busy(bank: Database, other: Database) -> None:
    with pytest.raises(Busy, match="40001"), bank.transaction() as tx:
        tx.script("COMMIT; BEGIN ISOLATION LEVEL REPEATABLE READ")
        tx.rows("SELECT * FROM accounts")
        withdraw(other, 1, 1)
        tx.run("UPDATE accounts SET balance = 0 WHERE id = 1")
    assert balance(bank, 1) == 99


def test_the_timeouts_are_the_servers_and_end_with_the_transaction(url: str) -> None:
    database = Database(url, statement_timeout_s=4, lock_timeout_s=2, idle_timeout_s=7)
    names = ("'idle_in_transaction_session_timeout'", "'lock_timeout'", "'statement_timeout'")
    ask = f"SELECT name, setting FROM pg_settings WHERE name IN ({', '.join(names)}) ORDER BY name"
    with database.transaction() as tx:
        assert [row["setting"] for row in tx.rows(ask)] == ["7000", "2000", "4000"]
        tx.script("COMMIT; BEGIN")
        assert [row["setting"] for row in tx.rows(ask)] == ["0", "0", "0"]
    database.close()


# Time and again -------------------------------------------------------------------------------------------------------


def test_a_frozen_function_holds_no_lock_for_long(url: str, other: Database) -> None:
    frozen = Database(url, idle_timeout_s=1)
    with pytest.raises(DatabaseUnavailable), frozen.transaction() as tx:
        tx.run("UPDATE accounts SET balance = 0 WHERE id = 1")
        withdraw(other, 1, 1)  # waits for the lock, and gets it when the server ends the frozen transaction
        tx.run("UPDATE accounts SET balance = 0 WHERE id = 2")
    assert (balance(other, 1), balance(other, 2)) == (99, 100)
    assert balance(frozen, 1) == 99
    frozen.close()


def test_a_function_frozen_before_its_commit_learns_that_nothing_was_done(
    postgres_server: EmbeddedPostgres, url: str, other: Database
) -> None:
    frozen = Database(postgres_server.url(name_in(url), tcp=True), idle_timeout_s=1)
    with pytest.raises(DatabaseUnavailable, match="25P03"), frozen.transaction() as tx:
        tx.run("UPDATE accounts SET balance = 0 WHERE id = 1")
        withdraw(other, 1, 1)
    assert balance(other, 1) == 99
    frozen.close()


def pid_of(database: Database) -> int:
    with database.transaction() as tx:
        row = tx.row("SELECT pg_backend_pid() AS pid")
    assert row is not None
    return int(row["pid"])


def end_session(database: Database, pid: int) -> None:
    with database.transaction() as tx:
        tx.run("SELECT pg_terminate_backend(:pid, 10000)", pid=pid)


def test_a_connection_that_died_between_transactions_is_replaced_unnoticed(bank: Database, other: Database) -> None:
    pid = pid_of(bank)
    end_session(other, pid)
    withdraw(bank, 1, 1)
    assert balance(bank, 1) == 99
    assert pid_of(bank) != pid


def test_a_connection_that_dies_inside_a_transaction_did_nothing(bank: Database, other: Database) -> None:
    pid = pid_of(bank)
    with pytest.raises(DatabaseUnavailable, match="Nothing was done"), bank.transaction() as tx:
        tx.run("UPDATE accounts SET balance = 0")
        end_session(other, pid)
        tx.run("UPDATE accounts SET balance = 1")
    assert balance(bank, 1) == 100


def test_a_session_ended_while_it_commits_leaves_the_outcome_unknown(bank: Database, other: Database) -> None:
    with bank.transaction() as tx:
        tx.script(
            """
            CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql
                AS $$ BEGIN PERFORM pg_sleep(60); RETURN NULL; END $$;
            CREATE CONSTRAINT TRIGGER dawdles AFTER UPDATE ON accounts
                DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION dawdle();
            """
        )
    pid = pid_of(bank)

    def end_it_while_it_commits() -> None:
        give_up = time.monotonic() + 30
        while time.monotonic() < give_up:
            with other.transaction() as tx:
                waiting = tx.row("SELECT wait_event, query FROM pg_stat_activity WHERE pid = :pid", pid=pid)
            if waiting == {"wait_event": "PgSleep", "query": "COMMIT"}:
                end_session(other, pid)
                return

    thread = threading.Thread(target=end_it_while_it_commits)
    thread.start()
    with pytest.raises(CommitUnknown, match="57P01"):
        withdraw(bank, 1, 1)
    thread.join(timeout=60)
    assert balance(bank, 1) == 100


def test_an_interrupt_in_the_middle_of_a_statement_leaves_a_usable_database(bank: Database, other: Database) -> None:
    pid = pid_of(bank)

    class Interrupted(BaseException):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(Interrupted), bank.transaction() as tx:
            tx.run("UPDATE accounts SET balance = 0")
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            tx.rows("SELECT pg_sleep(10)")
    finally:
        signal.signal(signal.SIGALRM, before)
    assert balance(bank, 1) == 100
    assert pid_of(bank) != pid


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("/test_", "/nowhere_"), "no database of this name"),
        (("postgres:", "stranger:"), "password"),
        (("postgres:", "postgres:wrong"), "password"),
    ],
)
def test_a_login_that_is_refused_says_why(
    postgres_server: EmbeddedPostgres, empty_database_url: str, change: tuple[str, str], says: str
) -> None:
    url = postgres_server.url(name_in(empty_database_url), tcp=True)
    with pytest.raises(DatabaseUnavailable, match=says) as refused:
        Database(url.replace(*change)).rows("SELECT 1")
    assert postgres_server.password not in str(refused.value)


def test_a_server_that_asks_for_a_password_we_do_not_have_is_told_so(postgres_server: EmbeddedPostgres) -> None:
    url = postgres_server.url(tcp=True).replace(f":{postgres_server.password}@", "@")
    with pytest.raises(DatabaseUnavailable, match="asks for a password"):
        Database(url).rows("SELECT 1")


def test_nobody_there_is_unavailable_at_once() -> None:
    port = free_port()
    for where in (f"127.0.0.1:{port}/d", "/d?host=/nowhere", "nowhere.invalid/d"):
        with pytest.raises(DatabaseUnavailable, match="Nothing was done"):
            Database(f"postgres://u@{where}").rows("SELECT 1")


def test_a_server_that_accepts_and_says_nothing_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"postgres://u@127.0.0.1:{mute.getsockname()[1]}/d"
        began = time.monotonic()
        with pytest.raises(DatabaseUnavailable, match=r"within 0\.3 s"):
            Database(url, connect_timeout_s=0.3).rows("SELECT 1")
        assert time.monotonic() - began < 5


def test_something_else_than_postgresql_is_told_so() -> None:
    def chatter(listener: socket.socket) -> None:
        for _ in range(2):
            client, _ = listener.accept()
            client.recv(100)
            client.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n" * 100)
            client.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=chatter, args=(listener,), daemon=True)
        thread.start()
        for tls in ("", "?sslmode=require"):
            with pytest.raises(DatabaseUnavailable, match="Nothing was done"):
                Database(f"postgres://u@127.0.0.1:{listener.getsockname()[1]}/d{tls}").rows("SELECT 1")
        thread.join(timeout=10)
