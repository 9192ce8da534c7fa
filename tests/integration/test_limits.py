"""Limits of pushes and of money: what is counted, when it is free again, what a customer is told, and the operator."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from datetime import date
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from ops.__main__ import main
from ops.limits import Evidence, advise
from shared.admission import Admitted, TooMany
from shared.collaborators import collaborators
from shared.edge import Request
from shared.limits import Limits, Scope
from shared.orders import Order
from shared.settings import limits, settings
from tests.fixtures.shop import CUSTOMER, OTHER_CUSTOMER, Reply, Shop

ROOT = Path(__file__).parents[2]
HERE = "x-nf-client-connection-ip"
_numbers = count(1)


def phone(number: int) -> str:
    return f"2547000000{number:02}"


def another(shop: Shop, to: str = CUSTOMER, *, address: str | None = None, **order: object) -> Reply:
    """A push for something else than ever before, so that the guard has nothing against it."""
    number = next(_numbers)
    wanted = {"phone_number": to, "amount": 100 + number, "account_reference": f"A{number}", **order}
    return shop.call("stkpush", "POST", "/api/pay/stkpush", wanted, {} if address is None else {HERE: address})


def ask(shop: Shop, outcome: str | dict[str, Any] = "cancel", to: str = CUSTOMER, **more: Any) -> str:
    """Another push, that this customer answers like that; Safaricom has called back. Its transaction id."""
    shop.simulator.client.script(to, outcome, after_s=0)
    reply = another(shop, to, **more)
    assert reply.status == 202, reply.body
    shop.simulator.client.wait_for_callback(reply.body["checkout_request_id"])
    return str(reply.body["transaction_id"])


def refused(reply: Reply, status: int, code: str, limit: str) -> dict[str, Any]:
    assert (reply.status, reply.body["code"], reply.body["limit"]) == (status, code, limit), reply.body
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.headers.get("retry-after") == (str(w) if (w := reply.body.get("retry_after_s")) else None)
    return reply.body


def prompts(shop: Shop, to: str = CUSTOMER) -> int:
    """By the simulator's own count."""
    return sum(payment["phone"] == to for payment in shop.simulator.client.payments())


# A phone --------------------------------------------------------------------------------------------------------------


def test_a_phone_is_asked_so_many_times_an_hour_and_no_more(shop: Shop) -> None:
    shop.configure(PHONE_PUSHES_PER_HOUR=4, PHONE_UNANSWERED_PUSHES=100)
    for _ in range(4):
        ask(shop)
        shop.age(600)
    told = refused(another(shop), 429, "too_many", "phone")
    assert 1190 <= told["retry_after_s"] <= 1201
    assert prompts(shop) == 4
    shop.age(told["retry_after_s"])
    ask(shop)
    refused(another(shop), 429, "too_many", "phone")


def test_a_push_that_daraja_refuses_rings_nobody_and_counts_a_third(shop: Shop) -> None:
    shop.configure(PHONE_PUSHES_PER_HOUR=2)
    for _ in range(6):
        shop.simulator.client.script(CUSTOMER, push_answer="subscriber_locked")
        assert another(shop).status == 409
    refused(another(shop), 429, "too_many", "phone")
    assert len(shop.simulator.client.requests("/mpesa/stkpush/v1/processrequest")) == 6


def test_a_phone_that_does_not_answer_rests_ever_longer(shop: Shop) -> None:
    for _ in range(3):
        ask(shop)
    ask(shop, to=OTHER_CUSTOMER)  # another phone is not concerned
    for rest_s in (300, 900, 3600, 21600):
        told = refused(another(shop), 429, "too_many", "phone")
        assert rest_s - 10 <= told["retry_after_s"] <= rest_s + 1
        shop.age(told["retry_after_s"] - 8)
        refused(another(shop), 429, "too_many", "phone")
        shop.age(8)
        ask(shop)
    assert prompts(shop) == 7


