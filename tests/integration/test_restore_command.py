"""`ops restore`: a backup comes back as it was, into an empty database, or nothing changes and a sentence says why."""

from __future__ import annotations

import io
import os
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pyrage
import pytest

from db.migrate import grant_roles, migrate, read_migrations
from dev.postgres import EmbeddedPostgres
from ops import restore
from ops.__main__ import main
from ops.backups import archive, manifest
from ops.backups.manifest import differences, signing_key
from shared.audit_chain import AuditKey
from shared.database import Database
from shared.settings import audit_settings
from tests.fixtures.backups import Vault, contents, is_empty, last_document, vault
from tests.fixtures.database import fresh_database
from tests.fixtures.shop import Shop
from tests.integration.test_privacy import THREE_DAYS, erase, settled

__all__ = ["vault"]


@pytest.fixture
def backup(shop: Shop, vault: Vault) -> Path:
    """Of a shop where one has paid, one was erased, and one is about to pay."""
    settled(shop)
    shop.sweep()
    shop.age(THREE_DAYS)
    assert erase(shop) == 0
    settled(shop, phone_number="254722000000")
    shop.pay(phone_number="254711000000")
    return vault.back_up(shop.database_url)


@pytest.fixture
def empty(empty_database_url: str) -> str:
    return empty_database_url


def refused(vault: Vault, file: Path, into: str, capsys: pytest.CaptureFixture[str], **environment: str) -> str:
    """What is said. Nothing is in the database afterwards."""
    assert vault.restore(file, into, **environment) in (1, 2)
    assert is_empty(into)
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said


# It comes back --------------------------------------------------------------------------------------------------------


