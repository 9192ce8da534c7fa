"""Imports point one way: functions → shared, ops → shared; the pure core knows nothing but the standard library."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = {"netlify", "shared", "db", "ops", "dev", "simulator", "tests"}
PURE = ("payments", "money", "phone")
STANDARD_LIBRARY_ONLY = (
    *PURE,
    "transaction_id",
    "daraja/callback_reader",
    "daraja/fields",
    "daraja/result_codes",
    "daraja/callback_address",
    "daraja/source_addresses",
)
DEPLOYED = [*(ROOT / "shared").rglob("*.py"), *(ROOT / "netlify" / "functions").glob("*.py")]
FUNCTIONS = ("stkpush", "callback", "status", "invoice", "sweep")


def imported(path: Path) -> set[str]:
    """Every module that a file imports anywhere, also inside functions; `from a import b` is `a` and `a.b`."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names):
                found |= {each.name for each in names}
            case ast.ImportFrom(module=str(module), names=names, level=level):
                assert level == 0, f"{path} imports relatively"
                found |= {module} | {f"{module}.{each.name}" for each in names}
    return found


def packages(path: Path) -> set[str]:
    return {module.partition(".")[0] for module in imported(path)}


def names_used(path: Path) -> set[str]:
    return {
        ast.unparse(node)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute | ast.Name)
    }


def test_there_is_something_to_look_at() -> None:
    assert {path.stem for path in DEPLOYED} > {*FUNCTIONS, *PURE, "settings", "transactions"}


@pytest.mark.parametrize("name", PURE)
def test_the_pure_core_imports_nothing_that_touches_the_world(name: str) -> None:
    assert packages(ROOT / "shared" / f"{name}.py") <= {
        "__future__", "collections", "dataclasses", "datetime", "decimal", "enum", "re", "typing",
    }  # fmt: skip


@pytest.mark.parametrize("name", STANDARD_LIBRARY_ONLY)
def test_what_must_start_quickly_imports_only_the_standard_library(name: str) -> None:
    assert packages(ROOT / "shared" / f"{name}.py") - OURS <= sys.stdlib_module_names


@pytest.mark.parametrize("path", DEPLOYED, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_deployed_imports_nothing_that_is_not(path: Path) -> None:
    assert packages(path) & OURS <= {"shared", "netlify"}


@pytest.mark.parametrize("path", list((ROOT / "shared").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_library_does_not_know_the_functions(path: Path) -> None:
    assert "netlify" not in packages(path)


@pytest.mark.parametrize("path", DEPLOYED, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_settings_reads_the_environment(path: Path) -> None:
    reads = {"os.environ", "os.getenv", "os.environb", "os.putenv", "environ", "getenv"} & names_used(path)
    assert not reads or path == ROOT / "shared" / "settings.py"


@pytest.mark.parametrize("path", DEPLOYED, ids=lambda path: str(path.relative_to(ROOT)))
def test_sql_lives_in_the_gateway(path: Path) -> None:
    """What looks like SQL is in shared/gateway; the connection itself begins and ends transactions."""
    text = ast.unparse(ast.parse(path.read_text(encoding="utf-8")))
    if not {"gateway", "database"} & set(path.parts):
        assert not any(word in text for word in ("INSERT INTO", "DELETE FROM", "SELECT ", " SET status"))


@pytest.mark.parametrize("path", DEPLOYED, ids=lambda path: str(path.relative_to(ROOT)))
def test_nobody_prints(path: Path) -> None:
    """What is printed would pass by the one place that keeps private things out of the log."""
    assert not {"print", "sys.stdout", "sys.stderr"} & names_used(path)


def loaded_by(module: str) -> set[str]:
    """The top-level packages a fresh process holds after importing a module."""
    script = (
        f"import sys, json, {module}; print(json.dumps(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    return set(json.loads(told.stdout))


HEAVY = {
    "pydantic", "sendgrid", "aws_lambda_powertools", "pg8000", "requests", "sentry_sdk", "botocore", "urllib3",
    "jinja2",
}  # fmt: skip


@pytest.mark.parametrize("function", FUNCTIONS)
def test_importing_a_function_loads_no_package_that_its_story_may_not_need(function: str) -> None:
    """Each is imported where it is used: a cold start pays for its own story only."""
    assert loaded_by(f"netlify.functions.{function}") & HEAVY == set()
