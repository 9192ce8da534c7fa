"""`make clean` in a copy: it removes what the commands made, and nothing while one of them is at work."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dev import clean


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "dev").mkdir()
    shutil.copy(clean.__file__, tmp_path / "dev" / "clean.py")
    for made in (".venv/bin/python", ".lipa/postgres/data", ".lipa/dev-8898/stack.lock", "shared/__pycache__/a.pyc"):
        (tmp_path / made).parent.mkdir(parents=True)
        (tmp_path / made).write_text('{"pid": 4242, "port": 8898}')
    (tmp_path / "shared" / "money.py").touch()
    return tmp_path


def clean_up(checkout: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "dev/clean.py"]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False, timeout=60)


def test_what_was_made_goes_and_the_code_stays(checkout: Path) -> None:
    assert clean_up(checkout).returncode == 0

    left = {str(path.relative_to(checkout)) for path in checkout.rglob("*")}
    assert left == {"dev", "dev/clean.py", "shared", "shared/money.py"}


def test_nothing_goes_while_a_stack_runs_on_it(checkout: Path) -> None:
    before = sorted(checkout.rglob("*"))
    with (checkout / ".lipa" / "dev-8898" / "stack.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused = clean_up(checkout)

    assert refused.returncode == 1
    assert ".lipa/dev-8898/stack.lock is held by process 4242" in refused.stderr
    assert "Stop it first" in refused.stderr
    assert sorted(checkout.rglob("*")) == before
