"""However the local stack ends, kill -9 included: no process is left, and the database starts again with its data."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from dev.ports import free_port
from dev.postgres import EmbeddedPostgres
from dev.stack import DATABASE, ROOT

MAKE_DEV = """
import sys, pathlib
from dev import make_dev
make_dev.STATE = pathlib.Path(sys.argv.pop())
sys.exit(make_dev.main())
"""
WITH_A_STAND_IN = """
import sys
from dev import stack
from tests.chaos.test_stack_leaves_nothing import ANSWERS_EVERYTHING
stack.netlify_dev = lambda port: [sys.executable, "-c", ANSWERS_EVERYTHING, str(port)]
"""
ANSWERS_EVERYTHING = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
"""In place of the Netlify CLI, whose start takes longest: where a test is about the database or about our own signals.
How the CLI itself ends is tried by the others."""


class MakeDev:
    """`make dev` with its state elsewhere, as a process that can be ended in any way."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.mark = uuid.uuid4().hex
        self.port = free_port()
        self.output = state / "terminal"
        state.mkdir(exist_ok=True)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *before: str, stand_in: bool = False, **environment: str) -> None:
        env = os.environ | {"LIPA_TEST_MARK": self.mark, "PORT": str(self.port), "SIM_PORT": str(free_port())}
        with self.output.open("wb") as terminal:
            self.process = subprocess.Popen(
                [*before, sys.executable, "-c", WITH_A_STAND_IN * stand_in + MAKE_DEV, str(self.state)],
                cwd=ROOT,
                env=env | environment,
                stdout=terminal,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def said(self) -> str:
        return self.output.read_text(errors="replace")

    def wait_until_up(self) -> None:
        self.wait_for(lambda: "Ctrl-C ends it" in self.said(), "it did not come up")

    def pid(self) -> int:
        """Of the stack itself, whatever was put before it."""
        about = json.loads((self.state / "stack.lock").read_text())
        return int(about["pid"])

    def end(self, how: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(how)
        return self.process.wait(timeout=120)

    def left(self) -> list[str]:
        """What runs that this stack started: it has our mark in its environment, or our folder in its arguments."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                arguments = " ".join(process.cmdline())
                marked = process.environ().get("LIPA_TEST_MARK") == self.mark
                if (marked or str(self.state) in arguments) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(f"{process.pid} {arguments}")
        return found

    def wait_until_nothing_is_left(self) -> None:
        self.wait_for(lambda: not self.left(), "left running", pause_s=0.2)

    def wait_for(self, holds: Callable[[], bool], otherwise: str, pause_s: float = 0.02) -> None:
        deadline = time.monotonic() + 140
        while not holds():
            assert time.monotonic() < deadline, f"{otherwise}: {self.left()}\n{self.said()}"
            time.sleep(pause_s)

    def database(self) -> EmbeddedPostgres:
        return EmbeddedPostgres(self.state / "postgres")


@pytest.fixture
def make_dev(tmp_path: Path) -> Iterator[MakeDev]:
    running = MakeDev(tmp_path / "state")
    yield running
    if running.process is not None and running.process.poll() is None:
        running.process.kill()
        running.process.wait()
        running.wait_until_nothing_is_left()


def keep_something(make_dev: MakeDev) -> None:
    postgres = make_dev.database()
    postgres.run("psql", "-d", DATABASE, "-c", "CREATE TABLE kept AS SELECT 42 AS answer")


def what_was_kept(make_dev: MakeDev) -> str:
    with make_dev.database() as postgres:
        return postgres.run("psql", "-d", DATABASE, "-Atc", "SELECT answer FROM kept").strip()


def last_start(make_dev: MakeDev) -> str:
    """What the server said when it was started again."""
    return (make_dev.state / "postgres" / "server.log").read_text().rpartition("starting PostgreSQL")[2]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ended_in_order_it_leaves_no_process_and_a_database_that_was_shut_down(
    make_dev: MakeDev, how: signal.Signals
) -> None:
    make_dev.start(stand_in=how is not signal.SIGINT)
    make_dev.wait_until_up()
    assert len(make_dev.left()) > 5
    keep_something(make_dev)

    assert make_dev.end(how) == 0

    assert make_dev.left() == []
    assert "The database keeps its data" in make_dev.said()
    assert what_was_kept(make_dev) == "42"
    assert "not properly shut down" not in last_start(make_dev)


def test_killed_it_leaves_no_process_and_a_database_that_starts_again(make_dev: MakeDev) -> None:
    make_dev.start()
    make_dev.wait_until_up()
    keep_something(make_dev)

    make_dev.end(signal.SIGKILL)

    make_dev.wait_until_nothing_is_left()
    assert what_was_kept(make_dev) == "42"


@pytest.mark.parametrize("moment", ["postgres/password", "postgres/data", "logs/netlify.log"])
def test_killed_while_it_starts_it_leaves_nothing_and_starts_the_next_time(make_dev: MakeDev, moment: str) -> None:
    about_the_database = moment.startswith("postgres")
    make_dev.start(stand_in=about_the_database)
    make_dev.wait_for((make_dev.state / moment).exists, f"{moment} never appeared")

    make_dev.end(signal.SIGKILL)

    make_dev.wait_until_nothing_is_left()
    make_dev.start(stand_in=about_the_database)
    make_dev.wait_until_up()
    assert make_dev.end(signal.SIGINT) == 0
    assert make_dev.left() == []


def test_it_ends_when_the_make_that_started_it_is_killed(make_dev: MakeDev) -> None:
    make_dev.start("sh", "-c", '"$@"; exit $?', "make", stand_in=True, MAKELEVEL="1")
    make_dev.wait_until_up()
    assert make_dev.process is not None
    assert make_dev.pid() != make_dev.process.pid

    make_dev.end(signal.SIGKILL)

    make_dev.wait_until_nothing_is_left()


def test_a_part_that_dies_ends_the_whole_with_its_last_words(make_dev: MakeDev) -> None:
    make_dev.start(stand_in=True)
    make_dev.wait_until_up()
    (simulator,) = [line for line in make_dev.left() if "-m simulator" in line and "keeper" not in line]

    os.kill(int(simulator.split()[0]), signal.SIGKILL)

    assert make_dev.process is not None
    assert make_dev.process.wait(timeout=120) == 1
    assert "simulator ended by itself" in make_dev.said()
    assert "Daraja on a laptop" in make_dev.said()
    assert "Traceback" not in make_dev.said()
    assert make_dev.left() == []


def test_a_keeper_that_is_killed_takes_its_program_with_it(make_dev: MakeDev) -> None:
    make_dev.start()
    make_dev.wait_until_up()
    (keeper,) = [line for line in make_dev.left() if "keeper.py" in line and "netlify-cli" in line]

    os.kill(int(keeper.split()[0]), signal.SIGKILL)

    assert make_dev.process is not None
    assert make_dev.process.wait(timeout=120) == 1
    make_dev.wait_until_nothing_is_left()