def test_whoever_rings_a_phone_as_often_as_allowed_rings_it_ten_times_a_day(shop: Shop) -> None:
    rung_at: list[float] = []
    now = 0.0
    while now < 3 * 86_400:
        shop.simulator.client.script(CUSTOMER, "cancel", after_s=0)
        reply = another(shop)
        if reply.status == 202:
            shop.simulator.client.wait_for_callback(reply.body["checkout_request_id"])
            rung_at.append(now)
        else:
            now += reply.body["retry_after_s"]
            shop.age(reply.body["retry_after_s"])
    assert max(sum(then - 86_400 < at <= then for at in rung_at) for then in rung_at) <= 10
    assert prompts(shop) == len(rung_at) > 10


@pytest.mark.parametrize("outcome", ["pay", "wrong_pin", "no_funds"])
def test_a_pin_ends_the_rest(shop: Shop, outcome: str) -> None:
    ask(shop)
    ask(shop)
    ask(shop, outcome)
    for _ in range(3):
        ask(shop)
    refused(another(shop), 429, "too_many", "phone")


def test_prompts_that_are_still_open_or_unclear_count_as_unanswered(shop: Shop) -> None:
    for _ in range(3):
        shop.simulator.client.script(CUSTOMER, drop_response=True, reaches_phone=False)
        assert another(shop).status == 202
    refused(another(shop), 429, "too_many", "phone")


def test_the_answer_is_the_same_whether_the_phone_has_paid_or_not(shop: Shop) -> None:
    shop.configure(PHONE_PUSHES_PER_HOUR=3)
    for outcome, to in (("pay", CUSTOMER), ("cancel", OTHER_CUSTOMER)):
        for _ in range(3):
            ask(shop, outcome, to)
    paid, unpaid = (refused(another(shop, to), 429, "too_many", "phone") for to in (CUSTOMER, OTHER_CUSTOMER))
    assert {**paid, "retry_after_s": 0} == {**unpaid, "retry_after_s": 0}


# An address -----------------------------------------------------------------------------------------------------------


def test_an_address_asks_so_many_times_an_hour_whichever_the_phone(shop: Shop) -> None:
    shop.configure(ADDRESS_PUSHES_PER_HOUR=3)
    for number in range(3):
        ask(shop, to=phone(number), address="10.1.2.3")
        shop.age(600)
    told = refused(another(shop, phone(3), address="10.1.2.3"), 429, "too_many", "address")
    assert 1790 <= told["retry_after_s"] <= 1801
    ask(shop, to=phone(3), address="10.1.2.4")
    shop.age(told["retry_after_s"])
    ask(shop, to=phone(3), address="10.1.2.3")


def test_one_address_takes_at_most_a_third_of_the_shops_minute(shop: Shop) -> None:
    shop.configure(SHOP_PUSHES_PER_MINUTE=6)
    for number in range(2):
        assert another(shop, phone(number), address="10.1.2.3").status == 202
    assert refused(another(shop, phone(2), address="10.1.2.3"), 429, "too_many", "address")["retry_after_s"] <= 61
    assert another(shop, phone(2), address="10.1.2.4").status == 202


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("2001:DB8:1:2:0::1", "2001:db8:1:2::77%eth0"),
    ],
)
def test_addresses_of_one_household_are_one(shop: Shop, first: str, second: str) -> None:
    shop.configure(ADDRESS_PUSHES_PER_HOUR=1)
    assert another(shop, phone(1), address=first).status == 202
    refused(another(shop, phone(2), address=second), 429, "too_many", "address")
    assert another(shop, phone(3), address="2001:db8:1:3::1").status == 202


@pytest.mark.parametrize("forged", ["", "unknown", "10.9.9.9, 10.1.2.3", "a" * 5000, "10.1.2.3:80"])
def test_an_address_that_is_none_gains_nothing(shop: Shop, forged: str) -> None:
    shop.configure(ADDRESS_PUSHES_PER_HOUR=1)
    assert another(shop, phone(1), address="no address").status == 202
    refused(another(shop, phone(2), address=forged), 429, "too_many", "address")


