"""One way to a real Chromium: for the browser tests, and for the picture at the end of `make demo`.

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
BY_HAND = ".venv/bin/playwright install --with-deps --only-shell chromium"
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


class NoPicture(Exception):
    """No browser could make a picture; the message says why, and how to get one."""


def picture(url: str, path: Path) -> None:
    """The whole page as a PNG, 640 pixels wide at double resolution. Raises `NoPicture`."""
    from playwright.sync_api import Error

    if chromium() is None:
        named = os.environ.get("CHROMIUM")
        why = f"CHROMIUM names {named}, and nothing is there." if named else "There is no Chromium here."
        raise NoPicture(f"{why}\nTo get one: {BY_HAND}\nOr name one that you have: CHROMIUM=/path/to/chrome make demo")
    try:
        with launched() as browser:
            page = browser.new_page(viewport={"width": 640, "height": 100}, device_scale_factor=2)
            page.goto(url)
            path.parent.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=path, full_page=True)
    except Error as failure:
        reason = failure.message.splitlines()[0]
        raise NoPicture(f"The browser could not be used: {reason}\nTo get another: {BY_HAND}") from None
