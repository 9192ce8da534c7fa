"""What the five functions usually do, as stories whose last request may crash.

A story prepares a shop and says which requests one function instance answers: those before the last warm it up.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from tests.chaos.crashes import AT_ONCE, LATE, NEVER, Stage
from tests.chaos.crew import Job, callback, function, status, stkpush, sweep
from tests.chaos.customers import Pushed

WRONG_PIN = (2001, "The initiator information is invalid.")
NO_ANSWER = (1037, "No response from user.")
CANCELLED = (1032, "Request cancelled by user")


Prepare: TypeAlias = Callable[[Stage], list[Job]]


@dataclass(frozen=True)
class Story:
    """`prepare` gives the requests; the last is the one that may crash."""

    name: str
    prepare: Prepare
    callbacks: tuple[str, ...] = (LATE,)
    """When Safaricom's callbacks come that were not sent before: each is a variant of its own."""
    first_day: bool = False


def told(stage: Stage, outcome: str = "pay", failure: tuple[int, str] | None = None, **order: object) -> Pushed:
    """A payment of which Safaricom has called back: this failure, or its success."""
    pushed = stage.pushed(outcome, stage.next_order(**order))
    stage.tell(pushed, pushed.failure(*failure) if failure else pushed.success())
    return pushed


# stkpush --------------------------------------------------------------------------------------------------------------


def ordered(stage: Stage, outcome: str = "pay", **knobs: object) -> Job:
    order = stage.next_order()
    stage.script(order, outcome, **knobs)
    return stkpush("key-1", **order)


def accepted_with_no_token_yet(stage: Stage) -> list[Job]:
    return [ordered(stage)]


def accepted_by_a_warm_instance(stage: Stage) -> list[Job]:
    return [status(told(stage, "cancel", CANCELLED).transaction_id), ordered(stage)]


def accepted_and_cancelled(stage: Stage) -> list[Job]:
    return [status(told(stage, "cancel", CANCELLED).transaction_id), ordered(stage, "cancel")]


def answered(push_answer: str) -> Prepare:
    """By Daraja, once; and then as usual, where the browser asks again."""

    def prepare(stage: Stage) -> list[Job]:
        order = stage.next_order()
        stage.client.script(str(order["phone_number"]), push_answer=push_answer)
        if push_answer != "system_busy":
            stage.script(order)
        return [stkpush("key-1", **order)]

    return prepare


def token_is_dead(stage: Stage) -> list[Job]:
    told(stage, "cancel", CANCELLED)
    stage.client.kill_token()
    return [ordered(stage)]


def no_token_to_be_had(stage: Stage) -> list[Job]:
    stage.client.fault("oauth", "error_500")
    return [ordered(stage)]


def answer_of_the_push_is_lost(stage: Stage) -> list[Job]:
    return [ordered(stage, drop_response=True)]


def same_key_again(stage: Stage) -> list[Job]:
    return [ordered(stage)] * 2


def another_key_too_soon(stage: Stage) -> list[Job]:
    order = stage.next_order()
    stage.script(order)
    return [stkpush("key-1", **order), stkpush("key-2", **order)]


def comes_back(stage: Stage, outcome: str) -> list[Job]:
    """The same phone and amount, 20 minutes after a payment whose callback never came: it is asked about first."""
    before = stage.pushed(outcome)
    stage.age(20 * 60)
    order = stage.next_order() | {"phone_number": before.phone, "amount": before.amount}
    stage.script(order)
    return [stkpush("key-1", **order)]


def comes_back_and_had_paid(stage: Stage) -> list[Job]:
    return comes_back(stage, "pay")


def comes_back_and_had_cancelled(stage: Stage) -> list[Job]:
    return comes_back(stage, "cancel")


# callback -------------------------------------------------------------------------------------------------------------


def tells(outcome: str = "pay", failure: tuple[int, str] | None = None, times: int = 1) -> Prepare:
    """Safaricom calls back about what the customer did."""

    def prepare(stage: Stage) -> list[Job]:
        pushed = stage.pushed(outcome)
        return [callback(pushed.path, pushed.failure(*failure) if failure else pushed.success())] * times

    return prepare


def success_is_told_to_a_warm_instance(stage: Stage) -> list[Job]:
    before, paid = stage.pushed("cancel"), stage.pushed()
    return [callback(before.path, before.failure(*CANCELLED)), callback(paid.path, paid.success())]


def success_overtakes_the_answer_of_the_push(stage: Stage) -> list[Job]:
    order = stage.next_order()
    stage.script(order, drop_response=True)
    reply = stage.shop.call("stkpush", "POST", "/api/mpesa/stkpush", {"customer_email": "alice@example.com", **order})
    return [callback(*stage.what_safaricom_tells(reply.body["transaction_id"]))]


def success_after_failure(stage: Stage) -> list[Job]:
    paid = told(stage, failure=NO_ANSWER)
    return [callback(paid.path, paid.success())]


