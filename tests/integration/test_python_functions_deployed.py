"""Built functions, run as on Netlify: unpacked, read-only, with an empty environment and no Python on the machine."""

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.deployed_function import DeployedFunction, has_ended, http_event, make_removable, node
from tests.fixtures.python_functions import PLUGIN, UV_VERSION, netlify_build, toy_site, wait_until

# Stands in for uv, which would download: `install` copies the interpreter that the tests run under to another place.
COPYING_UV = """#!{python}
import pathlib, shutil, sys
tree = pathlib.Path({tree!r})
python = "python%d.%d" % sys.version_info[:2]
if sys.argv[1:] == ["--version"]:
    print("uv {version}")
elif sys.argv[1:3] == ["python", "find"]:
    if not tree.exists():
        sys.exit("error: No interpreter found")
    print(tree / "bin" / python)
elif sys.argv[1:3] == ["python", "install"]:
    ours = pathlib.Path(sys.base_prefix)
    unneeded = shutil.ignore_patterns("test", "*.a", "__pycache__", "site-packages", "dist-packages")
    shutil.copytree(ours / "lib" / python, tree / "lib" / python, ignore=unneeded)
    for library in ours.glob("lib/libpython*"):
        shutil.copy2(library, tree / "lib")
    (tree / "bin").mkdir()
    shutil.copy2(pathlib.Path(sys._base_executable).resolve(), tree / "bin" / python)
"""


def copying_uv(tree: Path) -> str:
    return COPYING_UV.format(python=os.path.realpath(sys.executable), tree=str(tree), version=UV_VERSION)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy site, built without network for the interpreter."""
    site = toy_site(tmp_path_factory.mktemp("built"))
    build = netlify_build(site)
    assert build.returncode == 0, build.stdout + build.stderr
    (site / "build.log").write_text(build.stdout + build.stderr)
    return site


@pytest.fixture(scope="module")
def deployed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, DeployedFunction]]:
    folder = tmp_path_factory.mktemp("deployed")
    zips = sorted((built / ".netlify" / "functions").glob("*.zip"))
    functions = {file.stem: DeployedFunction(file, folder / file.stem) for file in zips}
    yield functions
    for function in functions.values():
        function.close()
    make_removable(folder)


def test_a_build_makes_one_zip_for_each_function_and_none_for_helpers(built: Path) -> None:
    zips = {file.name for file in (built / ".netlify" / "functions").glob("*.zip")}

    assert zips == {"hang.zip", "hello.zip", "misbehave.zip", "tick.zip"}


def test_a_zip_carries_the_code_the_included_files_and_compiled_modules(built: Path) -> None:
    with zipfile.ZipFile(built / ".netlify" / "functions" / "hello.zip") as archive:
        names = archive.namelist()
        python = next(entry for entry in archive.infolist() if "/bin/python3." in entry.filename)
        helper = next(entry for entry in names if entry.endswith("greeting.py"))
        compiled = archive.read(next(name for name in names if "site/shared/__pycache__/greeting." in name))

    assert python.external_attr >> 16 & 0o111, "the interpreter may be run"
    assert helper == ".netlify/python-functions/site/shared/greeting.py"
    assert ".netlify/python-functions/site/words/welcome.txt" in names
    assert int.from_bytes(compiled[4:8], "little") == 0b01, "unchecked hash: never compared with its source"
    assert not [name for name in names if name.endswith((".pyi", ".a", ".h"))]
    assert not [name for name in names if "/pip/" in name or "/idlelib/" in name or "/ensurepip/" in name]


def test_a_schedule_of_netlify_toml_reaches_the_built_function(built: Path) -> None:
    manifest = json.loads((built / ".netlify" / "functions" / "manifest.json").read_text())

    schedules = {function["name"]: function.get("schedule") for function in manifest["functions"]}
    assert schedules["tick"] == "* * * * *"
    assert schedules["hello"] is None


def test_a_build_without_network_says_loudly_that_it_is_not_for_deploying(built: Path) -> None:
    log = (built / "build.log").read_text()

    assert "NOT FOR DEPLOYING: `uv python install" in log
    assert "THIS BUILD IS NOT FOR DEPLOYING" in log[-2000:], "again at the end, where it is read"
    with zipfile.ZipFile(built / ".netlify" / "functions" / "hello.zip") as archive:
        assert b"no network" in archive.read(".netlify/python-functions/site/NOT-FOR-DEPLOYING.txt")


@pytest.mark.parametrize("deploying", [{"NETLIFY": "true"}, {"DEPLOY_ID": "65f0c0ffee"}])
def test_a_deploy_without_a_relocatable_python_fails_and_says_what_to_do(
    tmp_path: Path, deploying: dict[str, str]
) -> None:
    site = toy_site(tmp_path)
    build = netlify_build(site, deploying)

    assert build.returncode != 0
    assert "`uv python install" in build.stderr + build.stdout
    assert "(error: no network)" in build.stderr + build.stdout
    assert "Build again when the network answers, or set PYTHON_FUNCTIONS_RUNTIME" in build.stderr + build.stdout
    assert not list((site / ".netlify").glob("functions/*.zip"))


def test_a_deploy_never_takes_a_python_that_needs_what_amazon_linux_lacks(tmp_path: Path) -> None:
    """uv's place is taken by one that hands out this machine's Python, which is linked to this machine's libraries."""
    site = toy_site(tmp_path)
    (site / "runtime.txt").write_text(f"{sys.version_info.major}.{sys.version_info.minor}\n")
    uv = copying_uv(tmp_path / "installed")

    build = netlify_build(site, {"NETLIFY": "true"}, uv=uv)

    # Where this machine's Python happens to run on Amazon Linux, it may be deployed.
    if build.returncode == 0:
        assert not list(site.glob(".netlify/python-functions/site/NOT-FOR-DEPLOYING.txt"))
    else:
        assert "it would not run on Amazon Linux 2023" in build.stderr + build.stdout
    assert (tmp_path / "installed" / "bin").exists(), "uv was asked"


