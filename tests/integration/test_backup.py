"""`ops backup`: everything of one moment, whole or not at all, known to the database, by a role that can do no more."""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import stat
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyrage.x25519 import Identity

import ops.backup
from dev.ports import free_port
from dev.postgres import EmbeddedPostgres
from ops.backups import BackupFailed, UnusableBackup, archive, manifest, tools
from ops.backups.store import Folder, name_for
from shared.database import Database, NotAllowed, Row, connection_settings
from shared.gateway.watch import Watch
from tests.fixtures.backup_keeper import SIGNED_WITH, Keeper
from tests.fixtures.pgbouncer import pgbouncer
from tests.fixtures.shop import Shop
from tests.integration.test_backup_form import SAID

SECRETS = ("of-the-backup", "the-audit-secret-of-the-tests")


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


# What is in it --------------------------------------------------------------------------------------------------------


def test_a_backup_brings_every_table_back_and_the_database_knows_of_it(
    shop: Shop, keeper: Keeper, postgres_server: EmbeddedPostgres, tmp_path: Path
) -> None:
    shop.settled(account_reference="FIRST", customer_email="amina@example.com")
    shop.settled("cancel", phone_number="254711000000", amount=700, account_reference="OTHER")
    shop.sweep()
    made = keeper.backup(tmp_path)
    path = Path(str(made["place"]))
    said = keeper.look_inside(path)
    assert path == tmp_path / "monthly" / said.name
    assert said.tables["transactions"].rows == 2
    assert said.migrations[0] == "0001_schema"
    assert manifest.differences(said.tables, keeper.restored(path, postgres_server)) == []
    assert shop.ops("audit", "verify", "--anchor", said.audit) == 0
    (row,) = keeper.noted()
    assert (row["size_bytes"], row["sha256"]) == (path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
    assert row["at"] == said.at
    assert row["facts"]["rows"] == sum(of.rows for of in said.tables.values())
    assert (made["place"], made["sha256"], made["migration"]) == (row["place"], row["sha256"], said.migrations[-1])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_is_paid_while_a_backup_is_made_is_in_the_next_one(
    keeper: Keeper, postgres_server: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before_the_dump = tools.reading

    def paid_meanwhile(*arguments: Any) -> Any:
        keeper.fill(1)
        return before_the_dump(*arguments)

    monkeypatch.setattr(ops.backup, "reading", paid_meanwhile)
    for rows in (0, 11):
        path = Path(str(keeper.backup(tmp_path)["place"]))
        said = keeper.look_inside(path)
        assert said.tables["callback_inbox"].rows == rows
        assert manifest.differences(said.tables, keeper.restored(path, postgres_server)) == []
        time.sleep(1.1)  # names are of seconds


def test_the_first_of_each_month_is_kept_apart(keeper: Keeper, tmp_path: Path) -> None:
    kept = Folder(tmp_path)
    for day, expected in ((30, "monthly"), (31, "daily"), (32, "monthly"), (33, "daily")):
        at = datetime(2026, 9, 30, 23, 30, tzinfo=UTC) + timedelta(days=day)
        said = replace(SAID, at=at)
        name = name_for(kept, said)
        assert name == f"{expected}/{said.name}"
        with kept.writing(name) as file:
            file.write(b"a backup")
    sandbox = replace(SAID, at=datetime(2026, 11, 2, tzinfo=UTC), environment="production")
    assert name_for(kept, sandbox).startswith("monthly/"), "another shop's books are another series"


# Who may make one -----------------------------------------------------------------------------------------------------


def test_its_role_reads_everything_and_writes_nothing_but_its_row(keeper: Keeper, tmp_path: Path) -> None:
    keeper.books.run("CREATE TABLE of_a_later_migration (id bigint GENERATED ALWAYS AS IDENTITY, word text)")
    keeper.books.run("INSERT INTO of_a_later_migration (word) VALUES ('kept')")
    made = keeper.backup(tmp_path)
    assert keeper.look_inside(Path(str(made["place"]))).tables["of_a_later_migration"].rows == 1
    role = Database(keeper.environment["DATABASE_URL"])
    tables = [
        row["tablename"] for row in keeper.books.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    ]
    assert "backups" in tables
    tried = [f"DELETE FROM {table}" for table in tables] + [f"TRUNCATE {table} CASCADE" for table in tables]
    tried += [f"INSERT INTO {table} DEFAULT VALUES" for table in tables if table != "backups"]
    tried += ["UPDATE transactions SET amount = 1", "UPDATE backups SET place = 'x'", "CREATE TABLE mine (id int)"]
    tried += ["SELECT nextval('audit_log_id_seq')", "DELETE FROM lipa.migrations", "SELECT next_invoice_number()"]
    for statement in tried:
        with pytest.raises(NotAllowed):
            role.run(statement)
    role.close()


@pytest.mark.parametrize("change", ["UPDATE backups SET place = 'x'", "DELETE FROM backups", "TRUNCATE backups"])
def test_not_even_the_owner_rewrites_what_was_noted(keeper: Keeper, tmp_path: Path, change: str) -> None:
    keeper.backup(tmp_path)
    with pytest.raises(Exception, match="history_is_kept"):
        keeper.books.run(change)


def test_another_user_an_unused_database_and_no_address_are_refused(
    keeper: Keeper, functions_url: str, tmp_path: Path
) -> None:
    assert "may not write the table backups" in keeper.refused(tmp_path, DATABASE_URL=functions_url)
    assert "DATABASE_URL" in keeper.refused(tmp_path, DATABASE_URL="")
    assert "AUDIT_SECRET" in keeper.refused(tmp_path, AUDIT_SECRET="")
    keeper.books.run("ALTER TABLE installation DISABLE TRIGGER ALL")
    keeper.books.run("DELETE FROM installation")
    assert "nobody has used it yet" in keeper.refused(tmp_path)
    assert files(tmp_path) == []


def test_a_pooled_address_is_refused_with_the_one_to_take(
    keeper: Keeper, postgres_server: EmbeddedPostgres, tmp_path: Path
) -> None:
    port, name = free_port(), connection_settings(keeper.environment["DATABASE_URL"]).database
    pooled = f"postgresql://lipa_backup:of-the-backup@127.0.0.1:{port}/{name}"
    with pgbouncer(postgres_server, port, users={"lipa_backup": "of-the-backup"}):
        assert "same host without -pooler" in keeper.refused(tmp_path, DATABASE_URL=pooled)
    for host in ("ep-a-1-pooler.eu-central-1.aws.neon.tech", "aws-0-eu.pooler.supabase.com", "db.example.com:6543"):
        said = keeper.refused(tmp_path, DATABASE_URL=f"postgresql://u:hidden-word@{host}/shop")
        assert "pooled address" in said
        assert "hidden-word" not in said
    assert files(tmp_path) == []


def test_an_older_pg_dump_is_refused_with_what_to_install(
    keeper: Keeper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "17" / "bin" / "pg_dump"
    old.parent.mkdir(parents=True)
    old.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 17.6'\n", encoding="utf-8")
    old.chmod(0o755)
    monkeypatch.setattr(tools, "DEBIAN", tmp_path)
    monkeypatch.setattr(tools, "PACKAGE", "no_such_package")
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    said = keeper.refused(tmp_path / "kept")
    assert "the server is PostgreSQL 18, and the newest pg_dump here is 17.6: install" in said


def test_what_is_no_recipient_is_refused_and_never_printed(keeper: Keeper, tmp_path: Path) -> None:
    private = str(keeper.identity)
    for wrong in (private, "age1nokey", "me@example.com"):
        said = keeper.refused(tmp_path, "--recipient", wrong)
        assert wrong not in said
    assert "private key" in keeper.refused(tmp_path, "--recipient", private)
    code, said = keeper.run("backup", "--to", str(tmp_path))
    assert (code, "BACKUP_RECIPIENTS" in said) == (2, True)
    assert files(tmp_path) == []


def test_a_cron_line_needs_only_the_environment_and_the_derived_secret(keeper: Keeper, tmp_path: Path) -> None:
    other = Identity.generate()
    code, secret = keeper.run("backup-secret")
    assert (code, secret.strip()) == (0, SIGNED_WITH.secret)
    both = f"{keeper.recipient} {other.to_public()}"
    settings = {"BACKUP_TO": str(tmp_path), "BACKUP_RECIPIENTS": both, "BACKUP_SECRET": secret.strip()}
    code, said = keeper.run("backup", AUDIT_SECRET="", **settings)
    assert code == 0, said
    assert "give a second" not in said
    (row,) = keeper.noted()
    keeper.look_inside(Path(row["place"]))
    keeper.identity = other
    keeper.look_inside(Path(row["place"]))
    assert "BACKUP_SECRET must hold" in keeper.refused(tmp_path, BACKUP_SECRET="short")


def test_a_new_key_is_for_its_owner_alone_and_replaces_none(keeper: Keeper, tmp_path: Path) -> None:
    file = tmp_path / "key.txt"
    code, said = keeper.run("backup-key", str(file))
    (identity,) = archive.identities(file)
    assert (code, str(identity) in said, str(identity.to_public()) in said) == (0, False, True)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert keeper.run("backup-key", str(file))[0] == 1
    assert [str(key) for key in archive.identities(file)] == [str(identity)]


# Missing --------------------------------------------------------------------------------------------------------------


def test_an_alert_comes_36_hours_after_the_last_backup_and_ends(
    keeper: Keeper, tmp_path: Path, functions_url: str
) -> None:
    functions = Database(functions_url)
    watch = Watch(functions)
    assert watch.look() == [], "whoever never made one is not asked to"
    keeper.backup(tmp_path)
    assert watch.look() == []

    def age(hours: int) -> None:
        keeper.books.run("ALTER TABLE backups DISABLE TRIGGER ALL")
        keeper.books.run(f"UPDATE backups SET at = at - interval '{hours} hours'")
        keeper.books.run("ALTER TABLE backups ENABLE TRIGGER ALL")

    age(35)
    assert watch.look() == []
    age(2)
    keeper.books.run(
        """
        INSERT INTO backups (at, place, size_bytes, sha256, recipients, server_version, client_version, migration,
                             facts)
        SELECT now() + interval '1 year', place, size_bytes, sha256, recipients, server_version, client_version,
               migration, facts
        FROM backups
        """
    )
    assert watch.look() == ["backup_missing"], "what a wrong clock put into the future is none"
    (alert,) = keeper.books.rows("SELECT facts FROM outbox WHERE topic = 'backup_missing'")
    assert alert["facts"] == {"hours": 37, "reminder": False}
    time.sleep(1.1)
    keeper.backup(tmp_path)
    keeper.books.run(
        "UPDATE incidents SET seen_at = seen_at - interval '2 hours', alerted_at = alerted_at - interval '2 days'"
    )
    assert watch.look() == []
    functions.close()


def test_the_moment_is_the_databases_whatever_this_machines_clock_says(
    keeper: Keeper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_year_ahead = time.time() + 365 * 86400
    monkeypatch.setattr(time, "time", lambda: a_year_ahead)
    keeper.backup(tmp_path)
    (row,) = keeper.noted()
    (now,) = keeper.books.rows("SELECT now() AS now")
    assert abs((row["at"] - now["now"]).total_seconds()) < 600


# Faults ---------------------------------------------------------------------------------------------------------------

KILLED_AT = {
    "measuring": "ops.backup.measure",
    "the audit log's head": "ops.backup.head",
    "pg_dump starts": "ops.backups.tools.Output.wait_for_first",
    "the file is opened": "ops.backup._Counting",
    "the first bytes": "ops.backup._Counting.write",
    "half of it": "ops.backup._Counting.write 20",
    "before the disk has it": "os.fsync",
    "before it has its name": "pathlib.Path.rename",
    "before the list": "ops.backups.store.Folder.kept 3",
    "before the row": "ops.backup._note",
}
KILLS_ITSELF = """
import os, pydoc, signal, sys
import ops.backup, ops.backups.store, ops.backups.archive
name, _, times = sys.argv[1].partition(" ")
owner, attribute = pydoc.locate(name.rpartition(".")[0]), name.rpartition(".")[2]
real, left = getattr(owner, attribute), int(times or 1)
def step(*arguments, **options):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments, **options)
setattr(owner, attribute, step)
from ops.__main__ import main
sys.exit(main(sys.argv[2:], os.environ))
"""


@pytest.mark.parametrize("step", KILLED_AT)
def test_whoever_is_killed_at_any_step_leaves_no_half_backup(keeper: Keeper, tmp_path: Path, step: str) -> None:
    keeper.fill(3)
    command = [sys.executable, "-c", KILLS_ITSELF, KILLED_AT[step], "backup", "--to", str(tmp_path)]
    killed = subprocess.run(
        [*command, "--recipient", keeper.recipient], env={**os.environ, **keeper.environment}, check=False
    )
    assert killed.returncode == -signal.SIGKILL, "the step was never reached"
    assert keeper.noted() == []
    for name in files(tmp_path):
        if name.endswith(".age"):  # what has a backup's name is one
            keeper.look_inside(tmp_path / name)
        else:
            assert name.endswith(".age.part")
            if step not in ("before the disk has it", "before it has its name"):  # there it is whole already
                with pytest.raises(UnusableBackup):
                    keeper.look_inside(tmp_path / name)
            os.utime(tmp_path / name, (time.time() - 1000,) * 2)
    time.sleep(1.1)
    keeper.backup(tmp_path)
    assert [name for name in files(tmp_path) if not name.endswith(".age")] == [], "the next run tidies"
    assert len(keeper.noted()) == 1


def test_a_full_disk_keeps_nothing_and_says_so(keeper: Keeper, tmp_path: Path) -> None:
    keeper.fill(3)

    def small_disk() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    command = [sys.executable, "-m", "ops", "backup", "--to", str(tmp_path), "--recipient", keeper.recipient]
    ended = subprocess.run(
        command,
        env={**os.environ, **keeper.environment},
        preexec_fn=small_disk,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, "nothing was kept in" in ended.stderr) == (2, True), ended.stderr
    assert files(tmp_path) == []
    assert keeper.noted() == []


def test_a_disk_that_fills_at_the_very_end_keeps_nothing(
    keeper: Keeper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert "No space left on device" in keeper.refused(tmp_path)
    assert files(tmp_path) == []


def test_a_database_that_goes_away_in_the_middle_keeps_nothing(
    keeper: Keeper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper.fill(5)
    write = ops.backup._Counting.write
    gone: list[Row] = []

    def network_ends(self: ops.backup._Counting, data: bytes) -> int:
        if not gone:
            gone.extend(
                keeper.books.rows(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pg_dump'"
                )
            )
        return write(self, data)

    monkeypatch.setattr(ops.backup._Counting, "write", network_ends)
    said = keeper.refused(tmp_path)
    assert len(gone) == 1
    assert "pg_dump failed" in said
    assert files(tmp_path) == []
    assert keeper.noted() == []
    assert not any(secret in said for secret in SECRETS)


def test_a_backup_that_the_database_cannot_note_counts_as_missing(
    keeper: Keeper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = ops.backup._note

    def locked(database: Database, *what: Any) -> None:
        keeper.books.run("REVOKE INSERT ON backups FROM lipa_backup")
        note(database, *what)

    monkeypatch.setattr(ops.backup, "_note", locked)
    assert "is whole, and the database could not note it" in keeper.refused(tmp_path)
    assert len(files(tmp_path)) == 1


def test_two_in_one_second_overwrite_nothing(keeper: Keeper, tmp_path: Path) -> None:
    kept = Folder(tmp_path)
    with kept.writing("daily/lipa-a.age") as file:
        file.write(b"first")
    with pytest.raises(BackupFailed, match="same second"), kept.writing("daily/lipa-a.age") as file:
        file.write(b"second")
    assert (tmp_path / "daily" / "lipa-a.age").read_bytes() == b"first"


def test_a_file_that_is_being_written_is_not_tidied_away(tmp_path: Path) -> None:
    kept = Folder(tmp_path)
    with kept.writing("daily/lipa-a.age") as first:
        first.write(b"first")
        with kept.writing("daily/lipa-b.age") as second:
            second.write(b"second")
    assert files(tmp_path) == ["daily/lipa-a.age", "daily/lipa-b.age"]


def test_a_place_that_is_none_is_refused(keeper: Keeper, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert "nothing was kept in" in keeper.refused(tmp_path / "file")
    assert "s3://BUCKET/PREFIX" in keeper.refused("gs://bucket/lipa")
    assert "s3://BUCKET/PREFIX" in keeper.refused("s3://user:word@host/lipa")
