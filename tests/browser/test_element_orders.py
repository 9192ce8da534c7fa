"""Which order <lipa-pay> shows, what it costs, and what it tells its page."""

from __future__ import annotations

import base64
import json
import re

import pytest
from playwright.sync_api import Page, expect

from shared.mail.letters import SWAHILI
from tests.browser.customer import COFFEE, PHONE, Customer
from tests.browser.scripted_shop import RECEIPT, TRANSACTION_ID, Answer, ScriptedShop, problem, standing

PAID = standing("paid", mpesa_receipt_number=RECEIPT, message="Paid.")
NOT_PAID = standing("failed", result_code="1032", message="It was cancelled.", next_action="You can try again now.")
NO_STORAGE = {
    "it throws": "Object.defineProperty(window, 'sessionStorage', { get() { throw new DOMException('denied'); } });",
    "it is null": "Object.defineProperty(window, 'sessionStorage', { value: null });",
}


def link(**more: object) -> str:
    """A payment link's token. Nobody here checks its signature."""
    payload = {"shop": "Duka", "amount": 1500, "reference": "INV2041", "description": "Chairs, “oak”", **more}
    text = base64.urlsafe_b64encode(json.dumps(payload, ensure_ascii=False).encode()).rstrip(b"=").decode()
    return f"{text}.{'s' * 43}"


TOKEN = link(valid_until="2026-12-14T20:59:59Z", id="a")


# An order's element shows that order ----------------------------------------------------------------------------------


def test_a_second_order_in_the_same_tab_is_not_shown_the_first(customer: Customer, shop: ScriptedShop) -> None:
    shop.answers_status(standing("paid", mpesa_receipt_number=RECEIPT, amount=71, account_reference="INV711"))
    customer.opens("amount=71&reference=INV711")
    customer.pays()
    expect(customer.sees("Paid. Asante!")).to_contain_text("INV711")
    customer.opens("amount=2500&reference=INV712")
    form = customer.sees("Pay with M-Pesa")
    expect(form).to_contain_text("Order INV712")
    expect(form).to_contain_text("KES 2,500")
    customer.opens("amount=2500&reference=INV711")  # a second bill under the same number is not paid by the first
    customer.sees("Pay with M-Pesa")
    customer.opens("amount=71&reference=INV711")
    expect(customer.sees("Paid. Asante!")).to_contain_text("INV711")
    customer.opens("amount=71")
    customer.pays()
    customer.sees("Paid. Asante!")
    assert shop.pushes[0].order["account_reference"] == "INV711"
    assert re.fullmatch("[A-Z0-9]{8}", shop.pushes[1].order["account_reference"])
    assert len(shop.pushes) == 2


def test_an_order_that_changes_on_the_page_is_another_order(customer: Customer, shop: ScriptedShop, page: Page) -> None:
    """What was typed stays; a payment that is under way is found again when its order comes back."""
    customer.enters("M-Pesa phone number", PHONE)
    page.evaluate("document.querySelector('lipa-pay').setAttribute('items', 'coffee:2')")
    customer.presses("Pay KES 1,500")
    customer.sees("Check your phone")
    page.evaluate("document.querySelector('lipa-pay').setAttribute('items', 'tea')")
    expect(customer.sees("Pay with M-Pesa")).to_contain_text("KES 50")
    page.evaluate("document.querySelector('lipa-pay').setAttribute('items', 'coffee:2')")
    customer.sees("Check your phone")
    assert len(shop.pushes) == 1


def test_an_element_that_the_page_moves_goes_on(customer: Customer, shop: ScriptedShop, page: Page) -> None:
    customer.pays()
    customer.sees("Check your phone")
    page.evaluate("document.body.append(document.querySelector('lipa-pay'))")
    customer.sees("Check your phone")
    shop.answers_status(PAID)
    customer.sees("Paid. Asante!")
    assert len(shop.pushes) == 1


