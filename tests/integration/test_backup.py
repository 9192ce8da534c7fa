"""`ops backup`: everything of one moment, whole or not at all, known to the database, by a role that can do no more."""

from __future__ import annotations

import hashlib
import stat
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
from ops.backups import archive, manifest, tools
from ops.backups.store import Folder, name_for
from shared.database import Database, NotAllowed, connection_settings
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
