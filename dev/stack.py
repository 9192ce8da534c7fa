"""`make dev`: the whole platform on this machine, left running until Ctrl-C.

PostgreSQL, Daraja's simulator, the real Netlify CLI with the functions, and the schedule that calls `sweep` (every few
seconds, where Netlify does it every minute). `LocalStack` is the same thing for `make demo` and for tests.

What is promised:
- Ports are looked at before anything is started; one that is taken is told with its holder and what to do.
- However this process ends, kill -9 included, nothing it started goes on running, and the database starts again.
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
import shlex
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Self

from dev import keeper
from dev.ports import PortTaken, free_port, port_from_environment, require_free
from dev.postgres import EmbeddedPostgres, PostgresFault
from dev.terminal import Terminal
from shared.settings import audit_settings

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / ".lipa"
SITE_PORT, SIMULATOR_PORT = 8888, 8890
DATABASE = "lipa"
READY_WITHIN_S = 90.0
SWEEP_EVERY_S = 5.0

PUBLISHED_SANDBOX_PASSKEY = "bfb279f9aa9bdbcf158e97dd71a467cd2e0c893059b10f78e6b72ada1ed2c919"
"""Not a secret: Safaricom prints it in its documentation, for everybody's sandbox."""

OPTIONAL_VARIABLES = (
    "NETLIFY_DB_URL", "MPESA_TRANSACTION_TYPE", "MPESA_PARTY_B", "CALLBACK_SECRET", "CALLBACK_SECRET_PREVIOUS",
    "AUDIT_SECRET", "AUDIT_SECRET_PREVIOUS", "CALLBACK_IP_MODE", "CONFIRM_ABOVE_KES", "MAX_PAYMENT_KES",
    "MAX_PHONE_KES_PER_DAY", "MAX_SHOP_KES_PER_DAY", "NOTICES", "SENDGRID_SANDBOX", "SENTRY_DSN", "SENTRY_RELEASE",
    "SMTP_URL", "SHOP_ADDRESS", "SHOP_KRA_PIN",
)  # fmt: skip
"""Set to nothing unless the stack's user says otherwise: what is empty also hides the value of a .env file."""

ONE_PERSON_IS_EVERYBODY = {
    "PHONE_PUSHES_PER_HOUR": "1000", "PHONE_UNANSWERED_PUSHES": "1000",
    "ADDRESS_PUSHES_PER_HOUR": "10000", "SHOP_PUSHES_PER_MINUTE": "3000",
}  # fmt: skip
"""The developer, or a test, is all the customers of this shop, at one address; the limits would be in the way."""
LIMITS_AS_DEPLOYED = dict.fromkeys(ONE_PERSON_IS_EVERYBODY, "")
"""`LIMITS=on make dev`."""

