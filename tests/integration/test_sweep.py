"""The sweep: it asks, retries and sends what waits; harmless whoever calls it and however often."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from netlify.functions import sweep as sweep_function
from shared import collaborators, delivery, settings
from shared.collaborators import mailer_from
from shared.gateway.daraja import Later, QueryDue
from shared.query_schedule import BUDGETS, Budget
from simulator import Behaviour
from tests.fixtures.shop import CUSTOMER, NOBODY, Shop, admit, at_once
from tests.fixtures.simulator import QUERY

pytestmark = pytest.mark.usefixtures("left_to_the_sweep")
PHONES = [f"2547000000{number:02}" for number in range(20)]
LARGE = 50_000


def asked(shop: Shop) -> int:
    return len(shop.simulator.client.requests(QUERY))


def pending(shop: Shop, phone: str = CUSTOMER, *, outcome: Any = None, **more: Any) -> str:
    """A payment; with an outcome that has happened, and of which nobody has told us."""
    order = {name: more.pop(name) for name in ("amount", "customer_email") if name in more}
    knobs = {"callback_count": 0, "after_s": 0, **more}
    shop.simulator.client.script(phone, outcome, **knobs)
    reply = shop.pay(phone_number=phone, **order)
    assert reply.status == 202, reply.body
    if outcome is not None:
        checkout_id = shop.simulator.client.payments()[0]["checkout_request_id"]
        shop.simulator.client.wait_for(
            lambda: True if shop.simulator.client.payment(checkout_id)["finished_at"] else None, "an outcome", 10
        )
    return str(reply.body["transaction_id"])


def status(shop: Shop, transaction_id: str) -> tuple[str, str | None]:
    payment = shop.payment(transaction_id)
    return payment["status"], payment["review_reason"]


def due_in(shop: Shop, transaction_id: str) -> float | None:
    row = shop.row(
        "SELECT extract(epoch FROM next_query_at - now()) AS s FROM transactions WHERE id = CAST(:id AS uuid)",
        id=transaction_id,
    )
    return None if row["s"] is None else float(row["s"])


# Asking Daraja --------------------------------------------------------------------------------------------------------


def test_a_missing_callback_is_paid_by_a_query_and_its_receipt_is_missing(unhurried: Shop) -> None:
    shop = unhurried
    transaction_id = pending(shop, outcome="pay")
    shop.age(20)
    assert shop.sweep().body["queries"] == 1
    assert status(shop, transaction_id) == ("PAID", None)
    assert shop.row("SELECT evidence, mpesa_receipt_number, inbox_id FROM payment_confirmations") == {
        "evidence": "query",
        "mpesa_receipt_number": None,
        "inbox_id": None,
    }
    body = shop.status(transaction_id).body
    assert (body["status"], "mpesa_receipt_number" in body, body["retry_after_s"] > 0) == ("paid", False, True)
    assert due_in(shop, transaction_id) is None


def test_a_late_callback_fills_the_receipt_and_makes_no_second_confirmation(unhurried: Shop) -> None:
    shop = unhurried
    transaction_id = pending(shop, outcome="pay")
    shop.age(20)
    shop.sweep()
    for _ in range(2):
        shop.calls_back(transaction_id)
    assert shop.row("SELECT evidence, mpesa_receipt_number FROM payment_confirmations") == {
        "evidence": "query",
        "mpesa_receipt_number": "UE4JS31RBV",
    }
    assert shop.outcomes(transaction_id) == ["receipt_filled", "repeated"]
    assert shop.status(transaction_id).body["mpesa_receipt_number"] == "UE4JS31RBV"
    assert shop.alerts(transaction_id) == set()
    assert shop.row("SELECT count(*) AS n FROM invoices") == {"n": 1}


@pytest.mark.parametrize(
    ("outcome", "becomes"), [("cancel", "CANCELLED"), ("no_funds", "FAILED"), ({"code": 1019, "desc": "x"}, "EXPIRED")]
)
def test_a_missing_callback_is_failed_by_a_query(unhurried: Shop, outcome: object, becomes: str) -> None:
    shop = unhurried
    transaction_id = pending(shop, outcome=outcome)
    shop.age(20)
    shop.sweep()
    assert status(shop, transaction_id) == (becomes, None)
    assert shop.status(transaction_id).body["status"] == "failed"


@pytest.mark.parametrize(
    "shape",
    ["still_processing", "being_processed", "empty_error_200", "empty_error_500", "does_not_exist",
     "invalid_checkout_request_id", "firewall_403"],
)  # fmt: skip
def test_an_answer_that_is_none_settles_nothing_and_is_asked_for_again(unhurried: Shop, shape: str) -> None:
    shop = unhurried
    transaction_id = pending(shop, outcome="pay", query=[shape])
    shop.age(20)
    shop.sweep()
    assert status(shop, transaction_id) == ("PENDING", None)
    assert 50 < (due_in(shop, transaction_id) or 0) <= 60
    shop.age(60)
    shop.sweep()
    assert status(shop, transaction_id) == ("PAID", None)


@pytest.mark.parametrize("code", [26, 4999, 1001, "NEW_1", 9999])
def test_a_code_that_is_not_of_the_terminal_list_settles_nothing(unhurried: Shop, code: object) -> None:
    shop = unhurried
    transaction_id = pending(shop, outcome="pay", query_result={"code": code, "desc": "who knows"})
    shop.age(20)
    shop.sweep()
    assert status(shop, transaction_id) == ("PENDING", None)


def test_a_payment_is_asked_about_at_20_s_then_by_the_schedule(unhurried: Shop) -> None:
    shop = unhurried
    transaction_id = pending(shop, outcome="pay", query=["still_processing"] * 50)
    age, gaps = 0.0, []
    assert 15 < (due_in(shop, transaction_id) or 0) <= 20
    while age < 50 * 60:
        wait = (due_in(shop, transaction_id) or 0) + 0.5
        shop.age(wait)
        age += wait
        before = asked(shop)
        shop.sweep()
        assert asked(shop) == before + 1
        gaps.append(round((due_in(shop, transaction_id) or 0) / 60))
    assert gaps == [1] * 5 + [2] * 5 + [15] * 4


def test_a_payment_that_is_not_due_is_not_asked_about(unhurried: Shop) -> None:
    pending(unhurried, outcome="pay")
    unhurried.age(18)
    unhurried.sweep()
    assert asked(unhurried) == 0


def test_an_uncertain_payment_cannot_be_asked_about(unhurried: Shop) -> None:
    pending(unhurried, drop_response=True, reaches_phone=False)
    unhurried.age(300)
    unhurried.sweep()
    assert asked(unhurried) == 0


def test_an_id_that_only_a_callback_told_us_is_never_asked_about(unhurried: Shop) -> None:
    shop = unhurried
    shop.simulator.client.script(CUSTOMER, {"code": 77, "desc": "?"}, after_s=0, drop_response=True, reaches_phone=True)
    transaction_id = str(shop.pay().body["transaction_id"])
    shop.simulator.client.wait_for_callback(shop.simulator.client.payments()[0]["checkout_request_id"])
    payment = shop.payment(transaction_id)
    assert (payment["status"], payment["review_reason"], payment["ids_are_learnt"]) == ("REVIEW", "unknown_code", True)
    shop.rows("UPDATE transactions SET next_query_at = now() RETURNING id")  # even where something schedules it
    shop.age(300)
    shop.sweep()
    assert asked(shop) == 0


def test_an_unknown_code_that_overtook_the_pushs_answer_is_still_asked_about(unhurried: Shop) -> None:
    shop = unhurried
    shop.simulator.client.script(
        CUSTOMER,
        {"code": 77, "desc": "?"},
        after_s=0,
        callback_before_response=True,
        query_result={"code": 0, "desc": "paid"},
    )
    transaction_id = str(shop.pay().body["transaction_id"])
    assert status(shop, transaction_id) == ("REVIEW", "unknown_code")
    shop.age(20)
    shop.sweep()
    assert status(shop, transaction_id) == ("PAID", None)


# The budget -----------------------------------------------------------------------------------------------------------


def test_queries_are_twelve_seconds_apart_whoever_asks(shop: Shop) -> None:
    for phone in PHONES[:2]:
        pending(shop, phone)
    shop.age(20)
    queries = collaborators.collaborators().gateway.queries
    assert isinstance(queries.take(Budget(12.0)), QueryDue)
    later = queries.take(Budget(12.0))
    assert isinstance(later, Later)
    assert later.in_s is not None
    assert 0 < later.in_s <= 12
    shop.age(12)
    assert isinstance(queries.take(Budget(12.0)), QueryDue)


def test_first_those_waiting_for_confirmation_then_those_watched_then_the_oldest(shop: Shop) -> None:
    oldest, watched, held = (pending(shop, phone, amount=amount) for phone, amount in zip(
        PHONES[:3], (100, 200, LARGE), strict=True))  # fmt: skip
    shop.age(20)
    shop.status(watched)
    shop.calls_back(held)
    queries = collaborators.collaborators().gateway.queries
    order = []
    for _ in range(3):
        found = queries.take(Budget(0))
        assert isinstance(found, QueryDue)
        order.append(found.payment.id)
    assert order == [held, watched, oldest]
    assert queries.take(Budget(0)) == Later(None)


def test_slots_that_nobody_used_lately_may_be_used_at_once_where_the_budget_says_so(shop: Shop) -> None:
    for phone in PHONES[:4]:
        pending(shop, phone)
    queries, budget = collaborators.collaborators().gateway.queries, Budget(20.0, saved_s=45.0)
    shop.age(20)
    assert isinstance(queries.take(budget), QueryDue)
    shop.age(300)
    taken = [isinstance(queries.take(budget), QueryDue) for _ in range(4)]
    assert taken == [True, True, True, False], (
        "of five minutes, 45 s are saved: two slots beside the one that is free now"
    )


def test_what_a_clock_that_was_ahead_wrote_holds_up_no_query_and_no_token(unhurried: Shop) -> None:
    shop = unhurried
    transaction_id = pending(shop, outcome="pay")
    shop.overwrite(
        "UPDATE access_tokens SET expires_at = now() + interval '3 days', leased_until = expires_at, token = 'x'"
    )
    shop.overwrite("INSERT INTO query_budget SELECT app, now() + interval '1 day' FROM access_tokens")
    shop.age(20)
    shop.sweep()
    assert status(shop, transaction_id) == ("PAID", None)


def test_a_429_holds_up_all_queries_for_a_minute(shop: Shop) -> None:
    first = pending(shop, PHONES[0], query=["spike_arrest_429"])
    second = pending(shop, PHONES[1])
    shop.age(20)
    assert shop.sweep().body["queries"] == 1
    row = shop.row("SELECT extract(epoch FROM next_slot_at - now()) AS s FROM query_budget")
    assert 50 < float(row["s"]) <= 60
    assert {status(shop, each) for each in (first, second)} == {("PENDING", None)}
    assert asked(shop) == 1


def test_a_query_that_is_longer_on_its_way_than_the_next_one_is_not_one_too_many(shop: Shop) -> None:
    allowed_every_s = 60 / Behaviour().query_limit_per_minute
    assert BUDGETS["sandbox"].every_s >= allowed_every_s + 0.5


def test_two_sweeps_at_once_ask_judge_and_send_everything_once(shop: Shop) -> None:
    shop.settled(phone_number=PHONES[0], account_reference="FIRST")
    pending(shop, PHONES[1], outcome="pay")
    shop.age(20)
    instances = shop.other_instances(3)
    replies = at_once(instances, lambda instance: instance.sweep())
    assert [reply.status for reply in replies] == [200] * 3
    assert asked(shop) == 1
    shop.sweep()
    assert len(shop.letters()) == 2
    assert shop.row("SELECT count(*) AS n FROM payment_confirmations") == {"n": 2}


def test_a_sweep_with_nothing_to_do_does_nothing(shop: Shop) -> None:
    reply = shop.sweep()
    assert (reply.status, reply.body, shop.simulator.client.requests()) == (200, {}, [])


# Large amounts --------------------------------------------------------------------------------------------------------


def test_a_large_success_waits_for_the_query_and_is_then_paid_with_its_receipt(unhurried: Shop) -> None:
    shop = unhurried
    transaction_id = pending(shop, outcome="pay", amount=LARGE)
    shop.calls_back(transaction_id)
    assert status(shop, transaction_id) == ("PENDING", None)
    body = shop.status(transaction_id).body
    assert (body["status"], "result_code" in body) == ("pending", False)
    assert shop.sweep().body == {"queries": 1, "judged": 1, "invoices": 1, "sales": 1}
    assert status(shop, transaction_id) == ("PAID", None)
    assert shop.row("SELECT evidence, mpesa_receipt_number FROM payment_confirmations") == {
        "evidence": "query",
        "mpesa_receipt_number": "UE4JS31RBV",
    }
    assert shop.outcomes(transaction_id) == ["receipt_filled"]


@pytest.mark.parametrize("outcome", ["cancel", "no_funds"])
def test_a_query_that_contradicts_a_large_success_sends_it_to_a_person(unhurried: Shop, outcome: str) -> None:
    """A forged callback with a stolen address looks like this."""
    shop = unhurried
    transaction_id = pending(shop, outcome=outcome, amount=LARGE)
    shop.calls_back(transaction_id)
    shop.sweep()
    assert status(shop, transaction_id) == ("REVIEW", "contradiction")
    assert shop.alerts(transaction_id) == {"contradiction"}
    assert shop.rows("SELECT id FROM invoices") == []


def test_a_large_success_after_a_failure_is_held_and_then_paid_late(unhurried: Shop) -> None:
    shop = unhurried
    transaction_id = pending(shop, outcome="pay", amount=LARGE)
    shop.calls_back(transaction_id, 1037)
    shop.calls_back(transaction_id)
    body = shop.status(transaction_id).body
    assert (body["status"], body["result_code"]) == ("failed", "1037")
    assert "do not pay again" in body["next_action"]
    assert body["retry_after_s"]
    shop.sweep()
    assert status(shop, transaction_id) == ("PAID", None)
    assert shop.alerts(transaction_id) == {"late_payment"}


def test_a_large_success_after_a_failure_that_no_query_confirms_is_reviewed(unhurried: Shop) -> None:
    shop = unhurried
    transaction_id = pending(shop, outcome="pay", amount=LARGE, query=["does_not_exist"] * 2)
    shop.calls_back(transaction_id, 1037)
    shop.age(40 * 60)
    shop.calls_back(transaction_id)
    shop.sweep()
    assert (status(shop, transaction_id), shop.alerts(transaction_id)) == (("FAILED", None), set())
    shop.age(16 * 60)
    shop.sweep()
    assert (status(shop, transaction_id), shop.alerts(transaction_id)) == (("FAILED", None), {"silence"})
    shop.age(5 * 60)
    shop.sweep()
    assert status(shop, transaction_id) == ("REVIEW", "silence")
    shop.age(16 * 60)
    shop.sweep()
    assert status(shop, transaction_id) == ("PAID", None)


def test_a_large_success_that_overtakes_the_answer_to_its_push_is_paid_by_the_query(unhurried: Shop) -> None:
    shop = unhurried
    shop.simulator.client.script(CUSTOMER, "pay", after_s=0, callback_before_response=True)
    transaction_id = str(shop.pay(amount=LARGE).body["transaction_id"])
    assert shop.outcomes(transaction_id) == ["waits_for_query"]
    assert status(shop, transaction_id) == ("PENDING", None)
    shop.sweep()
    assert status(shop, transaction_id) == ("PAID", None)
    assert shop.status(transaction_id).body["mpesa_receipt_number"]


def test_a_large_success_for_a_push_nobody_answered_goes_to_a_person(unhurried: Shop) -> None:
    shop = unhurried
    shop.simulator.client.script(CUSTOMER, "pay", after_s=0, drop_response=True, reaches_phone=True)
    transaction_id = str(shop.pay(amount=LARGE).body["transaction_id"])
    shop.simulator.client.wait_for_callback(shop.simulator.client.payments()[0]["checkout_request_id"])
    assert status(shop, transaction_id) == ("REVIEW", "unconfirmed_large")
    assert shop.status(transaction_id).body["status"] == "under_review"


def test_a_success_without_metadata_is_paid_by_the_query(unhurried: Shop) -> None:
    shop = unhurried
    transaction_id = pending(shop, outcome="pay", callback_count=1, callback_metadata="absent")
    shop.simulator.client.wait_for_callback(shop.payment(transaction_id)["checkout_request_id"])
    assert status(shop, transaction_id) == ("PENDING", None)
    shop.sweep()
    assert status(shop, transaction_id) == ("PAID", None)
    assert shop.outcomes(transaction_id) == ["repeated"]


# Silence --------------------------------------------------------------------------------------------------------------


def test_silence_alerts_after_15_minutes_and_is_reviewed_after_60(unhurried: Shop) -> None:
    shop = unhurried
    transaction_id = pending(shop, outcome="pay", query=["still_processing"] * 2)
    shop.age(14 * 60)
    shop.sweep()
    assert shop.alerts(transaction_id) == set()
    shop.age(61)
    shop.sweep()
    assert (status(shop, transaction_id), shop.alerts(transaction_id)) == (("PENDING", None), {"silence"})
    shop.age(45 * 60)
    shop.sweep()
    assert status(shop, transaction_id) == ("REVIEW", "silence")
    assert shop.status(transaction_id).body["status"] == "under_review"
    shop.age(15 * 60)
    shop.sweep()
    assert status(shop, transaction_id) == ("PAID", None)


def test_a_silent_payment_is_asked_about_for_a_day_and_then_left_to_a_person(unhurried: Shop) -> None:
    shop = unhurried
    transaction_id = pending(shop, query=["still_processing"] * 10)
    shop.age(23 * 3600)
    shop.sweep()
    assert due_in(shop, transaction_id) is not None
    shop.age(3600)
    shop.sweep()
    assert (status(shop, transaction_id), due_in(shop, transaction_id)) == (("REVIEW", "silence"), None)


def test_an_uncertain_payment_waits_fifteen_minutes_for_its_callback(shop: Shop) -> None:
    transaction_id = pending(shop, drop_response=True, reaches_phone=False)
    shop.age(14 * 60 + 50)
    shop.sweep()
    assert status(shop, transaction_id) == ("UNCERTAIN", None)
    shop.age(11)
    shop.sweep()
    assert status(shop, transaction_id) == ("REVIEW", "silence")
    assert shop.alerts(transaction_id) == {"silence"}


def initiated(shop: Shop) -> str:
    """A payment whose function died between row and push."""
    shop.status(NOBODY)  # the first to use the database stamps it
    with shop.books.transaction() as tx:
        return admit(tx)


def test_a_payment_that_died_before_its_push_is_uncertain_after_90_seconds(shop: Shop) -> None:
    transaction_id = initiated(shop)
    shop.age(85)
    shop.sweep()
    assert status(shop, transaction_id) == ("INITIATED", None)
    shop.age(6)
    shop.sweep()
    assert status(shop, transaction_id) == ("UNCERTAIN", None)
    assert shop.simulator.client.payments() == []  # and it is never pushed


def test_a_payment_that_died_while_no_sweep_ran_is_soon_with_a_person(shop: Shop) -> None:
    transaction_id = initiated(shop)
    shop.age(20 * 60)
    shop.sweep()
    shop.sweep()
    assert status(shop, transaction_id) == ("REVIEW", "silence")


# Failures that Safaricom takes back -----------------------------------------------------------------------------------


def test_a_failure_that_may_be_taken_back_is_queried_twice_more(unhurried: Shop) -> None:
    shop = unhurried
    transaction_id = shop.settled("ignore")
    assert status(shop, transaction_id) == ("FAILED", None)
    for seconds, queries in ((290, 0), (11, 1), (3200, 1), (100, 2), (7200, 2)):
        shop.age(seconds)
        shop.sweep()
        assert asked(shop) == queries
    assert (status(shop, transaction_id), due_in(shop, transaction_id)) == (("FAILED", None), None)


def test_money_that_moved_after_1037_is_found_by_a_query_and_paid_late(unhurried: Shop) -> None:
    shop = unhurried
    transaction_id = pending(shop, outcome="ignore", callback_count=1, query_result={"code": 0, "desc": "paid"})
    shop.simulator.client.wait_for_callback(shop.payment(transaction_id)["checkout_request_id"])
    shop.age(301)
    shop.sweep()
    assert status(shop, transaction_id) == ("PAID", None)
    assert shop.payment(transaction_id)["paid_late"]
    assert shop.alerts(transaction_id) == {"late_payment"}
    assert shop.row("SELECT count(*) AS n FROM invoices") == {"n": 1}


def test_a_question_about_a_failure_that_nobody_answered_is_asked_again(unhurried: Shop) -> None:
    shop = unhurried
    transaction_id = pending(shop, outcome="ignore", callback_count=1, query=["still_processing", "firewall_403"])
    shop.simulator.client.wait_for_callback(shop.payment(transaction_id)["checkout_request_id"])
    shop.age(301)
    shop.sweep()
    assert 200 < (due_in(shop, transaction_id) or 0) <= 300
    shop.age(3400)
    shop.sweep()
    assert 200 < (due_in(shop, transaction_id) or 0) <= 300
    shop.age(301)
    shop.sweep()
    assert (asked(shop), due_in(shop, transaction_id)) == (3, None)


@pytest.mark.parametrize("outcome", ["cancel", "no_funds", "wrong_pin"])
def test_a_failure_of_the_customers_own_is_not_asked_about(unhurried: Shop, outcome: str) -> None:
    shop = unhurried
    transaction_id = shop.settled(outcome)
    assert due_in(shop, transaction_id) is None


# What has to leave ----------------------------------------------------------------------------------------------------


def invoice(shop: Shop) -> tuple[str, bool]:
    row = shop.row("SELECT status, sent_at IS NOT NULL AS sent FROM invoices")
    return row["status"], row["sent"]


def test_an_invoice_is_sent_once_with_the_receipt(shop: Shop) -> None:
    shop.settled()
    assert shop.sweep().body == {"invoices": 1, "sales": 1}
    shop.age(3600)
    shop.sweep()
    (mail,) = shop.letters()
    (moved,) = shop.simulator.client.ledger()
    assert moved["receipt"] in mail["text"]
    assert "708374149" not in mail["text"] + mail["html"]
    assert invoice(shop) == ("SENT", True)


def test_a_mail_server_that_stumbles_is_tried_again(shop: Shop) -> None:
    shop.settled()
    shop.simulator.client.fault("mail", "error_500", times=2)
    for minutes in (0, 1, 5):
        assert invoice(shop) == ("PENDING", False)
        shop.age(minutes * 60 + 1)
        shop.sweep()
    assert invoice(shop) == ("SENT", True)
    assert len(shop.letters()) == 1


def test_an_invoice_that_fails_three_times_is_failed_and_a_person_is_told(shop: Shop) -> None:
    transaction_id = shop.settled()
    shop.simulator.client.fault("mail", "error_500", times=10)
    for _ in range(5):
        shop.sweep()
        shop.age(30 * 60)
    assert invoice(shop) == ("FAILED", False)
    assert shop.alerts(transaction_id) == {"invoice_not_sent"}
    assert status(shop, transaction_id) == ("PAID", None)
    row = shop.row("SELECT tries, next_try_at, last_error IS NOT NULL AS why FROM outbox WHERE kind = 'invoice'")
    assert row == {"tries": 3, "next_try_at": None, "why": True}


def test_a_key_that_is_refused_costs_no_invoice_a_try_and_a_person_is_told(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not the message: three tries burnt on every row would fail them all."""
    for phone in PHONES[1:4]:
        shop.settled(phone_number=phone, account_reference=f"R{phone[-2:]}")
    works = collaborators.collaborators().mailer
    revoked = mailer_from(replace(settings.settings().letters.mail, sendgrid_api_key="SG.revoked"))
    monkeypatch.setattr(collaborators.collaborators(), "mailer", revoked)
    for _ in range(5):
        done = shop.sweep().body
        assert (done.get("invoices_failed"), done.get("given_up")) == (1, None)
        assert "invoices_failed" not in shop.sweep().body, "one message is tried every five minutes, by any sweep"
        shop.age(301)
    rows = shop.rows("SELECT tries, last_error FROM outbox WHERE kind = 'invoice' ORDER BY last_error")
    assert [row["tries"] for row in rows] == [0, 0, 0]
    assert "SENDGRID_API_KEY" in rows[0]["last_error"]
    assert shop.row("SELECT count(*) AS n FROM outbox WHERE topic = 'mail_stopped' AND kind = 'alert'") == {"n": 1}
    monkeypatch.setattr(collaborators.collaborators(), "mailer", works)
    assert shop.sweep().body["invoices"] == 3
    assert len(shop.letters()) == 3


