"""<lipa-pay> against every answer the API can give: what the customer reads, and what is sent again."""

from __future__ import annotations

import itertools
import json
import re
import threading

import pytest
from playwright.sync_api import Page, expect

from tests.browser.customer import COFFEE, MSISDN, PHONE, Customer
from tests.browser.scripted_shop import LOST, RECEIPT, ROOT, Answer, ScriptedShop, accepted, problem, standing

PAID = standing("paid", mpesa_receipt_number=RECEIPT, message="Paid.")
NOT_PAID = standing(
    "failed",
    result_code="1032",
    message="You cancelled the request on your phone.",
    next_action="Try again when you are ready.",
)

PHONES = json.loads((ROOT / "tests" / "cases" / "phones.json").read_text(encoding="utf-8"))

NOTE_STATUS_READS = """
const realFetch = window.fetch;
window.fetch = (url, options) => {
  if (String(url).includes("/status/")) window.noteStatusRead(Date.now());
  return realFetch(url, options);
};
"""


# The way it should go ------------------------------------------------------------------------------------------------


def test_the_form_shows_what_is_bought_and_what_it_costs(customer: Customer) -> None:
    customer.opens("items=coffee:2, tea&ask=name email* note")
    form = customer.sees("Pay with M-Pesa")
    expect(form.get_by_role("listitem")).to_have_text(
        ["2 × Coffee, 250 gKES 1,500", "1 × Tea <b>&</b> milkKES 50"]  # noqa: RUF001  # the sign that the page shows
    )
    expect(customer.page.get_by_role("button", name="Pay KES 1,550")).to_be_visible()
    customer.keeps_screenshots("01-form")


def test_a_payment_goes_from_the_form_to_its_receipt(customer: Customer, shop: ScriptedShop) -> None:
    on_the_way, pin_typed = threading.Event(), threading.Event()
    shop.answers_push(accepted(held=on_the_way))
    shop.answers_status(standing("pending"), Answer(200, PAID.body, held=pin_typed))

    customer.pays(email="wanjiku@example.com")
    customer.sees("Sending the request")
    customer.keeps_screenshots("03-sending")
    on_the_way.set()
    waiting = customer.sees("Check your phone")
    expect(waiting).to_contain_text("0708 ••• 149")
    expect(waiting).to_contain_text("KES 750")
    customer.keeps_screenshots("04-waiting")
    pin_typed.set()
    paid = customer.sees("Paid. Asante!")
    expect(paid).to_contain_text(RECEIPT)
    expect(paid).to_contain_text("The invoice is on its way")
    customer.keeps_screenshots("05-paid")

    (push,) = shop.pushes
    assert push.order == {
        "phone_number": MSISDN,
        "items": [{"id": "coffee", "quantity": 1}],
        "amount": 750,
        "account_reference": push.order["account_reference"],
        "customer_email": "wanjiku@example.com",
        "lang": "en",
    }
    assert re.fullmatch(r"[A-Z0-9]{8}", push.order["account_reference"])
    assert re.fullmatch(r"[0-9a-f-]{36}", push.idempotency_key)


def test_an_unclear_push_says_that_it_is_unclear(customer: Customer, shop: ScriptedShop) -> None:
    shop.answers_push(accepted(checkout_request_id=None))
    shop.answers_status(
        standing("pending", message="M-Pesa has not told us yet whether the prompt went out.", next_action="Wait.")
    )
    customer.pays()
    expect(customer.sees("Check your phone")).to_contain_text("has not told us yet whether the prompt went out. Wait.")


def test_paid_is_said_at_once_and_the_receipt_follows(customer: Customer, shop: ScriptedShop) -> None:
    customer.has_time_moved_by_the_test()
    shop.answers_status(standing("paid", message="Paid."))
    customer.pays()
    customer.page.clock.fast_forward("00:02")
    paid = customer.sees("Paid. Asante!")
    expect(paid).to_contain_text("To follow")
    customer.keeps_screenshots("06-paid-receipt-follows")
    shop.answers_status(PAID)
    customer.page.clock.fast_forward("00:11")
    expect(paid).to_contain_text(RECEIPT)
    expect(paid.get_by_role("status")).to_be_empty()