Listener = Callable[[str, str], None]
"""Takes (part, line) of what a part of the stack printed."""


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
    prints, from threads of ours. `sweep_every_s=None`: nobody calls `sweep` but you. `settings` are environment
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
        self._ticker: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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
        """Ends all parts, the database last and properly. Harmless when nothing runs."""
        self._over.set()
        for part in self._parts:
            part.ask_to_end()
        for part in self._parts:
            part.wait_until_ended()
        self._parts.clear()
        if self._ticker is not None:
            self._ticker.join(timeout=1)
        self._postgres.stop()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def check(self) -> None:
        """Raises StackFault where a part ended by itself."""
        for part in self._parts:
            part.require_running()
        if not self._postgres.running:
            raise StackFault(f"PostgreSQL ended by itself. What it said last:\n{tail_of(self._postgres.log)}")

    def sweep(self) -> int:
        """Call the scheduled function once, as the platform's clock does; gives the HTTP status."""
        request = urllib.request.Request(f"{self.site_url}/.netlify/functions/sweep", data=b"{}", method="POST")  # noqa: S310
        try:
            with DIRECT.open(request, timeout=40) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as refused:
            refused.close()
            return refused.code

    def environment(self) -> dict[str, str]:
        """The environment of every part: the caller's, with the contract's variables replaced."""
        home = self.state / "home"
        ours = {
            "MPESA_ENV": "sandbox",
            "MPESA_CONSUMER_KEY": "lipa-dev-key",
            "MPESA_CONSUMER_SECRET": "lipa-dev-secret",
            "MPESA_SHORTCODE": "174379",
            "MPESA_PASSKEY": PUBLISHED_SANDBOX_PASSKEY,
            "MPESA_BASE_URL": self.simulator_url,
            "MPESA_CALLBACK_URL": f"{self.site_url}/api/mpesa/callback",
            "DATABASE_URL": self.database_url,
            "SENDGRID_API_KEY": "SG.simulator",
            "SENDGRID_BASE_URL": self.simulator_url,
            "INVOICE_EMAIL_FROM": "invoices@shop.example",
            "INVOICE_EMAIL_REPLY_TO": "support@shop.example",
            "SHOP_NAME": "Duka la Mfano",
            "ALLOWED_ORIGINS": f"{self.site_url},http://localhost:{self.port}",
            **dict.fromkeys(OPTIONAL_VARIABLES, ""),
            **ONE_PERSON_IS_EVERYBODY,
            **self._settings,
        }
        tools = {
            "PATH": os.pathsep.join([str(ROOT / ".venv" / "bin"), os.environ.get("PATH", os.defpath)]),
            "PYTHON_FUNCTIONS_PYTHON": sys.executable,
            "PYTHONUNBUFFERED": "1",
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            # the CLI's own settings, caches and questions stay in our folder, and it asks nobody for updates
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / ".config"),
            "NODE_COMPILE_CACHE": str(STATE / "node-cache"),
            "NO_UPDATE_NOTIFIER": "1",
            "BROWSER": "none",
            "NO_COLOR": "1",
            "FORCE_COLOR": "0",
            "NODE_OPTIONS": f"--require {json.dumps(str(ROOT / 'dev' / 'loopback.cjs'), ensure_ascii=False)}",
        }
        switches = ("PORT", "SIM_PORT", "LIMITS")
        not_passed_on = (*switches, "NETLIFY_AUTH_TOKEN", "NETLIFY_SITE_ID", "PYTHONPATH", "PYTHONHOME")
        inherited = {name: value for name, value in os.environ.items() if name not in not_passed_on}
        return inherited | ours | tools

    # How it is done --------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        try:
            self.logs.mkdir(parents=True, exist_ok=True)
            self._take_folder()
        except OSError as refused:
            raise StackFault(
                f"Nothing can be written into {shown(self.state)} ({refused.strerror}), where the local stack keeps "
                "its database and logs: use a checkout of your own."
            ) from None
        require_free(self.port, "PORT", "the shop")
        require_free(self.simulator_port, "SIM_PORT", "the simulator")
        self._no_telemetry()
        env = self.environment()
        python = [sys.executable, "-m"]
        simulator = self._part("simulator", [*python, "simulator", "--port", str(self.simulator_port)], env)
        try:
            self._postgres.start()
        except PostgresFault as fault:
            raise StackFault(str(fault)) from None
        if "1" not in self._postgres.run("psql", "-Atc", f"SELECT 1 FROM pg_database WHERE datname = '{DATABASE}'"):  # noqa: S608
            self._postgres.run("createdb", DATABASE)
        netlify = self._part("netlify", netlify_dev(self.port), env)
        self._migrate(env)
        simulator.wait_until_it_answers(f"{self.simulator_url}/control/info")
        netlify.wait_until_it_answers(f"{self.site_url}/")
        netlify.wait_until_it_answers(f"{self.site_url}/api/mpesa/status/00000000-0000-4000-8000-000000000000")
        if self._sweep_every_s is not None:
            self._ticker = threading.Thread(target=self._tick, args=(self._sweep_every_s,), daemon=True)
            self._ticker.start()

    def _part(self, name: str, command: list[str], env: Mapping[str, str]) -> Part:
        part = Part(name, command, env, self.logs / f"{name}.log", self._listener)
        self._parts.append(part)
        return part

    def _take_folder(self) -> None:
        lock = (self.state / "stack.lock").open("a+", encoding="ascii")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            about: dict[str, int] = {}
            with contextlib.suppress(ValueError):
                about = json.load(lock)
            lock.close()
            raise FolderBusy(about) from None
        lock.truncate(0)
        json.dump({"pid": os.getpid(), "port": self.port, "simulator_port": self.simulator_port}, lock)
        lock.flush()
        self._lock = lock

    def _no_telemetry(self) -> None:
        """The CLI reads its settings from its home: the Linux place and the macOS place."""
        for folder in (".config/netlify", "Library/Preferences/netlify"):
            path = self.state / "home" / folder / "config.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"telemetryDisabled": True}), encoding="utf-8")

    def _migrate(self, env: Mapping[str, str]) -> None:
        command = [sys.executable, "-m", "db.migrate"]
        done = subprocess.run(
            command, cwd=ROOT, env=dict(env), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        (self.logs / "migrate.log").write_text(done.stdout + done.stderr, encoding="utf-8")
        if done.returncode != 0:
            raise StackFault(
                f"The database in {shown(self.state)} could not be brought up to date.\n{done.stdout}{done.stderr}"
                f"Where its data is of no value, remove {shown(self.state / 'postgres')} and run the command again."
            )

    def _tick(self, every_s: float) -> None:
        while not self._over.wait(every_s):
            with contextlib.suppress(OSError):
                self.sweep()


class Part:
    """One program of the stack, under a keeper that ends it when we are gone. Its lines go to a log and a listener."""

    def __init__(
        self, name: str, command: list[str], env: Mapping[str, str], log: Path, listener: Listener | None
    ) -> None:
        self.name = name
        self.log = log
        self._listener = listener
        self._keeper = keeper.keep(command, cwd=ROOT, env=dict(env), stdout=subprocess.PIPE)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def require_running(self) -> None:
        code = self._keeper.poll()
        if code is not None:
            self._reader.join(timeout=2)
            raise StackFault(f"{self.name} ended by itself (exit code {code}). What it said last:\n{self.tail()}")

    def wait_until_it_answers(self, url: str) -> None:
        """Until it gives any HTTP answer that is not the platform's own error."""
        give_up = time.monotonic() + READY_WITHIN_S
        seen = "nothing"
        while time.monotonic() < give_up:
            self.require_running()
            try:
                with DIRECT.open(url, timeout=30):
                    return
            except urllib.error.HTTPError as answer:
                seen = f"HTTP {answer.code} {answer.read(2000).decode('utf-8', 'replace')}"
                if answer.code < 500 and answer.headers.get_content_type() == "application/problem+json":
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise StackFault(
            f"{self.name} did not answer at {url} within {READY_WITHIN_S:.0f} s; it said last:\n{self.tail()}\n({seen})"
        )

    def tail(self) -> str:
        return tail_of(self.log)

    def ask_to_end(self) -> None:
        keeper.ask_to_end(self._keeper)

    def wait_until_ended(self) -> None:
        keeper.end(self._keeper)
        self._reader.join(timeout=2)

    def _read(self) -> None:
        assert self._keeper.stdout is not None
        with self._keeper.stdout as lines, self.log.open("w", encoding="utf-8") as log:
            for raw in lines:
                line = ANSI.sub("", raw.decode("utf-8", "replace")).rstrip()
                log.write(line + "\n")
                log.flush()
                if self._listener is not None:
                    self._listener(self.name, line)


def netlify_dev(port: int) -> list[str]:
    """The real CLI, without what would reach for the network or open a window."""
    node, cli = ROOT / ".venv" / "bin" / "node", ROOT / "node_modules" / "netlify-cli" / "bin" / "run.js"
    command = [str(node), str(cli), "dev", "--offline", "--no-open", "--internal-disable-edge-functions"]
    return [*command, "--skip-gitignore", "--port", str(port), "--staticServerPort", str(free_port())]


DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""HTTP on this machine never goes through a proxy."""

ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\u200b")


def shown(path: Path) -> str:
    """A path as the developer, who stands in the repository's folder, would write it."""
    return os.path.relpath(path, ROOT) if path.is_relative_to(ROOT) else str(path)


def tail_of(log: Path) -> str:
    """The last lines of a log, and where the others are."""
    lines: list[str] = []
    with contextlib.suppress(OSError):
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
    return "\n".join(f"    {line}" for line in lines) + f"\n  (all of it: {shown(log)})"


# `make dev` -----------------------------------------------------------------------------------------------------------


class Stopped(Exception):
    """Somebody wants us to end."""


def stop_on_signals() -> None:
    """Ctrl-C, SIGTERM and a closed terminal end us in order; what comes after the first of them is not heard."""

    def stopped(number: int, _frame: FrameType | None) -> None:
        for other in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(other, signal.SIG_IGN)
        raise Stopped(signal.Signals(number).name)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, stopped)


