"""Where backups are kept: a folder, or a bucket of any store that speaks S3. Whole or not at all, and never deleted.

`daily/` holds one a day, `monthly/` the first of each month: so a rule of the store (docs/backups/lifecycle.json) can
keep each for its own time, and the key that writes need not delete.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from ops.backups import BackupFailed
from ops.backups.manifest import Manifest
from ops.session import WrongUse

UNFINISHED = ".part"
LEFT_BEHIND_AFTER_S = 900
"""A file that is being written changes every few seconds."""
PART_BYTES = 16 * 2**20
"""Of an upload; a store takes 10,000 parts, so 160 GB."""
WAITS_S = 60


class Sink(Protocol):
    def write(self, data: bytes, /) -> int: ...


class Store(Protocol):
    place: str
    """Without credentials."""

    def writing(self, name: str) -> contextlib.AbstractContextManager[Sink]:
        """Kept under `name` when the block ends; where it raises, nothing is kept. Raises `BackupFailed`."""

    def kept(self, folder: str = "") -> dict[str, int]:
        """What is there now, by name (`daily/lipa-…`): bytes. Raises `BackupFailed`."""

    def fetched(self, name: str) -> contextlib.AbstractContextManager[Path]:
        """One of those, as a file on this machine while the block lasts. Raises `BackupFailed`."""


def store_at(to: str) -> Store:
    """Of `--to`. Raises `WrongUse`."""
    if not to.startswith("s3://"):
        if re.match(r"[a-z0-9+]{2,}://", to):
            raise WrongUse("backups go into a folder, or to s3://BUCKET/PREFIX; other stores speak S3 too")
        return Folder(Path(to))
    bucket, _, prefix = to.removeprefix("s3://").partition("/")
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", bucket) or not re.fullmatch(r"[\w./=-]*", prefix):
        raise WrongUse("a bucket is named s3://BUCKET/PREFIX, without a key, a host or spaces")
    return Bucket(bucket, prefix.strip("/"))


def only_ours(path: str, flags: int) -> int:
    """Opens a new file that nobody else on this machine can read."""
    return os.open(path, flags, mode=0o600)


def name_for(store: Store, manifest: Manifest) -> str:
    """In `monthly/` where that has no backup of this month yet, so a day without one loses no month."""
    month = f"monthly/lipa-{manifest.environment}-{manifest.at:%Y%m}"
    has_one = any(name.startswith(month) for name in store.kept("monthly/"))
    return f"{'daily' if has_one else 'monthly'}/{manifest.name}"


class Folder:
    """On this machine: another disk, or a share."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.place = str(folder.absolute())

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[Sink]:
        path = self._folder / name
        unfinished = path.with_name(path.name + UNFINISHED)
        with self._explained():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._tidy(path.parent)
            if path.exists():
                raise BackupFailed(f"{path} is there already: two backups were made in the same second")
            file = open(unfinished, "xb", opener=only_ours)  # noqa: SIM115  # closed below, before it is renamed
            try:
                with file:
                    yield file
                    file.flush()
                    os.fsync(file.fileno())
                unfinished.rename(path)
            except BaseException:
                unfinished.unlink(missing_ok=True)
                raise
            if os.name == "posix":  # the name, too, is on the disk
                folder = os.open(path.parent, os.O_RDONLY)
                try:
                    os.fsync(folder)
                finally:
                    os.close(folder)

    def kept(self, folder: str = "") -> dict[str, int]:
        with self._explained():
            files = [path for path in self._folder.glob(f"{folder or '*/'}lipa-*.age") if path.is_file()]
            return {path.relative_to(self._folder).as_posix(): path.stat().st_size for path in sorted(files)}

    @contextlib.contextmanager
    def fetched(self, name: str) -> Iterator[Path]:
        yield self._folder / name

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as failed:
            raise BackupFailed(
                f"nothing was kept in {self.place}: {failed.strerror or type(failed).__name__}"
            ) from None

    def _tidy(self, folder: Path) -> None:
        """What a run that was killed left behind. Its name is no backup's, and it has no good end."""
        for path in folder.glob(f"lipa-*.age{UNFINISHED}"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > LEFT_BEHIND_AFTER_S:
                    path.unlink()


class Bucket:
    """By boto3, which reads the usual AWS_… variables: AWS_ENDPOINT_URL for stores of others. Nothing is deleted."""

    def __init__(self, bucket: str, prefix: str) -> None:
        self._bucket, self._prefix = bucket, f"{prefix}/" if prefix else ""
        self.place = f"s3://{bucket}/{prefix}".rstrip("/")

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[Sink]:
        with self._explained("written to"):
            upload = _Upload(self._client(), {"Bucket": self._bucket, "Key": self._prefix + name})
            try:
                yield upload
            except BaseException:
                upload.abort()
                raise
            try:
                upload.complete()
            except Exception:
                if self.kept(name.rpartition("/")[0] + "/").get(name) == upload.size:
                    return  # it was completed, and the answer was lost
                upload.abort()
                raise

    def kept(self, folder: str = "") -> dict[str, int]:
        found: dict[str, int] = {}
        with self._explained("listed"):
            pages = self._client().get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix + folder):
                for each in page.get("Contents", []):
                    name = each["Key"].removeprefix(self._prefix)
                    if re.fullmatch(r"\w+/lipa-[\w-]+\.age", name):
                        found[name] = each["Size"]
        return found

    @contextlib.contextmanager
    def fetched(self, name: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="lipa-backup-") as folder:
            path = Path(folder) / Path(name).name
            with self._explained("read"):
                self._client().download_file(self._bucket, self._prefix + name, str(path))
            yield path

    def _client(self) -> Any:
        import boto3
        from botocore.config import Config

        settings = Config(
            connect_timeout=10,
            read_timeout=WAITS_S,
            retries={"mode": "standard", "max_attempts": 4},
            request_checksum_calculation="when_required",  # stores of others refuse what AWS takes
            response_checksum_validation="when_required",
        )
        session = boto3.Session()
        try:  # an empty region, as a workflow gives for a variable that is not set, is none
            return session.client("s3", region_name=session.region_name or "us-east-1", config=settings)
        except ValueError:
            raise WrongUse("AWS_ENDPOINT_URL must hold an address, like https://s3.example.com") from None

    @contextlib.contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

        not_done = f"{self.place} cannot be {what}: "
        try:
            yield
        except NoCredentialsError:
            raise BackupFailed(f"{not_done}set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY") from None
        except ClientError as refused:
            code = str(refused.response.get("Error", {}).get("Code", ""))
            raise BackupFailed(not_done + REFUSALS.get(code, f"the store answers {code[:60]}")) from None
        except BotoCoreError as failed:
            raise BackupFailed(
                f"{not_done}the store did not answer ({type(failed).__name__}): AWS_ENDPOINT_URL?"
            ) from None


