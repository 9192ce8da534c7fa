"""The checkout page against every answer the API can give: what the customer reads, and what is sent again."""

from __future__ import annotations

import itertools
import re
import threading

import pytest
from playwright.sync_api import Page, expect

from tests.browser.customer import MSISDN, PHONE, Customer
from tests.browser.scripted_shop import LOST, RECEIPT, Answer, ScriptedShop, accepted, problem, standing

PAID = standing("paid", mpesa_receipt_number=RECEIPT, message="Paid.")
NOT_PAID = standing(
    "failed",
    result_code="1032",
    message="You cancelled the request on your phone.",
    next_action="Try again when you are ready.",
)

NOTE_STATUS_READS = """
const realFetch = window.fetch;
window.fetch = (url, options) => {
  if (String(url).includes("/status/")) window.noteStatusRead(Date.now());
  return realFetch(url, options);
};
"""


# The way it should go ------------------------------------------------------------------------------------------------


def test_an_empty_shop_says_what_to_do(customer: Customer) -> None:
    expect(customer.page.get_by_text("Nothing chosen yet")).to_be_visible()
    customer.keeps_screenshots("01-shop")
    customer.chooses_coffee()
    customer.enters("Another amount", "1,500")
    expect(customer.page.get_by_role("button", name="Pay KES 2,350")).to_be_visible()
    customer.keeps_screenshots("02-basket")


def test_a_payment_goes_from_the_form_to_its_receipt(customer: Customer, shop: ScriptedShop) -> None:
    on_the_way, pin_typed = threading.Event(), threading.Event()
    shop.answers_push(accepted(held=on_the_way))
    shop.answers_status(standing("pending"), Answer(200, PAID.body, held=pin_typed))

    customer.pays_for_coffee(email="wanjiku@example.com")
    customer.sees("Sending the request")
    customer.keeps_screenshots("03-sending")
    on_the_way.set()
    waiting = customer.sees("Check your phone")
    expect(waiting).to_contain_text("0708 ••• 149")
    expect(waiting).to_contain_text("KES 850")
    customer.keeps_screenshots("04-waiting")
    pin_typed.set()
    paid = customer.sees("Paid. Asante!")
    expect(paid).to_contain_text(RECEIPT)
    expect(paid).to_contain_text("The invoice is on its way")
    customer.keeps_screenshots("05-paid")

    (push,) = shop.pushes
    assert push.order == {
        "phone_number": MSISDN,
        "amount": 850,
        "account_reference": push.order["account_reference"],
        "transaction_desc": "Nyeri AA coffee",
        "customer_email": "wanjiku@example.com",
        "lang": "en",
    }
    assert re.fullmatch(r"[A-Z0-9]{8}", push.order["account_reference"])
    assert re.fullmatch(r"[0-9a-f-]{36}", push.idempotency_key)


@pytest.mark.parametrize(("page_is_in", "sent"), [("sw", "sw"), ("sw-KE", "sw"), ("fr", None)])
def test_the_shop_writes_to_the_customer_in_the_pages_own_language(
    customer: Customer, shop: ScriptedShop, page_is_in: str, sent: str | None
) -> None:
    customer.page.evaluate("(lang) => { document.documentElement.lang = lang; }", page_is_in)
    customer.pays_for_coffee(email="wanjiku@example.com")
    customer.sees("Check your phone")
    assert shop.pushes[0].order.get("lang") == sent


def test_an_unclear_push_says_that_it_is_unclear(customer: Customer, shop: ScriptedShop) -> None:
    shop.answers_push(accepted(checkout_request_id=None))
    shop.answers_status(
        standing("pending", message="M-Pesa has not told us yet whether the prompt went out.", next_action="Wait.")
    )
    customer.pays_for_coffee()
    expect(customer.sees("Check your phone")).to_contain_text("has not told us yet whether the prompt went out. Wait.")


