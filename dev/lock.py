"""`make lock`: pin every package with its hashes, for Python 3.11 to 3.14 on Linux and macOS.

requirements.in becomes requirements.txt (what travels in every function); requirements-dev.in becomes
requirements-dev.txt, with the same versions where both name a package. The lists name packages and hashes only: no
index and no folder of this machine, so that everybody's own pip settings decide where packages come from.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST_PYTHON = "3.11"
SOURCES_OF_THIS_MACHINE = re.compile(r"^\s*(-i|-f|--(index-url|extra-index-url|find-links|trusted-host|no-index))\b")


def without_sources(lines: str) -> str:
    """The list without the lines that say where packages come from."""
    return "".join(line for line in lines.splitlines(keepends=True) if not SOURCES_OF_THIS_MACHINE.match(line))


def pin(source: str, target: str, *more: str) -> None:
    command = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "compile",
        "--quiet",
        "--universal",
        "--python-version",
        OLDEST_PYTHON,
    ]
    command += ["--generate-hashes", "--no-emit-index-url", "--no-emit-find-links", "--no-header", *more]
    command += [source, "--output-file", target]
    subprocess.run(command, cwd=ROOT, check=True)
    path = ROOT / target
    header = f"# Pinned from {source} by `make lock`. Do not edit.\n"
    pinned = without_sources(path.read_text(encoding="utf-8")).removeprefix(header)
    path.write_text(header + pinned, encoding="utf-8")


def main() -> int:
    upgrade = ["--upgrade"] if "--upgrade" in sys.argv[1:] else []
    pin("requirements.in", "requirements.txt", *upgrade)
    pin("requirements-dev.in", "requirements-dev.txt", "--constraints", "requirements.txt", *upgrade)
    return 0


if __name__ == "__main__":
    sys.exit(main())