@pytest.mark.parametrize("name", ["x-forwarded-for", "x-real-ip", "forwarded", "client-ip", "true-client-ip"])
def test_headers_that_a_caller_can_set_say_nothing(shop: Shop, name: str) -> None:
    shop.configure(ADDRESS_PUSHES_PER_HOUR=1)
    wanted = {"amount": 5, "account_reference": "A"}
    for number, status in ((1, 202), (2, 429)):
        headers = {HERE: "10.1.2.3", name: f"10.7.7.{number}"}
        order = {**wanted, "phone_number": phone(number)}
        assert shop.call("stkpush", "POST", "/api/pay/stkpush", order, headers).status == status


def test_calling_the_function_directly_gains_nothing(shop: Shop) -> None:
    shop.configure(ADDRESS_PUSHES_PER_HOUR=3)
    paths = ("/api/mpesa/stkpush", "/api/pay/stkpush", "/.netlify/functions/stkpush", "/.netlify/functions/stkpush")
    wanted = [{"phone_number": phone(number), "amount": 5, "account_reference": "A"} for number in range(4)]
    replies = [shop.call("stkpush", "POST", path, order) for path, order in zip(paths, wanted, strict=True)]
    assert [reply.status for reply in replies] == [202, 202, 202, 429]


def test_an_address_is_never_stored_and_its_digest_goes_when_it_limits_no_more(shop: Shop) -> None:
    ask(shop, address="10.11.12.13")
    ask(shop, to=OTHER_CUSTOMER, address="2001:db8:77::1")
    kept = [row["address_digest"] for row in shop.rows("SELECT address_digest FROM push_callers ORDER BY id")]
    callers = [Request("POST", "/", {HERE: address}, b"") for address in ("10.11.12.13", "2001:db8:77::1")]
    assert kept == [caller.caller_digest(settings().caller_key) for caller in callers]
    assert callers[0].caller_digest("another key") not in kept
    tables = shop.rows("SELECT table_name AS name FROM information_schema.tables WHERE table_schema = 'public'")
    everything = "".join(str(shop.rows(f"SELECT t::text AS t FROM {table['name']} t")) for table in tables)
    assert "10.11.12" not in everything
    assert "2001:db8" not in everything
    shop.age(3590)
    shop.sweep()
    assert len(shop.rows("SELECT id FROM push_callers")) == 2
    shop.age(300)  # until the next look at the whole shop
    shop.sweep()
    assert shop.rows("SELECT id FROM push_callers") == []


# The platform ---------------------------------------------------------------------------------------------------------


def test_the_platform_limits_both_prefixes_alike_by_address_and_never_a_callback() -> None:
    redirects = tomllib.loads((ROOT / "netlify.toml").read_text("utf-8"))["redirects"]
    bounds = {redirect["from"]: redirect.get("rate_limit") for redirect in redirects}
    for name in ("stkpush", "status/*", "invoice", "callback/*"):
        assert bounds[f"/api/pay/{name}"] == bounds[f"/api/mpesa/{name}"]
    assert [address for address, bound in bounds.items() if bound is None and "callback" not in address] == []
    assert bounds["/api/pay/callback/*"] is None
    assert all(bound["aggregate_by"] == ["ip", "domain"] for bound in bounds.values() if bound)
    assert bounds["/api/pay/stkpush"]["window_limit"] <= 60


# The shop -------------------------------------------------------------------------------------------------------------


def test_the_shop_asks_so_many_times_a_minute_and_its_operator_is_told_once(shop: Shop) -> None:
    shop.configure(SHOP_PUSHES_PER_MINUTE=3)
    for number in range(3):
        assert another(shop, phone(number), address=f"10.1.2.{number}").status == 202
    told = [another(shop, phone(number), address=f"10.1.2.{number}") for number in (3, 4)]
    assert all(refused(reply, 429, "too_many", "shop")["retry_after_s"] <= 61 for reply in told)
    assert shop.row("SELECT count(*) AS n FROM outbox WHERE kind = 'alert' AND topic = 'shop_push_limit'") == {"n": 1}
    shop.sweep()
    assert any("shop_push_limit" in line for line in shop.logged)
    shop.age(told[0].body["retry_after_s"])
    assert another(shop, phone(3), address="10.1.2.3").status == 202