def test_an_absolute_status_address_works_too(customer: Customer, shop: ScriptedShop) -> None:
    shop.answers_push(accepted(f"{shop.address}/api/pay/status/5f0c9a52-93f4-4c9b-8c52-0d6f3c5be001"))
    shop.answers_status(PAID)
    customer.pays_for_coffee()
    customer.sees("Paid. Asante!")


def test_paid_is_said_at_once_and_the_receipt_follows(customer: Customer, shop: ScriptedShop) -> None:
    customer.has_time_moved_by_the_test()
    shop.answers_status(standing("paid", message="Paid."))
    customer.pays_for_coffee()
    customer.page.clock.fast_forward("00:02")
    paid = customer.sees("Paid. Asante!")
    expect(paid).to_contain_text("To follow")
    customer.keeps_screenshots("06-paid-receipt-follows")
    shop.answers_status(PAID)
    customer.page.clock.fast_forward("00:11")
    expect(paid).to_contain_text(RECEIPT)
    expect(paid.get_by_role("status")).to_be_empty()


def test_the_next_order_has_an_empty_basket_and_a_reference_of_its_own(customer: Customer, shop: ScriptedShop) -> None:
    shop.answers_status(PAID)
    customer.pays_for_coffee()
    customer.sees("Paid. Asante!")
    customer.presses("Back to the shop")
    expect(customer.page.get_by_text("Nothing chosen yet")).to_be_visible()
    customer.pays_for_coffee()
    customer.sees("Paid. Asante!")
    first, second = shop.pushes
    assert first.order["account_reference"] != second.order["account_reference"]
    assert first.idempotency_key != second.idempotency_key


def test_a_payment_link_fills_the_order(customer: Customer, shop: ScriptedShop) -> None:
    customer.opens_the_shop("?amount=1500&reference=INV2041")
    customer.enters("M-Pesa phone number", PHONE)
    customer.presses("Pay KES 1,500")
    customer.sees("Check your phone")
    assert shop.pushes[0].order["account_reference"] == "INV2041"
    assert shop.pushes[0].order["amount"] == 1500


# Ends that are not "paid" --------------------------------------------------------------------------------------------


def test_a_failed_payment_says_why_and_can_be_tried_again(customer: Customer, shop: ScriptedShop) -> None:
    shop.answers_status(NOT_PAID)
    customer.pays_for_coffee()
    failed = customer.sees("Not paid")
    expect(failed).to_contain_text("You cancelled the request on your phone.")
    expect(failed).to_contain_text("Try again when you are ready.")
    customer.keeps_screenshots("07-failed")

    shop.answers_status(NOT_PAID, PAID)  # asked once more before anything new is sent
    customer.presses("Try again")
    customer.sees("Paid. Asante!")
    first, second = shop.pushes
    assert first.order == second.order
    assert first.idempotency_key != second.idempotency_key


def test_trying_again_sends_nothing_when_the_failed_payment_was_paid_after_all(
    customer: Customer, shop: ScriptedShop
) -> None:
    shop.answers_status(NOT_PAID)
    customer.pays_for_coffee()
    customer.sees("Not paid")
    shop.answers_status(PAID)
    customer.presses("Try again")
    customer.sees("Paid. Asante!")
    assert len(shop.pushes) == 1


def test_after_a_failure_the_number_can_be_changed_for_the_same_order(customer: Customer, shop: ScriptedShop) -> None:
    shop.answers_status(NOT_PAID)
    customer.pays_for_coffee()
    customer.sees("Not paid")
    customer.presses("Change the number or amount")
    customer.enters("M-Pesa phone number", "0722 000 000")
    customer.presses("Pay KES 850")
    customer.sees("Not paid")
    first, second = shop.pushes
    assert second.order["phone_number"] == "254722000000"
    assert first.order["account_reference"] == second.order["account_reference"]


