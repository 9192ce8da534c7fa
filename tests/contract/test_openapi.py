"""public/openapi.json is what the code says; every code of the API has an example, a line in the docs, and a test."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from dev.api_description import document, openapi_json
from dev.api_problems import bridge_problems
from shared.orders import read_stkpush
from shared.problems import Kind, Problem

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "api.md").read_text("utf-8")
SOURCES = [*(ROOT / "shared").rglob("*.py"), *(ROOT / "netlify" / "functions").glob("*.py")]
THIS_FOLDER = Path(__file__).parent
DESCRIBED = document()
CODES = sorted({kind.code for kind in Kind})
BRIDGE_CODES = sorted(bridge_problems())


def problem_answers() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(operation, HTTP status, content) of every described answer that is a problem."""
    for path in DESCRIBED["paths"].values():
        for operation in path.values():
            if isinstance(operation, dict):
                for status, answer in operation["responses"].items():
                    if problem := answer.get("content", {}).get("application/problem+json"):
                        yield operation["operationId"], status, problem


def example(reference: dict[str, str]) -> Any:
    return DESCRIBED["components"]["examples"][reference["$ref"].rpartition("/")[2]]["value"]


def test_the_file_is_current() -> None:
    assert (ROOT / "public" / "openapi.json").read_text("utf-8") == openapi_json(), "run: python -m dev.print_docs"


@pytest.mark.parametrize("kind", Kind, ids=lambda kind: kind.name.lower())
def test_every_problem_is_raised_by_the_code_and_described(kind: Kind) -> None:
    assert any(f"Kind.{kind.name}" in path.read_text("utf-8") for path in SOURCES)
    shown = [example(reference) for _, _, problem in problem_answers() for reference in problem["examples"].values()]
    assert any((told["status"], told["code"], told["title"]) == (kind.status, kind.code, kind.title) for told in shown)


@pytest.mark.parametrize("code", CODES)
def test_every_code_has_a_line_in_the_docs_with_each_of_its_statuses(code: str) -> None:
    lines = [line for line in PAGE.splitlines() if f"`{code}`" in line]
    statuses = {status for _, status, problem in problem_answers() if code in _codes(problem)}
    assert [status for status in sorted(statuses) if not any(status in line for line in lines)] == []
    assert lines != []


@pytest.mark.parametrize("code", BRIDGE_CODES)
def test_every_code_of_the_bridge_has_a_line_in_the_docs(code: str) -> None:
    assert f"`{code}`" in PAGE


@pytest.mark.parametrize("code", [*CODES, *BRIDGE_CODES])
def test_every_code_has_a_test(code: str) -> None:
    """Some test elsewhere names it as what is answered."""
    named = re.compile(rf"""["'`]{code}["'`]""")
    tests = [path for path in (ROOT / "tests").rglob("test_*.py") if path.parent != THIS_FOLDER]
    assert [path.name for path in tests if named.search(path.read_text("utf-8"))] != []


def test_every_example_has_the_form_that_is_described() -> None:
    checked = 0
    for content in _contents(DESCRIBED["paths"]):
        schema = content["schema"] | {"components": DESCRIBED["components"]}
        form = jsonschema_rs.validator_for(schema)
        for told in content["examples"].values():
            form.validate(example(told) if "$ref" in told else told["value"])
            checked += 1
    assert checked > 100


def test_the_reader_takes_the_characters_that_are_described_and_no_others() -> None:
    """But for those that Unicode has assigned since this Python was made: the reader takes them."""
    described = jsonschema_rs.validator_for(
        DESCRIBED["components"]["schemas"]["StkpushRequest"]["oneOf"][0]["properties"]["customer_name"]
    )
    order: dict[str, object] = {"phone_number": "0708374149", "amount": 1, "account_reference": "INV00042"}

    def is_taken(character: str) -> bool:
        try:
            read_stkpush(order | {"customer_name": character})
        except Problem:
            return False
        return True

    characters = [chr(point) for point in range(0x3000) if not 0xD800 <= point < 0xE000]
    known = [character for character in characters if unicodedata.category(character) != "Cn"]
    assert [hex(ord(each)) for each in known if described.is_valid(each) != is_taken(each)] == []


def test_the_page_of_the_api_names_the_file() -> None:
    assert "public/openapi.json" in PAGE


def _codes(problem: dict[str, Any]) -> list[str]:
    codes: list[str] = problem["schema"]["properties"]["code"]["enum"]
    return codes


def _contents(value: object) -> Iterator[dict[str, Any]]:
    """Everything that has a schema and examples of it, however deep."""
    if isinstance(value, dict):
        if "schema" in value and "examples" in value:
            yield value
        for inner in value.values():
            yield from _contents(inner)
