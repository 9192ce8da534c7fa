"""`LocalStack`: the whole platform on this machine, for `make dev`, `make demo` and tests.

PostgreSQL, Daraja's simulator, the real Netlify CLI with the functions, and the schedule that calls `sweep` (every few
seconds, where Netlify does it every minute).

What is promised:
- Ports are checked before anything is started; for one that is taken you read who has it and what to do.
- However this process ends, kill -9 included, nothing that it started keeps running, and the database starts again.
- Nothing outside `.lipa`, `.netlify` and `node_modules` is written, and nothing of the caller's own M-Pesa, mail or
  database settings (environment, .env files) reaches the functions: money and mail stay on this machine.
- Two stacks at once, on different ports, each have their own database.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Self

import requests

from dev import keeper
from dev.build import NETLIFY
from dev.ports import free_port, require_free
from dev.postgres import EmbeddedPostgres, PostgresFault
from simulator import SimulatorSettings

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / ".lipa"
DATABASE = "lipa"
READY_WITHIN_S = 180.0
SWEEP_EVERY_S = 5.0

GENEROUS_LIMITS = {
    "PHONE_PUSHES_PER_HOUR": "1000", "PHONE_UNANSWERED_PUSHES": "1000",
    "ADDRESS_PUSHES_PER_HOUR": "10000", "SHOP_PUSHES_PER_MINUTE": "3000",
}  # fmt: skip
"""The developer, or a test, is all the customers of this shop, at one address. `LIMITS=on make dev` is without it."""

Listener = Callable[[str, str], None]
"""Is given the part and the line that it printed."""

LOCAL = requests.Session()
LOCAL.trust_env = False
LOCAL.headers["Connection"] = "close"
"""HTTP on this machine, never through a proxy; no connection is kept, since servers come and go."""


class StackFault(Exception):
    """The local stack cannot run; the message says why and what to do."""


class FolderBusy(StackFault):
    """Another stack keeps its state in this folder."""

    def __init__(self, about: Mapping[str, int]) -> None:
        self.about = about
        super().__init__(
            f"The local stack of this folder is running already: http://127.0.0.1:{about.get('port', '?')}/ "
            f"(process {about.get('pid', '?')}). Use that one, or stop it, or start a second one on other ports: "
            "PORT=8898 SIM_PORT=8899 make dev"
        )


class LocalStack:
    """The platform on this machine, as a context manager: inside, everything answers.

    `state` is the folder for database and logs. Port None means a free one. `listener` is given every line that a part
    prints, from threads of ours. With `sweep_every_s=None` nobody calls `sweep` but you. `settings` are environment
    variables of the functions that differ from the stack's own.
    """

    def __init__(
        self,
        state: Path = STATE,
        *,
        port: int | None = None,
        simulator_port: int | None = None,
        sweep_every_s: float | None = SWEEP_EVERY_S,
        durable: bool = True,
        settings: Mapping[str, str] | None = None,
        listener: Listener | None = None,
    ) -> None:
        self.state = state
        self.logs = state / "logs"
        self.port = port or free_port()
        self.simulator_port = simulator_port or free_port()
        self.site_url = f"http://127.0.0.1:{self.port}"
        self.simulator_url = f"http://127.0.0.1:{self.simulator_port}"
        self._sweep_every_s = sweep_every_s
        self._settings = dict(settings or {})
        self._listener = listener
        self._postgres = EmbeddedPostgres(state / "postgres", durable=durable)
        self._parts: list[Part] = []
        self._lock: IO[str] | None = None
        self._over = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def database_url(self) -> str:
        return self._postgres.url(DATABASE)

    def start(self) -> None:
        """Returns when all parts answer. Raises PortTaken, FolderBusy, StackFault; nothing is left running then."""
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends all parts, the database last. Harmless when nothing runs."""
        self._over.set()
        for part in self._parts:
            keeper.ask_to_end(part.keeper)
        for part in self._parts:
            part.end()
        self._parts.clear()
        self._postgres.stop()
        if self._lock is not None:
            self._lock.truncate(0)
            self._lock.close()
            self._lock = None

    def check(self) -> None:
        """Raises StackFault where a part ended by itself."""
        for part in self._parts:
            part.require_running()
        if not self._postgres.running:
            raise StackFault(f"PostgreSQL ended by itself. Its last lines:\n{tail_of(self._postgres.log)}")

    def sweep(self) -> int:
        """Calls the scheduled function once, as the platform's clock does; gives the HTTP status."""
        return LOCAL.post(f"{self.site_url}/.netlify/functions/sweep", data="{}", timeout=40).status_code

    def environment(self) -> dict[str, str]:
        """The environment of every part: the caller's, with all of the product's variables replaced."""
        every_variable = re.findall(r"^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(encoding="utf-8"), re.MULTILINE)
        ours = {
            **dict.fromkeys(every_variable, ""),  # an empty value also hides the one of a .env file
            **SimulatorSettings().environment(self.simulator_url),
            "MPESA_CALLBACK_URL": f"{self.site_url}/api/mpesa/callback",
            "DATABASE_URL": self.database_url,
            "INVOICE_EMAIL_FROM": "invoices@shop.example",
            "INVOICE_EMAIL_REPLY_TO": "support@shop.example",
            "SHOP_NAME": "Duka la Mfano",
            "SWEEP_IDLE_MINUTES": "0",  # this database does not sleep
            "ALLOWED_ORIGINS": f"{self.site_url},http://localhost:{self.port}",
            **GENEROUS_LIMITS,
            **self._settings,
        }
        home = self.state / "home"
        tools = {
            "PATH": os.pathsep.join([str(ROOT / ".venv" / "bin"), os.environ.get("PATH", os.defpath)]),
            "PYTHON_FUNCTIONS_PYTHON": sys.executable,
            "PYTHONUNBUFFERED": "1",
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            # the CLI's own settings, caches and questions stay in our folder, and it looks for no updates
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / ".config"),
            "NODE_COMPILE_CACHE": str(STATE / "node-cache"),
            "NO_UPDATE_NOTIFIER": "1",
            "BROWSER": "none",
            "NO_COLOR": "1",
            "FORCE_COLOR": "0",
            "NODE_OPTIONS": f"--require {json.dumps(str(ROOT / 'dev' / 'loopback.cjs'), ensure_ascii=False)}",
        }
        kept_back = {"PORT", "SIM_PORT", "LIMITS", "NETLIFY_AUTH_TOKEN", "NETLIFY_SITE_ID", "PYTHONPATH", "PYTHONHOME"}
        inherited = {name: value for name, value in os.environ.items() if name not in kept_back}
        return inherited | ours | tools

    # How it is done --------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        try:
            self.logs.mkdir(parents=True, exist_ok=True)
            self._lock = locked(self.state, {"pid": os.getpid(), "port": self.port})
        except OSError as refused:
            raise StackFault(
                f"Nothing can be written into {shown(self.state)} ({refused.strerror}), where the local stack keeps "
                "its database and logs: use a checkout of your own."
            ) from None
        require_free(self.port, "PORT", "the shop")
        require_free(self.simulator_port, "SIM_PORT", "the simulator")
        for folder in (".config/netlify", "Library/Preferences/netlify"):  # of the CLI, on Linux and macOS
            path = self.state / "home" / folder / "config.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"telemetryDisabled": True}), encoding="utf-8")
        env = self.environment()
        command = [sys.executable, "-m", "simulator", "--port", str(self.simulator_port)]
        simulator = self._part("simulator", command, env)
        netlify = self._part("netlify", netlify_dev(self.port), env)
        try:
            self._postgres.start()
        except PostgresFault as fault:
            raise StackFault(str(fault)) from None
        self._migrate(env)
        simulator.wait_until_it_answers(f"{self.simulator_url}/control/info")
        netlify.wait_until_it_answers(f"{self.site_url}/")
        netlify.wait_until_it_answers(f"{self.site_url}/api/mpesa/status/00000000-0000-4000-8000-000000000000")
        if self._sweep_every_s is not None:
            threading.Thread(target=self._tick, args=(self._sweep_every_s,), daemon=True).start()

    def _part(self, name: str, command: list[str], env: Mapping[str, str]) -> Part:
        part = Part(name, command, env, self.logs / f"{name}.log", self._listener)
        self._parts.append(part)
        return part

    def _migrate(self, env: Mapping[str, str]) -> None:
        if "1" not in self._postgres.run("psql", "-Atc", f"SELECT 1 FROM pg_database WHERE datname = '{DATABASE}'"):  # noqa: S608
            self._postgres.run("createdb", DATABASE)
        command = [sys.executable, "-m", "db.migrate"]
        done = subprocess.run(
            command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise StackFault(
                f"The database in {shown(self.state)} could not be brought up to date.\n{done.stdout}{done.stderr}"
                f"If you do not need its data, remove {shown(self.state / 'postgres')} and run the command again."
            )

    def _tick(self, every_s: float) -> None:
        while not self._over.wait(every_s):
            with contextlib.suppress(OSError):
                self.sweep()


class Part:
    """One program of the stack, under a keeper that ends it with us. Its lines go to a log and a listener."""

    def __init__(
        self, name: str, command: list[str], env: Mapping[str, str], log: Path, listener: Listener | None
    ) -> None:
        self.name = name
        self.log = log
        self.keeper = keeper.keep(command, cwd=ROOT, env=env, stdout=subprocess.PIPE)
        self._reader = threading.Thread(target=self._read, args=(listener,), daemon=True)
        self._reader.start()

    def require_running(self) -> None:
        code = self.keeper.poll()
        if code is not None:
            self._reader.join(timeout=2)
            raise StackFault(f"{self.name} ended by itself (exit code {code}). Its last lines:\n{tail_of(self.log)}")

    def wait_until_it_answers(self, url: str) -> None:
        """Until it gives any HTTP answer that is not the platform's own error."""
        give_up = time.monotonic() + READY_WITHIN_S
        last_answer = "no answer"
        while time.monotonic() < give_up:
            self.require_running()
            try:
                answer = LOCAL.get(url, timeout=30)
                is_ours = answer.headers.get("Content-Type", "").startswith("application/problem+json")
                if answer.ok or (answer.status_code < 500 and is_ours):
                    return
                last_answer = f"HTTP {answer.status_code} {answer.text[:2000]}"
            except OSError:  # requests' own are such
                pass
            time.sleep(0.05)
        raise StackFault(
            f"{self.name} did not answer at {url} within {READY_WITHIN_S:.0f} s ({last_answer}). Its last lines:\n"
            f"{tail_of(self.log)}"
        )

    def end(self) -> None:
        keeper.end(self.keeper)
        self._reader.join(timeout=2)

    def _read(self, listener: Listener | None) -> None:
        assert self.keeper.stdout is not None
        with self.keeper.stdout as lines, self.log.open("w", encoding="utf-8") as log:
            for raw in lines:
                line = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\u200b", "", raw.decode("utf-8", "replace")).rstrip()
                print(line, file=log, flush=True)
                if listener is not None:
                    listener(self.name, line)


def locked(state: Path, about: Mapping[str, int]) -> IO[str]:
    """The folder's lock, with a line about the stack that holds it. Raises FolderBusy."""
    lock = (state / "stack.lock").open("a+", encoding="ascii")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.seek(0)
        with lock, contextlib.suppress(ValueError):
            about = json.load(lock)
        raise FolderBusy(about) from None
    lock.truncate(0)
    json.dump(about, lock)
    lock.flush()
    return lock


def netlify_dev(port: int) -> list[str]:
    """The real CLI, without what would use the network or open a window."""
    command = [*NETLIFY, "dev", "--offline", "--no-open", "--internal-disable-edge-functions"]
    return [*command, "--skip-gitignore", "--port", str(port), "--staticServerPort", str(free_port())]


def shown(path: Path) -> str:
    """A path as the developer, who stands in the repository's folder, would write it."""
    return os.path.relpath(path, ROOT) if path.is_relative_to(ROOT) else str(path)


def tail_of(log: Path) -> str:
    """The last lines of a log, and where the others are."""
    lines: list[str] = []
    with contextlib.suppress(OSError):
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
    return "\n".join(f"    {line}" for line in lines) + f"\n  (all of it: {shown(log)})"
