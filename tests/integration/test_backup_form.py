"""The form of a backup: what is measured, signed and encrypted comes back, and nothing else is taken for it."""

from __future__ import annotations

import io
import random
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyrage
import pytest
from pyrage.x25519 import Identity

from db.migrate import migrate, read_migrations
from dev.postgres import EmbeddedPostgres
from ops.backups import BackupFailed, Damaged, NotABackup, UnusableBackup, WrongKey, archive, manifest, tools
from ops.backups.loading import load
from ops.backups.manifest import Contents, Manifest
from ops.session import WrongUse
from shared.audit_chain import AuditKey
from shared.database import ConnectionSettings, Database, connection_settings
from tests.fixtures.database import fresh_database
from tests.fixtures.shop import Shop

KEY = manifest.signing_key(AuditKey("a secret of the shop's"))
SAID = Manifest(
    at=datetime(2026, 11, 30, 1, 2, 3, tzinfo=UTC),
    environment="sandbox",
    stamped_at=datetime(2026, 5, 4, 9, tzinfo=UTC),
    server_version="18.4",
    client_version="18.4",
    migrations=("0001_schema", "0002_bounds"),
    tables={"transactions": Contents(2, "12-13"), "lipa.migrations": Contents(2, "7-8")},
    audit="lipa-anchor-1/20260504T090000.000000/0/0/0/" + 43 * "A",
).signed(KEY)


@pytest.fixture
def mine() -> Identity:
    return Identity.generate()


def written(path: Path, dump: bytes, *to: Identity, said: Manifest = SAID) -> Path:
    with path.open("wb") as file:
        archive.write(file, said, io.BytesIO(dump), [identity.to_public() for identity in to])
    return path


def read_back(path: Path, *keys: Identity) -> tuple[Manifest, bytes]:
    with archive.opened(path, keys) as (said, dump):
        return said, dump.read(10**8) + b"".join(iter(lambda: dump.read(10**6), b""))


# Encrypted and signed -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 1, 65536, 1_000_000])
def test_what_was_written_is_read_back_by_each_recipient(tmp_path: Path, mine: Identity, length: int) -> None:
    other, dump = Identity.generate(), random.Random(length).randbytes(length)
    path = written(tmp_path / SAID.name, dump, mine, other)
    assert SAID.name == "lipa-sandbox-20261130T010203Z.age"
    for key in (mine, other):
        said, found = read_back(path, key)
        said.verify([KEY])
        assert (said, found) == (SAID, dump)


def test_nothing_of_a_backup_can_be_read_in_the_file(tmp_path: Path, mine: Identity) -> None:
    path = written(tmp_path / "a.age", b"254712345678" * 1000, mine)
    assert b"254712345678" not in path.read_bytes()
    assert b"transactions" not in path.read_bytes()


def test_a_file_damaged_anywhere_is_refused(tmp_path: Path, mine: Identity) -> None:
    whole = written(tmp_path / "whole.age", random.Random(1).randbytes(300_000), mine).read_bytes()
    chance, path = random.Random(2), tmp_path / "damaged.age"
    damaged: list[bytes] = [whole[: chance.randrange(len(whole))] for _ in range(30)]
    flipped = [chance.randrange(len(whole)) for _ in range(30)]
    damaged += [whole[:at] + bytes([whole[at] ^ 1 << chance.randrange(8)]) + whole[at + 1 :] for at in flipped]
    damaged += [whole + b"\0", whole[:-65536], whole[:200] + whole[400:], b""]
    for data in damaged:
        path.write_bytes(data)
        with pytest.raises(UnusableBackup):
            read_back(path, mine)


def test_what_the_reader_says_of_a_cut_stream_gives_way_to_the_reason(tmp_path: Path, mine: Identity) -> None:
    whole = written(tmp_path / "whole.age", random.Random(1).randbytes(300_000), mine).read_bytes()
    (tmp_path / "cut.age").write_bytes(whole[:200_000])
    with pytest.raises(Damaged), archive.opened(tmp_path / "cut.age", [mine]) as (_, dump):
        while dump.read(10**6):
            pass
        raise RuntimeError("pg_restore: error: could not read from input file: end of file")


def test_a_reader_may_leave_early_with_its_own_error(tmp_path: Path, mine: Identity) -> None:
    path = written(tmp_path / "a.age", random.Random(1).randbytes(3_000_000), mine)
    with pytest.raises(RuntimeError, match="database is not empty"), archive.opened(path, [mine]):
        raise RuntimeError("the database is not empty")


def test_another_key_and_another_kind_of_file_are_refused(tmp_path: Path, mine: Identity) -> None:
    path = written(tmp_path / "a.age", b"dump", Identity.generate())
    with pytest.raises(WrongKey):
        read_back(path, mine)
    path.write_bytes(b"PGDMP, which is no age file")
    with pytest.raises(NotABackup):
        read_back(path, mine)


