"""The page for auditors speaks of tests and invariants that exist, and leaves no invariant out."""

from __future__ import annotations

import json
import re
from pathlib import Path

from dev.proofs_page import LABELS, PROOFS
from ops.verify import INVARIANTS, read_invariants

ROOT = Path(__file__).parents[2]
PAGE = (PROOFS / "README.md").read_text("utf-8")
WRITTEN = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))


def test_every_test_that_the_page_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert len(named) > 30
    assert sorted(name for name in named if f"def {name}(" not in WRITTEN) == []


def test_the_page_names_every_invariant_and_no_other() -> None:
    (named,) = re.findall(r"on one snapshot: (.+?)\. An operator", PAGE, re.DOTALL)
    assert re.findall(r"`(\w+)`", named) == [name for name, _, _ in read_invariants(INVARIANTS.read_text("utf-8"))]


def test_every_file_that_the_page_names_exists() -> None:
    named = re.findall(r"`((?:tests|shared|db)/[\w/.]+?)/?`", PAGE)
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_figure_of_the_page_is_of_a_test_or_a_command_that_exists() -> None:
    kept = [*LABELS, *json.loads((PROOFS / "figures.json").read_text("utf-8"))]
    named = {re.split(r"[\[ ]", key)[0] for key in kept if key.startswith("test_")}
    assert sorted(name for name in named if f"def {name}(" not in WRITTEN) == []
    assert {key for key in kept if not key.startswith("test_")} == {"make mutation", "make planted-bugs"}