def test_a_repeated_key_is_answered_and_never_counted(shop: Shop) -> None:
    shop.configure(
        PHONE_PUSHES_PER_HOUR=2, ADDRESS_PUSHES_PER_HOUR=2, SHOP_PUSHES_PER_MINUTE=2, MAX_SHOP_KES_PER_DAY=3000
    )
    replies = [shop.pay(key="one", account_reference="ONE") for _ in range(5)]
    assert {(reply.status, reply.body["transaction_id"]) for reply in replies} == {
        (202, replies[0].body["transaction_id"])
    }
    assert another(shop, OTHER_CUSTOMER, address="10.1.2.3", amount=1500).status == 202
    assert another(shop, phone(3), address="10.1.2.5", amount=1).status == 429
    shop.configure(MAX_PAYMENT_KES=1000)
    assert shop.pay(key="one", account_reference="ONE").body["transaction_id"] == replies[0].body["transaction_id"]


def test_what_a_limit_refuses_is_neither_stored_nor_pushed_and_leaves_its_key_free(shop: Shop) -> None:
    shop.configure(MAX_PAYMENT_KES=1000)
    assert shop.pay(key="one").status == 422
    assert shop.row("SELECT (SELECT count(*) FROM transactions) + (SELECT count(*) FROM push_callers) AS n") == {"n": 0}
    assert shop.simulator.client.requests() == []
    shop.configure(MAX_PAYMENT_KES=2000)
    assert shop.pay(key="one").status == 202


# Money ----------------------------------------------------------------------------------------------------------------


def test_one_payment_has_a_limit_that_the_customer_is_told(shop: Shop) -> None:
    shop.configure(MAX_PAYMENT_KES=5000)
    told = refused(another(shop, amount=5001), 422, "above_limit", "payment")
    assert (told["most_kes"], "retry_after_s" in told) == (5000, False)
    assert "KES 5,000" in told["detail"]
    assert another(shop, amount=5000).status == 202


def test_a_phone_pays_so_much_a_day_counting_what_is_open_and_not_what_failed(shop: Shop) -> None:
    shop.configure(MAX_PHONE_KES_PER_DAY=1000)
    ask(shop, "cancel", amount=900)
    ask(shop, "pay", amount=300)
    assert another(shop, amount=400).status == 202
    told = refused(another(shop, amount=301), 422, "above_limit", "phone_day")
    assert told["most_kes"] == 1000
    assert 0 < told["retry_after_s"] <= 86_401
    alone = refused(another(shop, amount=1001), 422, "above_limit", "phone_day")
    assert "retry_after_s" not in alone, "it will never be below the limit"
    assert another(shop, OTHER_CUSTOMER, amount=1000).status == 202
    shop.simulator.client.wait_for_prompt(CUSTOMER)
    shop.simulator.client.answer(CUSTOMER, "cancel")
    still_open = shop.row("SELECT checkout_request_id FROM transactions WHERE amount = 400")
    shop.simulator.client.wait_for_callback(still_open["checkout_request_id"])
    assert another(shop, amount=301).status == 202


def test_what_is_in_review_or_refunded_counts_too(shop: Shop) -> None:
    shop.configure(MAX_PHONE_KES_PER_DAY=1000)
    shop.history_is_made_up = True
    ask(shop, "pay", amount=600)
    for columns in (
        "status = 'REVIEW', review_reason = 'silence'",
        "status = 'REFUNDED', review_reason = NULL, refunded_at = now(), refund_receipt = 'X'",
    ):
        shop.overwrite(f"UPDATE transactions SET {columns}")
        refused(another(shop, amount=401), 422, "above_limit", "phone_day")
    shop.overwrite("UPDATE transactions SET status = 'PAID', refunded_at = NULL, refund_receipt = NULL")