NOT_OURS = (
    "the store refuses this key. Is the bucket yours, and may the key s3:PutObject, s3:AbortMultipartUpload and "
    "s3:ListBucket?"
)
WRONG_KEY = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not a pair that this store knows"
REFUSALS = {
    "NoSuchBucket": "there is no such bucket at this store: is its name right, and AWS_ENDPOINT_URL?",
    "404": "there is no such bucket at this store: is its name right, and AWS_ENDPOINT_URL?",
    **dict.fromkeys(("AccessDenied", "AllAccessDisabled", "403"), NOT_OURS),
    **dict.fromkeys(("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken"), WRONG_KEY),
    **dict.fromkeys(
        ("PermanentRedirect", "AuthorizationHeaderMalformed", "301"), "set AWS_DEFAULT_REGION to the bucket's region"
    ),
    "RequestTimeTooSkewed": "this machine's clock is wrong: set it",
}


class _Upload:
    """In parts. Until it is completed nothing is kept under its name; the store's rule removes what a kill leaves."""

    def __init__(self, client: Any, where: dict[str, str]) -> None:
        self._client = client
        self._where = {**where, "UploadId": client.create_multipart_upload(**where)["UploadId"]}
        self._waiting = bytearray()
        self._parts: list[dict[str, Any]] = []
        self.size = 0

    def write(self, data: bytes) -> int:
        self._waiting += data
        self.size += len(data)
        if len(self._waiting) >= PART_BYTES:
            self._send()
        return len(data)

    def complete(self) -> None:
        self._send()
        self._client.complete_multipart_upload(**self._where, MultipartUpload={"Parts": self._parts})

    def abort(self) -> None:
        with contextlib.suppress(Exception):
            self._client.abort_multipart_upload(**self._where)

    def _send(self) -> None:
        number = len(self._parts) + 1
        answer = self._client.upload_part(**self._where, PartNumber=number, Body=bytes(self._waiting))
        self._parts.append({"PartNumber": number, "ETag": answer["ETag"]})
        self._waiting.clear()