@pytest.mark.parametrize("inside", [b"holiday.jpg\n\xff\xd8", b"{}\n", b"", b"[1]\nx", b"{" * 9_000_000])
def test_what_else_was_encrypted_to_the_key_is_no_backup(tmp_path: Path, mine: Identity, inside: bytes) -> None:
    (tmp_path / "a.age").write_bytes(pyrage.encrypt(inside, [mine.to_public()]))
    with pytest.raises(NotABackup):
        read_back(tmp_path / "a.age", mine)


@pytest.mark.parametrize(
    "altered",
    [
        replace(SAID, environment="production"),
        replace(SAID, at=datetime(2026, 11, 30, 1, 2, 4, tzinfo=UTC)),
        replace(SAID, stamped_at=datetime(2026, 5, 4, 9, 0, 1, tzinfo=UTC)),
        replace(SAID, server_version="17.1"),
        replace(SAID, migrations=SAID.migrations[:1]),
        replace(SAID, tables={**SAID.tables, "transactions": Contents(1, "12-13")}),
        replace(SAID, tables={**SAID.tables, "transactions": Contents(2, "12-14")}),
        replace(SAID, audit=SAID.audit.replace("0/0/0", "1/1/1")),
        replace(SAID, signature=""),
        replace(SAID, signed_by="00000000"),
    ],
)
def test_whoever_has_no_key_of_the_shop_can_sign_no_backup(altered: Manifest) -> None:
    SAID.verify([manifest.signing_key(AuditKey("a newer secret")), KEY])
    with pytest.raises(WrongKey):
        altered.verify([KEY])
    with pytest.raises(WrongKey):
        SAID.verify([manifest.signing_key(AuditKey("another shop's"))])


def test_a_source_that_fails_in_the_middle_ends_no_file(tmp_path: Path, mine: Identity) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if data := super().read(size):
                return data
            raise BackupFailed("pg_dump failed: the network is gone")

    with (tmp_path / "a.age").open("wb") as file, pytest.raises(BackupFailed, match="network"):
        archive.write(file, SAID, Broken(bytes(200_000)), [mine.to_public()])
    with pytest.raises(UnusableBackup):
        read_back(tmp_path / "a.age", mine)


def test_a_private_key_given_as_a_recipient_is_refused_and_never_shown(mine: Identity) -> None:
    for given in (str(mine), str(mine).lower(), "age1notakey", "ssh-ed25519 AAAAC3Nz", ""):
        with pytest.raises(WrongUse) as refused:
            archive.recipients([str(mine.to_public()), given])
        assert not given or given not in str(refused.value)
    assert [str(each) for each in archive.recipients([str(mine.to_public())])] == [str(mine.to_public())]


def test_an_identity_file_of_age_keygen_is_read_and_others_are_refused(tmp_path: Path, mine: Identity) -> None:
    file = tmp_path / "key.txt"
    file.write_text(f"# created: 2026-11-30\n# public key: {mine.to_public()}\n{mine}\n", encoding="utf-8")
    assert [str(key) for key in archive.identities(file)] == [str(mine)]
    for wrong in (str(mine.to_public()), "", "# nothing", f"{mine}x"):
        file.write_text(wrong, encoding="utf-8")
        with pytest.raises(WrongUse):
            archive.identities(file)
    with pytest.raises(WrongUse):
        archive.identities(tmp_path / "none")


# Measured -------------------------------------------------------------------------------------------------------------


def measured(url: str) -> dict[str, Contents]:
    database = Database(url, statement_timeout_s=0)
    with database.transaction(snapshot=True) as tx:
        found = manifest.measure(tx)
    database.close()
    return found


def test_every_table_is_measured_and_each_change_is_seen(shop: Shop) -> None:
    shop.settled(account_reference="FIRST")
    before = measured(shop.database_url)
    tables = {row["tablename"] for row in shop.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}
    assert before.keys() == tables | {"lipa.migrations"}
    assert before["transactions"].rows == 1
    assert before["erasures"] == Contents(0, "0-0")
    assert measured(shop.database_url) == before
    shop.overwrite("UPDATE transactions SET note = 'leave it at the gate' WHERE account_reference = 'FIRST'")
    after = measured(shop.database_url)
    said = manifest.differences(before, after)
    assert said == ["table transactions has as many rows as the backup says, with other contents"]
    assert manifest.differences(before, {**before, "transactions": Contents(2, "1-1")})
    without = {name: of for name, of in before.items() if name != "invoices"}
    assert manifest.differences(before, without) == ["table invoices is not in the database"]
    assert manifest.differences(without, before) == ["table invoices is not in the backup"]


def test_settings_of_the_database_change_no_checksum(shop: Shop, postgres_server: EmbeddedPostgres) -> None:
    shop.settled()
    before = measured(shop.database_url)
    name = connection_settings(shop.database_url).database
    for setting in ("DateStyle = 'German'", "TimeZone = 'Africa/Nairobi'", "bytea_output = 'escape'"):
        postgres_server.run("psql", "-q", "-d", "postgres", "-c", f'ALTER DATABASE "{name}" SET {setting}')
    assert measured(shop.database_url) == before