def own_folder(port: int) -> Path:
    """Where this stack keeps its state: `.lipa`, or a folder of its own beside a stack that runs on another port."""
    about = stack_of(STATE)
    return STATE if about is None or about.get("port") == port else STATE / f"dev-{port}"


def stack_of(state: Path) -> dict[str, int] | None:
    """The stack that runs on this folder, if one does."""
    try:
        with (state / "stack.lock").open("a+", encoding="ascii") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                lock.seek(0)
                try:
                    about: dict[str, int] = json.load(lock)
                except ValueError:
                    about = {}
                return about
    except OSError:
        pass  # there is none, or it is not ours to write
    return None


def main() -> int:
    stop_on_signals()
    terminal = Terminal(colour=sys.stdout.isatty() and not os.environ.get("NO_COLOR"))
    parent = os.getppid()
    try:
        port = port_from_environment("PORT", SITE_PORT)
        simulator_port = port_from_environment("SIM_PORT", SIMULATOR_PORT)
        if port == simulator_port:
            raise StackFault(f"PORT and SIM_PORT are both {port}: the shop and the simulator need one each.")
        state = own_folder(port)
        if state != STATE:
            print(f"Another stack is running here: this one keeps its data in {shown(state)}.")
        print("Starting PostgreSQL, the simulator and the Netlify CLI …", flush=True)
        limits = limits_from_environment()
        stack = LocalStack(state, port=port, simulator_port=simulator_port, settings=limits, listener=terminal)
        try:
            stack.start()
            introduce(stack, terminal)
            terminal.quiet = False
            while True:
                time.sleep(0.5)
                stack.check()
                if "MAKELEVEL" in os.environ and os.getppid() != parent:
                    raise Stopped("make is gone")
        finally:
            terminal.quiet = True
            stack.stop()
    except Stopped:
        print("\nStopped. The database keeps its data; the simulator forgets its payments and mail.", flush=True)
        return 0
    except (PortTaken, StackFault) as fault:
        print(f"\n{fault}", file=sys.stderr)
        return 1


