"""Every planted bug still fits the code. Whether the tests notice it, `make planted-bugs` says."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from dev.planted_bugs.__main__ import planted
from dev.planted_bugs.bugs import BUGS, Bug

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