def test_what_was_typed_is_there_again_when_the_page_was_left_and_opened(
    customer: Customer, shop: ScriptedShop
) -> None:
    shop.answers_status(NOT_PAID)
    customer.pays_for_coffee(email="wanjiku@example.com")
    customer.sees("Not paid")
    customer.opens_the_shop()
    customer.sees("Not paid")
    customer.presses("Change the number or amount")
    expect(customer.page.get_by_label("M-Pesa phone number")).to_have_value("0708374149")
    expect(customer.page.get_by_label("E-mail", exact=True)).to_have_value("wanjiku@example.com")
    expect(customer.page.get_by_role("button", name="Pay KES 850")).to_be_visible()


def test_a_failed_payment_that_was_paid_late_shows_as_paid(customer: Customer, shop: ScriptedShop) -> None:
    customer.has_time_moved_by_the_test()
    shop.answers_status(NOT_PAID)
    customer.pays_for_coffee()
    customer.page.clock.fast_forward("00:02")
    customer.sees("Not paid")
    shop.answers_status(PAID)
    customer.page.clock.fast_forward("00:21")
    customer.sees("Paid. Asante!")


def test_a_payment_under_review_must_not_be_paid_again(customer: Customer, shop: ScriptedShop) -> None:
    shop.answers_status(
        standing("under_review", message="M-Pesa sent an answer that a person has to look at.", next_action="Keep it.")
    )
    customer.pays_for_coffee()
    review = customer.sees("We are checking your payment")
    expect(review).to_contain_text("Please do not pay again.")
    expect(review).to_contain_text("a person has to look at")
    expect(review.get_by_role("button", name="Try again")).to_have_count(0)
    customer.keeps_screenshots("08-under-review")
    shop.answers_status(PAID)
    customer.presses("Check again")
    customer.sees("Paid. Asante!")


def test_a_refunded_payment_says_so(customer: Customer, shop: ScriptedShop) -> None:
    shop.answers_status(standing("refunded", message="The whole amount was sent back to your phone."))
    customer.pays_for_coffee()
    expect(customer.sees("Refunded")).to_contain_text("sent back")
    customer.keeps_screenshots("09-refunded")


def test_an_unknown_payment_is_not_called_failed(customer: Customer, shop: ScriptedShop) -> None:
    shop.answers_status(problem(404, "not_found"))
    customer.pays_for_coffee()
    expect(customer.sees("We cannot find this payment")).to_contain_text("before you pay again")
    customer.keeps_screenshots("10-missing")


# Waiting -------------------------------------------------------------------------------------------------------------


def test_a_reload_keeps_waiting_for_the_same_payment(customer: Customer, shop: ScriptedShop) -> None:
    customer.pays_for_coffee()
    customer.sees("Check your phone")
    customer.page.reload()
    customer.sees("Check your phone")
    shop.answers_status(PAID)
    customer.sees("Paid. Asante!")
    customer.page.reload()
    expect(customer.sees("Paid. Asante!")).to_contain_text(RECEIPT)
    assert len(shop.pushes) == 1


def test_a_reload_while_sending_repeats_the_same_attempt(customer: Customer, shop: ScriptedShop) -> None:
    never = threading.Event()
    shop.answers_push(accepted(held=never), accepted())
    customer.pays_for_coffee()
    customer.sees("Sending the request")
    customer.page.reload()
    customer.sees("Check your phone")
    never.set()
    first, second = shop.pushes
    assert first == second


def test_help_is_offered_when_no_prompt_seems_to_come(customer: Customer) -> None:
    customer.has_time_moved_by_the_test()
    customer.pays_for_coffee()
    waiting = customer.sees("Check your phone")
    hint = waiting.get_by_text("Close any other M-Pesa prompt")
    expect(hint).to_be_hidden()
    customer.page.clock.fast_forward("00:35")
    expect(hint).to_be_visible()
    customer.keeps_screenshots("11-waiting-with-help")


