"""Which CPython travels with the functions, and how the build runs programs. Standard library only."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class CannotBuild(Exception):
    """The build must end. The message says why, and what to do."""


class NotDeployable(Exception):
    """What is here would not run on Netlify. The message says why."""


@dataclass(frozen=True)
class Interpreter:
    """An installed CPython."""

    executable: str
    base_executable: str
    stdlib: str
    library: str
    library_folders: list[str]
    version: str  # "3.13"
    full_version: str

    @property
    def name(self) -> str:
        return f"CPython {self.full_version}"


DESCRIBE = """
import json, os, sys, sysconfig
print(json.dumps({
    "executable": sys.executable, "base_executable": os.path.realpath(getattr(sys, "_base_executable", sys.executable)),
    "stdlib": sysconfig.get_path("stdlib"),
    "library": sysconfig.get_config_var("INSTSONAME") or "",
    "library_folders": [sys.base_prefix + "/lib", sysconfig.get_config_var("LIBDIR") or "/usr/lib"],
    "version": "%d.%d" % sys.version_info[:2], "full_version": sys.version.split()[0],
    "implementation": sys.implementation.name,
}))
"""


def describe(executable: Path) -> Interpreter:
    """The interpreter at `executable`. Raises `NotDeployable` if it is no working CPython."""
    answer = run([executable, "-I", "-c", DESCRIBE])
    try:
        said: dict[str, Any] = json.loads(answer.stdout)
    except ValueError:
        raise NotDeployable(f"{executable} does not run as a Python interpreter") from None
    if said.pop("implementation") != "cpython":
        raise NotDeployable(f"{executable} is not CPython")
    return Interpreter(**said)


def relocatable(order: dict[str, Any], wanted: str) -> Interpreter:
    """A CPython that runs from any folder of any Linux with an old enough glibc: python-build-standalone."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise NotDeployable(f"this machine ({sys.platform}, {platform.machine()}) is not Linux x86_64, like Netlify's")
    found = describe(executable_in(Path(order["runtime"])) if order["runtime"] else through_uv(order, wanted))
    if found.version != wanted:
        raise NotDeployable(f"{found.executable} is {found.name}, not {wanted}")
    return found


def executable_in(tree: Path) -> Path:
    executables = [tree / "bin/python3", tree / "python/bin/python3"]
    for executable in executables:
        if executable.exists():
            return executable
    raise NotDeployable(f"there is no bin/python3 in {tree}")


def through_uv(order: dict[str, Any], wanted: str) -> Path:
    """Python's path, found or installed by uv, which knows the checksums of python-build-standalone's releases."""
    uv = find_uv(order)
    # without network a developer should not have to wait
    patience = {} if order["for_deploying"] else {"UV_HTTP_RETRIES": "0"}
    find = [*uv, "python", "find", "--no-project", "--system", "--managed-python", wanted]
    found = run(find)
    if found.returncode != 0:
        say(f"installing a relocatable CPython {wanted} with uv")
        install = run([*uv, "python", "install", "--no-bin", wanted], environment=patience | os.environ)
        if install.returncode != 0:
            raise NotDeployable(f"`uv python install {wanted}` failed ({last_line(install.stderr)})")
        found = run(find)
    if found.returncode != 0:
        raise NotDeployable(f"uv does not find the CPython {wanted} that it installed ({last_line(found.stderr)})")
    return Path(found.stdout.strip())


def find_uv(order: dict[str, Any]) -> list[str]:
    """The pinned uv: the one that is here, where it is that version, else one that pip installs, by its hash."""
    pinned = Path(__file__).with_name("uv-requirements.txt")
    version = pinned.read_text().partition("uv==")[2].split()[0]
    tools = Path(order["state"]) / f"uv-{version}"
    for uv in (["uv"], [sys.executable, "-m", "uv"], [str(tools / "bin/uv")]):
        if run([*uv, "--version"]).stdout.split()[1:2] == [version]:
            return uv
    say(f"installing uv {version}")
    options = ["--quiet", "--require-hashes", "--only-binary=:all:", "--target", str(tools), "-r", str(pinned)]
    pip = run([*pip_of(sys.executable), "install", *options])
    if pip.returncode != 0:
        raise NotDeployable(f"uv could not be installed ({last_line(pip.stderr)})")
    return [str(tools / "bin/uv")]


# ---- Running programs ------------------------------------------------------------------------------------------------


def pip_of(executable: str) -> list[str]:
    """pip under that interpreter, because environment markers depend on the interpreter."""
    for candidate in (executable, sys.executable):
        if run([candidate, "-m", "pip", "--version"]).returncode == 0:
            return [candidate, "-m", "pip"]
    raise CannotBuild(f"{sys.executable} has no pip: install it with `{sys.executable} -m ensurepip`.")


def run(command: Sequence[str | Path], environment: Mapping[str, str] = os.environ) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end, whatever its exit code. 127: it could not be started."""
    try:
        return subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    except OSError as error:
        return subprocess.CompletedProcess(command, 127, "", str(error))


def digest(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else "it did not say why"


def say(text: str) -> None:
    sys.stdout.write(f"python-functions: {text}\n")
    sys.stdout.flush()
