"""`make clean` in a copy: it removes what the commands made, and nothing while one of them is at work."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    shutil.copy(REPOSITORY / "Makefile", tmp_path / "Makefile")
    for made in (".venv/bin/python", ".lipa/postgres/lock", ".lipa/setup.lock", "shared/__pycache__/a.pyc"):
        (tmp_path / made).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / made).touch()
    (tmp_path / "shared" / "money.py").touch()
    return tmp_path


def clean_up(checkout: Path, process: int) -> subprocess.CompletedProcess[str]:
    """After a stack on port 8898 whose process this is or was."""
    lock = checkout / ".lipa" / "dev-8898" / "stack.lock"
    lock.parent.mkdir()
    lock.write_text(f'{{"pid": {process}, "port": 8898}}')
    return subprocess.run(["make", "clean"], cwd=checkout, capture_output=True, text=True, check=False, timeout=60)


def test_what_was_made_goes_and_the_code_stays(checkout: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()

    cleaned = clean_up(checkout, ended.pid)

    assert cleaned.returncode == 0, cleaned.stderr
    left = {str(path.relative_to(checkout)) for path in checkout.rglob("*")}
    assert left == {"Makefile", "shared", "shared/money.py"}


def test_nothing_goes_while_a_stack_runs(checkout: Path) -> None:
    before = set(checkout.rglob("*"))

    refused = clean_up(checkout, os.getpid())

    assert refused.returncode != 0
    assert f"Nothing was removed: process {os.getpid()} is at work" in refused.stderr
    assert before < set(checkout.rglob("*"))