def test_asking_slows_down_and_ends_honestly_after_five_minutes(customer: Customer, shop: ScriptedShop) -> None:
    asked: list[float] = []
    customer.page.expose_function("noteStatusRead", lambda at: asked.append(at / 1000))
    customer.page.add_init_script(NOTE_STATUS_READS)
    customer.has_time_moved_by_the_test()
    customer.pays_for_coffee()
    customer.sees("Check your phone")
    for _ in range(320):
        customer.page.clock.run_for(1000)
        customer.page.wait_for_timeout(20)
        while shop.status_reads < len(asked):  # the page's clock waits for the real network
            customer.page.wait_for_timeout(20)
    stopped = customer.sees("No answer from M-Pesa yet")
    expect(stopped).to_contain_text("your payment is not lost")
    customer.keeps_screenshots("12-stopped")
    asked_at = [at - asked[0] for at in asked]
    pauses = [(at, later - at) for at, later in itertools.pairwise(asked_at)]
    assert min(pause for at, pause in pauses if at < 55) < 4
    assert min(pause for at, pause in pauses if at > 65) >= 5

    before = shop.status_reads
    customer.page.clock.run_for(60_000)
    assert shop.status_reads == before, "nobody is asked once the page has said that it stopped"
    shop.answers_status(PAID)
    customer.presses("Check again")
    customer.sees("Paid. Asante!")


def test_checking_again_without_news_says_when_it_looked(customer: Customer) -> None:
    customer.has_time_moved_by_the_test()
    customer.pays_for_coffee()
    customer.sees("Check your phone")
    customer.page.clock.fast_forward("05:30")
    customer.sees("No answer from M-Pesa yet")
    customer.presses("Check again")
    expect(customer.sees("No answer from M-Pesa yet")).to_contain_text("Last checked at")


def test_a_customer_who_comes_back_to_the_page_need_not_ask(customer: Customer, shop: ScriptedShop) -> None:
    customer.has_time_moved_by_the_test()
    customer.pays_for_coffee()
    customer.sees("Check your phone")
    customer.page.clock.fast_forward("05:30")
    customer.sees("No answer from M-Pesa yet")
    shop.answers_status(PAID)
    customer.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    customer.sees("Paid. Asante!")


def test_a_lost_connection_while_waiting_is_no_failure(customer: Customer, shop: ScriptedShop) -> None:
    shop.answers_status(LOST)
    customer.pays_for_coffee()
    waiting = customer.sees("Check your phone")
    expect(waiting).to_contain_text("your payment is not affected")
    customer.keeps_screenshots("13-waiting-no-connection")
    shop.answers_status(Answer(502, "<html>Bad gateway</html>", {"Content-Type": "text/html"}), PAID)
    customer.sees("Paid. Asante!")


# One attempt, one key ------------------------------------------------------------------------------------------------


def test_a_double_click_sends_one_request(customer: Customer, shop: ScriptedShop) -> None:
    customer.chooses_coffee()
    customer.enters("M-Pesa phone number", PHONE)
    customer.page.get_by_role("button", name="Pay KES 850").dblclick()
    customer.page.evaluate("document.querySelector('form').requestSubmit()")
    customer.sees("Check your phone")
    customer.page.wait_for_timeout(300)
    assert len(shop.pushes) == 1


def test_offline_the_same_key_is_sent_when_the_network_is_back(
    customer: Customer, shop: ScriptedShop, page: Page
) -> None:
    customer.chooses_coffee()
    customer.enters("M-Pesa phone number", PHONE)
    page.context.set_offline(True)
    customer.presses("Pay KES 850")
    unreachable = customer.sees("We cannot reach the shop")
    expect(unreachable).to_contain_text("you cannot be asked to pay twice")
    customer.keeps_screenshots("14-unreachable")
    kept_key = page.evaluate("JSON.parse(sessionStorage.getItem('lipa.attempt')).key")
    page.context.set_offline(False)
    customer.sees("Check your phone")
    assert [push.idempotency_key for push in shop.pushes] == [kept_key]


