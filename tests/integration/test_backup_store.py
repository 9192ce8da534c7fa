"""Backups in a bucket: over HTTP to a store that speaks S3, with a key that may write and list, and nothing else."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

import ops.backup
from ops.backups import store as stores
from tests.fixtures.backup_keeper import Keeper
from tests.fixtures.s3_store import BUCKET, Store
from tests.integration.test_backup_faults import KILLS_ITSELF

TO = f"s3://{BUCKET}/lipa"


def test_a_key_that_may_not_delete_or_read_makes_a_backup(
    keeper: Keeper, s3_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "PART_BYTES", 5 * 2**20)
    keeper.fill(7)
    made = keeper.backup(TO)
    ((name, data),) = s3_store.kept().items()
    assert made["place"] == f"s3://{BUCKET}/{name}"
    assert name.startswith("lipa/monthly/lipa-sandbox-")
    assert (len(data), hashlib.sha256(data).hexdigest()) == (made["size_bytes"], made["sha256"])
    assert s3_store.admin.get_object(Bucket=BUCKET, Key=name)["ETag"].endswith('-2"'), "it went up in two parts"
    (tmp_path / "copy.age").write_bytes(data)
    assert keeper.look_inside(tmp_path / "copy.age").tables["callback_inbox"].rows == 77
    (row,) = keeper.noted()
    assert row["place"] == made["place"]
    for forbidden in ("delete_object", "get_object"):
        with pytest.raises(ClientError, match="AccessDenied"):
            getattr(s3_store.as_backups(), forbidden)(Bucket=BUCKET, Key=name)
    time.sleep(1.1)
    assert "/lipa/daily/lipa-sandbox-" in keeper.backup(TO)["place"]
    assert s3_store.unfinished() == []


@pytest.mark.parametrize(
    ("to", "environment", "says"),
    [
        ("s3://no-such-bucket/lipa", {}, "the store refuses this key"),
        ("s3://of-somebody-else/lipa", {}, "the store refuses this key"),
        (TO, {"AWS_ACCESS_KEY_ID": "AKIAUNKNOWN"}, "not a pair that this store knows"),
        (TO, {"AWS_SECRET_ACCESS_KEY": "hidden-word"}, "not a pair that this store knows"),
        (TO, {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "the store did not answer"),
        (TO, {"AWS_ENDPOINT_URL": "no address"}, "AWS_ENDPOINT_URL must hold an address"),
        (TO, {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "set AWS_ACCESS_KEY_ID"),
    ],
)
def test_a_bucket_that_is_wrong_or_not_ours_is_named_before_any_work(
    keeper: Keeper,
    s3_store: Store,
    monkeypatch: pytest.MonkeyPatch,
    to: str,
    environment: dict[str, str],
    says: str,
) -> None:
    monkeypatch.setattr(ops.backup, "measure", None)
    monkeypatch.setenv("HOME", "/nonexistent")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    said = keeper.refused(to)
    assert says in said
    held = [s3_store.environment["AWS_SECRET_ACCESS_KEY"], s3_store.environment["AWS_ACCESS_KEY_ID"], "hidden-word"]
    assert not any(secret in said for secret in held)
    assert (s3_store.kept(), keeper.noted()) == ({}, [])


def test_a_key_that_may_see_every_bucket_is_told_that_there_is_none(
    keeper: Keeper, s3_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3_store.root.items():
        monkeypatch.setenv(name, value)
    assert "there is no such bucket" in keeper.refused("s3://no-such-bucket/lipa")


def test_a_bucket_that_is_read_only_keeps_nothing(
    keeper: Keeper, s3_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3_store.reads.items():
        monkeypatch.setenv(name, value)
    assert "cannot be written to: the store refuses this key" in keeper.refused(TO)
    assert (s3_store.kept(), keeper.noted()) == ({}, [])


def test_a_database_that_fails_in_the_middle_leaves_no_upload(
    keeper: Keeper, s3_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> int:
        raise OSError("the network is gone")

    monkeypatch.setattr(ops.backup._Counting, "write", fails)
    assert "the network is gone" in keeper.refused(TO)
    assert (s3_store.kept(), s3_store.unfinished(), keeper.noted()) == ({}, [], [])


@pytest.mark.parametrize("step", ["upload_part", "complete_multipart_upload"])
def test_a_network_that_goes_away_in_the_middle_leaves_nothing_that_looks_whole(
    keeper: Keeper, s3_store: Store, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """From that step on nobody answers at the store's address."""
    real = stores.Bucket._client

    def client(bucket: stores.Bucket) -> Any:
        made = real(bucket)

        def nobody_answers(**_: object) -> None:
            monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
            dead = real(bucket)
            made.abort_multipart_upload = dead.abort_multipart_upload
            getattr(dead, step)(**_)

        setattr(made, step, nobody_answers)
        return made

    monkeypatch.setattr(stores.Bucket, "_client", client)
    assert "the store did not answer" in keeper.refused(TO)
    assert (s3_store.kept(), len(s3_store.unfinished()), keeper.noted()) == ({}, 1, [])
    monkeypatch.undo()
    for name, value in s3_store.environment.items():
        monkeypatch.setenv(name, value)
    keeper.backup(TO)
    assert (len(s3_store.kept()), len(keeper.noted())) == (1, 1)


