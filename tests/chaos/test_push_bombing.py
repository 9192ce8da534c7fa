"""Floods of pushes: no phone rings more often than the limits allow, and who only wants to pay is served meanwhile.

Many instances of the real functions in several processes, real PostgreSQL, and the simulator over HTTP, whose count of
prompts is the one that matters. The attackers are hostile: every request has an order and a key of its own,
and each prompt is cancelled at once, so that neither the guard against paying twice nor Safaricom's own lock helps.
"""

from __future__ import annotations

import itertools
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from shared.database import Database
from shared.settings import limits as limits_of
from tests.chaos.books import LIMITS, wipe
from tests.chaos.crew import Crew, Job, function
from tests.chaos.customers import PUSH
from tests.fixtures.shop import Reply, Shop
from tests.fixtures.soak import Figure, Rounds

VICTIM = "254700000001"
A_WAVE = 190
CUSTOMERS = 20
"""So few in a flood that the shop's own minute has room for all of them."""
AT_ONCE = 100
ROOMY = {"PHONE_PUSHES_PER_HOUR": 1000, "PHONE_UNANSWERED_PUSHES": 1000,
         "ADDRESS_PUSHES_PER_HOUR": 1000, "SHOP_PUSHES_PER_MINUTE": 3000}  # fmt: skip
PRODUCTION = limits_of({})
TOO_BUSY = 503
"""A machine with no time may let somebody wait at a lock for longer than three seconds. Nothing was done; try again."""
OTHERS_SERVED = "other customers served"
Allow = Callable[..., None]