def test_a_backup_comes_back_and_everything_in_it_is_checked(
    shop: Shop, backup: Path, vault: Vault, each_postgres: EmbeddedPostgres, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(shop.database_url)
    with fresh_database(each_postgres) as name:
        capsys.readouterr()
        assert vault.restore(backup, each_postgres.url(name), "--who", "amina", "--json") == 0
        document = last_document(capsys)
        after = contents(each_postgres.url(name))
        assert differences(before, after) == ["table recoveries has 1 rows, the backup says 0"]
        assert [check["name"] for check in document["checks"]] == ["rows", "checksums", "invariants", "audit", "replay"]
        assert all(check["holds"] and check["found"] == [] for check in document["checks"])
        restored = Database(each_postgres.url(name))
        (recovery,) = restored.rows("SELECT backup_sha256, who, finished_at FROM recoveries")
        assert recovery == {
            "backup_sha256": sha256(backup.read_bytes()).hexdigest(),
            "who": "amina",
            "finished_at": None,
        }
        assert restored.row("SELECT max(id) < nextval('audit_log_id_seq') AS goes_on FROM audit_log") == {
            "goes_on": True
        }
        grant_roles(restored)
        restored.close()


def test_the_password_reaches_no_other_program_and_no_screen(
    backup: Path, vault: Vault, postgres_server: EmbeddedPostgres, capsys: pytest.CaptureFixture[str]
) -> None:
    with fresh_database(postgres_server) as name:
        url = postgres_server.url(name, tcp=True)
        assert vault.restore(backup, url) == 0
        said = capsys.readouterr()
        assert postgres_server.password not in said.out + said.err


def test_a_password_given_in_the_address_itself_is_taken_with_a_warning(
    backup: Path, vault: Vault, postgres_server: EmbeddedPostgres, capsys: pytest.CaptureFixture[str]
) -> None:
    with fresh_database(postgres_server) as name:
        url = postgres_server.url(name, tcp=True)
        assert main(["restore", str(backup), "--identity", str(vault.key), "--into", url], os.environ) == 0
        said = capsys.readouterr()
        assert "name a variable" in said.err
        assert postgres_server.password not in said.out + said.err


def test_an_address_without_a_password_may_be_given_itself(backup: Path, vault: Vault, empty: str) -> None:
    assert main(["restore", str(backup), "--identity", str(vault.key), "--into", empty], os.environ) == 0


@pytest.mark.parametrize("into", ["NO_SUCH_VARIABLE", "postgresql://", "mysql://a@b/c"])
def test_what_is_no_address_is_refused(
    vault: Vault, backup: Path, into: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["restore", str(backup), "--identity", str(vault.key), "--into", into], os.environ) == 2
    assert "--into" in capsys.readouterr().err


def test_a_backup_of_an_older_schema_is_brought_up_to_date(
    shop: Shop, vault: Vault, empty: str, postgres_server: EmbeddedPostgres, capsys: pytest.CaptureFixture[str]
) -> None:
    with fresh_database(postgres_server) as name:
        old = Database(postgres_server.url(name))
        migrate(old, read_migrations()[:5], "sandbox")
        old.close()
        file = vault.back_up(postgres_server.url(name))
    assert vault.restore(file, empty, "--json") == 0
    (migrations,) = [check for check in last_document(capsys)["checks"] if check["name"] == "migrations"]
    assert read_migrations()[-1].name in migrations["says"]
    restored = Database(empty)
    assert migrate(restored, read_migrations()) == []
    restored.close()


def test_a_schema_that_the_host_keeps_for_itself_stays(shop: Shop, backup: Path, vault: Vault, empty: str) -> None:
    record = "CREATE TABLE netlify.migrations (name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
    with shop.books.transaction() as tx:
        tx.script(f"CREATE SCHEMA netlify; {record}; INSERT INTO netlify.migrations VALUES ('0001_schema')")
    hosted = Database(empty)
    with hosted.transaction() as tx:
        tx.script(f"CREATE SCHEMA netlify; {record}; CREATE TABLE netlify.own AS SELECT 1 AS kept")
    assert vault.restore(vault.back_up(shop.database_url), empty) == 0
    assert hosted.rows("SELECT kept FROM netlify.own") == [{"kept": 1}]
    names = [row["name"] for row in hosted.rows("SELECT name FROM netlify.migrations ORDER BY name")]
    assert names == [migration.name for migration in read_migrations()]
    hosted.close()


# Into nothing else ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "something",
    [
        "CREATE TABLE public.customers (id integer)",
        "CREATE SCHEMA lipa",
        "CREATE FUNCTION public.one() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "CREATE VIEW public.things AS SELECT 1 AS thing",
    ],
)
def test_a_database_that_is_not_empty_is_refused(
    backup: Path, vault: Vault, empty: str, something: str, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Database(empty)
    with other.transaction() as tx:
        tx.script(something)
    capsys.readouterr()
    assert vault.restore(backup, empty) == 1
    assert "is not empty" in capsys.readouterr().err
    assert other.row("SELECT to_regclass('public.transactions') AS found") == {"found": None}
    other.close()


def test_the_shops_own_database_is_refused(shop: Shop, backup: Path, vault: Vault) -> None:
    before = contents(shop.database_url)
    assert vault.restore(backup, shop.database_url) == 1
    assert contents(shop.database_url) == before


# Nothing else ---------------------------------------------------------------------------------------------------------


def test_a_wrong_key_is_refused(backup: Path, vault: Vault, empty: str, capsys: pytest.CaptureFixture[str]) -> None:
    vault.key.write_text(str(pyrage.x25519.Identity.generate()))
    assert "none of these keys opens it" in refused(vault, backup, empty, capsys)


def test_another_shops_backup_is_refused(
    backup: Path, vault: Vault, empty: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(vault, backup, empty, capsys, AUDIT_SECRET="the-secret-of-another-shop-0123456789")
    assert "AUDIT_SECRET" in said


def test_without_the_audit_key_it_says_what_to_set(
    backup: Path, vault: Vault, empty: str, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = {"AUDIT_SECRET": "", "MPESA_PASSKEY": "", "MPESA_CONSUMER_SECRET": ""}
    assert vault.restore(backup, empty, **gone) == 2
    assert "AUDIT_SECRET" in capsys.readouterr().err
    assert is_empty(empty)
    assert vault.restore(backup, empty, "--lost-audit-key", "--json", **gone) == 0
    document = last_document(capsys)
    assert [check["name"] for check in document["checks"]] == ["rows", "checksums", "invariants", "replay"]


def test_the_sandboxs_backup_is_refused_in_production(
    backup: Path, vault: Vault, empty: str, capsys: pytest.CaptureFixture[str], shop: Shop
) -> None:
    secret = {"AUDIT_SECRET": audit_settings(os.environ).keys[0].secret, "MPESA_ENV": "production"}
    assert "a backup of the sandbox environment" in refused(vault, backup, empty, capsys, **secret)


def test_a_newer_schema_is_refused(
    backup: Path, vault: Vault, empty: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = read_migrations()
    monkeypatch.setattr(restore, "read_migrations", lambda: known[:-1])
    assert f"the backup has {known[-1].name}" in refused(vault, backup, empty, capsys)


def forged(vault: Vault, said: manifest.Manifest, dump: bytes) -> Path:
    """Encrypted to the right recipient, as anybody can who knows it."""
    path = vault.folder / "forged.age"
    with path.open("wb") as file:
        archive.write(file, said, io.BytesIO(dump), [vault.identity.to_public()])
    return path


def read(vault: Vault, backup: Path) -> tuple[manifest.Manifest, bytes]:
    with archive.opened(backup, [vault.identity]) as (said, dump):
        return said, b"".join(iter(lambda: dump.read(2**16), b""))


def test_a_forged_backup_is_refused(
    shop: Shop, backup: Path, vault: Vault, empty: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said, dump = read(vault, backup)
    another = forged(vault, replace(said, tables={**said.tables, "transactions": manifest.Contents(1, "1-1")}), dump)
    assert "not what was signed" in refused(vault, another, empty, capsys)
    another = forged(vault, said.signed(signing_key(AuditKey("x" * 40))), dump)
    assert "which is not at hand" in refused(vault, another, empty, capsys)
    shop.settled(phone_number="254733000000")
    later = read(vault, vault.back_up(shop.database_url))[1]
    assert "table transactions has 4 rows, the backup says 3" in refused(
        vault, forged(vault, said, later), empty, capsys
    )
    for cut in (0, 100, len(dump) // 2, len(dump) - 10):
        assert "pg_restore cannot read the dump" in refused(vault, forged(vault, said, dump[:cut]), empty, capsys)