def test_a_service_that_asks_for_a_pause_gets_it_from_every_message(shop: Shop) -> None:
    for phone in PHONES[1:4]:
        shop.settled(phone_number=phone, account_reference=f"R{phone[-2:]}")
    shop.simulator.client.fault("mail", "too_many_429", seconds=400)
    assert shop.sweep().body["invoices_failed"] == 1
    shop.age(390)
    shop.sweep()
    assert shop.letters() == []
    shop.age(11)
    assert shop.sweep().body["invoices"] == 3
    assert shop.row("SELECT sum(tries) AS n FROM outbox WHERE kind = 'invoice'") == {"n": 4}


def test_an_invoice_that_failed_can_be_asked_for_again_and_each_failure_alerts(shop: Shop) -> None:
    transaction_id = shop.settled()
    shop.simulator.client.fault("mail", "error_500", times=6, to="alice@example.com")
    for _ in range(2):
        for _ in range(4):
            shop.sweep()
            shop.age(30 * 60)
        assert invoice(shop) == ("FAILED", False)
        assert sum("invoice_not_sent" in line for line in shop.logged if "'alert'" in line) == 1
        shop.logged.clear()
        shop.call("invoice", "POST", "/api/mpesa/invoice", {"transaction_id": transaction_id})
    shop.sweep()
    assert (invoice(shop), len(shop.letters())) == (("SENT", True), 1)


def test_a_mail_server_that_answers_nobody_holds_up_no_question_and_no_alert(
    unhurried: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first silence is the last mail of that shift; the other invoices keep their tries."""
    shop = unhurried
    for phone in PHONES[1:6]:
        shop.settled(phone_number=phone, account_reference=f"R{phone[-2:]}")
    other = pending(shop, PHONES[0], outcome="pay")
    silent = pending(shop, PHONES[7])
    shop.age(15 * 60)
    monkeypatch.setattr(delivery, "A_LETTER_LASTS_S", 1)
    monkeypatch.setattr(sweep_function, "STARTS_NOTHING_AFTER_S", 2.5)
    shop.simulator.client.fault("mail", "slow", times=10, seconds=30)
    done = shop.sweep().body
    assert (done["queries"], done["invoices_failed"]) == (2, 1)
    assert status(shop, other) == ("PAID", None)
    assert shop.rows("SELECT id FROM outbox WHERE topic = 'silence' AND kind = 'alert' AND sent_at IS NULL") == []
    assert shop.alerts(silent) == {"silence"}
    assert shop.row("SELECT sum(tries) AS n FROM outbox WHERE kind = 'invoice'") == {"n": 1}