def test_an_unpacked_function_answers_from_an_empty_environment(deployed: dict[str, DeployedFunction]) -> None:
    answer = deployed["hello"].invoke(http_event("GET", "/api/hello?a=1"))

    assert answer["statusCode"] == 200
    body = json.loads(answer["body"])
    assert body["word"] == "Habari"
    assert body["path"] == "/api/hello"
    assert body["authorities"] > 50, "TLS can be verified"
    [python] = deployed["hello"].python_processes()
    assert str(deployed["hello"].folder) in python.exe(), "its own Python, not the machine's"


@pytest.mark.parametrize(
    ("platform_says", "context"),
    [
        ("", "production"), ("production", "production"), ("something new", "production"),
        ("deploy-preview", "deploy-preview"), ("branch-deploy", "branch-deploy"), ("branch:summer", "branch:summer"),
        ("dev", "dev"),
    ],
)  # fmt: skip
def test_a_function_knows_the_context_it_was_built_for_and_a_draft_of_it_is_none(
    built: Path, tmp_path: Path, platform_says: str, context: str
) -> None:
    event = http_event("GET", "/api/hello", headers={"x-nf-deploy-context": platform_says})
    file = built / ".netlify" / "functions" / "hello.zip"
    with DeployedFunction(file, tmp_path / "hello", {"CONTEXT": "chosen by nobody"}) as function:
        assert json.loads(function.invoke(event)["body"])["context"] == context
    make_removable(tmp_path)


@pytest.mark.parametrize(("said", "baked"), [("deploy-preview", "deploy-preview"), (None, "unknown")])
def test_the_context_of_the_build_is_written_into_the_entry(said: str | None, baked: str) -> None:
    nothing = "{root: '', sitePath: '', pythonPath: '', packagesPath: ''}"
    code = f"console.log(require(process.argv[1]).deployedEntry('a', {{}}, {nothing}).join())"
    environment = {} if said is None else {"CONTEXT": said}
    told = subprocess.run([node(), "-e", code, PLUGIN / "entries.js"], env=environment, capture_output=True, check=True)
    assert f'context: "{baked}"'.encode() in told.stdout


