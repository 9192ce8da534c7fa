"""`make mutation`: break the core in every small way, one after the other, and see a test fail each time.

    python -m dev.mutation                                 everything; half an hour on four busy cores
    python -m dev.mutation shared/payments.py --jobs 2     one module
    python -m dev.mutation --only confirmed                only what is changed within functions of such a name
    python -m dev.mutation --quick                         all tests but the stories

Each mutant meets the quickest tests first; what survives them meets the next round, at last the stories on a real
database and the simulator. It is killed at its first failing test, when the same tests fail a second time: chance, as
on a busy machine, kills none. The tests have to pass without any mutant, the quickest also afterwards. A mutant that
does not come to an end is told apart from one that a test saw.

Exits with 1 when fewer than 95 % of a module's mutants are killed. Survivors are printed; those that no test can ever
see stand in equivalents.py with their reason, and count neither way.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from dev.mutation.equivalents import EQUIVALENT
from dev.mutation.mutants import Mutant, mutants
from tests.fixtures.database import migrated_template, temporary_postgres

ROOT = Path(__file__).parents[2]
DECISIONS = ("tests/unit/test_payments_decisions.py", "tests/unit/test_payments.py")
SETTLEMENT = ("tests/integration/test_cases.py", "tests/integration/test_settlement.py")
CALLBACKS = ("tests/unit/test_read_callback.py", "tests/contract/test_daraja_callbacks.py")
ANSWERS = tuple(f"tests/contract/test_daraja_{call}.py" for call in ("oauth", "push", "query"))
STORIES = (
    *("tests/integration/test_ops.py", "tests/integration/test_sweep.py", "tests/integration/test_callback.py"),
    *("tests/integration/test_stkpush.py", "tests/integration/test_status.py"),
)
ROUNDS: dict[str, tuple[tuple[str, ...], ...]] = {
    "shared/payments.py": (DECISIONS, ("tests/unit/test_payments_properties.py",), SETTLEMENT, STORIES),
    "shared/settlement.py": (SETTLEMENT[::-1], STORIES),
    "shared/gateway/cases.py": (SETTLEMENT, STORIES),
    "shared/daraja/callback_address.py": (("tests/unit/test_callback_address.py",), STORIES),
    "shared/daraja/callback_reader.py": (CALLBACKS, SETTLEMENT, STORIES),
    "shared/daraja/fields.py": (CALLBACKS, ANSWERS, STORIES),
}
PROMISED = 95
A_HEALTHY_RUN_LASTS_AT_MOST_S = 1800


class Worker:
    """A copy of the repository, a database server, and two processes that run tests on mutants."""

    def __init__(self, number: int, folder: Path, stack: ExitStack) -> None:
        self._copy = folder / f"copy{number}"
        copy_of_the_tree(self._copy)
        server = stack.enter_context(temporary_postgres())
        migrated_template(server)
        self._log = folder / f"log{number}"
        tests = sorted({test for rounds in ROUNDS.values() for tests in rounds for test in tests})
        self._warm = self._started(server.url("DATABASE"), tests, stack)
        self._cold = self._started(server.url("DATABASE"), [], stack)
        self._changes = 0

    def run(self, path: str, text: str, tests: Sequence[str], timeout_s: float, *, cold: bool = False) -> str:
        """`passed`, `failed`, `timeout`, or `broken` where nothing could be run."""
        original = (self._copy / path).read_text(encoding="utf-8")
        order = {"path": path, "text": text, "tests": tests, "timeout_s": timeout_s, "log": str(self._log)}
        self._write(path, text)
        try:
            told = "broken"
            if not cold and outside_of_functions(original) == outside_of_functions(text):
                told = _answer(self._warm, order)
            return _answer(self._cold, order) if told == "broken" else told
        finally:
            self._write(path, original)

    def why(self) -> str:
        """What the last run said."""
        return self._log.read_text(encoding="utf-8", errors="replace")[-3000:]

    def _write(self, path: str, text: str) -> None:
        self._changes += 1
        (self._copy / path).write_text(text, encoding="utf-8")
        os.utime(self._copy / path, (self._changes, self._changes))  # no compiled file is as old as this one

    def _started(self, url: str, tests: Sequence[str], stack: ExitStack) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "dev.mutation.worker", url, *tests],
            cwd=self._copy,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        stack.callback(self._end, process)
        return process

    def _end(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(timeout=60)


def _answer(process: subprocess.Popen[str], order: dict[str, object]) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(order) + "\n")
    process.stdin.flush()
    return str(json.loads(process.stdout.readline()))


def outside_of_functions(text: str) -> str:
    """All of a module but what its functions do."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.body = []
    return ast.dump(tree)


