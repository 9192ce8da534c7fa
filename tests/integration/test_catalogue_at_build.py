"""A build checks the shop's catalogue, takes it along, and tells the functions whether there was one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from netlify import check_build
from netlify.check_build import catalogue
from shared.catalogue import ROOT, catalogue_of
from shared.environment_variables import Misconfigured
from tests.fixtures.python_functions import toy_site
from tests.integration.test_python_functions_elsewhere import built

GOOD = '{"items": [{"id": "tea", "name": "Tea", "price_kes": 450}]}'
WRONG = '{"items": [\n{"id": "tea", "name": "Tea", "price_kes": 0},\n{"id": "tea", "name": "", "price_kes": 1}]}'


def put(root: Path, text: str, name: str = "public/catalogue.json") -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


def test_the_catalogue_travels_and_the_functions_know_that_there_is_one(tmp_path: Path) -> None:
    put(tmp_path, GOOD)
    put(tmp_path, GOOD, "shop/my prices.json")
    usual = {"include": ["public/catalogue.json"], "variables": {"CATALOGUE": "public/catalogue.json"}}
    assert catalogue({}, tmp_path) == usual
    assert catalogue({"CATALOGUE": " "}, tmp_path) == usual
    assert catalogue({"CATALOGUE": "shop/my prices.json"}, tmp_path)["variables"] == {
        "CATALOGUE": "shop/my prices.json"
    }
    assert catalogue({"CATALOGUE": "none"}, tmp_path) == {"variables": {"CATALOGUE": "none"}}


def test_a_shop_without_one_is_known_to_have_none(tmp_path: Path) -> None:
    assert catalogue({}, tmp_path) == {"variables": {"CATALOGUE": "none"}}


@pytest.mark.parametrize(
    "setting", ["prices.json", "public/../../prices.json", "/etc/passwd", "none.json", "..", "a\nb"]
)
def test_a_catalogue_that_is_named_has_to_be_there(tmp_path: Path, setting: str) -> None:
    with pytest.raises(SystemExit, match="CATALOGUE"):
        catalogue({"CATALOGUE": setting}, tmp_path)


def test_a_mistake_stops_the_build_and_each_is_named_with_its_line(tmp_path: Path) -> None:
    put(tmp_path, WRONG)
    with pytest.raises(SystemExit) as ended:
        catalogue({}, tmp_path)
    assert str(ended.value).splitlines() == [
        "public/catalogue.json, the shop's catalogue, has mistakes:",
        '  line 2: price_kes of "tea" must be whole shillings from 1 to 250,000, without quotes',
        '  line 3: the name of "tea" must be text of 1 to 100 characters',
        '  line 3: id "tea" is taken by line 2',
    ]


def test_the_check_runs_where_no_package_is_installed(tmp_path: Path) -> None:
    answer = tmp_path / "check.json"
    told = json.dumps({"context": "production", "regions": {}, "answer": str(answer)})
    command = [sys.executable, "-S", "-E", str(ROOT / "netlify" / "check_build.py"), told]
    ran = subprocess.run(command, cwd=tmp_path, env={}, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert json.loads(answer.read_text()) == check_build.catalogue({})


def test_what_a_sites_check_answers_travels_with_the_functions(tmp_path: Path) -> None:
    site = toy_site(tmp_path)
    put(site, GOOD)
    answer = {"include": ["public/catalogue.json"], "variables": {"CATALOGUE": "public/catalogue.json"}}
    (site / "check.py").write_text(
        f"import json, sys\nopen(json.loads(sys.argv[1])['answer'], 'w').write({json.dumps(json.dumps(answer))})\n"
    )
    build = built(site, check="check.py")
    assert build.returncode == 0, build.stdout + build.stderr
    assert (site / ".netlify" / "python-functions" / "site" / "public" / "catalogue.json").read_text() == GOOD
    entry = (site / ".netlify" / "v1" / "functions" / "hello.mjs").read_text()
    assert '  variables: {"CATALOGUE":"public/catalogue.json"},' in entry


# In the function ------------------------------------------------------------------------------------------------------


def test_a_function_reads_what_its_build_found(tmp_path: Path) -> None:
    assert catalogue_of(None, tmp_path) is None
    put(tmp_path, GOOD)
    for setting in (None, "public/catalogue.json"):
        found = catalogue_of(setting, tmp_path)
        assert found is not None
        assert found.items["tea"].price_kes == 450
    assert catalogue_of("none", tmp_path) is None


def test_a_file_that_was_edited_is_read_again(tmp_path: Path) -> None:
    put(tmp_path, GOOD)
    assert catalogue_of(None, tmp_path) is catalogue_of(None, tmp_path)
    put(tmp_path, GOOD.replace("450", "4500"))
    found = catalogue_of(None, tmp_path)
    assert found is not None
    assert found.items["tea"].price_kes == 4500


@pytest.mark.parametrize(
    ("text", "why"), [(None, "this deploy has no such file"), (WRONG, 'line 2: price_kes of "tea" must be whole')]
)
def test_a_function_without_a_catalogue_that_can_be_used_says_so(tmp_path: Path, text: str | None, why: str) -> None:
    if text is not None:
        put(tmp_path, text)
    with pytest.raises(Misconfigured, match=why):
        catalogue_of("public/catalogue.json", tmp_path)
