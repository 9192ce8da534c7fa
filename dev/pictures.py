"""docs/pictures, taken anew from the local stack: `python -m dev.pictures`. Needs Chromium, as the browser tests do.

The checkout beside the phone that it rings, and `ops doctor` of a shop in which some things are wrong.
"""

from __future__ import annotations

import base64
import contextlib
import io
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from dev.browser import launched
from dev.stack import ROOT, LocalStack
from ops.__main__ import main as ops
from shared.environment_variables import TABLE
from simulator.client import SimulatorClient

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PICTURES = ROOT / "docs" / "pictures"
PHONE = "254700000061"
WIDTH = 150
"""Of the terminal, in letters."""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def doctor(browser: Browser, stack: LocalStack) -> None:
    from rich.console import Console
    from rich.text import Text

    SimulatorClient(stack.simulator_url).fault("mail", "unauthorized_401")
    wrong = {"MAX_PAYMENTS_KES": "70000", "MAX_SHOP_KES_PER_DAY": "50000"}
    own = {name: value for name, value in stack.environment().items() if name in TABLE and value}
    os.environ.update(COLUMNS=str(WIDTH), TERM="xterm-256color", COLORTERM="truecolor")
    with contextlib.redirect_stdout(Terminal()) as printed:
        ops(["doctor"], {**own, **wrong})
    drawn = Console(record=True, width=WIDTH, file=io.StringIO())
    drawn.print(Text.from_ansi(printed.getvalue().strip("\n")))
    page = browser.new_page(device_scale_factor=1)
    page.set_content(f"<body style='margin:0;width:1500px'>{drawn.export_svg(title='python -m ops doctor')}")
    page.locator("svg").first.screenshot(path=PICTURES / "doctor.png")
    page.close()


def checkout_and_phone(browser: Browser, stack: LocalStack) -> None:
    page = browser.new_page(viewport={"width": 480, "height": 900})
    page.goto(f"{stack.site_url}/?sim={stack.simulator_port}")
    for _ in range(2):
        page.get_by_role("button", name="Add one").first.click()
    page.get_by_role("link", name="Go to the checkout").click()
    page.get_by_role("radio").first.check()
    for label, text in (
        ("M-Pesa phone number", "0700 000 061"),
        ("Name", "Wanjiku Kamau"),
        ("E-mail (optional)", "wanjiku@example.com"),
        ("Where to", "Moi Avenue 12, Nairobi"),
    ):
        page.get_by_label(label).fill(text)
    page.evaluate("document.activeElement.blur()")
    form = page.locator("lipa-pay").screenshot(animations="disabled")
    page.get_by_role("button", name="Pay KES").click()
    SimulatorClient(stack.simulator_url).wait_for_prompt(PHONE)
    page.goto(f"{stack.simulator_url}/phone/{PHONE}")
    for digit in "1234":
        page.get_by_role("alertdialog").get_by_role("button", name=digit, exact=True).click()
    phone = page.locator(".handset").screenshot(animations="disabled")
    page.close()
    page = browser.new_page(viewport={"width": 1020, "height": 300})
    both = "".join(f"<img src='data:image/png;base64,{base64.b64encode(each).decode()}'>" for each in (form, phone))
    page.set_content(
        "<style>img + img {border-radius: 56px}</style>"
        "<body style='margin:0;padding:24px;display:flex;gap:24px;align-items:flex-start;justify-content:center;"
        f"background:#f6f4ee'>{both}"
    )
    page.screenshot(path=PICTURES / "checkout-and-phone.png", full_page=True)
    page.close()


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="lipa-pictures-") as folder:
        os.chmod(folder, 0o755)  # noqa: S103  the server may run as another user
        with LocalStack(Path(folder), durable=False) as stack, launched() as browser:
            doctor(browser, stack)
            checkout_and_phone(browser, stack)
    return 0


if __name__ == "__main__":
    sys.exit(main())
