"""Every letter as a customer sees it, in a real Chromium: desk and phone, light and dark. Pictures of all are kept in
.lipa/screenshots/letters/.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from ops.__main__ import main
from ops.letters import SAMPLES
from shared.mail.letters import Kind
from shared.values import LANGS, Lang
from tests.browser.customer import SCREENSHOTS

PICTURES = SCREENSHOTS / "letters"
PHONE, SMALL_PHONE, DESK = (360, 740), (320, 640), (1280, 900)
ENOUGH_CONTRAST = 4.5  # WCAG 2.2, 1.4.3
every_letter = pytest.mark.parametrize(("kind", "lang"), [(kind, lang) for kind in Kind for lang in LANGS], ids=str)

POOR_CONTRAST = """
(enough) => {
  const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b]
    .map((value) => value / 255)
    .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
    .reduce((sum, value, index) => sum + value * [0.2126, 0.7152, 0.0722][index], 0);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = channels(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const poor = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || element.offsetParent === null) continue;
    const [one, other] = [light(channels(getComputedStyle(element).color)), light(behind(element))];
    const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (contrast < enough) poor.push(`${contrast.toFixed(1)}: ${texts.currentNode.data.trim()}`);
  }
  return poor;
}
"""
SMALLEST_TEXT = """
() => Math.min(...[...document.querySelectorAll("td, div, span, a, strong")]
  .filter((element) => element.offsetParent !== null && element.innerText.trim())
  .map((element) => parseFloat(getComputedStyle(element).fontSize)))
"""


class Reader:
    """Somebody who opens the files of `ops letters show`, and what the page asked the world for."""

    def __init__(self, page: Page, folder: Path) -> None:
        self.page = page
        self.folder = folder
        self.requests: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        for sample in SAMPLES:
            assert main(["letters", "show", str(folder / sample), "--sample", sample], {}) == 0

    def opens(self, kind: Kind, lang: Lang, sample: str, size: tuple[int, int], scheme: str = "light") -> None:
        self.page.set_viewport_size({"width": size[0], "height": size[1]})
        self.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        self.page.goto((self.folder / sample / lang / f"{kind}.html").as_uri())

    def keeps(self, name: str) -> None:
        PICTURES.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=PICTURES / f"{name}.png", full_page=True)

    def sees_all_of_it(self) -> bool:
        return bool(self.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


@pytest.fixture(scope="module")
def reader(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    page = browser.new_page()
    yield Reader(page, tmp_path_factory.mktemp("letters"))
    page.close()


@every_letter
def test_a_letter_looks_right_on_a_desk_and_on_a_phone_by_day_and_by_night(
    reader: Reader, kind: Kind, lang: Lang
) -> None:
    for sample in ("usual", "sparse"):
        for size, width in ((DESK, "desk"), (PHONE, "phone")):
            for scheme in ("light", "dark"):
                reader.opens(kind, lang, sample, size, scheme)
                assert reader.sees_all_of_it()
                assert reader.page.evaluate(POOR_CONTRAST, ENOUGH_CONTRAST) == []
                assert reader.page.evaluate(SMALLEST_TEXT) >= 13
                if sample == "usual" and (width, scheme) != ("desk", "dark"):
                    reader.keeps(f"{kind}-{lang}-{width}{'-dark' * (scheme == 'dark')}")
    assert [url for url in reader.requests if not url.startswith("file:")] == []


@every_letter
def test_nothing_that_was_typed_makes_it_wider_than_a_small_phone(reader: Reader, kind: Kind, lang: Lang) -> None:
    for sample in ("long", "hostile"):
        for size in (PHONE, SMALL_PHONE):
            reader.opens(kind, lang, sample, size)
            assert reader.sees_all_of_it()
        reader.opens(kind, lang, sample, PHONE)
        reader.keeps(f"{kind}-{lang}-{sample}")
    assert [url for url in reader.requests if not url.startswith("file:")] == []
