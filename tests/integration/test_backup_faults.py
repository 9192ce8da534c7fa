"""`ops backup` where something fails: killed at any step, disk full, database gone. Never a half that looks whole."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import ops.backup
from ops.backups import BackupFailed, UnusableBackup
from ops.backups.store import Folder
from shared.database import Database, Row
from tests.fixtures.backup_keeper import Keeper
from tests.integration.test_backup import SECRETS, files

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
