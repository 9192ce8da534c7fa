"""A backup as a file: age-encrypted to every recipient; inside, the manifest's line, then pg_dump's custom format.

Both ways are streams: nothing unencrypted is ever on a disk. The end of such a file is marked, and each piece carries
its own proof, so a file that was cut off or altered is found out, at the latest at its end: believe nothing before.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

import pyrage
from pyrage.x25519 import Identity, Recipient

from ops.backups import Damaged, NotABackup, UnusableBackup, WrongKey
from ops.backups.manifest import Manifest, read
from ops.session import WrongUse

LONGEST_LINE = 2**22
PRIVATE = "AGE-SECRET-KEY-"


class Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class Writable(Protocol):
    def write(self, data: bytes, /) -> int: ...


# Writing --------------------------------------------------------------------------------------------------------------


def write(to: Writable, manifest: Manifest, dump: Readable, recipients: Sequence[Recipient]) -> None:
    """The whole file. `dump` must raise where it did not come to its good end: nothing whole is written then."""
    first, writer = _ManifestFirst(manifest.line, dump), _Carrier(to)
    try:
        pyrage.encrypt_io(first, writer, list(recipients))
    except Exception as failed:  # pyrage puts our own errors into its words
        raise first.failed or writer.failed or failed from None


class _ManifestFirst:
    def __init__(self, line: bytes, rest: Readable) -> None:
        self._line, self._rest = line, rest
        self.failed: Exception | None = None

    def read(self, size: int = -1) -> bytes:
        if self._line:
            given, self._line = self._line[:size], self._line[size:]
            return given
        try:
            return self._rest.read(size)
        except Exception as failed:
            self.failed = failed
            raise


class _Carrier:
    """Gives on what it is given, in larger pieces, and remembers what went wrong."""

    def __init__(self, to: Writable) -> None:
        self._to = to
        self.failed: Exception | None = None

    def write(self, data: bytes) -> int:
        try:
            self._to.write(bytes(data))
        except Exception as failed:
            self.failed = failed
            raise
        return len(data)

    def flush(self) -> None:
        """Whoever opened the file flushes it."""


# Reading --------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def opened(path: Path, identities: Sequence[Identity]) -> Iterator[tuple[Manifest, BinaryIO]]:
    """The manifest, and the dump as a pipe that pg_restore can read while it is decrypted.

    Whoever ends the block without an exception has read the file to its good end: what it left is read then. Raises
    `NotABackup`, `WrongKey` or `Damaged`, also in place of what the block raised because the stream ended early.
    `Manifest.verify` is the caller's.
    """
    from_pipe, to_pipe = os.pipe()
    splitter = _Splitter(to_pipe)
    with path.open("rb") as file, os.fdopen(from_pipe, "rb", buffering=0) as dump:
        thread = threading.Thread(target=splitter.decrypt, args=(file, list(identities)), daemon=True)
        thread.start()
        try:
            splitter.first_line_read.wait()
            if splitter.failed is not None:
                raise splitter.failed
            yield read(splitter.line), dump
            while dump.read(2**20):
                pass
        except BaseException:
            dump.close()  # ends the thread, should it still write
            thread.join()
            if splitter.failed is not None:
                raise splitter.failed from None
            raise
        thread.join()
        if splitter.failed is not None:
            raise splitter.failed


class _Splitter:
    """Keeps the first line, and writes the rest into the pipe. Works in a thread of its own."""

    def __init__(self, pipe: int) -> None:
        self.line = b""
        self.first_line_read = threading.Event()
        self.failed: UnusableBackup | None = None
        self._pipe = pipe
        self._reader_left = False

    def decrypt(self, file: BinaryIO, identities: list[Identity]) -> None:
        try:
            pyrage.decrypt_io(file, self, identities)
            if not self.first_line_read.is_set():
                self.failed = NotABackup("it is encrypted to this key, and is no backup of Lipa's")
        except UnusableBackup as refused:
            self.failed = refused
        except Exception as failed:
            if not self._reader_left:
                self.failed = _understood(failed)
        finally:
            os.close(self._pipe)
            self.first_line_read.set()

    def write(self, data: bytes) -> int:
        given, rest = len(data), bytes(data)
        if not self.first_line_read.is_set():
            before, newline, rest = rest.partition(b"\n")
            self.line += before
            if not self.line.startswith(b"{"[: len(self.line)]) or len(self.line) > LONGEST_LINE:
                raise NotABackup("it is encrypted to this key, and is no backup of Lipa's")
            if newline:
                self.first_line_read.set()
        while rest:
            try:
                rest = rest[os.write(self._pipe, rest) :]
            except OSError:
                self._reader_left = True
                raise
        return given

    def flush(self) -> None:
        """A pipe keeps nothing back."""


def _understood(failed: Exception) -> UnusableBackup:
    said = str(failed)
    if isinstance(failed, pyrage.DecryptError):
        if "No matching keys" in said:
            return WrongKey("none of these keys opens it: take the identity file of one of its recipients")
        return NotABackup("it is no age file, or was cut off at its beginning: take another copy")
    return Damaged("it was cut off or altered, so nothing in it can be believed: take another copy, or another backup")


# Keys -----------------------------------------------------------------------------------------------------------------


def recipients(texts: Sequence[str]) -> list[Recipient]:
    """Public keys of age, like age1…. Raises `WrongUse`, which never shows what was given."""
    if any(text.strip().upper().startswith(PRIVATE) for text in texts):
        raise WrongUse(
            "a private key was given as a recipient. Whoever saw this command can read your backups: make a new pair "
            "with `ops backup-key`, and give the public key, which begins with age1"
        )
    found: list[Recipient] = []
    for number, text in enumerate(dict.fromkeys(each.strip() for each in texts), 1):
        try:
            found.append(Recipient.from_str(text))
        except pyrage.RecipientError:
            raise WrongUse(f"recipient {number} is no public key of age: those begin with age1") from None
    return found


def fingerprint(recipient: Recipient) -> str:
    """Sixteen hex digits, for people who compare keys."""
    return hashlib.sha256(str(recipient).encode()).hexdigest()[:16]


def identities(path: Path) -> list[Identity]:
    """The private keys of an identity file, as age-keygen or `ops backup-key` makes it. Raises `WrongUse`."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        return [
            Identity.from_str(line.strip()) for line in lines if line.strip() and not line.startswith("#")
        ] or _none(path)
    except OSError as failed:
        raise WrongUse(f"{path} cannot be read: {failed.strerror}") from None
    except (UnicodeDecodeError, pyrage.IdentityError):
        return _none(path)


def _none(path: Path) -> list[Identity]:
    raise WrongUse(f"{path} is no identity file of age: a line in it begins with {PRIVATE}")
