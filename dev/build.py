"""`make build`: the deployable functions, by the real `netlify build`, and their sizes.

One zip per function in `.netlify/functions`. What is in them is decided by netlify/plugins/python-functions. Without
network it bundles this machine's Python, and says so at the end: such zips are for looking at and for tests.

The build runs in a copy of the site, below `.lipa`:
`netlify build` empties a folder that a running `netlify dev` serves.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ZIPS = ROOT / ".netlify" / "functions"
COPY = ROOT / ".lipa" / "build"
SITE = ("netlify.toml", "package.json", "requirements.txt", "runtime.txt", "db", "netlify", "public", "shared")

NETLIFY = (str(ROOT / ".venv" / "bin" / "node"), str(ROOT / "node_modules" / "netlify-cli" / "bin" / "run.js"))
"""The command-line program, on the pinned Node."""
LARGEST_ZIP_MB = 35
LARGEST_UNPACKED_MB = 110


@dataclass(frozen=True)
class BuiltFunction:
    """A function's zip, and its size in megabytes, packed and unpacked."""

    name: str
    zip_mb: float
    unpacked_mb: float


def copy_site(to: Path) -> None:
    """What a deploy is made of, in place of what was there; what builds keep (`.netlify`) stays."""
    for name in SITE:
        shutil.rmtree(to / name, ignore_errors=True)
    for file in files_of_git(*SITE):
        (to / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / file, to / file, follow_symlinks=False)


def files_of_git(*parts: str) -> list[Path]:
    """The files that a commit would have now; in a folder without git, all but caches."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *parts]
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        listed = subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True)
        return [Path(name) for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
    files = (file.relative_to(ROOT) for part in parts or (".",) for file in (ROOT / part, *(ROOT / part).rglob("*")))
    return [file for file in files if (ROOT / file).is_file() and "__pycache__" not in file.parts]


def netlify_build() -> int:
    """Builds a copy of the site, leaves the zips in ZIPS, and returns the CLI's exit code. Its output is shown."""
    environment = {"PYTHON_FUNCTIONS_PYTHON": sys.executable} | os.environ
    COPY.mkdir(parents=True, exist_ok=True)
    with (COPY.parent / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two builds of one checkout wait for each other
        copy_site(COPY)
        build = subprocess.run([*NETLIFY, "build", "--offline"], check=False, cwd=COPY, env=environment)
        if build.returncode == 0:
            shutil.rmtree(ZIPS, ignore_errors=True)
            shutil.copytree(COPY / ".netlify" / "functions", ZIPS)
    return build.returncode


def built_functions(zips: Path = ZIPS) -> list[BuiltFunction]:
    """What the last build left, by name."""
    found = []
    for file in sorted(zips.glob("*.zip")):
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        found.append(BuiltFunction(file.stem, file.stat().st_size / 1e6, unpacked / 1e6))
    return found


def main() -> int:
    if netlify_build() != 0:
        return 1
    print(f"\n{'function':12}{'zip':>10}{'unpacked':>12}")
    functions = built_functions()
    for function in functions:
        print(f"{function.name:12}{function.zip_mb:7.1f} MB{function.unpacked_mb:9.1f} MB")
    print(f"in {os.path.relpath(ZIPS)}")
    too_large = [one.name for one in functions if one.zip_mb > LARGEST_ZIP_MB or one.unpacked_mb > LARGEST_UNPACKED_MB]
    if too_large:
        print(f"\nLarger than {LARGEST_ZIP_MB} MB packed or {LARGEST_UNPACKED_MB} MB unpacked: {', '.join(too_large)}")
        return 1
    why = json.loads((COPY / ".netlify" / "python-functions" / "staged.json").read_text())["not_for_deploying"]
    if why:
        print(f"\nNOT FOR DEPLOYING: {why}")
    subprocess.run([sys.executable, "-m", "ops", "letters", "check"], check=False, cwd=ROOT)
    return 0


if __name__ == "__main__":
    sys.exit(main())
