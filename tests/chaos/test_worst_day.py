"""The worst day: the database is deleted at a random moment of a hostile day, and every shilling is found again.

A day that fails prints its seed, and replays alone: `DAY=17 pytest tests/chaos/test_worst_day.py`.
"""

from __future__ import annotations

import os
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.postgres import EmbeddedPostgres
from simulator import Behaviour, Simulator, SimulatorSettings
from tests.chaos.books import only_the_shop_listens
from tests.chaos.worst_day import TimeOfALostDatabase, WorstDay
from tests.fixtures.backups import Vault, vault
from tests.fixtures.shop import Shop
from tests.fixtures.soak import Figure, Rounds

__all__ = ["vault"]


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """Its time stands still until the day moves it."""
    behaviour = Behaviour(push_latency_s=0, callback_timeout_s=600)  # a slow machine is no fault of the shop
    with Simulator(SimulatorSettings(seed=0, time_stands_still=True, behaviour=behaviour)) as running:
        yield running


def test_the_database_is_deleted_and_every_shilling_is_found_again(
    shop: Shop,
    postgres_server: EmbeddedPostgres,
    vault: Vault,
    rounds: Rounds,
    figure: Figure,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    only_the_shop_listens(monkeypatch)
    time = TimeOfALostDatabase(shop.database_url, monkeypatch, shop.simulator)
    first, _, end = os.environ.get("DAY", "").partition(":")
    seeds = range(int(first), int(end or int(first) + 1)) if first else range(rounds(2, 20))
    came: Counter[str] = Counter()
    for seed in seeds:
        folder = tmp_path / str(seed)
        folder.mkdir()
        try:
            came += WorstDay(seed, shop, time, folder, capsys, vault, postgres_server, monkeypatch).run()
        except Exception:
            with capsys.disabled():
                print(f"\nthe day that failed: DAY={seed} pytest tests/chaos/test_worst_day.py")
                traceback.print_exc(limit=-3)
            raise
    time.close()
    by_hand = sum(count for name, count in came.items() if name.startswith("by hand"))
    figure(
        f"{len(seeds)} days whose database was deleted: {came['lost payments']} payments lost, {came['rows']} rows of"
        f" KES {came['KES']:,} on the statements: 0 KES unexplained, 0 paid twice; {by_hand} settled by hand"
    )