@pytest.mark.parametrize(
    "unclear",
    [
        pytest.param(LOST, id="connection lost after the request arrived"),
        pytest.param(Answer(502, "<html>Bad gateway</html>", {"Content-Type": "text/html"}), id="gateway page"),
        pytest.param(problem(502, "function_died"), id="function died"),
        pytest.param(problem(504, "function_timeout"), id="function hung"),
        pytest.param(Answer(429, "", {"Retry-After": "1"}), id="rate limit of the platform"),
        pytest.param(Answer(202, '{"transaction_id": "5f0c'), id="cut answer"),
    ],
)
def test_an_unclear_answer_is_asked_again_under_the_same_key(
    customer: Customer, shop: ScriptedShop, unclear: Answer
) -> None:
    shop.answers_push(unclear)
    customer.pays_for_coffee()
    customer.sees("We cannot reach the shop")
    shop.answers_push(accepted())
    customer.presses("Try now")
    customer.sees("Check your phone")
    assert len(shop.pushes) >= 2
    assert len({push.idempotency_key for push in shop.pushes}) == 1


def test_a_request_that_got_old_is_sent_only_at_the_customers_word(
    customer: Customer, shop: ScriptedShop, page: Page
) -> None:
    customer.has_time_moved_by_the_test()
    shop.answers_push(Answer(502, "", {"Content-Type": "text/html"}))
    customer.pays_for_coffee()
    customer.sees("We cannot reach the shop")
    page.clock.fast_forward("06:00")
    expect(page.get_by_text("Try again when you are back online.")).to_be_visible()
    sent = len(shop.pushes)
    shop.answers_push(accepted())
    page.reload()
    customer.sees("We cannot reach the shop")
    page.clock.fast_forward("06:00")
    assert len(shop.pushes) == sent, "a prompt an hour later would surprise"
    customer.keeps_screenshots("15-unreachable-old")
    customer.presses("Try now")
    customer.sees("Check your phone")
    assert len({push.idempotency_key for push in shop.pushes}) == 1


# What is refused -----------------------------------------------------------------------------------------------------


def test_what_is_missing_is_named_before_anything_is_sent(customer: Customer, shop: ScriptedShop) -> None:
    customer.enters("E-mail", "wanjiku@")
    customer.presses("Pay")
    alert = customer.page.get_by_role("alert")
    expect(alert).to_be_focused()
    expect(alert.get_by_role("link")).to_have_text(
        [
            "Choose something, or enter an amount",
            "Enter a Kenyan mobile number, like 0712 345 678",
            "Enter an e-mail address, like wanjiku@example.com",
        ]
    )
    customer.keeps_screenshots("16-field-errors")
    alert.get_by_role("link", name="Kenyan mobile number").click()
    expect(customer.page.get_by_label("M-Pesa phone number")).to_be_focused()
    assert shop.pushes == []


def test_every_kenyan_way_to_write_a_number_is_understood_and_nothing_else_sent(
    customer: Customer, shop: ScriptedShop
) -> None:
    customer.chooses_coffee()
    for written in ("", "0208374149", "070837414", "07083741490", "255708374149", "phone", "٠٧٠٨٣٧٤١٤٩"):
        customer.enters("M-Pesa phone number", written)
        customer.presses("Pay KES 850")
        expect(customer.page.locator("#phone-error")).to_be_visible()
        customer.enters("M-Pesa phone number", PHONE)
        expect(customer.page.locator("#phone-error")).to_be_hidden()
    assert shop.pushes == []
    shop.answers_push(problem(409, "prompt_open"))
    for written in ("0708374149", PHONE, "708374149", MSISDN, "+254 708-374-149", f"+{MSISDN}", " 0708.374.149 "):
        customer.enters("M-Pesa phone number", written)
        with customer.page.expect_response("**/stkpush"):
            customer.presses("Pay KES 850")
    assert [push.order["phone_number"] for push in shop.pushes] == [MSISDN] * 7


def test_what_is_no_amount_is_not_sent(customer: Customer, shop: ScriptedShop) -> None:
    customer.enters("M-Pesa phone number", PHONE)
    for complaint, ways in {
        "Enter a whole number of shillings": ("abc", "1.50", "-5"),
        "Choose something, or enter an amount": ("0",),
        "M-Pesa takes at most KES 250,000 at once": ("250,001",),
    }.items():
        for written in ways:
            customer.enters("Another amount", written)
            customer.presses(re.compile("^Pay"))
            expect(customer.page.locator("#own-amount-error")).to_contain_text(complaint)
            customer.enters("Another amount", "850")
            expect(customer.page.locator("#own-amount-error")).to_be_hidden()
    assert shop.pushes == []