def large_success_waits_for_a_query(stage: Stage) -> list[Job]:
    paid = stage.pushed(order=stage.next_order(amount=30_000))
    return [callback(paid.path, paid.success())]


def success_is_told_and_the_mail_server_is_down(stage: Stage) -> list[Job]:
    stage.client.fault("mail", "error_500")
    return tells()(stage)


def large_success_after_a_failure(stage: Stage) -> list[Job]:
    paid = stage.pushed(order=stage.next_order(amount=30_000))
    stage.tell(paid, paid.failure(*NO_ANSWER))
    return [callback(paid.path, paid.success())]


def receipt_of_a_payment_that_a_query_confirmed(stage: Stage) -> list[Job]:
    paid = stage.pushed()
    stage.age(25)
    stage.shop.sweep()
    return [callback(paid.path, paid.success())]


def code_that_nobody_explained(stage: Stage) -> list[Job]:
    failed = stage.pushed({"code": "E9999", "desc": "?"})  # type: ignore[arg-type]
    return [callback(failed.path, failed.failure("E9999", "?"))]


def body_that_cannot_be_read(stage: Stage) -> list[Job]:
    failed = stage.pushed("cancel")
    return [callback(failed.path, b"<html>")]


# status and invoice ---------------------------------------------------------------------------------------------------


def customer_waits(stage: Stage) -> list[Job]:
    return [status(stage.pushed().transaction_id)]


def customer_has_paid(stage: Stage) -> list[Job]:
    return [status(told(stage).transaction_id)]


def customer_waits_and_it_was_paid(stage: Stage) -> list[Job]:
    paid = stage.pushed()
    stage.age(25)
    return [status(paid.transaction_id)]


def customer_waits_and_nobody_knows_yet(stage: Stage) -> list[Job]:
    paid = stage.pushed(query=["being_processed"])
    stage.age(25)
    return [status(paid.transaction_id)]


def customer_waits_for_what_nobody_judged(stage: Stage) -> list[Job]:
    paid = stage.pushed()
    stage.left_unjudged(paid, paid.success())
    stage.age(31)
    return [status(paid.transaction_id)]


def invoice_again(stage: Stage) -> list[Job]:
    return [wanted_again(told(stage).transaction_id)]


def invoice_to_an_address_given_now(stage: Stage) -> list[Job]:
    paid = stage.pushed(order=stage.next_order() | {"customer_email": None})
    stage.tell(paid, paid.success())
    return [wanted_again(paid.transaction_id, customer_email="bob@example.com")]


def wanted_again(transaction_id: str, **more: str) -> Job:
    return function("invoice", "POST", "/api/mpesa/invoice", json.dumps({"transaction_id": transaction_id, **more}))


# sweep ----------------------------------------------------------------------------------------------------------------


def nothing_to_do(_: Stage) -> list[Job]:
    return [sweep()]


def judges_sends_mail_and_tells(stage: Stage) -> list[Job]:
    """A late success that nobody judged: paid, an invoice to send, an alert to tell."""
    paid = told(stage, failure=NO_ANSWER)
    stage.left_unjudged(paid, paid.success())
    stage.age(31)
    return [sweep()]


def tells_of_a_failure(stage: Stage) -> list[Job]:
    """One that nobody saw on the page, and one that is dropped because somebody did."""
    for seen in (False, True):
        failed = told(stage, "wrong_pin", WRONG_PIN)
        if seen:
            stage.shop.status(failed.transaction_id)
    stage.age(61)
    return [sweep()]


def asks(outcome: str = "pay", **knobs: Any) -> Prepare:
    """About a payment of which nobody has told us."""

    def prepare(stage: Stage) -> list[Job]:
        stage.pushed(outcome, **knobs)
        stage.age(25)
        return [sweep()]

    return prepare


def asks_with_a_dead_token(stage: Stage) -> list[Job]:
    stage.pushed()
    stage.client.kill_token()
    stage.age(25)
    return [sweep()]


def asks_about_a_large_payment_that_was_told(stage: Stage) -> list[Job]:
    """The callback waits for the query, and is judged again in the same sweep."""
    told(stage, amount=30_000)
    stage.age(1)
    return [sweep()]


def asks_again_about_a_failure(stage: Stage) -> list[Job]:
    told(stage, failure=NO_ANSWER)
    stage.age(301)
    return [sweep()]


def looks_at_the_clock(stage: Stage) -> list[Job]:
    """One died before its push, one has been silent for a quarter of an hour."""
    stage.died_before_its_push()
    stage.never_ask(stage.pushed("cancel"))
    stage.age(16 * 60)
    return [sweep()]


def gives_up_on_silence(stage: Stage) -> list[Job]:
    """Silent for an hour: a person has to look."""
    looks_at_the_clock(stage)
    stage.shop.sweep()
    stage.age(45 * 60)
    return [sweep()]


