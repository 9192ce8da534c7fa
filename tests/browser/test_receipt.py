"""The paid page as the customer's receipt: what it says, on screen and on paper, and the invoice asked for there."""

from __future__ import annotations

import re
import threading

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.customer import PHONE, SCREENSHOTS, Customer
from tests.browser.scripted_shop import (
    LOST,
    RECEIPT,
    TRANSACTION_ID,
    Answer,
    Kind,
    ScriptedShop,
    invoice_on_its_way,
    problem,
    standing,
)

PAID_AT = "2026-11-22T22:29:59.204Z"
IN_NAIROBI = "23 November 2026, 01:29 EAT"
PAID = standing("paid", mpesa_receipt_number=RECEIPT, message="Paid.", updated_at=PAID_AT)
PAID_WITHOUT_RECEIPT = standing("paid", message="Paid.", updated_at=PAID_AT)
NOT_A_TAX_INVOICE = "This is a payment receipt, not a KRA eTIMS tax invoice."
ON_ITS_WAY = "The invoice is on its way to your e-mail address."
UNHEARD = "We have not heard whether the shop got your request."
COUNT_PRINTS = "window.printed = 0; window.print = () => { window.printed += 1; };"
ADDRESS = "wanjiku@example.com"


def pays(customer: Customer, email: str | None = None) -> Locator:
    """The paid screen after a payment."""
    customer.pays(PHONE, email=email)
    return customer.sees("Paid. Asante!")


def asks_for_the_invoice(customer: Customer, address: str = ADDRESS) -> None:
    customer.enters("Your e-mail address", address)
    customer.presses("Send the invoice")


def rows_of(paid: Locator) -> dict[str, str]:
    """The receipt's visible rows: label and value."""
    rows = [row for row in paid.locator(".slip dl > div").all() if row.is_visible()]
    return {row.locator("dt").inner_text(): row.locator("dd").inner_text() for row in rows}


@pytest.fixture
def paid_shop(shop: ScriptedShop) -> ScriptedShop:
    shop.answers_status(PAID)
    return shop


# What it says --------------------------------------------------------------------------------------------------------


def test_the_paid_page_is_a_receipt_with_all_that_the_invoice_says(customer: Customer, paid_shop: ScriptedShop) -> None:
    customer.enters("Name", "Wanjiku Example")
    paid = pays(customer, ADDRESS)
    assert rows_of(paid) == {
        "Customer": "Wanjiku Example",
        "For": "Coffee, 250 g",
        "Order": "ABCD2345",
        "Paid": IN_NAIROBI,
        "Paid from": "M-Pesa 0708 ••• 149",
        "M-Pesa receipt": RECEIPT,
        "Total paid": "KES 750",
    }
    slip = paid.get_by_role("region", name="Payment receipt")
    expect(slip).to_contain_text(NOT_A_TAX_INVOICE)
    expect(slip).not_to_contain_text(ADDRESS)
    customer.keeps_screenshots("22-receipt")


def test_what_is_not_known_is_left_out(customer: Customer, shop: ScriptedShop) -> None:
    shop.answers_status(standing("paid", mpesa_receipt_number=RECEIPT, updated_at="some day"))
    customer.opens("amount=750&reference=ABCD2345")
    rows = rows_of(pays(customer))
    assert list(rows) == ["For", "Order", "Paid from", "M-Pesa receipt", "Total paid"]
    assert rows["For"] == "Order ABCD2345"


def test_what_the_shop_writes_into_its_slot_heads_it(customer: Customer, paid_shop: ScriptedShop) -> None:
    paid_shop.inside = '<div slot="shop">Example Traders Ltd<br>KRA PIN P000000000A</div>'
    customer.opens()
    pays(customer)
    expect(customer.page.get_by_text("KRA PIN P000000000A")).to_be_visible()
    customer.keeps_screenshots("23-receipt-with-details")