def test_a_dump_comes_back_with_the_same_checksums_on_every_version(
    each_postgres: EmbeddedPostgres, tmp_path: Path, mine: Identity
) -> None:
    with fresh_database(each_postgres) as source, fresh_database(each_postgres) as target:
        books, restored = (Database(each_postgres.url(name)) for name in (source, target))
        migrate(books, read_migrations(), "sandbox")
        books.run("INSERT INTO callback_inbox (transaction_id, body) VALUES (gen_random_uuid(), decode('00ff', 'hex'))")
        books.run(
            "INSERT INTO audit_anchors (last_audit_id, row_count, payment_count, digest, day_is_over) "
            "VALUES (0, 0, 0, repeat('a', 64), true)"
        )
        (row,) = books.rows("SELECT current_setting('server_version_num')::int / 10000 AS version")
        dumper, restorer = (tools.program(name, server=row["version"]) for name in ("pg_dump", "pg_restore"))
        assert dumper.major >= row["version"]
        from_here = connection_settings(each_postgres.url(source))
        with (
            tools.reading(dumper, from_here, "-Fc", "--schema=public", "--schema=lipa") as dump,
            (tmp_path / "a.age").open("wb") as file,
        ):
            archive.write(file, SAID, dump, [mine.to_public()])
        with archive.opened(tmp_path / "a.age", [mine]) as (_, dump_again), restored.transaction() as tx:
            load(tx, dump_again, restorer)
        before, after = (measured(each_postgres.url(name)) for name in (source, target))
        assert before["callback_inbox"].rows == 1
        assert manifest.differences(before, after) == []
        books.close()
        restored.close()


# PostgreSQL's programs ------------------------------------------------------------------------------------------------


def test_the_oldest_program_that_is_new_enough_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("14.9", "16.1", "17.2"):
        said = f"#!/bin/sh\necho 'pg_dump (PostgreSQL) {version} (Debian {version}-1)'\n"
        file = tmp_path / version / "bin" / "pg_dump"
        file.parent.mkdir(parents=True)
        file.write_text(said, encoding="utf-8")
        file.chmod(0o755)
    monkeypatch.setattr(tools, "DEBIAN", tmp_path)
    monkeypatch.setattr(tools, "PACKAGE", "no_such_package")
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    assert [tools.program("pg_dump", server=server).version for server in (15, 16, 17)] == ["16.1", "16.1", "17.2"]
    with pytest.raises(BackupFailed, match=r"server is PostgreSQL 18.* newest pg_dump here is 17\.2.*client-18"):
        tools.program("pg_dump", server=18)
    with pytest.raises(BackupFailed, match="there is no pg_restore here"):
        tools.program("pg_restore", server=15)


def read_all(dumper: tools.Program, settings: ConnectionSettings, *arguments: str) -> None:
    with tools.reading(dumper, settings, *arguments) as output:
        output.read()


def test_a_program_that_fails_gives_its_reason_and_no_secret(shop: Shop) -> None:
    dumper = tools.program("pg_dump", server=18)
    there = connection_settings(shop.database_url)
    wrong = there._replace(host="127.0.0.1", socket_path=None, port=1, password="hidden-word")
    with pytest.raises(BackupFailed, match=r"pg_dump failed: error: connection to server at") as failed:
        read_all(dumper, wrong)
    assert "hidden-word" not in str(failed.value)
    with pytest.raises(BackupFailed, match="pg_dump failed: error: no matching schemas"):
        read_all(dumper, there, "--schema=none")
    said = "pg_restore: error: COPY failed: key is there\nDETAIL:  Key (phone)=(254712345678)\n"
    assert tools.in_its_words(said, None) == "error: COPY failed: key is there"
    assert tools.in_its_words("FATAL: hidden-word is wrong", "hidden-word") == "FATAL: … is wrong"


def test_a_program_connects_with_the_trust_of_every_other_command() -> None:
    far = connection_settings("postgresql://u:p%40ss@db.example.com:6000/shop?channel_binding=require&sslmode=require")
    found = tools.environment(far)
    expected = {"PGHOST": "db.example.com", "PGPORT": "6000", "PGUSER": "u", "PGPASSWORD": "p@ss", "PGDATABASE": "shop"}
    assert {name: found[name] for name in expected} == expected
    assert (found["PGSSLMODE"], found["PGCHANNELBINDING"]) == ("verify-full", "require")
    assert Path(found["PGSSLROOTCERT"]).is_file()
    private = connection_settings("postgresql://u@db.example.com/shop?sslmode=verify-ca&sslrootcert=shared/own.pem")
    assert (tools.environment(private)["PGSSLMODE"], tools.environment(private)["PGSSLROOTCERT"]) == (
        "verify-ca",
        "shared/own.pem",
    )
    near = tools.environment(connection_settings("postgresql://u@/shop?host=/run/postgres"))
    assert (near["PGHOST"], near["PGSSLMODE"]) == ("/run/postgres", "disable")
    assert "PGPASSWORD" not in near