def test_the_next_order_is_another_one(customer: Customer, shop: ScriptedShop) -> None:
    """Also of the same things, in the same tab: whether the customer left by the button or not."""
    shop.answers_status(PAID)
    for leaves_by_the_button in (True, False, False):
        customer.opens()
        customer.pays()
        customer.sees("Paid. Asante!")
        if leaves_by_the_button:
            customer.presses("Back to the shop")
    assert len({push.order["account_reference"] for push in shop.pushes}) == 3
    assert len({push.idempotency_key for push in shop.pushes}) == 3


# Ends that are not "paid" --------------------------------------------------------------------------------------------


def test_a_failed_payment_says_why_and_can_be_tried_again(customer: Customer, shop: ScriptedShop) -> None:
    shop.answers_status(NOT_PAID)
    customer.pays()
    failed = customer.sees("Not paid")
    expect(failed).to_contain_text("You cancelled the request on your phone.")
    expect(failed).to_contain_text("Try again when you are ready.")
    customer.keeps_screenshots("07-failed")

    customer.page.reload()
    customer.sees("Not paid")
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
    customer.pays()
    customer.sees("Not paid")
    shop.answers_status(PAID)
    customer.presses("Try again")
    customer.sees("Paid. Asante!")
    assert len(shop.pushes) == 1


def test_after_a_failure_the_number_can_be_changed_for_the_same_order(customer: Customer, shop: ScriptedShop) -> None:
    shop.answers_status(NOT_PAID)
    customer.pays()
    customer.sees("Not paid")
    customer.presses("Change the number")
    customer.enters("M-Pesa phone number", "0722 000 000")
    customer.presses("Pay KES 750")
    customer.sees("Not paid")
    first, second = shop.pushes
    assert second.order["phone_number"] == "254722000000"
    assert first.order["account_reference"] == second.order["account_reference"]


def test_what_was_typed_is_there_again_when_the_page_was_left_and_opened(
    customer: Customer, shop: ScriptedShop
) -> None:
    shop.answers_status(NOT_PAID)
    customer.pays(email="wanjiku@example.com")
    customer.sees("Not paid")
    customer.opens()
    customer.sees("Not paid")
    customer.presses("Change the number")
    expect(customer.page.get_by_label("M-Pesa phone number")).to_have_value("0708374149")
    expect(customer.page.get_by_label("E-mail", exact=True)).to_have_value("wanjiku@example.com")
    expect(customer.page.get_by_role("button", name="Pay KES 750")).to_be_visible()


def test_a_failed_payment_that_was_paid_late_shows_as_paid(customer: Customer, shop: ScriptedShop) -> None:
    customer.has_time_moved_by_the_test()
    shop.answers_status(NOT_PAID)
    customer.pays()
    customer.page.clock.fast_forward("00:02")
    customer.sees("Not paid")
    shop.answers_status(PAID)
    customer.page.clock.fast_forward("00:21")
    customer.sees("Paid. Asante!")


def test_a_payment_under_review_must_not_be_paid_again(customer: Customer, shop: ScriptedShop) -> None:
    shop.answers_status(
        standing("under_review", message="M-Pesa sent an answer that a person has to look at.", next_action="Keep it.")
    )
    customer.pays()
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
    customer.pays()
    expect(customer.sees("Refunded")).to_contain_text("sent back")
    customer.keeps_screenshots("09-refunded")


def test_an_unknown_payment_is_not_called_failed(customer: Customer, shop: ScriptedShop) -> None:
    shop.answers_status(problem(404, "not_found"))
    customer.pays()
    expect(customer.sees("We cannot find this payment")).to_contain_text("before you pay again")
    customer.keeps_screenshots("10-missing")


# Waiting -------------------------------------------------------------------------------------------------------------


def test_a_reload_keeps_waiting_for_the_same_payment(customer: Customer, shop: ScriptedShop) -> None:
    customer.pays()
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
    customer.pays()
    customer.sees("Sending the request")
    customer.page.reload()
    customer.sees("Check your phone")
    never.set()
    first, second = shop.pushes
    assert first == second


def test_help_is_offered_when_no_prompt_seems_to_come(customer: Customer) -> None:
    customer.has_time_moved_by_the_test()
    customer.pays()
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
    customer.pays()
    customer.sees("Check your phone")
    for step_s in [1] * 66 + [4] * 64:
        customer.page.clock.run_for(step_s * 1000)
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
    customer.pays()
    customer.sees("Check your phone")
    customer.page.clock.fast_forward("05:30")
    customer.sees("No answer from M-Pesa yet")
    customer.presses("Check again")
    expect(customer.sees("No answer from M-Pesa yet")).to_contain_text("Last checked at")


