"""`make build`: the deployable functions, by the real `netlify build`, and how large they came out.

One zip per function in `.netlify/functions`. What is in them is decided by netlify/plugins/python-functions. Without
network it bundles this machine's Python, and says so at the end: such zips are for looking at and for tests.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ZIPS = ROOT / ".netlify" / "functions"
STAGED = ROOT / ".netlify" / "python-functions" / "staged.json"

LARGEST_ZIP_MB = 35
LARGEST_UNPACKED_MB = 110


@dataclass(frozen=True)
class BuiltFunction:
    """A function's zip, and its size in megabytes, packed and unpacked."""

    name: str
    zip_mb: float
    unpacked_mb: float


def netlify_build(site: Path = ROOT) -> int:
    """Runs the CLI; its output goes to the terminal. Returns its exit code."""
    node, cli = ROOT / ".venv" / "bin" / "node", ROOT / "node_modules" / "netlify-cli" / "bin" / "run.js"
    return subprocess.run([str(node), str(cli), "build", "--offline"], check=False, cwd=site).returncode


def built_functions(zips: Path = ZIPS) -> list[BuiltFunction]:
    """What the last build left, by name."""
    found = []
    for file in sorted(zips.glob("*.zip")):
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        found.append(BuiltFunction(file.stem, file.stat().st_size / 1e6, unpacked / 1e6))
    return found


def main() -> int:
    for old in ZIPS.glob("*.zip"):
        old.unlink()
    if netlify_build() != 0:
        return 1
    print(f"\n{'function':12}{'zip':>10}{'unpacked':>12}")
    functions = built_functions()
    for function in functions:
        print(f"{function.name:12}{function.zip_mb:7.1f} MB{function.unpacked_mb:9.1f} MB")
    print(f"in {os.path.relpath(ZIPS)}")
    too_large = [
        function.name
        for function in functions
        if function.zip_mb > LARGEST_ZIP_MB or function.unpacked_mb > LARGEST_UNPACKED_MB
    ]
    if too_large:
        print(f"\nLarger than {LARGEST_ZIP_MB} MB packed or {LARGEST_UNPACKED_MB} MB unpacked: {', '.join(too_large)}")
        return 1
    why = json.loads(STAGED.read_text())["not_for_deploying"]
    if why:
        print(f"\nNOT FOR DEPLOYING: {why}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
