"""Every planted bug still fits the code, and every mutant that is said to change nothing is still one.

Whether the tests notice the others, `make planted-bugs` and `make mutation` say.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from dev.mutation.__main__ import ROUNDS
from dev.mutation.equivalents import EQUIVALENT
from dev.mutation.mutants import mutants
from dev.planted_bugs.__main__ import planted
from dev.planted_bugs.bug import Bug
from dev.planted_bugs.bugs import BUGS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_still_fits_the_code(bug: Bug, tmp_path: Path) -> None:
    for change in bug.changes:
        (tmp_path / change.path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / change.path).write_text((ROOT / change.path).read_text(encoding="utf-8"), encoding="utf-8")
    planted(bug, tmp_path)
    for change in bug.changes:
        broken = (tmp_path / change.path).read_text(encoding="utf-8")
        assert broken != (ROOT / change.path).read_text(encoding="utf-8")
        if change.path.endswith(".py"):
            ast.parse(broken)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_the_tests_that_must_notice_it_exist(bug: Bug) -> None:
    assert [test for test in bug.tests if not (ROOT / test).is_file()] == []


def test_there_are_enough_and_each_has_its_own_name() -> None:
    assert len({bug.name for bug in BUGS}) == len(BUGS) >= 20


def test_every_mutant_that_changes_nothing_is_one_of_the_code_as_it_is() -> None:
    paths = [path for path in ROUNDS if any(name.startswith(path) for name in EQUIVALENT)]
    names = {each.name for path in paths for each in mutants(path, (ROOT / path).read_text(encoding="utf-8"))}
    assert sorted(set(EQUIVALENT) - names) == []


def test_the_tests_that_mutants_meet_exist() -> None:
    assert [
        test for rounds in ROUNDS.values() for tests in rounds for test in tests if not (ROOT / test).is_file()
    ] == []
