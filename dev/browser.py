"""A real Chromium, found in one way: for the browser tests, and for the picture at the end of `make demo`.

The one that $CHROMIUM names, and then no other; else Debian's; else Playwright's own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).resolve().parent.parent
DEBIANS = Path("/usr/bin/chromium")
INSTALL = (sys.executable, "-m", "playwright", "install", "--only-shell", "chromium")
BY_HAND = ".venv/bin/playwright install --with-deps --only-shell chromium"
QUIET = (
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


def chromium() -> Path | None:
    """Where it is; of Playwright's own the folder."""
    named = os.environ.get("CHROMIUM")
    if named or DEBIANS.exists():
        found = Path(named) if named else DEBIANS
        return found if found.exists() else None
    told = subprocess.run([*INSTALL, "--dry-run"], capture_output=True, text=True, check=False)
    for line in told.stdout.splitlines():
        label, _, folder = line.partition(":")
        if label.strip() == "Install location" and "chromium" in folder and Path(folder.strip()).is_dir():
            return Path(folder.strip())
    return None


@contextmanager
def launched() -> Iterator[Browser]:
    """Running, without a window. Playwright keeps an event loop on this thread meanwhile."""
    from playwright.sync_api import sync_playwright

    path = os.environ.get("CHROMIUM") or (str(DEBIANS) if DEBIANS.exists() else None)
    unsandboxed = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*QUIET, *unsandboxed])
        yield browser
        browser.close()


class NoPicture(Exception):
    """No browser could make one; the message says why, and how to get one."""


def picture(url: str, path: Path, width: int = 640) -> None:
    """The whole page as a PNG, sharp on any screen. Raises `NoPicture`."""
    from playwright.sync_api import Error

    if chromium() is None:
        if named := os.environ.get("CHROMIUM"):
            raise NoPicture(f"CHROMIUM names {named}, and nothing is there.")
        raise NoPicture(
            f"There is no Chromium here, and none could be fetched. To get one: {BY_HAND}\n"
            "Or name one that you have: CHROMIUM=/path/to/chrome make demo"
        )
    try:
        with launched() as browser:
            page = browser.new_page(viewport={"width": width, "height": 100}, device_scale_factor=2)
            page.goto(url)
            path.parent.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=path, full_page=True)
    except Error as failure:
        said = failure.message.splitlines()[0]
        raise NoPicture(f"The browser could not be used: {said}\nTo get another: {BY_HAND}") from None


class Fetch:
    """A Chromium on its way to where there is none, while something else goes on. What $CHROMIUM names is not ours."""

    def __init__(self, start: Callable[..., subprocess.Popen[bytes]] = subprocess.Popen) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        if chromium() is None and not os.environ.get("CHROMIUM"):
            self._process = start(
                [sys.executable, "-m", "dev.system_packages", "--browser"],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )

    @property
    def under_way(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def wait(self) -> None:
        """Until it is here, or nobody has it, or it took too long."""
        if self._process is not None:
            self._process.wait()

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait()