def test_an_upload_that_was_completed_and_whose_answer_was_lost_is_kept(
    keeper: Keeper, s3_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete = stores._Upload.complete

    def answer_lost(upload: stores._Upload) -> None:
        complete(upload)
        raise ClientError({"Error": {"Code": "NoSuchUpload"}}, "CompleteMultipartUpload")

    monkeypatch.setattr(stores._Upload, "complete", answer_lost)
    keeper.backup(TO)
    assert (len(s3_store.kept()), len(keeper.noted())) == (1, 1)


def test_what_is_listed_with_another_size_is_no_good_backup(
    keeper: Keeper, s3_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete = stores._Upload.complete

    def cut(upload: stores._Upload) -> None:
        complete(upload)
        s3_store.admin.put_object(Bucket=BUCKET, Key=upload._where["Key"], Body=b"half")

    monkeypatch.setattr(stores._Upload, "complete", cut)
    said = keeper.refused(TO)
    assert "has 4 bytes: look at it" in said
    assert keeper.noted() == []


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("RequestTimeTooSkewed", "this machine's clock is wrong"),
        ("PermanentRedirect", "set AWS_DEFAULT_REGION"),
        ("ServiceUnavailable", "the store answers ServiceUnavailable"),
    ],
)
def test_other_answers_of_a_store_are_explained(
    keeper: Keeper, s3_store: Store, monkeypatch: pytest.MonkeyPatch, code: str, says: str
) -> None:
    def answers(*_: object, **__: object) -> None:
        raise ClientError({"Error": {"Code": code}}, "CreateMultipartUpload")

    monkeypatch.setattr(stores._Upload, "__init__", answers)
    assert says in keeper.refused(TO)
    assert s3_store.kept() == {}


KILLED_AT = {
    "the upload began": "ops.backups.store._Upload.write",
    "a part went up": "ops.backups.store._Upload._send 2",
    "before it is completed": "ops.backups.store._Upload.complete",
    "before the list": "ops.backups.store.Bucket.kept 3",
    "before the row": "ops.backup._note",
}


@pytest.mark.parametrize("step", KILLED_AT)
def test_whoever_is_killed_while_it_goes_up_leaves_no_half_backup(
    keeper: Keeper, s3_store: Store, tmp_path: Path, step: str
) -> None:
    keeper.fill(18)
    command = [sys.executable, "-c", KILLS_ITSELF, KILLED_AT[step], "backup", "--to", TO]
    killed = subprocess.run(
        [*command, "--recipient", keeper.recipient], env={**os.environ, **keeper.environment}, check=False
    )
    assert killed.returncode == -signal.SIGKILL, "the step was never reached"
    assert keeper.noted() == []
    kept = s3_store.kept()
    assert len(kept) == (step in ("before the list", "before the row"))
    assert len(kept) + len(s3_store.unfinished()) == 1, "the store's rule clears what was not completed"
    for data in kept.values():
        (tmp_path / "kept.age").write_bytes(data)
        keeper.look_inside(tmp_path / "kept.age")