@pytest.mark.parametrize("how", NO_STORAGE)
def test_it_works_from_memory(page: Page, shop: ScriptedShop, how: str) -> None:
    page.add_init_script(NO_STORAGE[how])
    customer = Customer(page, shop.address)
    shop.answers_status(NOT_PAID)
    customer.opens()
    customer.pays()
    customer.sees("Not paid")
    shop.answers_status(NOT_PAID, PAID)
    customer.presses("Try again")
    customer.sees("Paid. Asante!")
    first, second = shop.pushes
    assert first.order == second.order, "one order, one number"
    assert customer.complaints() == []


def test_a_link_says_for_whom_for_what_how_much_and_until_when(customer: Customer, shop: ScriptedShop) -> None:
    shop.answers_push(problem(422, "order_invalid", errors=[{"field": "order", "detail": "is out of date"}]))
    customer.page.goto(f"{shop.address}/pay.html#order={TOKEN}")
    form = customer.sees("Pay with M-Pesa")
    for shown in ("Duka", "Chairs, “oak”", "Order INV2041", "KES 1,500", "To be paid until 14 December 2026."):
        expect(form).to_contain_text(shown)
    customer.keeps_screenshots("40-payment-link")
    customer.pays()
    expect(customer.page.get_by_role("alert")).to_contain_text("This payment link is not valid")
    assert shop.pushes[0].order == {"phone_number": "254708374149", "order": TOKEN, "lang": "en"}
    customer.page.goto(f"{shop.address}/pay.html#order={link(reference='INV2042')}")  # without a new load
    expect(customer.sees("Pay with M-Pesa")).to_contain_text("Order INV2042")
    expect(customer.page.get_by_role("alert")).to_be_hidden()


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("amount=80&reference=INV-102", "An order number is 1 to 12 letters and digits. INV-102 is none."),
        ("amount=1.50", "The amount must be a whole number of shillings"),
        ("amount=250001", "The amount must be a whole number of shillings"),
        ("items=coffee:0", "The order is not written as it should be: coffee:0"),
        ("items=Coffee", "The order is not written as it should be: Coffee"),
        ("items=cofee", "The shop does not sell this: cofee."),
        ("items=sold-out", "Not available now: Sold out."),
        ("items=basket:4,delivery", "At most 3 at once: Basket."),
        ("items=basket", "Basket can only be bought together with: Delivery, Courier."),
        ("items=land:2", "M-Pesa takes at most KES 250,000 at once."),
        ("order=abc", "This payment link is not complete."),
        ("items=", "Nothing is chosen yet."),
    ],
)
def test_what_cannot_be_paid_says_why_and_has_no_button_to_pay(
    customer: Customer, shop: ScriptedShop, query: str, says: str
) -> None:
    customer.opens(query)
    expect(customer.page.get_by_text(says)).to_be_visible()
    expect(customer.page.get_by_role("button")).to_have_text(["Back to the shop"])
    assert shop.pushes == []


# What it costs --------------------------------------------------------------------------------------------------------


def test_a_price_that_changed_is_said_and_asked_for(customer: Customer, shop: ScriptedShop) -> None:
    now = json.loads(str(shop.catalogue.body))
    now["items"][0]["price_kes"] = 800
    shop.answers_push(
        problem(422, "price_changed", amount=800, detail="This costs KES 800 now."), problem(409, "prompt_open")
    )
    customer.sees("Pay with M-Pesa")
    shop.catalogue = Answer(200, json.dumps(now))
    customer.pays()
    alert = customer.page.get_by_role("alert")
    expect(alert).to_contain_text("This order now costs KES 800. Press the button if you agree.")
    expect(customer.sees("Pay with M-Pesa").get_by_role("listitem").first).to_contain_text("KES 800")
    customer.keeps_screenshots("41-price-changed")
    customer.presses("Pay KES 800")
    expect(alert).to_contain_text("An M-Pesa prompt is open")
    assert [push.order["amount"] for push in shop.pushes] == [750, 800]
    shop.answers_push(problem(422, "price_changed", amount=900))  # and the catalogue still says 800
    customer.presses("Pay KES 800")
    expect(customer.page.get_by_role("button", name="Pay KES 900")).to_be_visible()


def test_prices_that_do_not_come_are_asked_for_again(customer: Customer, shop: ScriptedShop) -> None:
    good, shop.catalogue = shop.catalogue, Answer(503, "")
    customer.opens()
    customer.sees("The prices cannot be loaded")
    expect(customer.page.get_by_role("button")).to_have_text(["Try now"])
    customer.keeps_screenshots("42-prices-lost")
    shop.catalogue = good
    customer.presses("Try now")
    customer.sees("Pay with M-Pesa")


