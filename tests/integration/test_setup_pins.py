"""What is pinned: every package by hash, the same version everywhere, and nothing about where packages come from."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PINNED = re.compile(r"^([a-z0-9-]+)==(\S+)", re.MULTILINE)


def pins(name: str) -> dict[str, str]:
    return dict(PINNED.findall((REPOSITORY / name).read_text()))


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_every_package_is_pinned_with_a_hash_and_names_no_place(name: str) -> None:
    text = (REPOSITORY / name).read_text()
    logical = [
        line for line in text.replace("\\\n", " ").splitlines() if line.strip() and not line.lstrip().startswith("#")
    ]

    assert logical
    for line in logical:
        assert re.match(r"^[a-z0-9-]+==[^ ;]+( ; [^-]+)?( +--hash=sha256:[0-9a-f]{64})+$", line.rstrip()), line[:80]
    assert "://" not in text


def test_functions_are_tested_with_the_versions_they_are_deployed_with() -> None:
    deployed, tested = pins("requirements.txt"), pins("requirements-dev.txt")

    assert deployed
    assert {name: tested.get(name) for name in deployed} == deployed


def test_every_direct_package_is_pinned() -> None:
    for source in ("requirements.in", "requirements-dev.in"):
        named = re.findall(r"^([a-z][a-z0-9-]*)", (REPOSITORY / source).read_text(), re.MULTILINE)
        assert named
        assert set(named) <= set(pins(source.replace(".in", ".txt")))


def test_the_lists_of_node_name_no_place_either() -> None:
    lock = json.loads((REPOSITORY / "package-lock.json").read_text())

    assert all("resolved" not in package for package in lock["packages"].values())
    assert all(
        "integrity" in package for path, package in lock["packages"].items() if path and not package.get("inBundle")
    )
