"""What a customer does on a page with <lipa-pay> and sees there, in the words of the page."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import ConsoleMessage, Locator, Page, expect

ROOT = Path(__file__).resolve().parents[2]
SCREENSHOTS = ROOT / ".lipa" / "screenshots"
PHONE = "0708 374 149"
MSISDN = "254708374149"
COFFEE = "items=coffee:1"

WATCH_FOR_VIOLATIONS = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.violations.push(event.violatedDirective + " " + event.blockedURI);
});
"""

# Chromium writes this for every answer of 400 and more and for every lost connection; no page can prevent it.
NETWORK_NOTE = re.compile(r"^Failed to load resource")


def keep_screenshots(page: Page, name: str) -> None:
    """The state on a small phone and on a desk, as NAME.png and NAME-wide.png. It must fit into both."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.locator("body").wait_for()  # a window that has just been opened is empty for a moment
    before = page.viewport_size
    for width, height, file in [(1280, 800, f"{name}-wide"), (320, 640, name)]:
        page.set_viewport_size({"width": width, "height": height})
        too_wide = page.evaluate("document.documentElement.scrollWidth > window.innerWidth")
        assert not too_wide, f"{name} must fit into {width} px"
        page.screenshot(path=SCREENSHOTS / f"{file}.png", full_page=True, animations="disabled")
    if before:
        page.set_viewport_size(before)


def load_axe(page: Page) -> None:
    """Into the page, whatever its policy: `axe.run()` finds what people with disabilities cannot use."""
    page.evaluate((ROOT / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8"))


class Customer:
    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self._address = address
        self._errors: list[str] = []
        page.on("console", self._note)
        page.on("pageerror", lambda error: self._errors.append(str(error)))
        page.add_init_script(WATCH_FOR_VIOLATIONS)

    def opens(self, query: str = COFFEE) -> None:
        """The page whose element has these attributes."""
        self.page.goto(f"{self._address}/?{query}")

    def has_time_moved_by_the_test(self) -> None:
        """From now on, by `page.clock`."""
        self.page.clock.install()
        self.opens()

    def enters(self, label: str, text: str) -> None:
        self.page.get_by_label(label, exact=False).filter(visible=True).fill(text)

    def presses(self, name: str | re.Pattern[str]) -> None:
        self.page.get_by_role("button", name=name).click()

    def pays(self, phone: str = PHONE, *, email: str | None = None) -> None:
        self.enters("M-Pesa phone number", phone)
        if email is not None:
            self.enters("E-mail", email)
        self.presses(re.compile("^Pay KES"))

    def sees(self, title: str) -> Locator:
        """The screen with this title, which is alone."""
        expect(self.page.locator(".title:visible")).to_have_text(title)
        return self.page.locator("[data-screen-name]:visible")

    def keeps_screenshots(self, name: str) -> None:
        keep_screenshots(self.page, name)

    def is_stopped_by_the_browser(self) -> None:
        """Something on the page breaks its content security policy. That policy also forbids `wait_for_function`,
        which polls by eval; a promise is waited for without one."""
        self.page.evaluate(
            """() => new Promise((stopped) => {
                const look = () => (window.violations.length ? stopped() : setTimeout(look, 20));
                look();
            })"""
        )

    def complaints(self) -> list[str]:
        """Errors in the console, uncaught exceptions, violations of the content security policy."""
        violations: list[str] = self.page.evaluate("window.violations ?? []")
        return [*self._errors, *violations]

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not NETWORK_NOTE.match(message.text):
            self._errors.append(message.text)
