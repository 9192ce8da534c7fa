"""`ops drill`: a backup is tried out beside the shop, and how it went is recorded; nothing of it stays."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ops import drill
from ops.__main__ import main
from shared.database import Database
from shared.gateway.watch import Watch
from tests.fixtures.backups import Vault, last_document, vault
from tests.fixtures.database import Console
from tests.fixtures.s3_store import BUCKET, Store, s3_store
from tests.fixtures.shop import Shop

__all__ = ["s3_store", "vault"]
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the scratch server works."""
    folder = tmp_path / "scratch"
    monkeypatch.setattr(drill, "SCRATCH", folder)
    return folder


@pytest.fixture
def backed_up(shop: Shop, vault: Vault) -> Path:
    shop.settled()
    shop.sweep()
    return vault.back_up(shop.database_url)


def drilled(shop: Shop, vault: Vault, *which: str) -> int:
    return shop.ops("drill", *which, "--identity", str(vault.key), "--who", "amina", "--json")


def left_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_the_last_backup_is_tried_out_and_recorded(
    shop: Shop, vault: Vault, scratch: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.settled()
    vault.back_up_by_command(shop.database_url)
    (last,) = vault.folder.glob("*/*.age")
    (last.parent / "lipa-sandbox-20200101T000000Z.age").write_bytes(b"an older one")
    (last.parent / "lipa-staging-20990101T000000Z.age").write_bytes(b"not of this environment")
    capsys.readouterr()
    assert drilled(shop, vault, "--from", str(vault.folder)) == 0
    document = last_document(capsys)
    names = ["rows", "checksums", "invariants", "audit", "replay"]
    assert [check["name"] for check in document["checks"] if check["holds"]] == names
    (row,) = shop.rows("SELECT * FROM drills")
    assert (row["is_good"], row["found"], row["who"]) == (True, None, "amina")
    (backup,) = shop.rows("SELECT at, sha256, size_bytes FROM backups")
    recorded = {"at": row["taken_at"], "sha256": row["backup_sha256"], "size_bytes": row["backup_bytes"]}
    assert recorded == {**backup, "at": backup["at"].replace(microsecond=0)}
    assert left_in(scratch) == ["lock"]
    assert shop.rows("SELECT * FROM recoveries") == []


def test_the_last_backup_comes_from_a_bucket(
    shop: Shop, vault: Vault, s3_store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.settled()
    place = f"s3://{BUCKET}/lipa"
    vault.back_up_by_command(shop.database_url, place)
    assert drilled(shop, vault, "--from", place) == 2  # the key that writes backups may not read them
    assert "the store refuses this key" in capsys.readouterr().out
    for name, value in s3_store.reads.items():
        monkeypatch.setenv(name, value)
    assert drilled(shop, vault, "--from", place) == 0
    assert shop.rows("SELECT is_good FROM drills") == [{"is_good": True}]


def test_a_backup_that_cannot_be_restored_is_recorded_as_not_good(
    shop: Shop, vault: Vault, backed_up: Path, scratch: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = backed_up.read_bytes()
    backed_up.write_bytes(whole[:-100])
    assert drilled(shop, vault, str(backed_up)) == 2
    (row,) = shop.rows("SELECT is_good, found FROM drills")
    assert row["is_good"] is False
    assert "cut off or altered" in row["found"]
    assert left_in(scratch) == ["lock"]
    backed_up.write_bytes(whole)
    assert drilled(shop, vault, str(backed_up)) == 0


def test_books_that_are_wrong_in_the_backup_make_no_good_drill(
    shop: Shop, vault: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    paid = shop.settled()
    shop.overwrite("UPDATE audit_log SET reason = 'forged' WHERE transaction_id = CAST(:id AS uuid)", id=paid)
    file = vault.back_up(shop.database_url)
    shop.overwrite("UPDATE audit_log SET reason = NULL WHERE transaction_id = CAST(:id AS uuid)", id=paid)
    capsys.readouterr()
    assert drilled(shop, vault, str(file)) == 1
    (audit,) = [check for check in last_document(capsys)["checks"] if not check["holds"]]
    assert audit["name"] == "audit"
    assert "is not what was signed" in shop.row("SELECT found FROM drills WHERE NOT is_good")["found"]


def test_a_drill_that_is_killed_leaves_nothing_to_the_next(
    shop: Shop, vault: Vault, backed_up: Path, scratch: Path
) -> None:
    arguments = ["drill", str(backed_up), "--identity", str(vault.key)]
    begins = f"from pathlib import Path; from ops import drill; drill.SCRATCH = Path({str(scratch)!r}); import os, sys"
    runs = f"{begins}; from ops.__main__ import main; main({arguments!r}, os.environ)"
    killed = subprocess.Popen(
        [sys.executable, "-c", runs], cwd=ROOT, env={**os.environ, "DATABASE_URL": shop.database_url}
    )
    while not (scratch / "data").exists():
        assert killed.poll() is None
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    assert shop.rows("SELECT * FROM drills") == []
    assert drilled(shop, vault, str(backed_up)) == 0
    assert left_in(scratch) == ["lock"]


def test_nothing_is_begun_that_could_not_be_recorded(
    shop: Shop, backed_up: Path, vault: Vault, functions_url: str, empty_database_url: str, scratch: Path
) -> None:
    for url in (functions_url, empty_database_url):
        environ = {**os.environ, "DATABASE_URL": url}
        assert main(["drill", "--from", str(vault.folder), "--identity", str(vault.key)], environ) == 2
    assert not scratch.exists()


def test_a_folder_without_a_backup_is_told(shop: Shop, vault: Vault, capsys: pytest.CaptureFixture[str]) -> None:
    assert drilled(shop, vault, "--from", str(vault.folder)) == 1
    assert "there is no backup" in capsys.readouterr().out


# The alert ------------------------------------------------------------------------------------------------------------


def recorded(books: Console, days_ago: float, *, good: bool = True) -> None:
    books.rows(
        """
        INSERT INTO drills (began_at, took_s, taken_at, backup_sha256, backup_bytes, is_good, found, who)
        VALUES (now() - interval '1 day' * CAST(:days AS float8), 60, now(), repeat('a', 64), 1, :good,
                CASE WHEN NOT :good THEN 'x' END, 'amina') RETURNING id
        """,
        days=days_ago,
        good=good,
    )


def test_a_drill_is_due_a_hundred_days_after_the_last_good_one(database: Database) -> None:
    books, watch = Console(database), Watch(database)
    books.rows("INSERT INTO installation (environment) VALUES ('sandbox') RETURNING 1")
    assert watch.look() == []
    recorded(books, 99)
    assert watch.look() == []
    recorded(books, 101)
    assert watch.look() == []  # the last one counts
    books.overwrite("DELETE FROM drills")
    recorded(books, 101)
    recorded(books, 1, good=False)
    assert watch.look() == ["drill_due"]
    recorded(books, 0)
    books.overwrite("DELETE FROM incidents")
    assert watch.look() == []


def test_a_first_drill_is_due_a_hundred_days_after_the_first_backup(database: Database) -> None:
    books, watch = Console(database), Watch(database)
    books.rows("INSERT INTO installation (environment) VALUES ('sandbox') RETURNING 1")
    for days, alerts in ((0, []), (99, []), (101, ["drill_due"])):
        books.rows(
            """
            INSERT INTO backups (at, place, size_bytes, sha256, recipients, server_version, client_version, migration,
                                 facts)
            VALUES (now() - interval '1 day' * CAST(:days AS float8), '/b', 1, repeat('a', 64), '{a}', '18', '18', 'x',
                    '{}') RETURNING id
            """,
            days=days,
        )
        assert watch.look() == alerts
