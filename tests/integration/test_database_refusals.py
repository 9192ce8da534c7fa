"""A database that takes no login, has no tables or gives no right: the caller gets 503, the operator a sentence."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from db.migrate import main as migrate
from dev.ports import free_port
from dev.postgres import EmbeddedPostgres
from ops.__main__ import main as ops
from shared.database import Database, LoginRefused, NotAllowed, NotMigrated
from shared.database.errors import login_refused
from tests.fixtures.database import FUNCTIONS, FUNCTIONS_PASSWORD, outside_of_transactions
from tests.fixtures.pgbouncer import PGBOUNCER, pgbouncer
from tests.fixtures.shop import NOBODY, Shop, forget_collaborators


@contextmanager
def a_proxy_that_says(severity: str, sqlstate: str, message: str) -> Iterator[int]:
    """In place of a login, as the proxies before hosted databases do."""
    fields = {"S": severity, "V": severity, "C": sqlstate, "M": message}
    body = b"".join(name.encode() + value.encode() + b"\0" for name, value in fields.items()) + b"\0"
    answer = b"E" + (len(body) + 4).to_bytes(4, "big") + body

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                client.recv(4096)
                client.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


HOSTED = {
    "Neon: the month is used up": (
        "ERROR",
        "XX000",
        "Your account or project has exceeded the compute time quota. Upgrade your plan to increase limits.",
    ),
    "Neon: no such endpoint": ("ERROR", "XX000", "The requested endpoint could not be found, or you don't have access"),
    "Neon: paused by its owner": ("ERROR", "XX000", "The endpoint has been disabled. Enable it using Neon API"),
    "Supabase's pooler: no such tenant": ("FATAL", "XX000", "Tenant or user not found"),
    "Supabase's pooler: full": ("FATAL", "XX000", "Max client connections reached"),
    "PgBouncer: no such user": ("FATAL", "08P01", "no such user: lipa"),
    "PgBouncer: full": ("FATAL", "08P01", "no more connections allowed (max_client_conn)"),
    "too many": ("FATAL", "53300", "sorry, too many clients already"),
    "starting": ("FATAL", "57P03", "the database system is starting up"),
    "a host rule": (
        "FATAL",
        "28000",
        'no pg_hba.conf entry for host "10.0.0.7", user "lipa", database "lipa", no encryption',
    ),
}


@pytest.mark.parametrize("case", HOSTED)
def test_a_refused_login_keeps_the_servers_words(
    case: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    severity, sqlstate, message = HOSTED[case]
    with a_proxy_that_says(severity, sqlstate, message) as port:
        url = f"postgresql://lipa:s3cret@127.0.0.1:{port}/lipa"
        with pytest.raises(LoginRefused) as refused:
            Database(url).rows("SELECT 1")
        assert message in str(refused.value)
        assert refused.value.sqlstate == sqlstate
        environ = {"DATABASE_URL": url}
        assert migrate(["--check"], environ) == 3
        assert ops(["verify"], environ) == 2
    said = capsys.readouterr().err
    assert said.count(refused.value.explained()) == 2
    assert "s3cret" not in said


def test_a_refusal_shows_no_secret_and_fits_into_a_log_line() -> None:
    said = login_refused({"C": "28P01", "M": "bad pässword s3cret of amina@shop.example 254722000000\n" * 9}, "s3cret")
    assert "s3cret" not in str(said)
    assert "254722000000" not in str(said)
    assert str(said).isascii()
    assert len(str(said)) < 400


@pytest.fixture
def broken(
    shop: Shop, postgres_server: EmbeddedPostgres, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], str]:
    """Points the functions at a database that refuses in one of the ways below; what the operator reads of it."""
    path, port = urlsplit(shop.database_url).path, postgres_server.port
    empty = urlsplit(empty_database_url).path

    def breaks(how: str) -> str:
        user = f"{FUNCTIONS}:{FUNCTIONS_PASSWORD}"
        url, says = {
            "password": (f"{FUNCTIONS}:wrong@127.0.0.1:{port}{path}", "SQLSTATE 28P01"),
            "user": (f"nobody:x@127.0.0.1:{port}{path}", "SQLSTATE 28P01"),
            "database": (f"{user}@127.0.0.1:{port}/nowhere", "no database of this name"),
            "not migrated": (f"{user}@127.0.0.1:{port}{empty}", "make migrate"),
            "no rights": (f"unknown:unknown@127.0.0.1:{port}{path}", "db.migrate --roles"),
            "may not log in": (f"guest:x@127.0.0.1:{port}{path}", "let it log in"),
        }[how]
        monkeypatch.setenv("DATABASE_URL", f"postgresql://{url}")
        forget_collaborators()
        return says

    return breaks


@pytest.fixture
def strangers(postgres_server: EmbeddedPostgres) -> Iterator[None]:
    """A role that may log in and nothing else, and one that may not log in."""
    outside_of_transactions(
        postgres_server, "CREATE ROLE unknown LOGIN PASSWORD 'unknown'; CREATE ROLE guest PASSWORD 'x'"
    )
    yield
    outside_of_transactions(postgres_server, "DROP ROLE unknown; DROP ROLE guest")


@pytest.mark.parametrize("how", ["password", "user", "database", "not migrated", "no rights", "may not log in"])
def test_every_function_answers_503_and_logs_the_sentence(
    shop: Shop, strangers: None, broken: Callable[[str], str], how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    callback = shop.callback_path(NOBODY)
    says = broken(how)
    capsys.readouterr()
    shop.request_lasts_s = 6  # so a callback is tried for a second; test_database_wakes.py has the whole time
    replies = {
        "stkpush": shop.pay(),
        "status": shop.status(NOBODY),
        "invoice": shop.call("invoice", "POST", "/api/mpesa/invoice", {"transaction_id": NOBODY}),
        "sweep": shop.sweep(),
        "callback": shop.call("callback", "POST", callback, {"Body": {}}),
    }
    swept = replies.pop("sweep")  # nobody reads its answer; each of its steps logs what it stumbled over
    assert swept.status in (500, 503)
    assert {(reply.status, reply.body["code"]) for reply in replies.values()} == {(503, "unavailable")}
    assert any(("'while_doing'" in line or "'function': 'sweep'" in line) and says in line for line in shop.logged)
    for name in replies:
        assert any(f"'function': '{name}'" in line and says in line for line in shop.logged), name
    assert ops(["verify"], dict(os.environ)) == 2
    assert says in capsys.readouterr().err
    forget_collaborators()


@pytest.mark.skipif(not Path(PGBOUNCER).exists(), reason="PgBouncer is not installed (Debian: pgbouncer)")
def test_a_password_that_a_pooler_refuses_is_a_refused_login(
    postgres_server: EmbeddedPostgres, empty_database_url: str
) -> None:
    port = free_port()
    with pgbouncer(postgres_server, port):
        for user in ("postgres:wrong", "nobody:x"):
            url = f"postgresql://{user}@127.0.0.1:{port}{urlsplit(empty_database_url).path}"
            with pytest.raises(LoginRefused, match=r"(?i)auth|no such user"):
                Database(url).rows("SELECT 1")


def test_what_is_missing_and_what_is_not_allowed_are_told_apart(database_url: str, functions_url: str) -> None:
    owner, functions = Database(database_url), Database(functions_url)
    with pytest.raises(NotAllowed, match="permission denied for table audit_log") as refused:
        functions.run("DELETE FROM audit_log")
    assert "db.migrate --roles" in refused.value.explained()
    owner.run("ALTER TABLE sweeps RENAME COLUMN began_at TO something_else")
    for sql in ("SELECT began_at FROM sweeps", "SELECT * FROM tomorrow", "SELECT next_thing(1)"):
        with pytest.raises(NotMigrated, match="does not exist") as missing:
            owner.rows(sql)
        assert "make migrate" in missing.value.explained()
    owner.close()
    functions.close()