def test_a_customer_who_comes_back_to_the_page_need_not_ask(customer: Customer, shop: ScriptedShop) -> None:
    customer.has_time_moved_by_the_test()
    customer.pays()
    customer.sees("Check your phone")
    customer.page.clock.fast_forward("05:30")
    customer.sees("No answer from M-Pesa yet")
    shop.answers_status(PAID)
    customer.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    customer.sees("Paid. Asante!")


def test_a_lost_connection_while_waiting_is_no_failure(customer: Customer, shop: ScriptedShop) -> None:
    customer.has_time_moved_by_the_test()
    shop.answers_status(LOST)
    customer.pays()
    waiting = customer.sees("Check your phone")
    customer.page.clock.fast_forward("00:01")
    expect(waiting).to_contain_text("your payment is not affected")
    customer.keeps_screenshots("13-waiting-no-connection")
    shop.answers_status(Answer(502, "<html>Bad gateway</html>", {"Content-Type": "text/html"}))
    before = shop.status_reads
    customer.page.clock.fast_forward("00:04")
    while shop.status_reads == before:
        customer.page.wait_for_timeout(20)
    shop.answers_status(PAID)
    expect(waiting).to_contain_text("your payment is not affected")
    customer.page.clock.fast_forward("00:04")
    customer.sees("Paid. Asante!")


# One attempt, one key ------------------------------------------------------------------------------------------------


def test_a_double_click_sends_one_request(customer: Customer, shop: ScriptedShop) -> None:
    customer.enters("M-Pesa phone number", PHONE)
    customer.page.get_by_role("button", name="Pay KES 750").dblclick()
    customer.page.locator("form").first.evaluate("(form) => form.requestSubmit()")
    customer.sees("Check your phone")
    customer.page.wait_for_timeout(300)
    assert len(shop.pushes) == 1


def test_offline_the_same_key_is_sent_when_the_network_is_back(
    customer: Customer, shop: ScriptedShop, page: Page
) -> None:
    customer.enters("M-Pesa phone number", PHONE)
    page.context.set_offline(True)
    customer.presses("Pay KES 750")
    unreachable = customer.sees("We cannot reach the shop")
    expect(unreachable).to_contain_text("you cannot be asked to pay twice")
    customer.keeps_screenshots("14-unreachable")
    (kept,) = page.evaluate("Object.values({ ...sessionStorage })")
    kept_key = json.loads(kept)["attempt"]["key"]
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
    customer.pays()
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
    customer.pays()
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
    customer.opens(f"{COFFEE}&ask=name* email")
    customer.enters("E-mail", "wanjiku@")
    customer.presses("Pay")
    alert = customer.page.get_by_role("alert")
    expect(alert).to_be_focused()
    expect(alert.get_by_role("link")).to_have_text(
        [
            "Enter a Kenyan mobile number, like 0712 345 678",
            "Please fill in: Name",
            "Enter an e-mail address, like wanjiku@example.com",
        ]
    )
    customer.keeps_screenshots("16-field-errors")
    alert.get_by_role("link", name="Kenyan mobile number").click()
    expect(customer.page.get_by_label("M-Pesa phone number")).to_be_focused()
    assert shop.pushes == []


def test_the_page_reads_phone_numbers_as_the_function_does(customer: Customer, shop: ScriptedShop) -> None:
    """Its own reader, over the list of cases that the function's test uses."""
    read = customer.page.evaluate(
        """async (texts) => {
            const { readPhone } = await import("/lipa/lipa.js");
            return texts.map(readPhone);
        }""",
        [*(text for text, _ in PHONES["read"]), *PHONES["refused"]],
    )
    assert read == [*(msisdn for _, msisdn in PHONES["read"]), *(None for _ in PHONES["refused"])]
    customer.enters("M-Pesa phone number", "0208374149")
    customer.presses("Pay KES 750")
    expect(customer.page.locator("#phone_number-error")).to_be_visible()
    customer.enters("M-Pesa phone number", "\u202d+254 708 374 149\u202c")
    expect(customer.page.locator("#phone_number-error")).to_be_hidden()
    customer.presses("Pay KES 750")
    customer.sees("Check your phone")
    assert [push.order["phone_number"] for push in shop.pushes] == [MSISDN]


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
    customer.pays()
    expect(customer.page.get_by_role("alert")).to_be_focused()
    expect(customer.page.locator("#phone_number-error")).to_have_text("Must be a Kenyan mobile number, like 0712345678")
    expect(customer.page.get_by_role("alert")).to_contain_text("Must be 1 to 12 letters or digits")
    customer.keeps_screenshots("17-server-field-errors")
    customer.enters("M-Pesa phone number", "0722 000 000")
    expect(customer.page.locator("#phone_number-error")).to_be_hidden()
    customer.presses("Pay KES 750")
    customer.sees("Check your phone")
    first, second = shop.pushes
    assert first.idempotency_key != second.idempotency_key, "a definite refusal ends the attempt"


