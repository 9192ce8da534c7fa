"""The bill that doctor forecasts is that of docs/costs.md, which was measured."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ops.checks.bill import DAYS_A_MONTH, credits_of_functions

PAGE = Path(__file__).parents[2] / "docs" / "costs.md"
ROWS = re.findall(r"^\| ([\d,]+)[^|]*\|.*\| ([\d,]+) credits: [^|]+ \|$", PAGE.read_text("utf-8"), re.MULTILINE)


def test_the_page_has_the_rows_that_are_compared() -> None:
    assert len(ROWS) == 5


@pytest.mark.parametrize(("payments", "credits"), ROWS)
def test_the_functions_cost_what_was_measured(payments: str, credits: str) -> None:
    forecast = credits_of_functions(int(payments.replace(",", "")) * DAYS_A_MONTH)
    assert forecast == pytest.approx(int(credits.replace(",", "")), rel=0.05)
