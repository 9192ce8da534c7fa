"""Whole days of a shop against the truth: no shilling unexplained, nobody asked twice, everything comes to an end.

A day that fails prints its seed, and replays alone: `DAY=17 pytest tests/chaos/test_seeded_days.py`; `DAY=100:200` is
that range of them.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

import pytest

from simulator import Behaviour, Simulator, SimulatorSettings
from tests.chaos.books import only_the_shop_listens
from tests.chaos.day import Day
from tests.chaos.virtual_time import VirtualTime
from tests.fixtures.shop import Shop
from tests.fixtures.soak import Figure, Rounds


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """Its time stands still until the day moves it."""
    behaviour = Behaviour(push_latency_s=0, callback_timeout_s=600)  # a slow machine is no fault of the shop
    with Simulator(SimulatorSettings(seed=0, time_stands_still=True, behaviour=behaviour)) as running:
        yield running


def test_time_that_has_passed_anyway_is_not_added_once_more(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the shop would ask sooner than it believes, and every other query would be one too many."""
    readings = iter((100.0, 107.0, 107.0))
    moved = VirtualTime(shop.database_url, monkeypatch, clock=lambda: next(readings))
    shop.pay()
    age = "SELECT extract(epoch FROM now() - created_at)::float8 AS age_s FROM transactions"
    before_s = shop.row(age)["age_s"]
    moved.go_on(5)
    moved.go_on(12)
    moved.close()
    assert 10 <= shop.row(age)["age_s"] - before_s < 17


def test_every_shilling_of_a_hostile_day_is_explained(
    shop: Shop, time: VirtualTime, rounds: Rounds, figure: Figure, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_the_shop_listens(monkeypatch)
    first, _, end = os.environ.get("DAY", "").partition(":")
    seeds = range(int(first), int(end or int(first) + 1)) if first else range(rounds(2, 3000))
    came: Counter[str] = Counter()
    for seed in seeds:
        try:
            came += Day(seed, shop, time).run()
        except BaseException:
            print(f"the day that failed: DAY={seed} pytest tests/chaos/test_seeded_days.py", *shop.logged[-8:])
            raise
    figure(
        f"{len(seeds)} days, {came['payments']:,} payments, KES {came['KES']:,} moved:"
        " 0 KES unexplained, 0 double prompts"
    )
