"""`make planted-bugs`: plant each bug in a copy of the tree, and see the tests that must notice it fail.

    python -m dev.planted_bugs                 all of them
    python -m dev.planted_bugs receipt token   those with such a word in their name
    python -m dev.planted_bugs --list

First the same tests run without any bug, and must pass; with it they must fail twice. Exits with 1 when a bug is not
caught.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dev.mutation.__main__ import copy_of_the_tree
from dev.planted_bugs.bug import Bug
from dev.planted_bugs.bugs import BUGS

A_RUN_LASTS_AT_MOST_S = 900
FAILED, NOTHING_CHOSEN = 1, 5


def planted(bug: Bug, tree: Path) -> None:
    """Raises ValueError where the bug does not fit the code any more."""
    for change in bug.changes:
        text = (tree / change.path).read_text(encoding="utf-8")
        if text.count(change.old) != 1:
            raise ValueError(f"{change.path} has not exactly one {change.old!r}")
        (tree / change.path).write_text(text.replace(change.old, change.new), encoding="utf-8")


def tests_fail(bug: Bug, tree: Path) -> bool:
    """Whether the tests that must notice do; raises where there are none of these names."""
    chosen = ["-k", bug.only] if bug.only else []
    there = [test for test in bug.tests if (tree / test).exists()]
    options = ["-x", "-q", "-p", "no:cacheprovider", "--tb=line", "--show-capture=no", "-p", "no:xdist"]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *chosen, *there],
        cwd=tree,
        capture_output=True,
        text=True,
        timeout=A_RUN_LASTS_AT_MOST_S,
        check=False,
    )
    if ran.returncode not in (0, FAILED):
        raise ValueError(f"the tests of {bug.name!r} could not be run:\n{ran.stdout[-2000:]}{ran.stderr[-2000:]}")
    return ran.returncode == FAILED


def noticed(bug: Bug, folder: Path, *, plant: bool) -> bool:
    """Whether its tests fail in a copy of the tree: with the bug twice, so that chance catches none, or without it."""
    with tempfile.TemporaryDirectory(dir=folder) as tree:
        copy_of_the_tree(Path(tree))
        if plant:
            planted(bug, Path(tree))
        fail = tests_fail(bug, Path(tree))
        return fail and tests_fail(bug, Path(tree)) if plant else fail


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m dev.planted_bugs", description=__doc__)
    parser.add_argument("words", nargs="*", metavar="word")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args()
    bugs = [bug for bug in BUGS if not asked.words or any(word in bug.name for word in asked.words)]
    if asked.list:
        print("\n".join(bug.name for bug in bugs))
        return 0
    caught, started = 0, time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="lipa-planted-bugs-") as folder,
        ThreadPoolExecutor(asked.jobs) as threads,
    ):
        choices = list({(bug.tests, bug.only): bug for bug in bugs}.values())
        fail_anyway = threads.map(lambda each: noticed(each, Path(folder), plant=False), choices)
        if sick := [bug.name for bug, fails in zip(choices, fail_anyway, strict=True) if fails]:
            raise SystemExit(f"the tests fail without any bug, those of: {', '.join(sick)}")
        for bug, fails in zip(
            bugs, threads.map(lambda each: noticed(each, Path(folder), plant=True), bugs), strict=True
        ):
            caught += fails
            print(f"{'caught' if fails else 'NOT CAUGHT':12} {bug.name}", flush=True)
    print(f"{caught} of {len(bugs)} planted bugs caught; {(time.monotonic() - started) / 60:.0f} min")
    return 0 if caught == len(bugs) else 1


if __name__ == "__main__":
    sys.exit(main())