def test_an_order_that_was_paid_is_not_paid_again(customer: Customer, shop: ScriptedShop) -> None:
    shop.answers_push(problem(409, "already_paid"))
    customer.pays()
    expect(customer.page.get_by_role("alert")).to_contain_text("Do not pay again")


# What it tells its page, and takes from it ----------------------------------------------------------------------------

COLLECT = """
window.told = [];
for (const name of ["lipa:paid", "lipa:failed", "lipa:closed"]) {
  document.addEventListener(name, (event) => {
    window.told.push([name, event.detail]);
    event.preventDefault();
  });
}
"""


def test_the_page_is_told(customer: Customer, shop: ScriptedShop, page: Page) -> None:
    page.add_init_script(COLLECT)
    shop.answers_status(NOT_PAID, NOT_PAID, PAID)
    customer.opens()
    customer.pays()
    customer.sees("Not paid")
    customer.presses("Try again")
    expect(customer.sees("Paid. Asante!")).to_contain_text(RECEIPT)
    customer.presses("Back to the shop")
    customer.sees("Pay with M-Pesa")  # prevented: the page stays
    ids = {"transaction_id": TRANSACTION_ID, "account_reference": "ABCD2345"}
    assert page.evaluate("window.told") == [
        ["lipa:failed", {**ids, "mpesa_receipt_number": None}],
        ["lipa:paid", {**ids, "mpesa_receipt_number": RECEIPT}],
        ["lipa:closed", {**ids, "mpesa_receipt_number": RECEIPT}],
    ]


def test_without_a_listener_the_shop_is_the_pages_folder(customer: Customer, shop: ScriptedShop, page: Page) -> None:
    page.goto(f"{shop.address}/deep/page?items=")
    customer.presses("Back to the shop")
    page.wait_for_url(f"{shop.address}/deep/")


def test_a_shop_replaces_words_colours_and_fields(customer: Customer, shop: ScriptedShop, page: Page) -> None:
    shop.inside = '<span data-label="pay" hidden>Donate {amount}</span><span data-label="note" hidden>Size</span>'
    customer.opens(f"{COFFEE}&ask=note*&style=--lipa-accent: rgb(1, 2, 3)")
    button = page.get_by_role("button", name="Donate KES 750")
    expect(button).to_have_css("background-color", "rgb(1, 2, 3)")
    expect(page.get_by_label("Name")).to_have_count(0)
    customer.enters("M-Pesa phone number", PHONE)
    button.click()
    expect(page.get_by_role("alert")).to_contain_text("Please fill in: Size")
    customer.enters("Size", " XL ")
    button.click()
    customer.sees("Check your phone")
    assert shop.pushes[0].order["note"] == "XL"


def test_swahili_is_spoken_throughout(customer: Customer, shop: ScriptedShop) -> None:
    shop.answers_status(NOT_PAID)
    customer.opens(f"{COFFEE}&lang=sw-KE")
    customer.enters("Nambari ya simu ya M-Pesa", PHONE)
    customer.presses("Lipa KES 750")
    failed = customer.sees("Haijalipwa")
    expect(failed).to_contain_text(" ".join(SWAHILI["1032"][:1]))
    expect(failed).not_to_contain_text("cancelled")
    customer.keeps_screenshots("43-swahili")
    assert shop.pushes[0].order["lang"] == "sw"


def test_both_languages_have_every_word_and_the_reasons_are_those_of_the_letters(
    page: Page, shop: ScriptedShop
) -> None:
    page.goto(f"{shop.address}/?{COFFEE}")
    reasons, english, swahili = page.evaluate(
        """async () => {
            const { SWAHILI_REASONS, WORDS } = await import("/lipa/lipa.js");
            return [SWAHILI_REASONS, Object.keys(WORDS.en), Object.keys(WORDS.sw)];
        }"""
    )
    assert {code: tuple(words) for code, words in reasons.items()} == dict(SWAHILI)
    assert set(english) <= set(swahili)