def copy_of_the_tree(to: Path) -> None:
    """What git knows, as it is now in the working tree."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            target = to / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())


@dataclass(frozen=True)
class Figures:
    """What became of the mutants of one module."""

    path: str
    mutants: int
    equivalent: int
    timed_out: int
    survivors: list[Mutant]
    seconds: float

    @property
    def tested(self) -> int:
        return self.mutants - self.equivalent

    @property
    def killed(self) -> int:
        return self.tested - len(self.survivors)

    @property
    def percent(self) -> float:
        return 100 * self.killed / self.tested if self.tested else 100.0

    def __str__(self) -> str:
        return (
            f"{self.path}: {self.killed} of {self.tested} mutants killed ({self.percent:.1f} %), {self.timed_out} of"
            f" them by time; {len(self.survivors)} survived; {self.equivalent} more change nothing;"
            f" {self.seconds / 60:.0f} min"
        )


class Hunt:
    """Every mutant of one module against its tests, with as many workers as there are."""

    def __init__(self, path: str, workers: Sequence[Worker], only: str, *, quick: bool) -> None:
        self._path, self._workers = path, workers
        self._text = (ROOT / path).read_text(encoding="utf-8")
        found = [mutant for mutant in mutants(path, self._text) if only in mutant.within]
        self._tested = [mutant for mutant in found if mutant.name not in EQUIVALENT]
        self._equivalent = len(found) - len(self._tested)
        self._rounds = [tests for tests in ROUNDS[path] if not (quick and tests is STORIES)]
        self._measured: dict[tuple[str, ...], float] = {}
        self._measuring = threading.Lock()
        self._free: SimpleQueue[Worker] = SimpleQueue()
        self._told, self._lock = Counter[str](), threading.Lock()

    def run(self) -> Figures:
        started = time.monotonic()
        self._must_pass(self._workers[0], self._rounds[0], cold=True)
        for worker in self._workers:
            self._free.put(worker)
        with ThreadPoolExecutor(len(self._workers)) as threads:
            told = list(threads.map(self._meet, self._tested))
        for worker in self._workers:
            self._must_pass(worker, self._rounds[0])
        survivors = [mutant for mutant, each in zip(self._tested, told, strict=True) if each == "passed"]
        timed_out = told.count("timeout")
        total = len(self._tested) + self._equivalent
        return Figures(self._path, total, self._equivalent, timed_out, survivors, time.monotonic() - started)

    def _at_most_s(self, tests: tuple[str, ...], worker: Worker) -> float:
        """How long they may take, by how long they take without any mutant: found out when they are first needed."""
        with self._measuring:
            if tests not in self._measured:
                started = time.monotonic()
                self._must_pass(worker, tests)
                self._measured[tests] = 60 + 4 * (time.monotonic() - started)
        return self._measured[tests]

    def _must_pass(self, worker: Worker, tests: Sequence[str], *, cold: bool = False) -> None:
        """On what is not broken; else every mutant would seem killed."""
        if worker.run(self._path, self._text, tests, A_HEALTHY_RUN_LASTS_AT_MOST_S, cold=cold) != "passed":
            raise SystemExit(f"the tests fail without any mutant:\n{worker.why()}")

    def _meet(self, mutant: Mutant) -> str:
        worker = self._free.get()
        try:
            told = self._told_by(worker, mutant.applied(self._text))
        finally:
            self._free.put(worker)
        with self._lock:
            self._told[told] += 1
            if told == "passed":
                print(
                    f"  survived, line {mutant.line}: {mutant.before[:150]}\n            became: {mutant.after[:150]}"
                )
            if not self._told.total() % 50:
                print(f"  … {self._told.total()} of {len(self._tested)}, {self._told['passed']} survived", flush=True)
        return told

    def _told_by(self, worker: Worker, text: str) -> str:
        for tests in self._rounds:
            at_most_s = self._at_most_s(tests, worker)
            told = worker.run(self._path, text, tests, at_most_s)
            if told == "failed":
                told = worker.run(self._path, text, tests, at_most_s)
            if told != "passed":
                return told
        return "passed"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m dev.mutation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", nargs="*", default=list(ROUNDS), metavar="module")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 2)
    parser.add_argument("--only", default="", metavar="name")
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lipa-mutation-") as folder, ExitStack() as stack:
        make = ThreadPoolExecutor(asked.jobs).map(lambda number: Worker(number, Path(folder), stack), range(asked.jobs))
        workers, all_figures = list(make), []
        for path in asked.paths:
            figures = Hunt(path, workers, asked.only, quick=asked.quick).run()
            print(figures, flush=True)
            all_figures.append(figures)
    for figures in all_figures:
        for mutant in figures.survivors:
            print(f"\n{mutant.path}:{mutant.line} in {mutant.within}\n- {mutant.before}\n+ {mutant.after}")
    return 1 if any(figures.percent < PROMISED for figures in all_figures) else 0


if __name__ == "__main__":
    sys.exit(main())
