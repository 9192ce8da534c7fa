"""What goes into a deployed function, and from where: the part of `netlify build` that is about Python."""

import importlib
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.fixtures.python_functions import PLUGIN, toy_site
from tests.integration.test_python_functions_deployed import COPYING_UV

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(PLUGIN / "build"))
    yield importlib.import_module("stage")
    for name in ("stage", "interpreters", "linked_libraries"):
        sys.modules.pop(name, None)


def order(site: Path, **changes: Any) -> dict[str, Any]:
    return {
        "root": str(site),
        "state": str(site / ".netlify" / "python-functions"),
        "functions": ["hello"],
        "functions_folder": "netlify/functions",
        "include": ["shared/**"],
        "requirements": str(site / "requirements.txt"),
        "python_version": VERSION,
        "runtime": None,
        "for_deploying": True,
        **changes,
    }


def uv_on_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A uv that installs a copy of this interpreter; returns where."""
    (folder / "bin").mkdir()
    uv = folder / "bin" / "uv"
    tree = folder / "installed"
    uv.write_text(COPYING_UV.format(python=os.path.realpath(sys.executable), tree=str(tree)))
    uv.chmod(0o755)
    monkeypatch.setenv("PATH", f"{uv.parent}:{os.environ['PATH']}")
    return tree


def test_a_build_for_deploying_takes_the_python_that_uv_installs(
    tmp_path: Path, stage: ModuleType, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    site, tree = toy_site(tmp_path), uv_on_path(tmp_path, monkeypatch)
    monkeypatch.setattr(stage, "check_libraries", lambda tree, deployable: None)  # this machine's Python is no such one

    stage.stage(order(site))

    staged = json.loads((site / ".netlify" / "python-functions" / "staged.json").read_text())
    assert staged["not_for_deploying"] is None
    assert (site / staged["python"]).read_bytes()[:4] == b"\x7fELF"
    assert (site / staged["packages"] / "awslambdaric" / "__init__.py").exists()
    assert not (site / staged["site_tree"] / "NOT-FOR-DEPLOYING.txt").exists()
    assert tree.exists()
    assert "NOT FOR DEPLOYING" not in capfd.readouterr().out

    first = (site / staged["python"]).stat()
    stage.stage(order(site))
    assert (site / staged["python"]).stat() == first, "made once for the same interpreter and requirements"


@pytest.mark.parametrize("hashes", [f"--hash=sha256:{'0' * 64}", ""])
def test_packages_are_refused_when_their_hash_is_wrong_or_missing(
    tmp_path: Path, stage: ModuleType, monkeypatch: pytest.MonkeyPatch, hashes: str
) -> None:
    site = toy_site(tmp_path)
    uv_on_path(tmp_path, monkeypatch)
    requirements = site / "requirements.txt"
    requirements.write_text(re.sub(r"--hash=sha256:[0-9a-f]{64}", hashes, requirements.read_text()))

    with pytest.raises(stage.CannotBuild, match=r"No build for deploying: the packages of .* could not be installed"):
        stage.stage(order(site))

    assert not list((site / ".netlify" / "python-functions").glob("python-*[0-9a-f]")), "nothing that looks complete"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"requirements": "/nowhere/requirements.txt"}, "requirements.txt is missing"),
        ({"functions": []}, "There is no function in netlify/functions"),
        ({"runtime": "/nowhere"}, "there is no bin/python3 in /nowhere"),
        ({"python_version": "3.99"}, "is CPython"),
    ],
)
def test_what_cannot_be_built_is_told_in_a_sentence(
    tmp_path: Path, stage: ModuleType, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], says: str
) -> None:
    site = toy_site(tmp_path)
    uv_on_path(tmp_path, monkeypatch)

    with pytest.raises(stage.CannotBuild) as told:
        stage.stage(order(site, **change))

    assert says in str(told.value)


def test_without_any_network_the_installed_packages_are_taken(
    tmp_path: Path, stage: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = toy_site(tmp_path)

    stage.copy_installed_packages(site / "requirements.txt", tmp_path / "packages")

    assert (tmp_path / "packages" / "awslambdaric" / "bootstrap.py").exists()
    assert {path.name.split("-")[0] for path in (tmp_path / "packages").glob("*.dist-info")} == {
        "awslambdaric", "certifi", "simplejson", "snapshot_restore_py",
    }  # fmt: skip


def test_libraries_and_glibc_of_a_binary_are_read_from_the_file(stage: ModuleType, tmp_path: Path) -> None:
    linked = stage.linked_libraries
    executable = Path(os.path.realpath(sys.executable))
    text = tmp_path / "text"
    text.write_text("no binary")

    assert "libc.so.6" in linked.needed(executable)
    assert 2 <= linked.newest_glibc(executable) < 100
    assert linked.needed(text) == set()