def test_the_mpesa_receipt_comes_by_itself_and_the_time_of_payment_stays(
    customer: Customer, shop: ScriptedShop
) -> None:
    customer.has_time_moved_by_the_test()
    shop.answers_status(PAID_WITHOUT_RECEIPT)
    customer.pays()
    customer.page.clock.fast_forward("00:02")
    paid = customer.sees("Paid. Asante!")
    assert rows_of(paid)["M-Pesa receipt"] == "To follow"
    asks_for_the_invoice(customer)
    expect(paid).to_contain_text(ON_ITS_WAY)
    shop.answers_status(PAID)
    customer.page.clock.fast_forward("00:11")
    expect(paid).to_contain_text(RECEIPT)
    expect(paid.locator('[aria-live="polite"]', has_text=RECEIPT)).to_have_count(1)
    assert rows_of(paid)["Paid"] == IN_NAIROBI
    expect(paid).to_contain_text(ON_ITS_WAY)


def test_a_reload_shows_the_same_receipt(customer: Customer, paid_shop: ScriptedShop) -> None:
    before = rows_of(pays(customer))
    customer.page.reload()
    assert rows_of(customer.sees("Paid. Asante!")) == before


# On paper ------------------------------------------------------------------------------------------------------------


def test_it_is_printed_at_a_press(customer: Customer, paid_shop: ScriptedShop) -> None:
    customer.page.add_init_script(COUNT_PRINTS)
    customer.opens()
    pays(customer)
    customer.presses("Print the receipt")
    assert customer.page.evaluate("window.printed") == 1
    expect(customer.page.get_by_role("heading", name="A page")).to_be_visible()
    customer.page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert customer.page.evaluate("document.adoptedStyleSheets.length") == 0


