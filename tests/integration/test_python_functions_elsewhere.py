"""The plugin in a project that is not this one: what is wrong is said in a sentence that says what to do."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dev.deployed_function import node
from netlify.check_build import warnings
from tests.fixtures.python_functions import PLUGIN, netlify_build, toy_site

HOOK = """
const [event, asked] = process.argv.slice(1)
const utils = { build: { failBuild(sentence) { console.log(sentence); process.exit(3) } } }
require(PLUGIN)[event]({ ...JSON.parse(asked), utils })
"""


def built(
    site: Path,
    *,
    folder: str = "netlify/functions",
    check: str | None = None,
    regions: dict[str, str] | None = None,
    variables: dict[str, str] | None = None,
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    """The plugin's part of a build, as Netlify calls it. `variables` are the site's, `environment` the machine's."""
    functions = {name: {"region": region} for name, region in (regions or {}).items()}
    asked = {
        "inputs": {"requirements": "requirements.txt", "timeout_seconds": 28, "timeouts": {}, "check": check},
        "constants": {"FUNCTIONS_SRC": folder, "CONFIG_PATH": str(site / "netlify.toml")},
        "netlifyConfig": {"functions": functions, "build": {"environment": variables or {}}},
    }
    command = [node(), "-e", HOOK.replace("PLUGIN", json.dumps(str(PLUGIN))), "onPreBuild", json.dumps(asked)]
    machine = {"PATH": "/usr/bin:/bin", "PYTHON_FUNCTIONS_PYTHON": sys.executable, **environment}
    return subprocess.run(command, check=False, cwd=site, env=machine, capture_output=True, text=True, timeout=120)


def said(build: subprocess.CompletedProcess[str]) -> str:
    assert build.returncode == 3, build.stdout + build.stderr
    return build.stdout + build.stderr


def without(file: str) -> Callable[[Path], object]:
    return lambda site: (site / file).unlink()


def with_text(file: str, change: Callable[[str], str]) -> Callable[[Path], object]:
    def write(site: Path) -> None:
        before = (site / file).read_text() if (site / file).exists() else ""
        (site / file).write_text(change(before))

    return write


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            without("requirements.txt"),
            "requirements.txt is missing: it names the packages of the functions, with hashes",
        ),
        (
            with_text("requirements.txt", lambda _: "awslambdaric==4.2.2\n"),
            "names awslambdaric==4.2.2 without a hash. Write it",
        ),
        (
            with_text("requirements.txt", lambda text: text.replace("awslambdaric==", "other==")),
            "does not name awslambdaric, which calls the handlers: add it",
        ),
        (
            lambda site: (site / "netlify").rename(site / "api"),
            "There is no Python function in netlify/functions: put NAME.py there, or",
        ),
        (
            with_text("runtime.txt", lambda _: "3.8\n"),
            '"3.8" is no Python to deploy: runtime.txt must say 3.11 or later',
        ),
        (
            with_text("runtime.txt", lambda _: "python\n"),
            '"python" is no Python to deploy: runtime.txt must say 3.11 or later',
        ),
        (with_text("netlify/functions/hello.js", lambda _: ""), "would be the same function: rename one"),
    ],
    ids=[
        "no requirements",
        "no hashes",
        "no runtime client",
        "other folder",
        "old Python",
        "no version",
        "two of a name",
    ],
)
def test_what_is_wrong_with_a_project_is_said_and_fails_its_build(
    tmp_path: Path, change: Callable[[Path], object], sentence: str
) -> None:
    site = toy_site(tmp_path)
    change(site)
    assert sentence in said(built(site))


@pytest.mark.parametrize("folder", ["my.api/functions", "../elsewhere"])
def test_a_folder_that_cannot_be_imported_is_named(tmp_path: Path, folder: str) -> None:
    told = said(built(toy_site(tmp_path), folder=folder))
    assert f"The functions folder {folder} cannot be imported" in told


def test_a_machine_without_python_is_told_what_to_install(tmp_path: Path) -> None:
    told = said(built(toy_site(tmp_path), PATH=str(tmp_path), PYTHON_FUNCTIONS_PYTHON=""))
    assert "No Python 3.11 or later was found: install one, or create .venv with it." in told


