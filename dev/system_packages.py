"""What `make test` needs beside Python packages: a Chromium, PostgreSQL 15, PgBouncer. `--browser`: the Chromium alone.

The browser tests drive a real Chromium; the database tests also run on the oldest PostgreSQL that Lipa supports, and
through PgBouncer. What is missing is installed only where that asks for nobody's leave: as root on Debian and Ubuntu
through apt, and a Chromium of Playwright's own for the user. Otherwise it says what to do by hand. No server is left
running by an installation.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dev.browser import BY_HAND, INSTALL, chromium
from dev.postgres import DEBIAN_15

ROOT = Path(__file__).resolve().parent.parent
LOG = ROOT / ".lipa" / "logs" / "system-packages.log"
START_NOTHING = Path("/usr/sbin/policy-rc.d")
A_DOWNLOAD_LASTS_AT_MOST_S = 180.0
"""Of 100 MB. Afterwards the network is too slow, or lets nothing through and says so to nobody."""


@dataclass(frozen=True)
class Need:
    """One program that the tests use."""

    name: str
    found: Path | None
    package: str
    """On Debian and Ubuntu."""
    without: str
    by_hand: str


def pgbouncer() -> Path | None:
    found = shutil.which("pgbouncer", path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"]))
    return Path(found) if found else None


def needs() -> list[Need]:
    server = DEBIAN_15 if (DEBIAN_15 / "postgres").exists() else None
    return [
        Need("Chromium", chromium(), "chromium", "the browser tests will fail", BY_HAND),
        Need("PostgreSQL 15", server, "postgresql-15", "no test runs on it", "sudo apt install postgresql-15"),
        Need("PgBouncer", pgbouncer(), "pgbouncer", "no test runs through it", "sudo apt install pgbouncer"),
    ]


def missing(*, only_browser: bool = False) -> list[Need]:
    return [need for need in needs() if need.found is None and (need.name == "Chromium" or not only_browser)]


def may_use_apt() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None and Path("/etc/debian_version").exists()


@contextlib.contextmanager
def no_server_is_started() -> Iterator[None]:
    """Debian asks this file whether a freshly installed server may run: these are for tests, which start their own."""
    if START_NOTHING.exists():
        yield
        return
    START_NOTHING.write_text("#!/bin/sh\nexit 101\n", encoding="ascii")
    START_NOTHING.chmod(0o755)
    try:
        yield
    finally:
        START_NOTHING.unlink(missing_ok=True)


def run(title: str, command: Sequence[str], within_s: float | None = None) -> bool:
    """One long step, its output in the log; ended where it takes longer than `within_s`."""
    print(f"  {title} …", flush=True)
    started = time.monotonic()
    LOG.parent.mkdir(parents=True, exist_ok=True)
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    with LOG.open("ab") as log:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, cwd=ROOT)
        code: int | None = None
        while code is None:
            try:
                code = child.wait(timeout=10 if within_s is None else min(10, within_s))
            except subprocess.TimeoutExpired:
                if within_s is not None and time.monotonic() - started > within_s:
                    child.terminate()
                print(f"  {title} … still at it after {time.monotonic() - started:.0f} s", flush=True)
    print(f"  {title} … {'done' if code == 0 else 'failed'} in {time.monotonic() - started:.0f} s", flush=True)
    return code == 0


def available(package: str) -> bool:
    """Whether this system's package lists have it."""
    return subprocess.run(["apt-cache", "show", package], capture_output=True, check=False).returncode == 0


def install_with_apt(wanted: list[Need]) -> None:
    """What apt has of it; with fresh package lists where the ones here are empty or old."""

    def install() -> bool:
        packages = [need.package for need in wanted if available(need.package)]
        command = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
        return len(packages) == len(wanted) and run(f"apt-get install {' '.join(packages)}", command)

    with no_server_is_started():
        if not install():
            run("apt-get update", ["apt-get", "update"])
            wanted = [need for need in wanted if available(need.package)]
            if wanted:
                install()


def main(arguments: Sequence[str] = ()) -> int:
    parser = argparse.ArgumentParser(prog="python -m dev.system_packages")
    parser.add_argument("--browser", action="store_true", help="the Chromium alone")
    only_browser = parser.parse_args(arguments).browser
    wanted = missing(only_browser=only_browser)
    if not wanted:
        return 0
    print(f"For the tests: {', '.join(need.name for need in wanted)}")
    if may_use_apt():
        install_with_apt(wanted)
    if chromium() is None:
        run("Playwright's Chromium", INSTALL, A_DOWNLOAD_LASTS_AT_MOST_S)
    for need in missing(only_browser=only_browser):
        print(
            f"  {need.name} is missing: {need.without}. By hand: {need.by_hand} (log: {os.path.relpath(LOG, ROOT)})",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
