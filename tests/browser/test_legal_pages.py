"""The privacy notice and the refund policy: reachable from the checkout, true to the settings, readable everywhere."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from ops.retention import BOOKS_KEPT, CONTACTS_KEPT, KEYS_KEPT
from tests.browser.customer import Customer, keep_screenshots
from tests.browser.scripted_shop import DETAILS, PUBLIC, ScriptedShop

BROKEN_WORDS = """
() => {
  const broken = [], texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text; (text = texts.nextNode()); )
    for (const { 0: word, index } of text.data.matchAll(/m-pesa|e-mail\\w*/gi)) {
      const range = document.createRange();
      range.setStart(text, index);
      range.setEnd(text, index + word.length);
      if (new Set([...range.getClientRects()].map((box) => box.top)).size > 1) broken.push(word);
    }
  return broken;
}
"""
PAGES = {"privacy": ("Privacy notice", "15-privacy"), "refunds": ("Refund policy", "16-refunds")}


@pytest.mark.parametrize("name", PAGES)
def test_it_names_the_shop_and_leads_back_to_it(customer: Customer, shop: ScriptedShop, name: str) -> None:
    title, screenshot = PAGES[name]
    (shops_name,) = re.findall(r'\bname: "([^"]*)"', (PUBLIC / "js" / "shop-details.js").read_text(encoding="utf-8"))
    customer.page.goto(f"{shop.address}/{name}.html")
    expect(customer.page.get_by_role("heading", name=title, level=1)).to_be_visible()
    expect(customer.page).to_have_title(f"{title} · {shops_name}")
    expect(customer.page.get_by_role("banner")).to_have_text(shops_name)
    keep_screenshots(customer.page, screenshot)
    assert customer.complaints() == []
    expect(customer.page.get_by_role("link", name="Back to the shop")).to_have_attribute("href", "/")


@pytest.mark.usefixtures("with_details")
def test_a_shop_fills_its_details_in_at_one_place(page: Page, shop: ScriptedShop) -> None:
    page.goto(f"{shop.address}/privacy.html")
    owner = f"{DETAILS['company']}, {DETAILS['address']}."
    for shown in (owner, f"or call {DETAILS['phone']}", DETAILS["registration"], DETAILS["database"]):
        expect(page.get_by_role("main")).to_contain_text(shown)
    link = page.get_by_role("link", name=DETAILS["email"])
    expect(link).to_have_attribute("href", f"mailto:{DETAILS['email']}")
    page.goto(f"{shop.address}/refunds.html")
    reach = f"{DETAILS['email']}, or call {DETAILS['phone']}, with your order"
    expect(page.get_by_role("main")).to_contain_text(reach)


@pytest.mark.parametrize("name", PAGES)
def test_it_can_be_read_without_javascript(browser: Browser, shop: ScriptedShop, name: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{shop.address}/{name}.html")
    expect(page.get_by_role("heading", name=PAGES[name][0])).to_be_visible()
    expect(page.get_by_role("main")).to_contain_text("the address on your invoice")
    context.close()


@pytest.mark.parametrize("name", PAGES)
def test_on_a_phone_no_line_breaks_in_m_pesa_or_e_mail(page: Page, shop: ScriptedShop, name: str) -> None:
    page.goto(f"{shop.address}/{name}.html")
    page.evaluate("for (const hidden of document.querySelectorAll('[hidden]')) hidden.hidden = false")
    written = "const note = document.createElement('p'); document.querySelector('main').append(note);"
    page.evaluate(
        f"() => {{ {written} note.id = 'late'; note.textContent = 'Look for its M-Pesa prompt. '.repeat(9); }}"
    )
    expect(page.locator("#late .whole")).to_have_count(9)  # what a script writes is looked through too
    for width in range(320, 400, 4):
        page.set_viewport_size({"width": width, "height": 740})
        assert page.evaluate(BROKEN_WORDS) == [], f"at {width} px"


def test_the_times_it_names_are_those_of_the_purge() -> None:
    notice = (PUBLIC / "privacy.html").read_text(encoding="utf-8")
    assert "Seven years if you paid" in notice
    assert BOOKS_KEPT.days // 365 == 7
    assert {int(days) for days in re.findall(r"(\d+) days", notice)} == {CONTACTS_KEPT.days, KEYS_KEPT.days}