def limits_from_environment() -> Mapping[str, str]:
    """`LIMITS`: on as a deployed shop has them, else out of the developer's way."""
    wanted = os.environ.get("LIMITS", "") or "off"
    if wanted not in ("on", "off"):
        raise StackFault(f"LIMITS must be on or off, not {wanted!r}.")
    return LIMITS_AS_DEPLOYED if wanted == "on" else {}


def introduce(stack: LocalStack, terminal: Terminal) -> None:
    # the page looks for the virtual phone at the usual port unless told once
    simulator = "" if stack.simulator_port == SIMULATOR_PORT else f"?sim={stack.simulator_port}"
    lines = [
        ("shop", f"{stack.site_url}/{simulator}", "pay here, with any number like 0700 000 001"),
        ("virtual phone", f"{stack.simulator_url}/phone", "the prompt appears here; any PIN but 0000 pays"),
        ("mailbox", f"{stack.simulator_url}/mail", "the invoices arrive here"),
    ]
    print("\nLipa runs on this machine; no money moves.\n")
    for name, address, purpose in lines:
        print(f"  {name:<15} {terminal.bold(f'{address:<32}')} {terminal.dim(purpose)}")
    print(f"\n  database        {stack.database_url}")
    print(f"  logs            {shown(stack.logs)}")
    print(f"  operator        {for_the_operator(stack)}")
    print("                  .venv/bin/python -m ops --help")
    print("\nCtrl-C ends it. Python files are taken up as they are saved.\n", flush=True)


def for_the_operator(stack: LocalStack) -> str:
    """What a shell needs before `python -m ops` knows this stack's books and can check their signatures."""
    secret = audit_settings(stack.environment()).key.secret
    return f"export DATABASE_URL={shlex.quote(stack.database_url)} AUDIT_SECRET={shlex.quote(secret)}"


if __name__ == "__main__":
    sys.exit(main())
