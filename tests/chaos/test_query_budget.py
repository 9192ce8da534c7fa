"""A rush whose callbacks all get lost: the sandbox's budget of queries is used, and every honest payment is settled.

Nobody's page is open in the first test, so only the sweep asks: three times a minute, since the platform ends it after
30 s. The other two slots of the minute are for pages that are open.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from shared.query_schedule import BUDGETS
from simulator import Behaviour, Simulator, SimulatorSettings
from tests.chaos.virtual_time import VirtualTime
from tests.fixtures.shop import Shop
from tests.fixtures.simulator import QUERY

RUSH = 60


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """Its clock goes only with the test's."""
    with Simulator(SimulatorSettings(seed=0, time_stands_still=True, behaviour=Behaviour(push_latency_s=0))) as running:
        yield running


@pytest.fixture
def moved(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Iterator[VirtualTime]:
    monkeypatch.setenv("SHOP_PUSHES_PER_MINUTE", "1000")
    time = VirtualTime(shop.database_url, monkeypatch, shop.simulator)
    yield time
    time.close()


def rush(shop: Shop, time: VirtualTime) -> list[str]:
    """One push a second, all of them paid within ten, and nobody calls back."""
    pushed = []
    for number in range(RUSH):
        phone = f"2547000000{number:02}"
        shop.simulator.client.script(phone, "pay", after_s=10, callback_count=0)
        reply = shop.pay(phone_number=phone, account_reference=f"R{number}", customer_email=None)
        pushed.append(str(reply.body["transaction_id"]))
        time.go_on(1)
    return pushed


def test_sixty_payments_without_a_callback_are_settled_before_any_is_reviewed(shop: Shop, moved: VirtualTime) -> None:
    rush(shop, moved)
    minutes = 0
    while shop.rows("SELECT id FROM transactions WHERE status = 'PENDING'"):
        began_s = moved.now_s
        assert shop.sweep().status == 200
        assert moved.now_s - began_s <= 28, "the platform ends it after 30 s"
        moved.go_on_until(began_s + 60)
        minutes += 1
        assert minutes <= 25
    assert Counter(row["status"] for row in shop.rows("SELECT status FROM transactions")) == {"PAID": RUSH}
    answers = shop.simulator.client.requests(QUERY)
    assert len(answers) == RUSH, "nothing was asked in vain"


def test_with_the_pages_open_the_budget_is_used_whole(shop: Shop, moved: VirtualTime) -> None:
    pushed = rush(shop, moved)
    began_s, paid = moved.now_s, 0
    for second in range(600):
        moved.go_on_until(began_s + second)
        if second % 60 == 0:
            shop.sweep()
        for transaction_id in pushed[second % 5 :: 5]:
            shop.status(transaction_id)
        paid = len(shop.rows("SELECT id FROM transactions WHERE status = 'PAID'"))
        if paid == RUSH:
            break
    assert paid >= 600 / BUDGETS["sandbox"].every_s * 0.9
