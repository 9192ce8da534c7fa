"""One way to a real Chromium, for the browser tests.

The one that $CHROMIUM names, and then no other; else Debian's; else Playwright's own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser

DEBIANS = Path("/usr/bin/chromium")
INSTALL = (sys.executable, "-m", "playwright", "install", "--only-shell", "chromium")
OPTIONS = ("--disable-gpu", "--disable-background-networking", "--disable-component-update", "--no-first-run")


def chromium() -> Path | None:
    """Where it is; for Playwright's own the folder."""
    named = os.environ.get("CHROMIUM")
    if named or DEBIANS.exists():
        found = Path(named or DEBIANS)
        return found if found.exists() else None
    plan = subprocess.run([*INSTALL, "--dry-run"], capture_output=True, text=True, check=False).stdout
    for line in plan.splitlines():
        label, _, folder = line.partition(":")
        if label.strip() == "Install location" and "chromium" in folder and Path(folder.strip()).is_dir():
            return Path(folder.strip())
    return None


@contextmanager
def launched() -> Iterator[Browser]:
    """A running browser without a window. Playwright keeps an event loop on this thread meanwhile."""
    from playwright.sync_api import sync_playwright

    path = os.environ.get("CHROMIUM") or (str(DEBIANS) if DEBIANS.exists() else None)
    unsandboxed = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*OPTIONS, *unsandboxed])
        yield browser
        browser.close()
