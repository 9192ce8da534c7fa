"""Browser tests: a real Chromium, a shop to visit, and screenshots of every state in .lipa/screenshots/."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.customer import Customer
from tests.browser.scripted_shop import ScriptedShop

QUIET = [
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium from $CHROMIUM, else Debian's, else Playwright's own.

    Not for the whole session: Playwright keeps an event loop on this thread, which other folders' tests need free.
    """
    named = os.environ.get("CHROMIUM")
    found = named or next((path for path in ["/usr/bin/chromium"] if Path(path).exists()), None)
    unsandboxed = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=[*QUIET, *unsandboxed])
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A phone-sized page of its own, with nothing remembered."""
    context = browser.new_context(viewport={"width": 390, "height": 844}, locale="en-KE", timezone_id="Africa/Nairobi")
    context.set_default_timeout(15_000)
    yield context.new_page()
    context.close()


@pytest.fixture
def shop() -> Iterator[ScriptedShop]:
    with ScriptedShop() as serving:
        yield serving


@pytest.fixture
def customer(page: Page, shop: ScriptedShop) -> Iterator[Customer]:
    """A customer at the scripted shop. Whatever the test did, the page broke no rule of the browser's."""
    visiting = Customer(page, shop.address)
    visiting.opens_the_shop()
    yield visiting
    assert visiting.complaints() == []