@pytest.mark.parametrize(
    ("paper", "width", "height"),
    [("a4", "210mm", "297mm"), ("receipt-80-mm", "80mm", "200mm"), ("receipt-58-mm", "58mm", "200mm")],
)
def test_paper_shows_the_receipt_alone_on_one_page(
    customer: Customer, paid_shop: ScriptedShop, paper: str, width: str, height: str
) -> None:
    page = customer.page
    page.add_init_script(COUNT_PRINTS)
    paid_shop.inside = "<div slot='shop'>Example Traders Ltd<br>Kimathi Street 1<br>KRA PIN P000000000A</div>"
    paid_shop.kind = Kind(before="<header>A header</header><div>", after="</div><footer>A footer</footer>")
    customer.opens()
    customer.enters("Name", "Wanjiku wa Example na Wenzake wa Karibu")
    paid = pays(customer)
    customer.presses("Print the receipt")
    printed = page.pdf(width=width, height=height, print_background=False)
    (SCREENSHOTS / f"24-printed-{paper}.pdf").write_bytes(printed)
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) == 1

    customer.presses("Print the receipt")  # the first one is over
    page.emulate_media(media="print")
    page.set_viewport_size({"width": round(int(width[:-2]) * 96 / 25.4), "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    expect(paid.get_by_role("region", name="Payment receipt")).to_be_visible()
    for left_out in (page.get_by_text("A header"), page.get_by_text("A footer"), page.get_by_role("button")):
        for part in left_out.all():
            expect(part).to_be_hidden()
    expect(page.get_by_label("Your e-mail address")).to_be_hidden()
    page.screenshot(path=SCREENSHOTS / f"24-printed-{paper}.png", full_page=True)


# The invoice by e-mail -----------------------------------------------------------------------------------------------


def test_who_gave_an_address_is_not_asked_for_one(customer: Customer, paid_shop: ScriptedShop) -> None:
    paid = pays(customer, ADDRESS)
    expect(paid).to_contain_text(ON_ITS_WAY)
    expect(customer.page.get_by_label("Your e-mail address")).to_be_hidden()
    assert paid_shop.invoice_requests == []


def test_who_gave_none_is_asked_once_and_a_reload_knows_it(customer: Customer, paid_shop: ScriptedShop) -> None:
    paid = pays(customer)
    expect(paid).not_to_contain_text(ON_ITS_WAY)
    customer.keeps_screenshots("25-asks-for-an-address")
    asks_for_the_invoice(customer, f"  {ADDRESS} ")
    said = paid.get_by_text(ON_ITS_WAY)
    expect(said).to_be_focused()
    expect(customer.page.get_by_label("Your e-mail address")).to_be_hidden()
    expect(paid).not_to_contain_text(ADDRESS)
    assert ADDRESS not in customer.page.evaluate("JSON.stringify(sessionStorage)")
    customer.keeps_screenshots("26-invoice-on-its-way")

    customer.page.reload()
    paid = customer.sees("Paid. Asante!")
    expect(paid).to_contain_text(ON_ITS_WAY)
    expect(customer.page.get_by_label("Your e-mail address")).to_be_hidden()
    assert paid_shop.invoice_requests == [{"transaction_id": TRANSACTION_ID, "customer_email": ADDRESS}]


def test_the_next_payment_is_asked_about_anew(customer: Customer, paid_shop: ScriptedShop) -> None:
    paid = pays(customer)
    asks_for_the_invoice(customer)
    expect(paid).to_contain_text(ON_ITS_WAY)
    customer.presses("Back to the shop")
    customer.opens()
    paid = pays(customer)
    expect(paid).not_to_contain_text(ON_ITS_WAY)
    expect(customer.page.get_by_label("Your e-mail address")).to_have_value("")


def test_a_double_click_and_the_enter_key_ask_once(customer: Customer, paid_shop: ScriptedShop) -> None:
    answered = threading.Event()
    paid_shop.answers_invoice(invoice_on_its_way(held=answered))
    paid = pays(customer)
    customer.enters("Your e-mail address", ADDRESS)
    customer.page.get_by_role("button", name="Send the invoice").dblclick()
    customer.page.get_by_label("Your e-mail address").press("Enter")
    expect(paid).to_contain_text("Sending…")
    answered.set()
    expect(paid).to_contain_text(ON_ITS_WAY)
    assert len(paid_shop.invoice_requests) == 1


def test_what_is_no_address_is_not_sent(customer: Customer, paid_shop: ScriptedShop) -> None:
    pays(customer)
    field = customer.page.get_by_label("Your e-mail address")
    for written in ("", "wanjiku", "wanjiku@", "wanjiku@example"):
        asks_for_the_invoice(customer, written)
        expect(field).to_be_focused()
        expect(field).to_have_accessible_description("Enter an e-mail address, like wanjiku@example.com")
        expect(field).to_have_attribute("aria-invalid", "true")
        field.fill(ADDRESS)
        expect(field).not_to_have_attribute("aria-invalid", "true")
        expect(customer.page.locator("#invoice_email-error")).to_be_hidden()
    assert paid_shop.invoice_requests == []


def test_an_address_that_the_shop_refuses_can_be_corrected(customer: Customer, paid_shop: ScriptedShop) -> None:
    detail = "must be an e-mail address, like name@example.com"
    refused = problem(422, "invalid", errors=[{"field": "customer_email", "detail": detail}])
    paid_shop.answers_invoice(refused, invoice_on_its_way())
    paid = pays(customer)
    asks_for_the_invoice(customer, "wanjiku@exa..mple.com")
    field = customer.page.get_by_label("Your e-mail address")
    expect(field).to_be_focused()
    expect(field).to_have_accessible_description("Must be an e-mail address, like name@example.com")
    expect(paid).not_to_contain_text("Sending…")
    customer.keeps_screenshots("27-address-refused")
    asks_for_the_invoice(customer)
    expect(paid).to_contain_text(ON_ITS_WAY)


def test_every_refusal_is_said_and_the_receipt_stays(customer: Customer, paid_shop: ScriptedShop) -> None:
    paid = pays(customer)
    customer.enters("Your e-mail address", ADDRESS)
    said = paid.locator("[data-slot='invoice-note']")
    for answer, words in [
        (problem(429, "too_often", retry_after_s=86_000), "sent three times today"),
        (problem(429, "too_often"), "ten times and is not sent any more"),
        (problem(429, "too_many", limit="address", retry_after_s=900), "from your connection. Please wait"),
        (problem(404, "not_found"), "did not accept the request. Your payment is not affected"),
        (problem(503, "unavailable"), "cannot take the request right now. Your payment is not affected"),
        (Answer(403, "<html></html>", {"Content-Type": "text/html"}), "did not accept the request"),
        (problem(500, "misconfigured"), "cannot take the request right now"),
        (problem(422, "invalid", errors=[{"field": "transaction_id", "detail": "must be"}]), "did not accept"),
    ]:
        paid_shop.answers_invoice(answer)
        customer.presses("Send the invoice")
        expect(said).to_contain_text(words)
        expect(said).to_have_attribute("aria-live", "polite")
        expect(paid).to_contain_text(RECEIPT)
    paid_shop.answers_invoice(invoice_on_its_way())
    customer.presses("Send the invoice")
    expect(said).to_have_text(ON_ITS_WAY)


def test_a_payment_that_no_longer_stands_is_looked_up(customer: Customer, paid_shop: ScriptedShop) -> None:
    paid_shop.answers_invoice(problem(409, "not_paid"))
    paid = pays(customer)
    asks_for_the_invoice(customer)
    expect(paid).to_contain_text("no longer stands as paid")
    expect(paid).to_contain_text(RECEIPT)  # it stands after all
    paid_shop.answers_status(standing("refunded", message="This payment was refunded."))
    customer.presses("Send the invoice")
    customer.sees("Refunded")


@pytest.mark.parametrize(
    "silence",
    [
        pytest.param(LOST, id="connection lost after the request arrived"),
        pytest.param(Answer(502, "<html>Bad gateway</html>", {"Content-Type": "text/html"}), id="gateway page"),
        pytest.param(Answer(429, "", {"Retry-After": "1"}), id="rate limit of the platform"),
        pytest.param(Answer(202, '{"transaction_id": "5f0c'), id="cut answer"),
    ],
)
def test_without_an_answer_nothing_is_promised_not_even_after_a_reload(
    customer: Customer, paid_shop: ScriptedShop, silence: Answer
) -> None:
    paid_shop.answers_invoice(silence)
    paid = pays(customer)
    asks_for_the_invoice(customer)
    expect(paid).to_contain_text(UNHEARD)
    customer.page.reload()
    paid = customer.sees("Paid. Asante!")
    expect(paid).to_contain_text("goes to the address you gave first")
    expect(paid).not_to_contain_text(ON_ITS_WAY)
    customer.keeps_screenshots("28-invoice-unclear")
    paid_shop.answers_invoice(invoice_on_its_way())
    asks_for_the_invoice(customer)
    expect(paid).to_contain_text(ON_ITS_WAY)


def test_a_reload_while_it_is_asked_for_does_not_forget_that(customer: Customer, paid_shop: ScriptedShop) -> None:
    never = threading.Event()
    paid_shop.answers_invoice(invoice_on_its_way(held=never))
    paid = pays(customer)
    asks_for_the_invoice(customer)
    expect(paid).to_contain_text("Sending…")
    customer.page.reload()
    expect(customer.sees("Paid. Asante!")).to_contain_text(UNHEARD)
    never.set()


def test_offline_nothing_is_lost(customer: Customer, paid_shop: ScriptedShop, page: Page) -> None:
    paid = pays(customer)
    page.context.set_offline(True)
    asks_for_the_invoice(customer)
    expect(paid).to_contain_text(UNHEARD)
    expect(page.get_by_label("Your e-mail address")).to_have_value(ADDRESS)
    page.context.set_offline(False)
    customer.presses("Send the invoice")
    expect(paid).to_contain_text(ON_ITS_WAY)
    assert len(paid_shop.invoice_requests) == 1


def test_an_answer_that_comes_when_the_customer_has_left_touches_nothing(
    customer: Customer, paid_shop: ScriptedShop
) -> None:
    answered = threading.Event()
    paid_shop.answers_invoice(invoice_on_its_way(held=answered))
    pays(customer)
    asks_for_the_invoice(customer)
    customer.page.evaluate("addEventListener('lipa:closed', (event) => event.preventDefault())")
    customer.presses("Back to the shop")
    customer.page.get_by_label("M-Pesa phone number").clear()
    paid = pays(customer)
    answered.set()
    customer.page.wait_for_timeout(500)  # for the answer; on a busy machine the page may have given it up before
    expect(paid).not_to_contain_text(ON_ITS_WAY)
    customer.page.reload()
    expect(customer.sees("Paid. Asante!")).not_to_contain_text(ON_ITS_WAY)
    assert len(paid_shop.pushes) == 2