def gives_up_on_a_late_success(stage: Stage) -> list[Job]:
    """Large, told after a failure, confirmed by nobody for an hour: a person has to look, until the query says so."""
    paid = stage.pushed(order=stage.next_order(amount=30_000), query=["does_not_exist"] * 2)
    stage.tell(paid, paid.failure(*NO_ANSWER))
    stage.tell(paid, paid.success())
    for seconds in (1, 16 * 60):
        stage.age(seconds)
        stage.shop.sweep()
    stage.age(45 * 60)
    return [sweep()]


def mail_server_is_down(stage: Stage) -> list[Job]:
    told(stage)
    stage.client.fault("mail", "error_500")
    return [sweep()]


def buries_what_nobody_could_judge(stage: Stage) -> list[Job]:
    failed = stage.pushed("cancel")
    stage.left_unjudged(failed, failed.failure(*CANCELLED))
    stage.tried_three_times()
    stage.age(31)
    return [sweep()]


def whole_shift(stage: Stage) -> list[Job]:
    """All of it in one sweep."""
    judges_sends_mail_and_tells(stage)
    stage.died_before_its_push()
    stage.age(100)
    stage.pushed()
    stage.age(25)
    return [sweep()]


STORIES: tuple[Story, ...] = (
    Story("stkpush: the first ever", accepted_with_no_token_yet, (LATE,), first_day=True),
    Story("stkpush: accepted, with no token yet", accepted_with_no_token_yet, (AT_ONCE, LATE, NEVER)),
    Story("stkpush: accepted, by a warm instance", accepted_by_a_warm_instance, (AT_ONCE, LATE, NEVER)),
    Story("stkpush: accepted and cancelled", accepted_and_cancelled, (AT_ONCE, NEVER)),
    Story("stkpush: refused", answered("wrong_credentials")),
    Story("stkpush: another prompt is open", answered("subscriber_locked")),
    Story("stkpush: the token is dead", token_is_dead, (LATE, NEVER)),
    Story("stkpush: no token to be had", no_token_to_be_had),
    Story("stkpush: the answer is lost", answer_of_the_push_is_lost, (AT_ONCE, NEVER)),
    Story("stkpush: unclear, and nothing on the phone", answered("system_busy")),
    Story("stkpush: the same key again", same_key_again),
    Story("stkpush: another key too soon", another_key_too_soon),
    Story("stkpush: comes back, and had paid", comes_back_and_had_paid),
    Story("stkpush: comes back, and had cancelled", comes_back_and_had_cancelled),
    Story("callback: success, and its invoice", tells()),
    Story("callback: success, the mail server is down", success_is_told_and_the_mail_server_is_down),
    Story("callback: success, to a warm instance", success_is_told_to_a_warm_instance),
    Story("callback: failure", tells("wrong_pin", WRONG_PIN)),
    Story("callback: success, twice", tells(times=2)),
    Story("callback: failure, twice", tells("cancel", CANCELLED, times=2)),
    Story("callback: success, before the answer of the push", success_overtakes_the_answer_of_the_push),
    Story("callback: success after failure", success_after_failure),
    Story("callback: large success, asks", large_success_waits_for_a_query),
    Story("callback: large success after a failure, asks", large_success_after_a_failure),
    Story("callback: the missing receipt", receipt_of_a_payment_that_a_query_confirmed),
    Story("callback: a code that nobody explained", code_that_nobody_explained),
    Story("callback: a body that cannot be read", body_that_cannot_be_read),
    Story("status: the customer waits", customer_waits),
    Story("status: the customer has paid", customer_has_paid),
    Story("status: asks, and it was paid", customer_waits_and_it_was_paid),
    Story("status: asks, and nobody knows yet", customer_waits_and_nobody_knows_yet),
    Story("status: judges what nobody judged", customer_waits_for_what_nobody_judged),
    Story("invoice: again", invoice_again),
    Story("invoice: to an address given now", invoice_to_an_address_given_now),
    Story("sweep: nothing to do", nothing_to_do),
    Story("sweep: tells of a failure", tells_of_a_failure),
    Story("sweep: asks, and it was paid", asks()),
    Story("sweep: asks, and it was cancelled", asks("cancel")),
    Story("sweep: asks, and nobody knows yet", asks(query=["being_processed"])),
    Story("sweep: asks too often", asks(query=["spike_arrest_429"])),
    Story("sweep: asks with a dead token", asks_with_a_dead_token),
    Story("sweep: asks about a large payment that was told", asks_about_a_large_payment_that_was_told),
    Story("sweep: asks again about a failure", asks_again_about_a_failure),
    Story("sweep: gives up on silence", gives_up_on_silence),
    Story("sweep: gives up on a late success", gives_up_on_a_late_success),
    Story("sweep: the mail server is down", mail_server_is_down),
    Story("sweep: buries what nobody could judge", buries_what_nobody_could_judge),
    Story("sweep: a whole shift", whole_shift),
)