def test_the_shop_takes_so_much_a_day_and_does_not_tell_how_much(shop: Shop) -> None:
    shop.configure(MAX_SHOP_KES_PER_DAY=1000)
    ask(shop, "pay", amount=600)
    ask(shop, "cancel", OTHER_CUSTOMER, amount=400)
    for _ in range(2):
        told = refused(another(shop, OTHER_CUSTOMER, amount=401), 422, "above_limit", "shop_day")
        assert "most_kes" not in told
        assert "1,000" not in told["detail"]
    assert shop.row("SELECT count(*) AS n FROM outbox WHERE kind = 'alert' AND topic = 'shop_day_limit'") == {"n": 1}
    assert another(shop, OTHER_CUSTOMER, amount=400).status == 202


def test_a_day_ends_at_midnight_in_nairobi(shop: Shop) -> None:
    shop.configure(MAX_PHONE_KES_PER_DAY=1000, MAX_SHOP_KES_PER_DAY=1500)
    ask(shop, "pay", amount=900)
    refused(another(shop, amount=200), 422, "above_limit", "phone_day")
    refused(another(shop, OTHER_CUSTOMER, amount=700), 422, "above_limit", "shop_day")
    since_midnight = "extract(epoch FROM (now() AT TIME ZONE 'Africa/Nairobi')::time)"
    shop.age(float(shop.row(f"SELECT {since_midnight} AS s")["s"]) + 1)
    assert another(shop, amount=200).status == 202
    assert another(shop, OTHER_CUSTOMER, amount=700).status == 202


# What it costs --------------------------------------------------------------------------------------------------------


def test_all_of_it_costs_no_round_trip_more_than_a_push_without_limits(shop: Shop) -> None:
    shop.configure(MAX_SHOP_KES_PER_DAY=10_000, SHOP_PUSHES_PER_MINUTE=3)
    order = Order(CUSTOMER, settings().limits.payment_kes.quantize(1) / 250, "A")
    collaborators().gateway.queries.silent(1)  # the connection is there, the environment checked

    def cost_of(to: str) -> tuple[object, int]:
        before = collaborators().gateway.database.round_trips
        asked = Order(to, order.amount_kes, order.account_reference)
        found = collaborators().gateway.admissions.admit(asked, None, settings().limits, f"caller {to}")
        return found, collaborators().gateway.database.round_trips - before

    for number in range(3):
        admitted, round_trips = cost_of(phone(number))
        assert isinstance(admitted, Admitted)
        assert round_trips <= 4
    refusal, round_trips = cost_of(phone(3))
    assert isinstance(refusal, TooMany)
    assert (refusal.scope, round_trips <= 6) == (Scope.SHOP, True), "and the alert, that was not sent yet"


# What the operator is told --------------------------------------------------------------------------------------------