def test_the_servers_field_errors_appear_at_their_fields(customer: Customer, shop: ScriptedShop) -> None:
    shop.answers_push(
        problem(
            422,
            "invalid_request",
            errors=[
                {"field": "phone_number", "detail": "must be a Kenyan mobile number, like 0712345678"},
                {"field": "account_reference", "detail": "must be 1 to 12 letters or digits"},
            ],
        ),
        accepted(),
    )
    customer.pays_for_coffee()
    expect(customer.page.get_by_role("alert")).to_be_focused()
    expect(customer.page.locator("#phone-error")).to_have_text("Must be a Kenyan mobile number, like 0712345678")
    expect(customer.page.get_by_role("alert")).to_contain_text("Must be 1 to 12 letters or digits")
    customer.keeps_screenshots("17-server-field-errors")
    customer.enters("M-Pesa phone number", "0722 000 000")
    expect(customer.page.locator("#phone-error")).to_be_hidden()
    customer.presses("Pay KES 850")
    customer.sees("Check your phone")
    first, second = shop.pushes
    assert first.idempotency_key != second.idempotency_key, "a definite refusal ends the attempt"


def test_too_soon_is_counted_down(customer: Customer, shop: ScriptedShop, page: Page) -> None:
    customer.has_time_moved_by_the_test()
    shop.answers_push(problem(429, "too_soon", retry_after_s=90, detail="Wait."), accepted())
    customer.pays_for_coffee()
    expect(page.get_by_role("alert")).to_contain_text("Please wait before you pay again")
    button = page.get_by_role("button", name="Pay again in")
    expect(button).to_be_disabled()
    expect(button).to_contain_text("1:")
    customer.keeps_screenshots("18-too-soon")
    page.clock.fast_forward("01:31")
    customer.presses("Pay KES 850")
    customer.sees("Check your phone")
    assert len(shop.pushes) == 2


@pytest.mark.parametrize(("retry_after_s", "held"), [(60, True), (21_600, False)])
def test_a_limit_tells_what_to_do_and_is_counted_down_where_that_is_short(
    customer: Customer, shop: ScriptedShop, page: Page, retry_after_s: int, held: bool
) -> None:
    told = "This phone was asked to pay several times. Give it a rest, and try again later."
    shop.answers_push(problem(429, "too_many", retry_after_s=retry_after_s, detail=told, limit="phone"))
    customer.pays_for_coffee()
    expect(page.get_by_role("alert")).to_contain_text(told)
    expect(page.get_by_role("alert")).to_contain_text("Nothing was sent to your phone.")
    expect(page.get_by_role("button", name="Pay again in")).to_have_count(1 if held else 0)
    assert len(shop.pushes) == 1


def test_an_amount_above_a_limit_is_told_with_the_limit(customer: Customer, shop: ScriptedShop, page: Page) -> None:
    told = "This shop takes at most KES 500 in one payment. Pay a smaller amount, or ask the shop."
    shop.answers_push(problem(422, "above_limit", detail=told, limit="payment", most_kes=500))
    customer.pays_for_coffee()
    expect(page.get_by_role("alert")).to_contain_text("This shop cannot take this payment")
    expect(page.get_by_role("alert")).to_contain_text(told)
    assert len(shop.pushes) == 1


def test_another_phone_need_not_wait(customer: Customer, shop: ScriptedShop, page: Page) -> None:
    shop.answers_push(problem(429, "too_soon", retry_after_s=90), accepted())
    customer.pays_for_coffee()
    expect(page.get_by_role("button", name="Pay again in")).to_be_disabled()
    customer.enters("M-Pesa phone number", "0722 000 000")
    customer.presses("Pay KES 850")
    customer.sees("Check your phone")


