"""`make mutation`: break the core in every small way, one after the other, and see a test fail each time.

    python -m dev.mutation                                 everything; about an hour on four cores
    python -m dev.mutation shared/payments.py --jobs 2     one module
    python -m dev.mutation --only confirmed                only what is changed within functions of such a name
    python -m dev.mutation --quick                         only the quick tests of each module

Each mutant meets the quick tests first and, where it survives them, those on a real database and the simulator. Exits
with 1 when fewer than 95 % of a module's mutants are caught. Survivors are printed; those that no test can ever catch
stand in equivalents.py with their reason, and count neither way.
"""

from __future__ import annotations

import argparse
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
from pathlib import Path
from queue import SimpleQueue

from dev.mutation.equivalents import EQUIVALENT
from dev.mutation.mutants import Mutant, mutants
from tests.fixtures.database import migrated_template, temporary_postgres

ROOT = Path(__file__).parents[2]
CORE = (
    *("tests/unit/test_payments.py", "tests/unit/test_payments_decisions.py"),
    "tests/unit/test_payments_properties.py",
)
STORIES = (
    *("tests/integration/test_ops.py", "tests/integration/test_sweep.py", "tests/integration/test_callback.py"),
    *("tests/integration/test_stkpush.py", "tests/integration/test_status.py"),
)
QUICK_TESTS: dict[str, tuple[str, ...]] = {
    "shared/payments.py": CORE,
    "shared/settlement.py": ("tests/integration/test_ops.py",),
    "shared/gateway/cases.py": ("tests/integration/test_ops.py",),
    "shared/callback_address.py": ("tests/unit/test_callback_address.py",),
    "shared/daraja_models.py": ("tests/unit/test_read_callback.py", "tests/contract/test_daraja_callbacks.py"),
}
PROMISED = 95
QUICK_S, STORIES_S = 60, 400


class Worker:
    """A copy of the repository, a database server, and a process that runs tests on mutants."""

    def __init__(self, number: int, folder: Path, stack: ExitStack) -> None:
        self._copy = folder / f"copy{number}"
        copy_of_the_tree(self._copy)
        server = stack.enter_context(temporary_postgres())
        migrated_template(server)
        self._log = folder / f"log{number}"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "dev.mutation.worker", server.url("DATABASE")],
            cwd=self._copy,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        stack.callback(self._end)

    def survives(self, path: str, text: str, tests: Sequence[str], timeout_s: float) -> bool:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {"path": path, "text": text, "tests": tests, "timeout_s": timeout_s, "log": str(self._log)}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return bool(json.loads(self._process.stdout.readline()) == "passed")

    def why(self) -> str:
        """What the last run said."""
        return self._log.read_text(encoding="utf-8", errors="replace")[-3000:]

    def _end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)


def copy_of_the_tree(to: Path) -> None:
    """What git knows, as it is now in the working tree."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            target = to / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())


def hunt(paths: Sequence[str], jobs: int, only: str, stories: Sequence[str]) -> dict[str, list[Mutant]]:
    """Every mutant of these modules against the tests; the survivors, by module."""
    with ExitStack() as stack, tempfile.TemporaryDirectory(prefix="lipa-mutation-") as folder:
        free: SimpleQueue[Worker] = SimpleQueue()
        for worker in ThreadPoolExecutor(jobs).map(lambda number: Worker(number, Path(folder), stack), range(jobs)):
            free.put(worker)
        survivors: dict[str, list[Mutant]] = {}
        for path in paths:
            survivors[path] = hunt_in(path, free, jobs, only, stories)
    return survivors


def hunt_in(path: str, free: SimpleQueue[Worker], jobs: int, only: str, stories: Sequence[str]) -> list[Mutant]:
    text = (ROOT / path).read_text(encoding="utf-8")
    all_found = [mutant for mutant in mutants(path, text) if only in mutant.within]
    tested = [mutant for mutant in all_found if mutant.name not in EQUIVALENT]
    healthy(path, text, free, stories)
    started, done, killed = time.monotonic(), Counter[bool](), threading.Lock()

    def meet(mutant: Mutant) -> bool:
        worker = free.get()
        try:
            applied = mutant.applied(text)
            alive = worker.survives(path, applied, QUICK_TESTS[path], QUICK_S)
            alive = alive and (not stories or worker.survives(path, applied, stories, STORIES_S))
        finally:
            free.put(worker)
        with killed:
            done[alive] += 1
            if alive:
                print(
                    f"  survived, line {mutant.line}: {mutant.before[:150]}\n            became: {mutant.after[:150]}"
                )
            if not done.total() % 50:
                print(f"  … {done.total()} of {len(tested)}, {done[True]} survived", flush=True)
        return alive

    with ThreadPoolExecutor(jobs) as threads:
        alive = [mutant for mutant, lives in zip(tested, threads.map(meet, tested), strict=True) if lives]
    caught = len(tested) - len(alive)
    print(
        f"{path}: {caught} of {len(tested)} mutants caught ({share(caught, len(tested)):.1f} %),"
        f" {len(all_found) - len(tested)} more change nothing; {time.monotonic() - started:.0f} s",
        flush=True,
    )
    return alive


def healthy(path: str, text: str, free: SimpleQueue[Worker], stories: Sequence[str]) -> None:
    """The tests pass on what is not broken; else every mutant would seem to be caught."""
    worker = free.get()
    for tests, timeout_s in ((QUICK_TESTS[path], QUICK_S), (stories, STORIES_S)):
        if tests and not worker.survives(path, text, tests, timeout_s):
            raise SystemExit(f"the tests fail without any mutant:\n{worker.why()}")
    free.put(worker)


def share(caught: int, of: int) -> float:
    return 100 * caught / of if of else 100.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m dev.mutation", description=__doc__)
    parser.add_argument("paths", nargs="*", default=list(QUICK_TESTS), metavar="module")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 2)
    parser.add_argument("--only", default="", metavar="name")
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    survivors = hunt(asked.paths, asked.jobs, asked.only, () if asked.quick else STORIES)
    failed = False
    for path, alive in survivors.items():
        total = len([each for each in mutants(path, (ROOT / path).read_text(encoding="utf-8"))
                     if each.name not in EQUIVALENT and asked.only in each.within])  # fmt: skip
        failed = failed or share(total - len(alive), total) < PROMISED
        for mutant in alive:
            print(f"\n{path}:{mutant.line} in {mutant.within}\n- {mutant.before}\n+ {mutant.after}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
