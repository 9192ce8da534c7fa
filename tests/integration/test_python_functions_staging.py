"""What goes into a deployed function, and from where: the part of `netlify build` that is about Python."""

import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.fixtures.python_functions import PLUGIN, UV_VERSION, toy_site
from tests.integration.test_python_functions_deployed import copying_uv

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
    uv.write_text(copying_uv(tree))
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


@pytest.mark.parametrize("deploying", [True, False])
@pytest.mark.parametrize(
    ("pattern", "instead", "says"),
    [
        (r"sha256:[0-9a-f]{64}", f"sha256:{'0' * 64}", "has another hash than requirements.txt says"),
        (r"--hash=sha256:[0-9a-f]{64}", "", "requirements.txt names awslambdaric==4.2.2 without a hash"),
        (r"awslambdaric==(?s:.*)(?=certifi==)", "", "does not name awslambdaric, which calls the handlers"),
        (r"certifi==\S+", "docopt==0.6.2", "docopt==0.6.2 has no wheel for CPython 3"),
    ],
)
def test_packages_that_cannot_be_installed_are_named_with_what_to_do(
    tmp_path: Path,
    stage: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    pattern: str,
    instead: str,
    says: str,
    deploying: bool,
) -> None:
    """Also where the build is not for deploying: another network would not help."""
    site = toy_site(tmp_path)
    uv_on_path(tmp_path, monkeypatch)
    requirements = site / "requirements.txt"
    requirements.write_text(re.sub(pattern, instead, requirements.read_text()))

    with pytest.raises(stage.CannotBuild, match=re.escape(says)):
        stage.stage(order(site, for_deploying=deploying))

    assert not list((site / ".netlify" / "python-functions").glob("python-*[0-9a-f]")), "nothing that looks complete"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"requirements": "/nowhere/requirements.txt"}, "requirements.txt is missing"),
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


# What travels --------------------------------------------------------------------------------------------------------


def travelling(stage: ModuleType, site: Path, *include: str) -> set[str]:
    asked = order(site, include=list(include))
    tree = stage.site_tree(asked, Path(sys.base_prefix), VERSION, None)
    return {str(file.relative_to(tree)) for file in tree.rglob("*") if file.is_file() and file.suffix != ".pyc"}


def test_no_hidden_file_editors_copy_or_cache_travels(tmp_path: Path, stage: ModuleType) -> None:
    site = toy_site(tmp_path)
    before = travelling(stage, site, "shared/**")
    assert "shared/greeting.py" in before
    (site / "shared" / ".secrets").mkdir()
    (site / "shared" / "__pycache__").mkdir(exist_ok=True)
    for name in (".env", ".env.local", ".greeting.py.swp", "greeting.py~", "#greeting.py#", "greeting.py.orig",
                 "greeting.py.bak", ".secrets/key.txt", "__pycache__/old.pyc"):  # fmt: skip
        (site / "shared" / name).write_text("s3cret")
    assert travelling(stage, site, "shared/**") == before
    assert travelling(stage, site, "shared/**", "shared/.secrets/key.txt") == before | {"shared/.secrets/key.txt"}


def test_what_git_ignores_does_not_travel_and_what_is_new_does(tmp_path: Path, stage: ModuleType) -> None:
    site = toy_site(tmp_path)
    subprocess.run(["git", "init", "--quiet", site], check=True)
    (site / ".gitignore").write_text("personal-data-*.json\n")
    for name in ("personal-data-7.json", "new.py"):
        (site / "shared" / name).write_text("")
    travels = travelling(stage, site, "shared/**")
    assert "shared/new.py" in travels
    assert "shared/personal-data-7.json" not in travels
    (site / ".gitignore").write_text("*\n")
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    (tmp_path / ".gitignore").write_text("/site/\n")
    (site / ".git").rename(tmp_path / "no-git")
    assert "shared/new.py" in travelling(stage, site, "shared/**"), "a site in an ignored folder is built"


@pytest.mark.parametrize("target", ["../outside.txt", ".env"])
def test_a_link_to_what_does_not_travel_fails_the_build(tmp_path: Path, stage: ModuleType, target: str) -> None:
    site = toy_site(tmp_path)
    (site / target).write_text("s3cret")
    (site / "shared" / "link.txt").symlink_to(site / target)
    with pytest.raises(stage.CannotBuild, match=r"shared/link.txt is a link to a file that does not travel"):
        travelling(stage, site, "shared/**")


def test_a_uv_of_another_version_is_not_taken(
    tmp_path: Path, stage: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    interpreters = sys.modules["interpreters"]
    uv_on_path(tmp_path, monkeypatch)
    asked = order(tmp_path)
    assert interpreters.find_uv(asked) == ["uv"]
    uv = tmp_path / "bin" / "uv"
    uv.write_text(uv.read_text().replace(UV_VERSION, "0.1.0"))
    assert interpreters.find_uv(asked) == [sys.executable, "-m", "uv"], "the one of requirements-dev.txt"