def test_too_soon_is_counted_down(customer: Customer, shop: ScriptedShop, page: Page) -> None:
    customer.has_time_moved_by_the_test()
    shop.answers_push(problem(429, "too_soon", retry_after_s=90, detail="Wait."), accepted())
    customer.pays()
    expect(page.get_by_role("alert")).to_contain_text("Please wait before you pay again")
    button = page.get_by_role("button", name="Pay again in")
    expect(button).to_be_disabled()
    expect(button).to_contain_text("1:")
    customer.keeps_screenshots("18-too-soon")
    page.clock.fast_forward("01:31")
    customer.presses("Pay KES 750")
    customer.sees("Check your phone")
    assert len(shop.pushes) == 2


@pytest.mark.parametrize(("retry_after_s", "held"), [(60, True), (21_600, False)])
def test_a_limit_tells_what_to_do_and_is_counted_down_where_that_is_short(
    customer: Customer, shop: ScriptedShop, page: Page, retry_after_s: int, held: bool
) -> None:
    told = "This phone was asked to pay several times. Give it a rest, and try again later."
    shop.answers_push(problem(429, "too_many", retry_after_s=retry_after_s, detail=told, limit="phone"))
    customer.pays()
    expect(page.get_by_role("alert")).to_contain_text(told)
    expect(page.get_by_role("alert")).to_contain_text("Nothing was sent to your phone.")
    expect(page.get_by_role("button", name="Pay again in")).to_have_count(1 if held else 0)
    assert len(shop.pushes) == 1


def test_an_amount_above_a_limit_is_told_with_the_limit(customer: Customer, shop: ScriptedShop, page: Page) -> None:
    told = "This shop takes at most KES 500 in one payment. Pay a smaller amount, or ask the shop."
    shop.answers_push(problem(422, "above_limit", detail=told, limit="payment", most_kes=500))
    customer.pays()
    expect(page.get_by_role("alert")).to_contain_text("This shop cannot take this payment")
    expect(page.get_by_role("alert")).to_contain_text(told)
    assert len(shop.pushes) == 1


def test_another_phone_need_not_wait(customer: Customer, shop: ScriptedShop, page: Page) -> None:
    shop.answers_push(problem(429, "too_soon", retry_after_s=90), accepted())
    customer.pays()
    expect(page.get_by_role("button", name="Pay again in")).to_be_disabled()
    customer.enters("M-Pesa phone number", "0722 000 000")
    customer.presses("Pay KES 750")
    customer.sees("Check your phone")


@pytest.mark.parametrize(
    ("answer", "title"),
    [
        (problem(409, "prompt_open"), "An M-Pesa prompt is open on this phone"),
        (problem(502, "daraja_rejected"), "M-Pesa did not accept the request"),
        (problem(503, "unavailable"), "Payments are not available right now"),
        (problem(503, "recovering", retry_after_s=900), "This shop takes no payments for a while"),
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
    customer.pays()
    alert = customer.page.get_by_role("alert")
    expect(alert).to_be_focused()
    expect(alert).to_contain_text(title)
    expect(alert).not_to_contain_text("DATABASE_URL")
    customer.keeps_screenshots(f"19-refused-{answer.status}-{title.split()[0].lower()}")
    customer.presses("Pay KES 750")
    customer.sees("Check your phone")
    first, second = shop.pushes
    assert first.order == second.order
    assert first.idempotency_key != second.idempotency_key


# Using it ------------------------------------------------------------------------------------------------------------


def test_the_keyboard_alone_is_enough(customer: Customer, shop: ScriptedShop, page: Page) -> None:
    page.get_by_label("M-Pesa phone number").focus()
    page.keyboard.type(PHONE)
    page.keyboard.press("Enter")
    customer.sees("Check your phone")
    expect(page.locator(".title:visible")).to_be_focused()
    shop.answers_status(NOT_PAID)
    customer.sees("Not paid")
    expect(page.locator(".title:visible")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Try again")).to_be_focused()