def test_the_real_cli_shows_the_sentence(tmp_path: Path) -> None:
    site = toy_site(tmp_path)
    (site / "requirements.txt").write_text("awslambdaric==4.2.2\n")
    build = netlify_build(site)
    assert build.returncode != 0
    assert "requirements.txt names awslambdaric==4.2.2 without a hash" in build.stdout + build.stderr
    assert "Traceback" not in build.stdout + build.stderr


# Variables ------------------------------------------------------------------------------------------------------------


def test_variables_that_come_near_the_limit_are_named_with_their_sizes_and_never_their_values(tmp_path: Path) -> None:
    site = toy_site(tmp_path)
    (site / "runtime.txt").write_text("3.8\n")
    (site / "netlify.toml").write_text('[build.environment]\n  OF_THE_BUILD = "does not reach functions"\n')
    values = {"LARGE": "s3cret-" * 300, "SMALL": "s3cret", "OF_THE_BUILD": "x" * 4000}
    told = built(site, variables={**values, "LARGER": "t0p-" * 500}).stdout
    assert "have 4122 bytes with their names, and those of a function may have 4096 together" in told
    assert "LARGE (2105), LARGER (2006), SMALL (11)." in told
    assert re.search("s3cret|t0p|xxx|OF_THE_BUILD", told) is None
    assert "bytes" not in built(site, variables={"LARGE": "x" * 3000}).stdout


# The site's own check -------------------------------------------------------------------------------------------------


def test_a_site_checks_its_settings_at_each_build(tmp_path: Path) -> None:
    site = toy_site(tmp_path)
    (site / "check.py").write_text("import sys\nprint(sys.argv[1])\nsys.exit('lhr' in sys.argv[1])\n")
    (site / "requirements.txt").unlink()
    told = said(built(site, check="check.py", regions={"*": "fra", "tick": "dub"}, CONTEXT="branch-deploy"))
    assert '"context":"branch-deploy"' in told
    assert '"hello":"fra"' in told
    assert '"tick":"dub"' in told
    assert "stopped the build" not in told
    told = said(built(site, check="check.py", regions={"hello": "lhr"}))
    assert '{"context":null,"regions":{"hang":null,"hello":"lhr",' in told
    assert "check.py stopped the build: the reason is above." in told
    assert "requirements.txt" not in told


DATABASE = "postgresql://shop:word@ep-cool-name-123.eu-central-1.aws.neon.tech/shop"
SHOP = {"MPESA_ENV": "sandbox", "DATABASE_URL": DATABASE}


@pytest.mark.parametrize(
    ("context", "environ", "regions", "told"),
    [
        ("production", SHOP, ["fra"], []),
        ("production", SHOP, ["eu-central-1"], []),
        ("production", {"MPESA_ENV": "production"}, [None], []),
        ("deploy-preview", SHOP, ["fra"], []),
        (
            "deploy-preview",
            {**SHOP, "MPESA_ENV": "production"},
            ["fra"],
            ["this deploy is deploy-preview: its functions will answer 500 misconfigured"],
        ),
        (None, {"MPESA_ENV": "production"}, [None], ["context of this deploy is None"]),
        ("production", SHOP, ["fra", "lhr"], ["The database is in eu-central-1, the functions are in eu-west-2: each"]),
        ("production", SHOP, [None], ["in us-east-2, unless Functions region in the site's settings is another"]),
        (
            "production",
            {"NETLIFY_DB_URL": DATABASE},
            ["dub"],
            ["The database is in eu-central-1, the functions are in eu-west-1"],
        ),
        ("production", {"DATABASE_URL": "postgresql://u:eu-west-1@[::1/x"}, ["fra"], []),
        ("production", {"DATABASE_URL": "postgresql://u:eu-west-1@db.example/us-east-1"}, ["fra"], []),
    ],
)
def test_a_build_of_this_shop_says_what_its_settings_would_stop_or_slow_down(
    context: str | None, environ: dict[str, str], regions: list[str | None], told: list[str]
) -> None:
    build = {"context": context, "regions": {str(number): region for number, region in enumerate(regions)}}
    found = list(warnings(environ, build))
    assert len(found) == len(told)
    for warning, expected in zip(found, told, strict=True):
        assert expected in warning
        assert "word" not in warning
