"""Networks that cut and go silent: what we may and may not say about a transaction then."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from dev.postgres import EmbeddedPostgres
from shared.database import CommitUnknown, Database, DatabaseUnavailable
from shared.database.errors import translated
from tests.fixtures.database_proxy import Fault, Proxy

SYNC = b"S\0\0\0\4"


@pytest.fixture
def proxy(postgres_server: EmbeddedPostgres) -> Iterator[Proxy]:
    with Proxy(postgres_server.socket_folder / f".s.PGSQL.{postgres_server.port}") as running:
        yield running


@pytest.fixture
def name(empty_database_url: str) -> str:
    """A database with a table of notes."""
    database = Database(empty_database_url)
    with database.transaction() as tx:
        tx.run("CREATE TABLE notes (text text)")
    database.close()
    return empty_database_url.split("/")[3].split("?")[0]


@pytest.fixture
def notes(proxy: Proxy, name: str) -> Iterator[Database]:
    database = Database(proxy.url(name), statement_timeout_s=1)
    yield database
    database.close()


def write(database: Database, text: str) -> None:
    with database.transaction() as tx:
        tx.run("INSERT INTO notes VALUES (:text)", text=text)


def read(database: Database) -> list[str]:
    with database.transaction() as tx:
        return [row["text"] for row in tx.rows("SELECT text FROM notes ORDER BY text")]


@pytest.mark.parametrize(
    ("fault", "stored"), [("cut after it was done", ["a"]), ("cut before it arrives", []), ("silent", ["a"])]
)
def test_a_commit_without_an_answer_is_unknown_and_can_be_read_afterwards(
    notes: Database, proxy: Proxy, fault: Fault, stored: list[str]
) -> None:
    assert read(notes) == []
    proxy.fault, proxy.trigger = fault, b"COMMIT\0"
    with pytest.raises(CommitUnknown):
        write(notes, "a")
    proxy.fault = "none"
    assert read(notes) == stored


@pytest.mark.parametrize("fault", ["cut after it was done", "cut before it arrives", "silent"])
def test_a_statement_without_an_answer_did_nothing(notes: Database, proxy: Proxy, fault: Fault) -> None:
    assert read(notes) == []
    proxy.fault, proxy.trigger = fault, b"INSERT"
    with pytest.raises(DatabaseUnavailable, match="Nothing was done"):
        write(notes, "a")
    proxy.fault = "none"
    assert read(notes) == []


@pytest.mark.parametrize("fault", ["cut after it was done", "cut before it arrives"])
def test_a_connection_cut_while_we_were_frozen_is_replaced(notes: Database, proxy: Proxy, fault: Fault) -> None:
    assert read(notes) == []
    proxy.fault, proxy.trigger = fault, b"BEGIN"
    with pytest.raises(DatabaseUnavailable):
        read(notes)
    assert proxy.connections == 2  # the kept one, and one more: the fault was still there
    proxy.fault = "none"
    write(notes, "a")
    assert read(notes) == ["a"]


def test_a_connection_forgotten_silently_while_we_were_frozen_is_replaced_soon(notes: Database, proxy: Proxy) -> None:
    assert read(notes) == []
    proxy.forget_open_connections()
    began = time.monotonic()
    write(notes, "a")
    assert time.monotonic() - began < 20
    assert read(notes) == ["a"]
    assert proxy.connections == 2


def test_begin_and_the_first_statement_leave_in_one_piece(notes: Database, proxy: Proxy) -> None:
    assert read(notes) == []
    proxy.sent.clear()
    write(notes, "a")
    first, last = proxy.sent
    assert [first.count(sql) for sql in (b"BEGIN", b"statement_timeout", b"INSERT", SYNC)] == [1, 1, 1, 1]
    assert [last.count(sql) for sql in (b"COMMIT", SYNC)] == [1, 1]


def test_a_read_whose_commit_was_not_answered_is_read_again(notes: Database, proxy: Proxy) -> None:
    assert read(notes) == []
    proxy.forget_open_connections()
    assert notes.rows("SELECT text FROM notes") == []
    assert proxy.connections == 2


def test_a_change_whose_commit_was_not_answered_is_not_repeated(notes: Database, proxy: Proxy) -> None:
    insert = "INSERT INTO notes VALUES (:text) RETURNING text"
    for change in (notes.change, notes.run):
        read(notes)
        proxy.fault, proxy.trigger = "cut after it was done", b"COMMIT\0"
        with pytest.raises(CommitUnknown):
            change(insert, text="a")
        proxy.fault = "none"
    assert read(notes) == ["a", "a"]


def test_a_silent_connection_leaves_time_for_another(proxy: Proxy, name: str) -> None:
    """Safaricom does not send a callback again: its bytes are tried over a new connection while there is time."""
    patient = Database(proxy.url(name), connect_timeout_s=2, statement_timeout_s=3)
    assert read(patient) == []
    proxy.forget_open_connections()
    began = time.monotonic()
    with pytest.raises(CommitUnknown):
        patient.run("INSERT INTO notes VALUES (:text)", text="a")
    assert time.monotonic() - began < 3.5  # the answer to a statement may take 4 s
    patient.close()


@pytest.mark.parametrize(("severity", "sqlstate"), [("FATAL", "08P01"), ("FATAL", "57P01"), ("ERROR", "08006")])
def test_whoever_ends_the_connection_at_commit_does_not_say_what_happened(severity: str, sqlstate: str) -> None:
    """A pooler sends errors of its own, after it has forwarded COMMIT."""
    fields = {"S": severity, "V": severity, "C": sqlstate}
    assert isinstance(translated(fields, committing=True), CommitUnknown)
    assert isinstance(translated(fields), DatabaseUnavailable)
