"""The demo shop, made with <lipa-pay>: from the first page to an order that its address opens again.

It is bought from whatever its catalogue sells. Where a shop has a first page of its own, that one is not tested.
"""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import Page, expect

from shared.prices import read_catalogue
from tests.browser.customer import Customer, load_axe
from tests.browser.scripted_shop import PUBLIC, RECEIPT, TRANSACTION_ID, Answer, ScriptedShop, standing

CATALOGUE = (PUBLIC / "catalogue.json").read_text(encoding="utf-8")
PAGES = {file.name: file.read_text(encoding="utf-8") for file in sorted(PUBLIC.glob("*.html"))}
OURS = [name for name, text in PAGES.items() if "/js/shop.js" in text]
PAID = standing("paid", mpesa_receipt_number=RECEIPT, message="Paid.")


@pytest.fixture
def shop(shop: ScriptedShop) -> ScriptedShop:
    shop.catalogue = Answer(200, CATALOGUE)
    return shop


@pytest.mark.parametrize("first_page", OURS)
def test_a_customer_buys_and_opens_the_order_again(
    customer: Customer, shop: ScriptedShop, page: Page, first_page: str
) -> None:
    items = json.loads(CATALOGUE)["items"]
    sold = [item for item in items if item.get("available", True) and not item["id"].startswith("delivery-")]
    page.goto(f"{shop.address}/{first_page}")
    page.get_by_role("button", name=f"Add one {sold[0]['name']}").click()
    customer.keeps_screenshots("30-shop")
    page.get_by_role("link", name="Go to the checkout").click()
    customer.sees("Pay with M-Pesa")
    ways = page.get_by_role("radio")
    if ways.count():
        ways.last.check()
    for label in ("Name", "Where to"):
        customer.enters(label, "Wanjiku, Moi Avenue 12")
    customer.keeps_screenshots("31-checkout")
    customer.pays()
    customer.sees("Check your phone")
    shop.answers_status(PAID)
    page.wait_for_url(f"**/order.html#{TRANSACTION_ID}")
    expect(customer.sees("Paid. Asante!")).to_contain_text(sold[0]["name"])
    customer.keeps_screenshots("32-order")
    (push,) = shop.pushes
    assert push.order["items"][0] == {"id": sold[0]["id"], "quantity": 1}
    assert push.order["amount"] == sum(
        line["quantity"] * item["price_kes"]
        for line in push.order["items"]
        for item in items
        if item["id"] == line["id"]
    )

    page.goto(f"{shop.address}/{first_page}")
    expect(page.get_by_text("Nothing chosen yet.")).to_be_visible()
    page.evaluate("sessionStorage.clear()")
    page.goto(f"{shop.address}/order.html#{TRANSACTION_ID}")
    expect(customer.sees("Paid. Asante!")).to_contain_text(RECEIPT)


@pytest.mark.parametrize("first_page", OURS)
def test_a_browser_that_stores_nothing_can_buy(
    customer: Customer, shop: ScriptedShop, page: Page, first_page: str
) -> None:
    for storage in ("sessionStorage", "localStorage"):
        page.add_init_script(f"Object.defineProperty(window, '{storage}', {{ get() {{ throw new Error('off'); }} }});")
    page.goto(f"{shop.address}/{first_page}")
    page.get_by_role("button", name="Add one").first.click()
    page.get_by_role("link", name="Go to the checkout").click()
    for label in ("Name", "Where to"):
        customer.enters(label, "Wanjiku, Moi Avenue 12")
    shop.answers_status(PAID)
    customer.pays()
    page.wait_for_url(f"**/order.html#{TRANSACTION_ID}")
    customer.sees("Paid. Asante!")
    assert shop.pushes[0].order["items"]


@pytest.mark.parametrize("name", [name for name in PAGES if name != "index.html" or name in OURS])
def test_axe_finds_nothing_on_a_page(page: Page, shop: ScriptedShop, name: str) -> None:
    page.goto(f"{shop.address}/{name}", wait_until="networkidle")
    load_axe(page)
    assert page.evaluate("axe.run().then(({ violations }) => violations.map(({ id }) => id))") == []


def test_the_shipped_catalogue_is_one() -> None:
    assert read_catalogue(CATALOGUE.encode()).items


def test_an_order_that_is_not_paid_yet_shows_how_it_stands(customer: Customer, shop: ScriptedShop, page: Page) -> None:
    page.goto(f"{shop.address}/order.html#{TRANSACTION_ID}")
    expect(customer.sees("Check your phone")).to_contain_text("on your phone to pay")
    shop.answers_status(standing("failed", message="You cancelled.", next_action="Try again."))
    failed = customer.sees("Not paid")
    expect(failed.get_by_role("button")).to_have_text(["Back to the shop"])  # its page cannot know what was typed
    customer.keeps_screenshots("33-order-not-paid")
    page.goto(f"{shop.address}/order.html")
    customer.sees("Pay with M-Pesa")
    expect(page.get_by_text("Nothing is chosen yet.")).to_be_visible()
