"""Every link between our own pages leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("netlify/plugins/**/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    own = [link for link in links if "://" not in link and not link.startswith("mailto:")]
    assert [link for link in own if not (page.parent / link).exists()] == []


def test_every_code_of_the_api_is_in_its_page() -> None:
    sources = [*ROOT.glob("shared/*.py"), *ROOT.glob("netlify/functions/*.py")]
    problems = [re.findall(r'Problem\(\s*(\d{3}),\s*"(\w+)"', source.read_text("utf-8")) for source in sources]
    codes = {code for found in problems for _, code in found}
    page = (ROOT / "docs" / "api.md").read_text("utf-8")
    assert len(codes) > 8
    assert [code for code in sorted(codes) if f"`{code}`" not in page] == []
