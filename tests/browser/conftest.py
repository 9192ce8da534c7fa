"""Browser tests: a real Chromium, a shop to visit, and screenshots of every state in .lipa/screenshots/."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from dev.browser import launched
from tests.browser.customer import Customer
from tests.browser.scripted_shop import DETAILS, PUBLIC, ScriptedShop

PATIENCE_MS = 60_000
"""How long a test waits for what must come. A slow machine may take its time."""

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Not for the whole session: Playwright keeps an event loop on its thread, which other folders' tests need free."""
    with launched() as chromium:
        yield chromium


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A phone-sized page of its own, with nothing remembered."""
    context = browser.new_context(viewport={"width": 390, "height": 844}, locale="en-KE", timezone_id="Africa/Nairobi")
    context.set_default_timeout(PATIENCE_MS)
    yield context.new_page()
    context.close()


@pytest.fixture
def with_details(page: Page) -> None:
    """The shop wrote its details down."""
    details = (PUBLIC / "js" / "shop-details.js").read_text(encoding="utf-8")
    for name, value in DETAILS.items():
        details, count = re.subn(rf'\b{name}: "[^"]*"', f'{name}: "{value}"', details)
        assert count == 1
    page.route("**/js/shop-details.js", lambda route: route.fulfill(body=details, content_type="text/javascript"))


@pytest.fixture
def shop() -> Iterator[ScriptedShop]:
    with ScriptedShop() as serving:
        yield serving


@pytest.fixture
def customer(page: Page, shop: ScriptedShop) -> Iterator[Customer]:
    """A customer on a page of the scripted shop. Whatever the test did, the page broke no rule of the browser's."""
    visiting = Customer(page, shop.address)
    visiting.opens()
    yield visiting
    assert visiting.complaints() == []
