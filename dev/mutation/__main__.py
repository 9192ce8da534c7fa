"""`make mutation`: change the core in every small way, one change at a time, and see a test fail each time.

    python -m dev.mutation                               every module of mutation.toml
    python -m dev.mutation shared/payments.py --jobs 1   one module

cosmic-ray makes the changes and keeps the results in .lipa/mutation, one file for each state of a module. A run that
was stopped goes on where it was; changes that no test noticed are tried again. Exits with 1 when the tests notice fewer
changes of a module than mutation.toml promises. Those that they missed are printed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from queue import SimpleQueue

import attrs
from cosmic_ray.commands.init import init
from cosmic_ray.mutating import mutate_and_test
from cosmic_ray.plugins import OPERATOR_PROVIDERS
from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import MutationSpec, WorkerOutcome, WorkItem, WorkResult

from dev.mutation.operators import Operators
from dev.planted_bugs import copied_tree

ROOT = Path(__file__).parents[2]
CONFIGURATION = tomllib.loads(Path(__file__).with_name("mutation.toml").read_text(encoding="utf-8"))
MODULES: dict[str, list[str]] = CONFIGURATION["modules"]
EQUIVALENT = {(each["path"], each["old"], each["new"]) for each in CONFIGURATION["equivalent"]}
CHOSEN = re.compile(rf"lipa/\w+|core/({''.join(CONFIGURATION['core'].split())})")
# Only this plugin of pytest's: the others of this environment take longer to load than most tests here run.
PYTEST = (
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 {python} -m pytest -p pytest_timeout -x -q --tb=line --show-capture=no {tests}"
)

OPERATOR_PROVIDERS["lipa"] = Operators()


class Copy:
    """A copy of the repository, in which one change at a time is made and tested."""

    def __init__(self, folder: Path) -> None:
        self._folder = copied_tree(folder)

    def seconds_without_a_change(self, tests: Sequence[str]) -> float:
        """How long the tests take. Without a change they must pass; else every change would seem noticed."""
        started = time.monotonic()
        ran = subprocess.run(shlex.split(self._command(tests)), capture_output=True, text=True, check=False)
        if ran.returncode:
            raise SystemExit(f"the tests fail without any change:\n{ran.stdout[-3000:]}{ran.stderr[-3000:]}")
        return time.monotonic() - started

    def tried(self, item: WorkItem, tests: Sequence[str], timeout_s: float) -> WorkResult:
        changes = [attrs.evolve(each, module_path=self._folder / each.module_path) for each in item.mutations]
        return mutate_and_test(changes, self._command(tests), timeout_s)

    def _command(self, tests: Sequence[str]) -> str:
        rounds = [PYTEST.format(python=shlex.quote(sys.executable), tests=each) for each in tests]
        return shlex.join(["sh", "-c", " && ".join([f"cd {shlex.quote(str(self._folder))}", *rounds])])


def run(path: str, copies: Sequence[Copy]) -> bool:
    """Try all changes of one module that no test has noticed yet. Whether enough of them are noticed now."""
    digest = hashlib.sha256((ROOT / path).read_bytes()).hexdigest()[:12]
    kept = ROOT / ".lipa" / "mutation" / f"{path.replace('/', '.')}.{digest}.sqlite"
    kept.parent.mkdir(parents=True, exist_ok=True)
    tests, free = MODULES[path], SimpleQueue[Copy]()
    with use_db(str(kept)) as database, ThreadPoolExecutor(len(copies)) as threads:
        if not database.num_work_items:
            init([Path(path)], database, {})
            skipped = WorkResult(worker_outcome=WorkerOutcome.SKIPPED)
            lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
            not_chosen = [each for each in database.work_items if not is_chosen(each.mutations[0], lines)]
            database.set_multiple_results([each.job_id for each in not_chosen], skipped)
        pending = [*database.pending_work_items, *(item for item, _ in survivors(path, database))]
        timeout_s = 60 + 4 * max(threads.map(lambda copy: copy.seconds_without_a_change(tests), copies))
        for copy in copies:
            free.put(copy)

        def one(item: WorkItem) -> WorkResult:
            copy = free.get()
            try:
                return copy.tried(item, tests, timeout_s)
            finally:
                free.put(copy)

        print(f"{path}: {len(pending)} changes to try", flush=True)
        running = {threads.submit(one, item): item for item in pending}
        try:
            for number, each in enumerate(as_completed(running), start=1):
                database.set_result(running[each].job_id, each.result())
                if number % 50 == 0:
                    print(f"  … {number} of {len(pending)}", flush=True)
        finally:
            threads.shutdown(cancel_futures=True)
        copies[0].seconds_without_a_change(tests)
        return reported(path, database)


def is_chosen(change: MutationSpec, lines: Sequence[str]) -> bool:
    """Not in decorators: that a dataclass is frozen keeps programmers from a mistake, and changes nothing. Nor where
    names are imported for annotations only."""
    line = lines[change.start_pos[0] - 1].lstrip()
    return bool(CHOSEN.fullmatch(change.operator_name)) and not line.startswith(("@", "if TYPE_CHECKING:"))


def survivors(path: str, database: WorkDB) -> list[tuple[WorkItem, tuple[str, str]]]:
    """The changes that no test noticed and that are not known to change nothing, each with its old and new lines."""
    found = []
    for item, result in database.completed_work_items:
        if result.worker_outcome is not WorkerOutcome.SKIPPED and not result.is_killed:
            lines = [line for line in str(result.diff).splitlines() if line[:3] not in ("---", "+++")]
            old, new = (" ".join(line[1:].strip() for line in lines if line[:1] == sign) for sign in "-+")
            if (path, old, new) not in EQUIVALENT:
                found.append((item, (old, new)))
    return found


def reported(path: str, database: WorkDB) -> bool:
    tried = [result for _, result in database.results if result.worker_outcome is not WorkerOutcome.SKIPPED]
    killed, survived = sum(result.is_killed for result in tried), survivors(path, database)
    for _, (old, new) in survived:
        print(f"  survived: {old}\n   as this: {new}")
    percent = 100 * killed / (killed + len(survived)) if tried else 100.0
    equivalent = len(tried) - killed - len(survived)
    print(
        f"{path}: {killed} killed, {len(survived)} survived, {percent:.1f} %; {equivalent} more change nothing",
        flush=True,
    )
    return percent >= float(CONFIGURATION["promised_percent"])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m dev.mutation", description=__doc__.partition("\n")[0])
    parser.add_argument("paths", nargs="*", metavar="module", help=", ".join(MODULES))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 2)
    asked = parser.parse_args()
    if unknown := sorted(set(asked.paths) - set(MODULES)):
        parser.error(f"mutation.toml has no tests for {', '.join(unknown)}")
    with tempfile.TemporaryDirectory(prefix="lipa-mutation-") as folder:
        copies = [Copy(Path(folder) / str(number)) for number in range(asked.jobs)]
        enough = [run(path, copies) for path in asked.paths or MODULES]
    return 0 if all(enough) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("stopped: the next run goes on here")