def test_nothing_in_the_environment_changes_what_a_function_imports(built: Path, tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise RuntimeError('not the real one')\n")
    environment = {"PYTHONPATH": str(tmp_path), "PYTHONHOME": str(tmp_path)}
    file = built / ".netlify" / "functions" / "hello.zip"
    with DeployedFunction(file, tmp_path / "hello", environment) as function:
        assert function.invoke(http_event("GET", "/api/hello"))["statusCode"] == 200
    make_removable(tmp_path)


def test_what_python_prints_is_in_the_log_before_the_answer_is_given(deployed: dict[str, DeployedFunction]) -> None:
    hello = deployed["hello"]
    for _ in range(20):
        before = hello.log().count("saying Habari")
        hello.invoke(http_event("GET", "/api/hello"))

        assert hello.log().count("saying Habari") == before + 1


def test_a_frozen_function_goes_on_where_it_was(deployed: dict[str, DeployedFunction]) -> None:
    hello = deployed["hello"]
    pid = json.loads(hello.invoke(http_event("GET", "/api/hello"))["body"])["pid"]
    for _ in range(3):
        hello.freeze()
        time.sleep(1.2)
        hello.thaw()
        answer = hello.invoke(http_event("GET", "/api/hello"))

        assert answer["statusCode"] == 200
        assert json.loads(answer["body"])["pid"] == pid


def test_time_that_a_frozen_machine_did_not_have_is_not_counted(deployed: dict[str, DeployedFunction]) -> None:
    """The limit of `hang` is 2 s. Frozen for longer in the middle of a request, a healthy process is not ended."""
    hang = deployed["hang"]
    pid = json.loads(hang.invoke(http_event("GET", "/api/hang?not=1"))["body"])["pid"]

    hang.send(http_event("GET", "/api/hang?for_s=0.5"))
    time.sleep(0.2)
    hang.freeze()
    time.sleep(3)
    hang.thaw()
    answer = hang.receive(60)

    assert answer["statusCode"] == 200
    assert json.loads(answer["body"])["pid"] == pid


def test_a_deployed_function_killed_between_two_requests_is_replaced_unnoticed(
    deployed: dict[str, DeployedFunction],
) -> None:
    """Also when the next event is handed over before anybody knows that the process is gone."""
    function = deployed["misbehave"]
    for _ in range(10):
        pid = json.loads(function.invoke(http_event("GET", "/api/misbehave"))["body"])["pid"]
        os.kill(pid, signal.SIGKILL)

        assert function.invoke(http_event("GET", "/api/misbehave"))["statusCode"] == 200


def test_python_ends_with_its_host(built: Path, tmp_path: Path) -> None:
    file = built / ".netlify" / "functions" / "hang.zip"
    with DeployedFunction(file, tmp_path / "hang") as function:
        function.send(http_event("GET", "/api/hang"))
        wait_until(lambda: len(function.python_processes()) == 1)
        [python] = function.python_processes()
        function.process.kill()

        wait_until(lambda: has_ended(python))
    make_removable(tmp_path)


def test_the_bundled_python_uses_nothing_of_the_machines_python(deployed: dict[str, DeployedFunction]) -> None:
    tree = next((deployed["hello"].folder / ".netlify" / "python-functions").glob("python-*"))
    program = f"import sys; sys.path.append({str(tree / 'packages')!r}); import awslambdaric; print(sys.path)"

    [executable] = (tree / "bin").iterdir()
    printed = subprocess.run(
        [executable, "-I", "-S", "-c", program],
        check=True,
        env={"LD_LIBRARY_PATH": str(tree / "lib")},
        capture_output=True,
        text=True,
    )

    assert all(part.startswith(str(tree)) for part in eval(printed.stdout))  # noqa: S307 - a list that we printed
