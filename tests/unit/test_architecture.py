"""Imports point one way and never in a circle; the pure core imports only the standard library."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ARROWS = {
    "shared": {"shared"},
    "netlify/functions": {"netlify", "shared"},
    "netlify/plugins": set[str](),  # can be lifted out for other projects
    "db": {"db", "shared"},
    "ops": {"db", "dev", "ops", "shared"},  # of dev one thing, see below
    "simulator": {"simulator"},  # knows Daraja, and nothing of ours
    "dev": {"db", "dev", "netlify", "ops", "shared", "simulator"},
}
"""What each folder may import of ours."""
OURS = {"netlify", "shared", "db", "ops", "dev", "simulator", "tests"}
PURE = ("payments", "notices", "query_schedule", "values")
STANDARD_LIBRARY_ONLY = (
    *PURE,
    "deadline",
    "daraja/answers",
    "daraja/callback_address",
    "daraja/callback_reader",
    "daraja/result_codes",
)
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for folder in ARROWS
    for path in (ROOT / folder).rglob("*.py")
}
DEPLOYED = [*(ROOT / "shared").rglob("*.py"), *(ROOT / "netlify" / "functions").glob("*.py")]
FUNCTIONS = ("stkpush", "callback", "status", "invoice", "sweep")


def imports(node: ast.AST, *, for_types: bool) -> Iterator[str]:
    """Every module that is imported, also inside functions; with `for_types` under TYPE_CHECKING too."""
    match node:
        case ast.Import(names):
            yield from (each.name for each in names)
        case ast.ImportFrom(module=str(module), names=names, level=0):
            full = [f"{module}.{each.name}" for each in names]
            yield from (each if each in MODULES else module for each in full)
        case ast.ImportFrom():
            raise AssertionError(f"a relative import: {ast.unparse(node)}")
        case ast.If(test=ast.Name(id="TYPE_CHECKING")) if not for_types:
            return
    for child in ast.iter_child_nodes(node):
        yield from imports(child, for_types=for_types)


def imported(path: Path, *, for_types: bool = True) -> set[str]:
    return set(imports(ast.parse(path.read_text(encoding="utf-8")), for_types=for_types))


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
    assert {name.partition(".")[0] for name in MODULES} == OURS - {"tests"}


@pytest.mark.parametrize("folder", ARROWS)
def test_imports_point_one_way(folder: str) -> None:
    wrong = {
        str(path.relative_to(ROOT)): sorted((packages(path) & OURS) - ARROWS[folder])
        for path in (ROOT / folder).rglob("*.py")
    }
    assert {path: packages for path, packages in wrong.items() if packages} == {}


def test_commands_take_nothing_of_dev_but_the_embedded_postgresql() -> None:
    taken = {module for path in (ROOT / "ops").rglob("*.py") for module in imported(path) if module.startswith("dev")}
    assert taken == {"dev.postgres"}


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {name: (imported(path, for_types=False) & MODULES.keys()) - {name} for name, path in MODULES.items()}
    assert sum(map(len, graph.values())) > 300, "the imports were not found"
    graphlib.TopologicalSorter(graph).prepare()  # CycleError names the modules


@pytest.mark.parametrize("name", PURE)
def test_the_pure_core_imports_nothing_that_touches_the_world(name: str) -> None:
    harmless = {"__future__", "collections", "dataclasses", "datetime", "decimal", "enum", "itertools", "re", "typing"}
    if name == "values":
        harmless |= {"os", "time", "unicodedata", "uuid"}  # a new id is made of the time and of chance
    others = {module for module in imported(ROOT / "shared" / f"{name}.py") if module.partition(".")[0] not in harmless}
    assert others <= {f"shared.{each}" for each in PURE}


@pytest.mark.parametrize("name", STANDARD_LIBRARY_ONLY)
def test_what_must_start_quickly_imports_only_the_standard_library(name: str) -> None:
    assert packages(ROOT / "shared" / f"{name}.py") - OURS <= sys.stdlib_module_names


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


HEAVY = {
    "pydantic", "sendgrid", "aws_lambda_powertools", "pg8000", "requests", "sentry_sdk", "botocore", "urllib3",
    "jinja2", "certifi",
}  # fmt: skip
LOADS_NONE_OF: dict[str, set[str]] = {
    **{f"netlify.functions.{function}": HEAVY for function in FUNCTIONS},
    "shared.daraja.callback_reader": HEAVY | {"http.client", "ssl"},
    "shared.daraja.client": {"sendgrid", "python_http_client", "pg8000", "smtplib"},
    "shared.database": {"pg8000", "ssl", "scramp"},
}


@pytest.mark.parametrize("module", LOADS_NONE_OF)
def test_importing_a_module_loads_no_package_that_its_story_may_not_need(module: str) -> None:
    """Each is imported where it is used: a cold start pays for its own story only."""
    script = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert LOADS_NONE_OF[module] & set(loaded.stdout.split()) == set()
