"""A customer in a real browser pays at the real shop: netlify dev, the functions, PostgreSQL, a virtual phone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect

from ops.__main__ import main
from simulator.client import SimulatorClient
from tests.browser.customer import Customer, keep_screenshots
from tests.browser.scripted_shop import at_the_stack
from tests.fixtures.site import Site

# netlify dev starts Python at a function's first call, and this machine may be busy


@pytest.fixture
def customer(page: Page, site: Site) -> Iterator[Customer]:
    visiting = Customer(page, at_the_stack(page, site))
    visiting.opens(f"items=coffee:1&reference=W{uuid4().hex[:8]}")
    yield visiting
    assert visiting.complaints() == []


@pytest.fixture
def daraja(site: Site) -> SimulatorClient:
    return site.simulator


def test_a_payment_goes_from_the_checkout_to_the_phone_to_its_receipt_and_invoice(
    customer: Customer, site: Site, daraja: SimulatorClient
) -> None:
    customer.pays("0700 000 041", email="wanjiku@example.com")
    phone = _opens_the_virtual_phone(customer, site.simulator_url, "254700000041")
    keep_screenshots(phone, "stack-1-prompt")
    _types_the_pin(phone, "1234")
    paid = customer.sees("Paid. Asante!")

    payment = _newest_payment(daraja, "254700000041")
    assert payment["amount"] == 750
    expect(paid).to_contain_text(payment["receipt"])
    expect(paid).to_contain_text(payment["account_reference"])
    expect(phone.locator("#messages")).to_contain_text(payment["receipt"])
    customer.keeps_screenshots("stack-2-paid")

    site.sweep()
    mail = daraja.wait_for_mail("wanjiku@example.com", 60)
    assert payment["receipt"] in mail["text"]
    mailbox = customer.page.context.new_page()
    mailbox.goto(f"{site.simulator_url}/mail")
    expect(mailbox.locator("#list")).to_contain_text(mail["subject"])
    keep_screenshots(mailbox, "stack-3-mailbox")


def test_a_customer_gives_an_address_on_the_receipt_and_gets_the_invoice(
    customer: Customer, site: Site, daraja: SimulatorClient
) -> None:
    customer.pays("0700 000 045")
    _types_the_pin(_opens_the_virtual_phone(customer, site.simulator_url, "254700000045"), "1234")
    paid = customer.sees("Paid. Asante!")
    customer.enters("Your e-mail address", "njeri@example.com")
    customer.presses("Send the invoice")
    expect(paid).to_contain_text("The invoice is on its way")
    site.sweep()
    mail = daraja.wait_for_mail("njeri@example.com", 60)
    when = paid.locator("[data-slot='paid-at']").inner_text()
    assert when in mail["text"], "the page and the invoice tell one time of payment"


def test_a_cancelled_prompt_is_told_and_nothing_is_paid(
    customer: Customer, site: Site, daraja: SimulatorClient
) -> None:
    customer.pays("0700 000 042")
    phone = _opens_the_virtual_phone(customer, site.simulator_url, "254700000042")
    phone.get_by_role("button", name="Cancel", exact=True).click()
    failed = customer.sees("Not paid")
    expect(failed).to_contain_text("cancelled")
    customer.keeps_screenshots("stack-4-cancelled")
    assert _newest_payment(daraja, "254700000042")["receipt"] is None


def test_after_a_wrong_pin_the_same_order_can_be_paid(customer: Customer, site: Site, daraja: SimulatorClient) -> None:
    customer.pays("0700 000 043")
    phone = _opens_the_virtual_phone(customer, site.simulator_url, "254700000043")
    _types_the_pin(phone, "0000")
    failed = customer.sees("Not paid")
    expect(failed).to_contain_text("PIN was wrong")
    customer.keeps_screenshots("stack-5-wrong-pin")

    customer.presses("Try again")
    customer.sees("Check your phone")
    _types_the_pin(phone, "1234")
    customer.sees("Paid. Asante!")
    first, second = (one for one in daraja.payments() if one["phone"] == "254700000043")
    assert first["account_reference"] == second["account_reference"]


def test_a_payment_link_is_paid_once(
    customer: Customer, site: Site, daraja: SimulatorClient, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["link", "--amount", "640", "--reference", "LINK46", "--description", "Two chairs", "--json"]
    assert main([*command, "--page", f"{site.url}/tests-own/"], site.stack.environment()) == 0
    url = json.loads(capsys.readouterr().out)["url"]
    customer.page.goto(url)
    form = customer.sees("Pay with M-Pesa")
    for shown in ("Two chairs", "Order LINK46", "KES 640"):
        expect(form).to_contain_text(shown)
    customer.pays("0700 000 046")
    _types_the_pin(_opens_the_virtual_phone(customer, site.simulator_url, "254700000046"), "1234")
    expect(customer.sees("Paid. Asante!")).to_contain_text("Two chairs")
    assert _newest_payment(daraja, "254700000046")["amount"] == 640
    customer.page.evaluate("sessionStorage.clear()")
    customer.page.goto("about:blank")
    customer.page.goto(url)
    customer.pays("0700 000 049")
    expect(customer.page.get_by_role("alert")).to_contain_text("This was paid before")


def test_a_second_order_to_a_phone_with_an_open_prompt_has_to_wait(
    customer: Customer, site: Site, daraja: SimulatorClient
) -> None:
    customer.pays("0700 000 044")
    customer.sees("Check your phone")
    context = customer.page.context.browser.new_context()  # type: ignore[union-attr]
    try:
        tab = context.new_page()
        in_another_tab = Customer(tab, at_the_stack(tab, site))
        in_another_tab.opens(f"items=coffee:1&reference=W{uuid4().hex[:8]}")
        in_another_tab.pays("0700 000 044")
        alert = in_another_tab.page.get_by_role("alert")
        expect(alert).to_contain_text("Please wait before you pay again")
        expect(in_another_tab.page.get_by_role("button", name=re.compile("Pay again in"))).to_be_disabled()
    finally:
        context.close()
    assert len([one for one in daraja.payments() if one["phone"] == "254700000044"]) == 1


def _opens_the_virtual_phone(customer: Customer, simulator_url: str, msisdn: str) -> Page:
    customer.sees("Check your phone")
    phone = customer.page.context.new_page()
    phone.goto(f"{simulator_url}/phone/{msisdn}")
    return phone


def _types_the_pin(phone: Page, pin: str) -> None:
    field = phone.get_by_label("Enter M-PESA PIN")
    expect(field).to_be_visible()
    field.fill(pin)
    phone.get_by_role("button", name="OK", exact=True).click()


def _newest_payment(daraja: SimulatorClient, msisdn: str) -> dict[str, Any]:
    return next(one for one in daraja.payments() if one["phone"] == msisdn)
