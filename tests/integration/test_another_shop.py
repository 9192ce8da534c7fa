"""A shop that edits what it is told to edit keeps the project's tests green: they bring a shop of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from dev.planted_bugs import ROOT, copied_tree
from tests.another_shop import make_another_shop

READS_WHAT_A_SHOP_EDITS = (
    "tests/browser/test_demo_shop.py",
    "tests/browser/test_legal_pages.py",
    "tests/unit/test_letters.py",
)
"""Beside those with the stack, which take too long for here."""


def test_the_tests_are_green_for_another_shop(tmp_path: Path) -> None:
    tree = copied_tree(tmp_path)
    make_another_shop(tree)
    (tree / "node_modules").symlink_to(ROOT / "node_modules")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *READS_WHAT_A_SHOP_EDITS]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
