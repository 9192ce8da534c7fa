"""Whole days of a shop, reconciled with Safaricom's statement: every difference named, nothing that is none.

A day that fails prints its seed, and replays alone: `DAY=17 pytest tests/chaos/test_hostile_statement_days.py`;
`DAY=100:200` is that range of them.
"""

from __future__ import annotations

import os
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulator import Behaviour, Simulator, SimulatorSettings
from tests.chaos.books import only_the_shop_listens
from tests.chaos.statement_day import StatementDay
from tests.chaos.virtual_time import VirtualTime
from tests.fixtures.shop import Shop
from tests.fixtures.soak import Figure, Rounds


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """Its time stands still until the day moves it."""
    behaviour = Behaviour(push_latency_s=0, callback_timeout_s=600)  # a slow machine is no fault of the shop
    with Simulator(SimulatorSettings(seed=0, time_stands_still=True, behaviour=behaviour)) as running:
        yield running


def test_every_difference_of_a_hostile_day_is_named_and_nothing_else(
    shop: Shop,
    time: VirtualTime,
    rounds: Rounds,
    figure: Figure,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    only_the_shop_listens(monkeypatch)
    first, _, end = os.environ.get("DAY", "").partition(":")
    seeds = range(int(first), int(end or int(first) + 1)) if first else range(rounds(8, 300))
    came: Counter[str] = Counter()
    failed: list[int] = []
    for seed in seeds:
        folder = tmp_path / str(seed)
        folder.mkdir()
        try:
            came += StatementDay(seed, shop, time, folder, capsys).run()
        except Exception:
            failed.append(seed)
            shop.logged.clear()
            with capsys.disabled():  # the other days read what was printed
                print(f"\nthe day that failed: DAY={seed} pytest tests/chaos/test_hostile_statement_days.py")
                traceback.print_exc(limit=-3)
    assert failed == []
    kinds = {name.removeprefix("found "): count for name, count in sorted(came.items()) if name.startswith("found ")}
    figure(
        f"{len(seeds)} days, {came['payments']:,} payments, {sum(kinds.values()):,} differences"
        f" ({', '.join(f'{name} {count}' for name, count in kinds.items())}): 0 false, 0 KES unexplained;"
        f" {came['settled']:,} settled by their rows"
    )
