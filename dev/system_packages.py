"""What `make test` needs beside Python packages: a Chromium, PostgreSQL 15 (the oldest that Lipa supports), PgBouncer.

What is missing is installed only where that needs no extra permission: as root on Debian and Ubuntu through apt, and
Playwright's own Chromium for the user. Otherwise it prints what to do by hand. No server is left running by an
installation.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dev.browser import INSTALL, chromium
from dev.postgres import DEBIAN_15

START_NOTHING = Path("/usr/sbin/policy-rc.d")
DOWNLOAD_WITHIN_S = 180.0
"""For 100 MB."""


@dataclass(frozen=True)
class Need:
    """One program that the tests use."""

    package: str
    """On Debian and Ubuntu."""
    found: Callable[[], object]
    without: str
    by_hand: str
    as_user: Sequence[str] = ()
    """A command that gets it for this user alone."""


NEEDS = (
    Need(
        "chromium",
        chromium,
        "no browser test runs",
        ".venv/bin/playwright install --with-deps --only-shell chromium",
        as_user=INSTALL,
    ),
    Need("postgresql-15", (DEBIAN_15 / "postgres").exists, "no test runs on it", "sudo apt install postgresql-15"),
    Need(
        "pgbouncer",
        lambda: shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"),
        "no test runs through it",
        "sudo apt install pgbouncer",
    ),
)


def install(needs: Sequence[Need] = NEEDS) -> None:
    """Installs what is missing and can be installed; prints how to get the rest."""
    missing = [need for need in needs if not need.found()]
    if missing and may_use_apt():
        with no_server_is_started():
            missing = with_apt(missing)
            if missing and run("apt-get", "update", "-qq"):
                missing = with_apt(missing)
    for need in missing:
        if not (need.as_user and run(*need.as_user, within_s=DOWNLOAD_WITHIN_S)):
            print(f"  {need.package} is missing: {need.without}. By hand: {need.by_hand}", flush=True)


def with_apt(needs: Sequence[Need]) -> list[Need]:
    """Installs them one by one, because a system may not have all; gives those that are still missing."""
    return [need for need in needs if not run("apt-get", "install", "-qq", "--no-install-recommends", need.package)]


def may_use_apt() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None and Path("/etc/debian_version").exists()


def run(*command: str, within_s: float | None = None) -> bool:
    """One long step, whose errors are shown. It is ended after `within_s`, as on a network that drops everything."""
    print(f"  {' '.join(command)} …", flush=True)
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    with contextlib.suppress(subprocess.TimeoutExpired):
        done = subprocess.run(
            command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=within_s, check=False
        )
        return done.returncode == 0
    return False


@contextlib.contextmanager
def no_server_is_started() -> Iterator[None]:
    """Debian asks this file whether a newly installed server may start: the tests start their own."""
    if START_NOTHING.exists():
        yield
        return
    START_NOTHING.write_text("#!/bin/sh\nexit 101\n", encoding="ascii")
    START_NOTHING.chmod(0o755)
    try:
        yield
    finally:
        START_NOTHING.unlink(missing_ok=True)


if __name__ == "__main__":
    try:
        install()
    except KeyboardInterrupt:
        sys.exit(130)
