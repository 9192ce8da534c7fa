"""Pages printed from the code say what the code says."""

from __future__ import annotations

import pytest

from dev.print_docs import DOCS, PAGES


@pytest.mark.parametrize("name", PAGES)
def test_a_printed_page_is_current(name: str) -> None:
    assert (DOCS / name).read_text("utf-8") == PAGES[name](), "run: python -m dev.print_docs"
