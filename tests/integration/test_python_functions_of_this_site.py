"""The five functions of this site, as `netlify build` makes them."""

import json
from pathlib import Path

import pytest

from dev.build import LARGEST_UNPACKED_MB, LARGEST_ZIP_MB, built_functions
from tests.fixtures.deployed_function import DeployedFunction, http_event

FUNCTIONS = ["callback", "invoice", "status", "stkpush", "sweep"]


def test_a_build_makes_five_zips_within_the_limits(built_zips: Path) -> None:
    built = built_functions(built_zips)

    assert [function.name for function in built] == FUNCTIONS
    assert max(function.zip_mb for function in built) <= LARGEST_ZIP_MB == 35
    assert max(function.unpacked_mb for function in built) <= LARGEST_UNPACKED_MB == 110


def test_only_sweep_has_a_schedule(built_zips: Path) -> None:
    manifest = json.loads((built_zips / "manifest.json").read_text())

    schedules = {function["name"]: function["schedule"] for function in manifest["functions"] if "schedule" in function}
    assert schedules == {"sweep": "* * * * *"}


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name != "sweep"])
def test_an_unpacked_function_answers_with_an_empty_environment(
    built_zips: Path, unpacking_folder: Path, name: str
) -> None:
    with DeployedFunction(built_zips / f"{name}.zip", unpacking_folder / name) as function:
        answer = function.invoke(http_event("PUT", "/api/mpesa/nothing/here"))

    assert answer["statusCode"] in (404, 405)
    assert answer["headers"]["content-type"] == "application/problem+json"


def test_an_unpacked_sweep_without_settings_says_which_are_missing(built_zips: Path, unpacking_folder: Path) -> None:
    with DeployedFunction(built_zips / "sweep.zip", unpacking_folder / "sweep") as function:
        answer = function.invoke(
            http_event("POST", "/.netlify/functions/sweep", '{"next_run": "2026-01-01T00:00:00Z"}')
        )
        log = function.log()

    assert answer["statusCode"] == 500
    assert "MPESA_CONSUMER_KEY" in answer["body"] + log
