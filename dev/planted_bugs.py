"""`make planted-bugs`: plant each bug of tests/planted_bugs in a copy of the tree, and see the named tests fail.

    python -m dev.planted_bugs            all of them
    python -m dev.planted_bugs lock push  those with such a word in their name

A bug is a patch. Two lines stand before it: `Broken:`, what goes wrong, and `Noticed by:`, which tests must fail (a
test file, and words for pytest's -k). They must pass without the bug, and fail twice with it: chance catches none.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PATCHES = ROOT / "tests" / "planted_bugs"
PYTEST = (sys.executable, "-m", "pytest", "-x", "-q", "--tb=line", "--show-capture=no", "-p", "no:cacheprovider")
PASSED, FAILED = 0, 1


@dataclass(frozen=True)
class Bug:
    """One patch: what it breaks, and what pytest is called with to notice that."""

    patch: Path
    broken: str
    noticed_by: tuple[str, ...]


def bug(patch: Path) -> Bug:
    """Raises ValueError where the two lines are missing."""
    first, second, *_ = patch.read_text(encoding="utf-8").splitlines()
    if not first.startswith("Broken: ") or not second.startswith("Noticed by: tests/"):
        raise ValueError(f"{patch.name} must begin with a line 'Broken: …' and a line 'Noticed by: tests/…'")
    return Bug(patch, first.removeprefix("Broken: "), tuple(shlex.split(second.removeprefix("Noticed by: "))))


def copied_tree(to: Path) -> Path:
    """What git knows, as it is now in the working tree."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            (to / name).write_bytes((ROOT / name).read_bytes())
    return to


def apply(each: Bug, tree: Path, *options: str) -> None:
    """Plant it. Raises ValueError, with git's own words, where it does not fit the code any more."""
    command = ["git", "apply", "-C1", *options, str(each.patch)]
    applied = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    if applied.returncode:
        raise ValueError(f"{each.patch.name} does not fit the code any more:\n{applied.stderr}")


def outcome(each: Bug, tree: Path) -> int:
    """pytest's exit code. Raises ValueError where the tests could not be run."""
    ran = subprocess.run(
        [*PYTEST, *each.noticed_by], cwd=tree, capture_output=True, text=True, timeout=900, check=False
    )
    if ran.returncode not in (PASSED, FAILED):
        raise ValueError(f"the tests of {each.patch.name} could not be run:\n{ran.stdout[-2000:]}{ran.stderr[-2000:]}")
    return ran.returncode


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m dev.planted_bugs", description=__doc__.partition("\n")[0])
    parser.add_argument("words", nargs="*", metavar="word")
    asked = parser.parse_args()
    bugs = [bug(patch) for patch in sorted(PATCHES.glob("*.patch"))]
    chosen = [each for each in bugs if not asked.words or any(word in each.patch.name for word in asked.words)]
    missed, healthy = 0, set[tuple[str, ...]]()
    for each in chosen:
        with tempfile.TemporaryDirectory(prefix="lipa-planted-bug-") as folder:
            tree = copied_tree(Path(folder))
            if each.noticed_by not in healthy and outcome(each, tree) == FAILED:
                raise SystemExit(f"the tests of {each.patch.name} fail without the bug")
            healthy.add(each.noticed_by)
            apply(each, tree)
            caught = outcome(each, tree) == FAILED and outcome(each, tree) == FAILED
        missed += not caught
        print(f"{'caught' if caught else 'NOT CAUGHT':12}{each.patch.stem}: {each.broken}", flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} planted bugs caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
