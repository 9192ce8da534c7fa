"""What our own pages name exists: links, files, commands, tests; and what is printed from the code is current."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

from dev import print_docs
from dev.proofs_page import LABELS, PROOFS
from ops.__main__ import _parser, main
from ops.verify import INVARIANTS, read_invariants

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("netlify/plugins/**/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8"))
    own = [link for link in links if "://" not in link and not link.startswith("mailto:")]
    assert [link for link in own if not leads_somewhere(page, link)] == []


def leads_somewhere(page: Path, link: str) -> bool:
    path, _, heading = link.partition("#")
    target = page.parent / path if path else page
    return target.exists() and (not heading or heading in anchors(target.read_text("utf-8")))


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    outside_code = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", outside_code, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_files_that_a_page_names_exist(page: Path) -> None:
    folders = "db|dev|docs|netlify|ops|public|shared|simulator|tests"
    named = re.findall(rf"`((?:{folders})/[\w./*-]+)`", page.read_text("utf-8"))
    assert [path for path in named if not list(ROOT.glob(path.rstrip("/")))] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert [
        name for name in re.findall(r"(?:`|^    |; )make ([a-z-]+)", text, re.MULTILINE) if name not in targets
    ] == []
    modules = set(re.findall(r"python -m ((?:db|dev|ops|simulator)[\w.]*)", text))
    assert [name for name in modules if find_spec(name) is None] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_operators_commands_that_a_page_names_exist(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named = re.findall(r"(?:`|python -m )ops ([a-z-]+)(?: ([a-z][a-z-]*[a-z]))?", page.read_text("utf-8"))
    for command, action in set(named):
        for words in ([command], [command, action] if action else [command]):
            with pytest.raises(SystemExit) as ended:
                main([*words, "--help"], {})
            assert ended.value.code == 0, (words, capsys.readouterr().err)


CHECKLIST = (ROOT / "docs" / "checklist.md").read_text("utf-8")


def test_the_checklist_has_the_sections_of_the_guide() -> None:
    assert [int(number) for number in re.findall(r"^## (\d+)\. ", CHECKLIST, re.MULTILINE)] == list(range(1, 16))


@pytest.mark.parametrize("row", re.findall(r"^\| (?!It asks|---)(.+) \|$", CHECKLIST, re.MULTILINE))
def test_every_box_of_the_checklist_has_a_command_that_can_be_given(row: str) -> None:
    _, _, prove, _ = row.split(" | ")
    commands = re.findall(r"`((?:python -m|make|curl) [^`]+)`", prove)
    assert commands
    for words in map(shlex.split, commands):
        if words[:3] == ["python", "-m", "ops"] and "--help" not in words:
            _parser().parse_args(words[3:])  # raises WrongUse


def test_the_changelog_has_the_version_of_this_tree() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    releases = re.findall(r"^## (\S+?),? ", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert releases[:1] == [version]


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/decisions/*.md")), ids=lambda page: page.name)
def test_a_decision_has_at_most_40_lines_and_says_what_was_rejected(page: Path) -> None:
    text = page.read_text("utf-8")
    assert len(text.splitlines()) <= 40
    assert "Rejected" in text


@pytest.mark.parametrize("name", print_docs.PAGES)
def test_a_printed_page_is_current(name: str) -> None:
    assert (print_docs.DOCS / name).read_text("utf-8") == print_docs.PAGES[name](), "run: python -m dev.print_docs"


# The proofs page ------------------------------------------------------------------------------------------------------

PROOFS_PAGE = (PROOFS / "README.md").read_text("utf-8")
WRITTEN = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))


def test_every_test_that_the_page_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", PROOFS_PAGE))
    assert len(named) > 30
    assert sorted(name for name in named if f"def {name}(" not in WRITTEN) == []


def test_the_page_names_every_invariant_and_no_other() -> None:
    (named,) = re.findall(r"on one snapshot: (.+?)\. An operator", PROOFS_PAGE, re.DOTALL)
    assert re.findall(r"`(\w+)`", named) == [name for name, _, _ in read_invariants(INVARIANTS.read_text("utf-8"))]


def test_every_figure_of_the_page_is_of_a_test_or_a_command_that_exists() -> None:
    kept = [*LABELS, *json.loads((PROOFS / "figures.json").read_text("utf-8"))]
    named = {re.split(r"[\[ ]", key)[0] for key in kept if key.startswith("test_")}
    assert sorted(name for name in named if f"def {name}(" not in WRITTEN) == []
    assert {key for key in kept if not key.startswith("test_")} == {"make mutation", "make planted-bugs"}
