"""The simulator's own pages in a real browser: the phone by finger and keyboard, the mailbox, trouble by one click."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from simulator import Simulator
from tests.fixtures.simulator import PHONE, DarajaCaller, http_request

PICTURES = Path(__file__).parents[2] / ".lipa" / "screenshots"


@pytest.fixture
def visitor(page: Page) -> Iterator[Page]:
    """A page on which nothing may go wrong."""
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    assert [text for text in complaints if "frame is sandboxed" not in text] == []


def keep_picture(page: Page, name: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"simulator-{name}.png", animations="disabled")


def send_mail(simulator: Simulator, subject: str, html: str | None) -> None:
    content = [{"type": "text/plain", "value": "Asante sana."}]
    if html is not None:
        content.append({"type": "text/html", "value": html})
    message = {
        "personalizations": [{"to": [{"email": "alice@example.com"}]}],
        "from": {"email": "invoices@shop.example", "name": "Duka la Mfano"},
        "subject": subject,
        "content": content,
    }
    headers = {"Authorization": "Bearer SG.simulator", "Content-Type": "application/json"}
    body = json.dumps(message).encode()
    assert http_request(simulator.base_url, "POST", "/v3/mail/send", headers, body).status == 202


def test_the_prompt_appears_by_itself_and_is_paid_with_the_keypad(visitor: Page, caller: DarajaCaller) -> None:
    visitor.goto(f"{caller.simulator.base_url}/phone/{PHONE}")
    expect(visitor.get_by_text("No messages.")).to_be_visible()
    keep_picture(visitor, "phone-quiet")

    caller.accepted(Amount=1500, AccountReference="INV00042")
    prompt = visitor.get_by_role("alertdialog", name="M-PESA")
    expect(prompt).to_contain_text("Do you want to pay Ksh. 1,500.00 to Daraja-Sandbox Account no. INV00042?")
    expect(prompt.get_by_role("button", name="OK", exact=True)).to_be_disabled()
    keep_picture(visitor, "phone-prompt")
    for digit in "1234":
        prompt.get_by_role("button", name=digit, exact=True).click()
    expect(visitor.get_by_label("Enter M-PESA PIN")).to_have_attribute("type", "password")
    prompt.get_by_role("button", name="OK", exact=True).click()

    expect(prompt).to_be_hidden()
    message = visitor.locator("#messages li")
    expect(message).to_contain_text("Confirmed. Ksh1,500.00 sent to Daraja-Sandbox for account INV00042")
    expect(visitor.locator("#balance")).to_have_text("Ksh 498,500.00")
    expect(visitor.locator("#history")).to_contain_text("callback → 200")
    keep_picture(visitor, "phone-paid")


def test_the_keyboard_alone_is_enough(visitor: Page, caller: DarajaCaller) -> None:
    visitor.goto(f"{caller.simulator.base_url}/phone/{PHONE}")
    first = caller.accepted()
    expect(visitor.get_by_label("Enter M-PESA PIN")).to_be_focused()
    for _ in range(20):  # focus stays in the prompt
        visitor.keyboard.press("Tab")
        assert visitor.evaluate("document.querySelector('#prompt').contains(document.activeElement)")
    visitor.keyboard.press("Escape")
    assert caller.simulator.client.wait_for_callback(first)["result_code"] == "1032"

    second = caller.accepted()
    expect(visitor.get_by_label("Enter M-PESA PIN")).to_be_focused()
    visitor.keyboard.type("12x34")
    visitor.keyboard.press("Enter")
    assert caller.simulator.client.wait_for_callback(second)["state"] == "paid"


def test_a_wrong_pin_an_empty_account_and_a_phone_left_alone(visitor: Page, caller: DarajaCaller) -> None:
    client = caller.simulator.client
    visitor.goto(f"{client.base_url}/phone/{PHONE}")

    wrong = caller.accepted()
    visitor.get_by_label("Enter M-PESA PIN").fill("0000")
    visitor.get_by_role("button", name="OK", exact=True).click()
    assert client.wait_for_callback(wrong)["result_code"] == "2001"

    visitor.get_by_role("button", name="Broke").click()
    expect(visitor.locator("#balance")).to_have_text("Ksh 0.00")
    broke = caller.accepted()
    visitor.get_by_label("Enter M-PESA PIN").fill("1234")
    visitor.get_by_role("button", name="OK", exact=True).click()
    assert client.wait_for_callback(broke)["result_code"] == "1"
    expect(visitor.locator("#messages li").first).to_contain_text("You do not have enough money")

    ignored = caller.accepted()
    visitor.get_by_role("button", name="Never look at the phone").click()
    assert client.wait_for_callback(ignored)["result_code"] == "1037"
    expect(visitor.get_by_role("alertdialog")).to_be_hidden()


def test_a_prompt_that_nobody_answers_leaves_the_screen(visitor: Page, caller: DarajaCaller) -> None:
    visitor.goto(f"{caller.simulator.base_url}/phone/{PHONE}")
    caller.accepted()
    expect(visitor.get_by_role("alertdialog")).to_be_visible()
    caller.simulator.client.advance(61)
    expect(visitor.get_by_role("alertdialog")).to_be_hidden()
    expect(visitor.locator("#history")).to_contain_text("failed 1037")


def test_the_ringing_phone_is_found_from_the_list(visitor: Page, caller: DarajaCaller) -> None:
    visitor.goto(f"{caller.simulator.base_url}/phone")
    expect(visitor.get_by_text("No phone was called yet.")).to_be_visible()
    caller.accepted()
    visitor.get_by_role("link", name="0722 000 000 is asked to pay").click()
    expect(visitor.get_by_role("alertdialog")).to_be_visible()


def test_any_number_can_be_picked_up(visitor: Page, simulator: Simulator) -> None:
    visitor.goto(f"{simulator.base_url}/phone")
    visitor.get_by_label("Pick up any phone").fill("12345")
    visitor.keyboard.press("Enter")
    expect(visitor.get_by_role("alert")).to_contain_text("no Kenyan mobile number")
    visitor.get_by_label("Pick up any phone").fill("0110 000 001")
    visitor.keyboard.press("Enter")
    expect(visitor).to_have_url(f"{simulator.base_url}/phone/254110000001")


def test_mail_arrives_by_itself_and_its_scripts_never_run(visitor: Page, simulator: Simulator) -> None:
    visitor.goto(f"{simulator.base_url}/mail")
    expect(visitor.get_by_text("Empty.")).to_be_visible()
    html = '<h1 style="color:green">Asante</h1><script>document.body.textContent = "owned"</script>'
    send_mail(simulator, "Invoice 42", html)
    visitor.get_by_role("link", name="Invoice 42").click()
    body = visitor.frame_locator("#frame").locator("body")
    expect(body).to_contain_text("Asante")
    assert "owned" not in body.inner_text()
    keep_picture(visitor, "mail")

    visitor.get_by_role("tab", name="HTML").focus()
    visitor.keyboard.press("ArrowRight")
    expect(visitor.get_by_role("tabpanel", name="Text")).to_have_text("Asante sana.")
    visitor.keyboard.press("ArrowRight")
    expect(visitor.get_by_role("tabpanel", name="Headers")).to_contain_text("Subject: Invoice 42")
    visitor.get_by_role("link", name="All messages").click()
    expect(visitor.get_by_role("link", name="Invoice 42")).to_be_visible()


def test_trouble_is_one_click_and_can_be_taken_back(visitor: Page, caller: DarajaCaller) -> None:
    client = caller.simulator.client
    visitor.goto(f"{client.base_url}/")
    visitor.get_by_role("button", name="The callback comes three times").click()
    expect(visitor.get_by_text("Waiting for the next push: “The callback comes three times”.")).to_be_visible()
    payment = client.wait_for_callback(caller.accepted(), count=3)
    assert payment["state"] == "paid"
    expect(visitor.get_by_role("cell", name="3 callbacks → 200, 200, 200")).to_be_visible()

    visitor.get_by_role("button", name="Firewall page").click()
    visitor.get_by_role("button", name="Never mind").click()
    expect(visitor.get_by_role("button", name="Never mind")).to_be_hidden()
    assert caller.push().status == 200


def test_every_trouble_is_one_the_simulator_knows(visitor: Page, caller: DarajaCaller) -> None:
    visitor.goto(f"{caller.simulator.base_url}/")
    buttons = visitor.locator(".trouble")
    for number in range(buttons.count()):
        buttons.nth(number).click()
    expect(visitor.locator("#trouble-said")).to_contain_text("Waiting for the next push:")
    waiting = http_request(caller.simulator.base_url, "GET", "/control/scripts").json()
    assert len(waiting) == buttons.count() == 10


def test_no_page_scrolls_sideways(visitor: Page, caller: DarajaCaller) -> None:
    caller.accepted(Amount=250000)
    caller.simulator.client.pay(PHONE, "174379", 249_999, "INV 0001 of a school")
    send_mail(caller.simulator, "A subject that is a good deal longer than the screen of any phone is wide", None)
    for path in ("/", "/phone", f"/phone/{PHONE}", "/statement", "/mail"):
        visitor.goto(caller.simulator.base_url + path)
        expect(visitor.locator("#connection")).to_have_text("live")
        for width in (320, 390, 768, 1280):
            visitor.set_viewport_size({"width": width, "height": 800})
            assert visitor.evaluate("document.documentElement.scrollWidth") <= width, f"{path} at {width} px"


def test_a_customer_pays_by_hand_and_the_statement_shows_downloads_and_reverses_it(
    visitor: Page, simulator: Simulator
) -> None:
    visitor.goto(f"{simulator.base_url}/phone/{PHONE}")
    expect(visitor.get_by_label("To", exact=True).locator("option")).to_have_count(2)
    visitor.get_by_label("Account number").fill("inv-42")
    visitor.get_by_label("Amount in shillings").fill("99.50")
    visitor.get_by_role("button", name="Pay", exact=True).click()
    expect(visitor.locator("#pay-problem")).to_contain_text("whole shillings")
    visitor.get_by_label("Amount in shillings").fill("1500")
    visitor.get_by_role("button", name="Pay", exact=True).click()
    expect(visitor.locator("#messages li").first).to_contain_text(
        "Ksh1,500.00 sent to Daraja-Sandbox for account inv-42"
    )
    keep_picture(visitor, "phone-by-hand")
    visitor.get_by_label("To", exact=True).select_option("600584")
    expect(visitor.get_by_label("Account number")).to_be_hidden()

    visitor.goto(f"{simulator.base_url}/statement")
    lines = visitor.locator("#entries tr")
    expect(lines).to_have_count(2)
    expect(lines.nth(0)).to_contain_text("charge")
    expect(lines.nth(1)).to_contain_text("inv-42")
    expect(visitor.locator("#files a")).to_have_count(6)
    keep_picture(visitor, "statement")
    with visitor.expect_download() as classic:
        visitor.get_by_role("link", name=".csv Classic portal").click()
    assert classic.value.suggested_filename == "ORG_174379_Statement.csv"
    assert "inv-42" in classic.value.path().read_text(encoding="utf-8")
    visitor.get_by_role("button", name="Reverse").click()
    expect(lines).to_have_count(3)
    expect(lines.nth(0)).to_contain_text("reversal")
    expect(visitor.get_by_role("button", name="Reverse")).to_have_count(0)

    visitor.get_by_label("Account").select_option("600584")
    expect(visitor.get_by_text("Nothing in these days.")).to_be_visible()
    visitor.get_by_label("From").fill("2030-01-01")
    expect(visitor.locator("#period-problem")).to_have_text("The first day has to come before the last.")


def test_a_lost_morning_by_one_click(visitor: Page, caller: DarajaCaller) -> None:
    client = caller.simulator.client
    visitor.goto(client.base_url)
    visitor.get_by_role("button", name="Lose every callback").click()
    on = visitor.get_by_role("button", name="Callbacks are being lost. Deliver them from now on")
    expect(on).to_have_attribute("aria-pressed", "true")
    keep_picture(visitor, "lost-morning")
    client.script(PHONE, "pay", after_s=0)
    paid = caller.accepted()
    expect(visitor.locator("#payments tr")).to_contain_text("no callback yet")
    on.click()
    expect(visitor.get_by_role("button", name="Lose every callback")).to_be_visible()
    assert client.payment(paid)["state"] == "paid"
    assert client.payment(paid)["callbacks"] == []