def told_by_ops(shop: Shop, capsys: pytest.CaptureFixture[str], **limits: int) -> list[str]:
    capsys.readouterr()
    environ = {"DATABASE_URL": shop.database_url, **{name: str(value) for name, value in limits.items()}}
    assert main(["limits"], environ) == 0
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_the_operator_sees_each_limit_and_how_much_of_it_is_used(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    ask(shop, "pay", amount=600)
    ask(shop, "pay", amount=150, address="10.1.2.3")
    ask(shop, "cancel", amount=5000)
    ask(shop, "pay", OTHER_CUSTOMER, amount=250)
    told = told_by_ops(shop, capsys, MAX_PAYMENT_KES=1000, MAX_SHOP_KES_PER_DAY=4000, PHONE_UNANSWERED_PUSHES=1)
    for line in (
        "MAX_PAYMENT_KES KES 1,000 KES 600 (60%), the largest payment",
        "MAX_PHONE_KES_PER_DAY KES 500,000 KES 750 (0%), the phone that paid most",
        "MAX_SHOP_KES_PER_DAY KES 4,000 KES 1,000 (25%), all payments",
        "PHONE_PUSHES_PER_HOUR 10 3 (30%), the phone asked most often",
        "PHONE_UNANSWERED_PUSHES 1 1 phone has left so many prompts unanswered",
        "ADDRESS_PUSHES_PER_HOUR 120 3 (2%), the busiest address",
        "paid 3 payments, KES 1,000",
        "success rate 75% of 4 pushes that have ended",
        "reviews 0; waiting for a person now: 0",
    ):
        assert line in told
    assert any(line.startswith("SHOP_PUSHES_PER_MINUTE 60 ") for line in told)
    assert any(line.startswith("largest day KES 1,000 on 20") for line in told)


def test_the_operator_sees_what_speaks_against_the_next_step(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    ask(shop, {"code": "7777", "desc": "Something new"}, amount=700)
    told = told_by_ops(shop, capsys)
    assert "Recommendation: leave the limits as they are" in told
    assert "- payments have been taken for 0 days; wait for 7" in told
    assert "- 0 payments say too little in 7 days; wait for 20" in told
    assert "- 1 payment waits for a person: `ops review list` first" in told
    assert any(line.startswith("- MAX_SHOP_KES_PER_DAY is not set") for line in told)


def test_empty_books_say_so_little_that_nothing_is_recommended(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert "Recommendation: leave the limits as they are" in told_by_ops(shop, capsys)


def test_a_limit_that_cannot_be_read_is_named(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["limits"], {"DATABASE_URL": shop.database_url, "MAX_PAYMENT_KES": "plenty"}) == 2
    assert "MAX_PAYMENT_KES must hold" in capsys.readouterr().err


WELL = Evidence(
    days_since_first=8, paid=20, paid_kes=Decimal(60_000), ended=25, reviews=0, reviews_open=0, unjudged=0,
    does_not_fit=0, turned_away=0, largest_kes=Decimal(4_900), largest_of_a_phone_kes=Decimal(4_900),
    largest_day_kes=Decimal(30_000), largest_day=date(2026, 11, 20),
)  # fmt: skip
AT_GO_LIVE = limits({"MAX_PAYMENT_KES": "5000", "MAX_PHONE_KES_PER_DAY": "10000", "MAX_SHOP_KES_PER_DAY": "50000"})
NEAR_SAFARICOMS = limits({"MAX_PAYMENT_KES": "200000"})


@pytest.mark.parametrize(
    ("allowed", "week", "steps"),
    [
        (AT_GO_LIVE, {}, {"MAX_PAYMENT_KES": 10_000, "MAX_SHOP_KES_PER_DAY": 100_000}),
        (AT_GO_LIVE, {"largest_kes": Decimal(2_000), "largest_day_kes": Decimal(9_000)}, {}),  # far from the limits
        (NEAR_SAFARICOMS, {"largest_kes": Decimal(190_000)}, {"MAX_PAYMENT_KES": 250_000}),  # and never above them
    ],
)
def test_a_good_week_near_the_limits_justifies_the_next_step(
    allowed: Limits, week: dict[str, Any], steps: dict[str, int]
) -> None:
    assert advise(allowed, replace(WELL, **week)).steps == tuple((name, Decimal(kes)) for name, kes in steps.items())


@pytest.mark.parametrize(
    "worse",
    [
        {"days_since_first": 6}, {"paid": 19}, {"reviews_open": 1}, {"unjudged": 1}, {"does_not_fit": 1},
        {"reviews": 1}, {"ended": 41},
    ],
)  # fmt: skip
def test_anything_odd_speaks_against_a_step(worse: dict[str, Any]) -> None:
    advice = advise(AT_GO_LIVE, replace(WELL, **worse))
    assert (advice.steps, len(advice.reasons)) == ((), 1)