_orders = itertools.count(1)


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Production's own, not the roomy ones of the other attacks."""
    for name in LIMITS:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def allow(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> Allow:
    """Sets limits of the whole crew, by the names of the environment."""

    def set_limits(**limits: int) -> None:
        for name, value in limits.items():
            monkeypatch.setenv(name, str(value))
        crew.work_for(os.environ)

    return set_limits


def nth_phone(number: int) -> str:
    """Of a range that no network has."""
    return f"254199{number:06}"


def nth_address(number: int) -> str:
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def push(phone: str, address: str, amount: int | None = None) -> Job:
    """For something that nobody else buys."""
    number = next(_orders)
    order = {"phone_number": phone, "amount": amount or number % 5000 + 1, "account_reference": f"B{number}"}
    headers = {"x-nf-client-connection-ip": address, "idempotency-key": f"bomb-{number}"}
    return function("stkpush", "POST", "/.netlify/functions/stkpush", json.dumps(order), headers)


def rung(shop: Shop) -> Counter[str]:
    """How often each phone rang, by the simulator's count."""
    return Counter(payment["phone"] for payment in shop.simulator.client.payments())


def waves(attack: Iterator[Job], how_many: int) -> Iterator[list[Job]]:
    while wave := list(itertools.islice(attack, min(A_WAVE, how_many))):
        how_many -= len(wave)
        yield wave


def flood(crew: Crew, attack: Iterator[Job], how_many: int) -> tuple[list[Reply], list[Reply], float]:
    """What the attackers were answered, and the customers, from other phones and addresses; and the seconds it took."""
    customers = (push(nth_phone(900_000 + number), nth_address(1 << 23 | number)) for number in itertools.count())
    attackers: list[Reply] = []
    served: list[Reply] = []
    began = time.monotonic()
    every = 1 + how_many // A_WAVE // CUSTOMERS
    for number, wave in enumerate(waves(attack, how_many)):
        among = [next(customers)] if number % every == 0 else []
        middle = len(wave) // 2
        answers = crew.at_once([*wave[:middle], *among, *wave[middle:]])
        mine = answers[middle : middle + len(among)]
        if any(reply.status == TOO_BUSY for reply in mine):
            mine = crew.at_once(among)  # as the page says: nothing was sent, try again; with the same key
        served += mine
        attackers += answers[:middle] + answers[middle + len(among) :]
    return attackers, served, time.monotonic() - began


def all_cancelled(shop: Shop, phone: str | None, times: int) -> None:
    for _ in range(times):
        shop.simulator.client.script(phone, "cancel", after_s=0)


def test_a_phone_that_is_pushed_from_everywhere_rings_no_more_often_than_allowed(
    shop: Shop, crew: Crew, rounds: Rounds, figure: Figure
) -> None:
    all_cancelled(shop, VICTIM, 30)
    attack = (push(VICTIM, nth_address(number)) for number in itertools.count())
    attackers, served, took_s = flood(crew, attack, how_many := rounds(160, 10_000))
    allowed = PRODUCTION.phone_unanswered_in_a_row + int(took_s // 300)  # each rest lasts five minutes, or longer
    calls = rung(shop)
    assert 1 <= calls[VICTIM] <= allowed
    assert Counter(reply.status for reply in served) == {202: len(served)}
    assert sum(calls.values()) == calls[VICTIM] + len(served)
    told = {reply.body.get("code", reply.status) for reply in attackers}
    assert told <= {202, "too_many", "too_soon", "prompt_open", "unavailable"}
    figure(f"{how_many:,} pushes: {calls[VICTIM]} prompts, as allowed; {len(served)} of {len(served)} {OTHERS_SERVED}")


def test_one_address_rings_no_more_phones_than_allowed(shop: Shop, crew: Crew, rounds: Rounds, figure: Figure) -> None:
    attack = (push(nth_phone(number), nth_address(7)) for number in itertools.count())
    attackers, served, took_s = flood(crew, attack, how_many := rounds(160, 10_000))
    a_minute = PRODUCTION.shop_pushes_a_minute // 3
    allowed = min(PRODUCTION.address_pushes_an_hour, a_minute * (1 + int(took_s // 60)))
    calls = sum(rung(shop).values()) - len(served)
    assert a_minute <= calls <= allowed
    assert Counter(reply.status for reply in served) == {202: len(served)}
    told = {reply.body.get("code", reply.status) for reply in attackers}
    assert told <= {202, "too_many", "unavailable"}
    figure(f"{how_many:,} pushes: {calls} prompts, as allowed; {len(served)} of {len(served)} {OTHERS_SERVED}")


def test_a_thousand_addresses_ring_no_more_phones_than_the_shop_allows(
    shop: Shop, crew: Crew, rounds: Rounds, figure: Figure
) -> None:
    """Here honest customers are turned away too, for seconds; and the operator is told."""
    attack = (push(nth_phone(number), nth_address(number % 1000)) for number in itertools.count())
    _, _, took_s = flood(crew, attack, how_many := rounds(160, 10_000))
    allowed = PRODUCTION.shop_pushes_a_minute * (1 + int(took_s // 60))
    calls = sum(rung(shop).values())
    assert PRODUCTION.shop_pushes_a_minute <= calls <= allowed
    assert shop.row("SELECT count(*) AS n FROM outbox WHERE kind = 'alert' AND topic = 'shop_push_limit'") == {"n": 1}
    figure(f"{how_many:,} pushes: {calls} prompts, as allowed")


PUSHES = {
    "phone_unanswered": {"PHONE_UNANSWERED_PUSHES": 7},
    "phone_hour": {"PHONE_PUSHES_PER_HOUR": 7},
    "address_hour": {"ADDRESS_PUSHES_PER_HOUR": 7},
    "address_minute": {"SHOP_PUSHES_PER_MINUTE": 21},
    "shop_minute": {"SHOP_PUSHES_PER_MINUTE": 7},
}


@pytest.mark.parametrize("which", PUSHES)
def test_a_hundred_at_the_same_moment_never_exceed_a_limit_of_pushes(
    shop: Shop, crew: Crew, allow: Allow, rounds: Rounds, figure: Figure, which: str
) -> None:
    allow(**{**ROOMY, **PUSHES[which]})
    at_once = rounds(40, AT_ONCE)
    for number in range(how_many := rounds(2, 50)):
        begin_anew(shop)
        scope = which.partition("_")[0]
        phones = [VICTIM if scope == "phone" else nth_phone(each) for each in range(at_once)]
        addresses = [nth_address(7 if scope == "address" else each) for each in range(at_once)]
        answers = crew.at_once(list(map(push, phones, addresses)), seed=number)
        told = Counter(answer.body.get("limit", answer.status) for answer in answers)
        assert told.pop(202) == 7
        assert set(told) <= {scope, TOO_BUSY}
        assert len(shop.simulator.client.requests(PUSH)) == 7
    figure(f"{how_many} rounds of {at_once} at once: 7 let through each time")


@pytest.mark.parametrize("which", ["phone", "shop"])
def test_a_hundred_at_the_same_moment_never_exceed_a_days_sum(
    shop: Shop, crew: Crew, allow: Allow, rounds: Rounds, figure: Figure, which: str
) -> None:
    most_kes, at_once = 1000, rounds(40, AT_ONCE)
    amounts = [30 + 2 * each for each in range(at_once)]
    allow(**ROOMY, **{f"MAX_{which.upper()}_KES_PER_DAY": most_kes})
    for number in range(how_many := rounds(2, 50)):
        begin_anew(shop)
        phones = [VICTIM if which == "phone" else nth_phone(each) for each in range(at_once)]
        answers = crew.at_once(list(map(push, phones, map(nth_address, range(at_once)), amounts)), seed=number)
        told = {answer.body.get("limit", answer.status) for answer in answers}
        assert {202, f"{which}_day"} <= told <= {202, f"{which}_day", TOO_BUSY}
        taken_kes = sum(amount for amount, answer in zip(amounts, answers, strict=True) if answer.status == 202)
        refused = [amount for amount, answer in zip(amounts, answers, strict=True) if answer.status == 422]
        assert taken_kes <= most_kes < taken_kes + min(refused)
    figure(f"{how_many} rounds of {at_once} at once: never above KES {most_kes:,}, and nobody refused who fitted in")


def begin_anew(shop: Shop) -> None:
    """Nobody has asked for anything yet; and the prompts that now come do not lock their phones."""
    database = Database(shop.database_url)
    wipe(database)
    database.close()
    shop.simulator.client.reset()
    for _ in range(AT_ONCE):
        shop.simulator.client.script(None, drop_response=True, reaches_phone=False)