@pytest.mark.parametrize(
    ("answer", "title"),
    [
        (problem(409, "prompt_open"), "An M-Pesa prompt is open on this phone"),
        (problem(502, "daraja_rejected"), "M-Pesa did not accept the request"),
        (problem(503, "unavailable"), "Payments are not available right now"),
        (
            problem(500, "misconfigured", errors=[{"field": "DATABASE_URL", "detail": "must hold"}]),
            "This shop cannot take payments yet",
        ),
        (problem(422, "idempotency_mismatch"), "The order changed while it was being sent"),
        (Answer(404, "<html></html>", {"Content-Type": "text/html"}), "The request was not accepted"),
    ],
)
def test_every_refusal_is_said_in_a_human_sentence(
    customer: Customer, shop: ScriptedShop, answer: Answer, title: str
) -> None:
    shop.answers_push(answer, accepted())
    customer.pays_for_coffee()
    alert = customer.page.get_by_role("alert")
    expect(alert).to_be_focused()
    expect(alert).to_contain_text(title)
    expect(alert).not_to_contain_text("DATABASE_URL")
    customer.keeps_screenshots(f"19-refused-{answer.status}-{title.split()[0].lower()}")
    customer.presses("Pay KES 850")
    customer.sees("Check your phone")
    first, second = shop.pushes
    assert first.order == second.order
    assert first.idempotency_key != second.idempotency_key


# Using it ------------------------------------------------------------------------------------------------------------


def test_the_keyboard_alone_is_enough(customer: Customer, shop: ScriptedShop, page: Page) -> None:
    page.get_by_role("button", name="Add one Kericho tea").focus()
    page.keyboard.press("Enter")
    page.get_by_label("M-Pesa phone number").focus()
    page.keyboard.type(PHONE)
    page.keyboard.press("Enter")
    customer.sees("Check your phone")
    expect(page.locator(".screen-title:visible")).to_be_focused()
    shop.answers_status(NOT_PAID)
    customer.sees("Not paid")
    expect(page.locator(".screen-title:visible")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Try again")).to_be_focused()


def test_every_field_and_button_has_a_name_and_every_title_is_heard(customer: Customer, page: Page) -> None:
    for role in ("textbox", "button", "link"):
        for part in page.get_by_role(role).all():
            expect(part).to_have_accessible_name(re.compile(r"\w"))
    customer.pays_for_coffee()
    customer.sees("Check your phone")
    assert page.title() == "Check your phone · Duka la Mfano"


def test_nothing_is_loaded_from_elsewhere_and_little_from_here(customer: Customer, shop: ScriptedShop) -> None:
    loaded: list[tuple[str, int]] = []
    customer.page.on("response", lambda response: loaded.append((response.url, len(response.body()))))
    customer.opens_the_shop()
    customer.page.wait_for_load_state("networkidle")
    assert all(url.startswith(shop.address) for url, _ in loaded)
    assert sum(size for _, size in loaded) < 100_000, "uncompressed; a slow network has to be enough"


def test_on_a_developers_machine_the_virtual_phone_is_a_click_away(customer: Customer) -> None:
    customer.opens_the_shop("?sim=18890")
    customer.pays_for_coffee()
    customer.sees("Check your phone")
    link = customer.page.get_by_role("link", name="Open the virtual phone")
    expect(link).to_have_attribute("href", f"http://127.0.0.1:18890/phone/{MSISDN}")
    customer.opens_the_shop()
    customer.sees("Check your phone")
    expect(link).to_have_attribute("href", f"http://127.0.0.1:18890/phone/{MSISDN}")


def test_an_unknown_address_leads_back_to_the_shop(customer: Customer, page: Page, shop: ScriptedShop) -> None:
    page.goto(f"{shop.address}/no-such-page")
    customer.keeps_screenshots("20-not-found")
    page.get_by_role("link", name="Go to the shop").click()
    expect(page.get_by_role("heading", name="Choose what you like")).to_be_visible()
