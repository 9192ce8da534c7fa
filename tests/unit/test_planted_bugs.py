"""What `make planted-bugs` and `make mutation` use still fits the code. Whether tests notice the bugs, they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dev.mutation.__main__ import CONFIGURATION, MODULES
from dev.planted_bugs import PATCHES, ROOT, Bug, apply, bug

BUGS = [bug(patch) for patch in sorted(PATCHES.glob("*.patch"))]


@pytest.mark.parametrize("each", BUGS, ids=lambda each: each.patch.stem)
def test_a_planted_bug_applies_and_its_tests_exist(each: Bug) -> None:
    apply(each, ROOT, "--check")
    file, *options = each.noticed_by
    beside = "".join(path.read_text(encoding="utf-8") for path in (ROOT / file).parent.glob("*.py"))
    words = re.split(" or | and ", options[-1]) if options else []
    assert (ROOT / file).is_file()
    assert [word for word in words if word not in beside] == []


def test_there_are_planted_bugs() -> None:
    assert len(BUGS) >= 40


def test_a_bug_that_does_not_fit_is_named(tmp_path: Path) -> None:
    patch = tmp_path / "nothing-like-it.patch"
    patch.write_text("diff --git a/x.py b/x.py\n--- a/x.py\n+++ b/x.py\n@@ -1 +1 @@\n-a\n+b\n")
    with pytest.raises(ValueError, match=r"nothing-like-it\.patch does not fit"):
        apply(Bug(patch, "", ()), ROOT, "--check")


def test_what_mutation_is_told_exists() -> None:
    named = [name for path, rounds in MODULES.items() for name in (path, *" ".join(rounds).split())]
    assert [name for name in named if not (ROOT / name).is_file()] == []
    for each in CONFIGURATION["equivalent"]:
        assert each["old"] in " ".join((ROOT / each["path"]).read_text(encoding="utf-8").split()), each
