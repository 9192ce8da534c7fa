"""Backups come back: of hostile days with closed months and erasures, of large books; damaged or killed, not at all.

A day that fails prints its seed, and runs alone: `DAY=17 pytest tests/chaos/test_restores.py -k days`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time as clock
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from dev.postgres import EmbeddedPostgres
from ops.backups.manifest import differences
from ops.reconciliation_log import entries
from shared.database import Database
from shared.settings import audit_settings
from shared.values import EAT
from simulator import Behaviour, Simulator, SimulatorSettings
from tests.chaos.books import only_the_shop_listens
from tests.chaos.day import PHONES
from tests.chaos.statement_day import StatementDay
from tests.chaos.test_erasure import THREE_DAYS, everything_comes_to_its_end, is_erased
from tests.chaos.virtual_time import VirtualTime
from tests.fixtures.backups import Vault, contents, is_empty, last_document, vault
from tests.fixtures.database import TEMPLATE, fresh_database
from tests.fixtures.large_books import fill
from tests.fixtures.shop import Shop
from tests.fixtures.soak import Figure, Rounds

__all__ = ["vault"]
ROOT = Path(__file__).parents[2]
A_DAY_S = 86_400
ONLY_THE_STATE = ["table recoveries has 1 rows, the backup says 0"]
"""What a restore adds to what was backed up."""
MOST_MINUTES = 60


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """Its time stands still until a day moves it."""
    behaviour = Behaviour(push_latency_s=0, callback_timeout_s=600)
    with Simulator(SimulatorSettings(seed=0, time_stands_still=True, behaviour=behaviour)) as running:
        yield running


# Days -----------------------------------------------------------------------------------------------------------------


def test_days_with_closed_months_and_erasures_come_back_as_they_were(
    shop: Shop,
    time: VirtualTime,
    vault: Vault,
    postgres_server: EmbeddedPostgres,
    rounds: Rounds,
    figure: Figure,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    only_the_shop_listens(monkeypatch)
    chosen = os.environ.get("DAY")
    seeds = [int(chosen)] if chosen else range(rounds(2, 20))
    rows = tables = decisions = erased = 0
    for seed in seeds:
        print(f"DAY={seed}")
        folder = tmp_path / str(seed)
        folder.mkdir()
        StatementDay(seed, shop, time, folder, capsys).run()
        closes_the_month(shop, time, folder)
        erased += half_are_erased(shop)
        before = contents(shop.database_url)
        file = vault.back_up(shop.database_url)
        with fresh_database(postgres_server) as name:
            capsys.readouterr()
            assert vault.restore(file, postgres_server.url(name), "--json") == 0
            document = last_document(capsys)
            assert differences(before, contents(postgres_server.url(name))) == ONLY_THE_STATE
        assert [each["name"] for each in document["checks"]] == ["rows", "checksums", "invariants", "audit", "replay"]
        assert document["wrong"] == 0
        rows += sum(each.rows for each in before.values())
        tables = len(before)
        decisions += int(document["checks"][-1]["says"].partition(" ")[0].replace(",", ""))
    figure(
        f"{len(seeds)} days with a closed month and {erased} erased payments: {rows:,} rows of {tables} tables,"
        f" 0 different by checksum; {decisions:,} decisions taken again, 0 different; invariants and audit log hold"
    )


def closes_the_month(shop: Shop, time: VirtualTime, folder: Path) -> None:
    """The day's: everything becomes so old that it lies in the last one."""
    today = datetime.now(EAT).date()
    time.go_on(today.day * A_DAY_S)
    month = (today - timedelta(days=today.day + 1)).strftime("%Y-%m")
    why = ("--why", "the days before the shop opened have no statement", "--who", "asha", "--yes")
    assert shop.ops("close", month, "--to", str(folder / "report.html"), *why) == 0
    assert len(entries(shop.books, kind="closed")) == 1


def half_are_erased(shop: Shop) -> int:
    """How many payments they had."""
    everything_comes_to_its_end(shop)
    shop.age(THREE_DAYS)
    for phone in PHONES[::2]:
        is_erased(shop, phone)
    return int(shop.row("SELECT count(DISTINCT transaction_id) AS n FROM erasures")["n"])


# Damage ---------------------------------------------------------------------------------------------------------------


def test_a_backup_damaged_anywhere_is_refused_and_nothing_restored(
    shop: Shop,
    vault: Vault,
    empty_database_url: str,
    rounds: Rounds,
    figure: Figure,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for number in range(3):
        shop.settled(phone_number=f"25472200000{number}", account_reference=f"INV{number}")
    shop.sweep()
    file = vault.back_up(shop.database_url)
    whole, drawn, times = file.read_bytes(), Random("damage"), rounds(20, 100)
    for number in range(times):
        how, damaged = damage(whole, drawn)
        assert damaged != whole
        file.write_bytes(damaged)
        code = vault.restore(file, empty_database_url)
        assert (code, how, is_empty(empty_database_url)) == (2, how, True), number
        assert "Traceback" not in capsys.readouterr().err
    file.write_bytes(whole)
    assert vault.restore(file, empty_database_url) == 0
    figure(f"{times} damaged backups: {times} refused, and the database empty after each")


def damage(whole: bytes, drawn: Random) -> tuple[str, bytes]:
    at = drawn.randrange(len(whole))
    match drawn.choice(("flip", "cut", "cut at a chunk", "append", "zeros", "leave out", "twice")):
        case "flip":
            return f"a bit of byte {at}", whole[:at] + bytes([whole[at] ^ 1 << drawn.randrange(8)]) + whole[at + 1 :]
        case "cut":
            return f"cut at {at}", whole[:at]
        case "cut at a chunk":
            return "its last chunk is gone", whole[: -(len(whole) % 65_536 or 65_536)]
        case "append":
            return "more at the end", whole + drawn.randbytes(drawn.randint(1, 100_000))
        case "zeros":
            return f"zeros at {at}", whole[:at] + bytes(len(whole[at : at + 512])) + whole[at + 512 :]
        case "leave out":
            return f"a hole at {at}", whole[:at] + whole[at + drawn.randint(1, 5000) :]
    return f"a piece twice, at {at}", whole[:at] + whole[max(0, at - 4096) :]


# Killed ---------------------------------------------------------------------------------------------------------------

KILLED = """
import os, pathlib, signal, sys
from shared.database.connection import Connection
from ops.__main__ import main
at, how, counted = int(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3])
exchange, trips = Connection._exchange, 0

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def half(rows):
    yield next(iter(rows))[:20]
    die()

def watched(self, messages, asked, *more, rows=None):
    global trips
    trips += 1
    if trips == at and how == "before":
        die()
    if trips == at and how == "within":
        rows = half(rows) if rows is not None else die()
    answers = exchange(self, messages, asked, *more, rows=rows)
    if trips == at and how == "after":
        die()
    return answers

Connection._exchange = watched
code = main(sys.argv[4:], os.environ)
counted.write_text(str(trips))
sys.exit(code)
"""
"""Killed at its trip `at` to the database; `within`: in the middle of a table's rows."""


def test_killed_at_each_step_it_leaves_an_empty_database_or_a_whole_one(
    shop: Shop, vault: Vault, postgres_server: EmbeddedPostgres, rounds: Rounds, figure: Figure, tmp_path: Path
) -> None:
    shop.settled()
    shop.sweep()
    file, before = vault.back_up(shop.database_url), contents(shop.database_url)
    counted = tmp_path / "trips"

    def run(into: str, at: int, how: str) -> int:
        arguments = ["restore", str(file), "--identity", str(vault.key), "--into", "NEW_URL"]
        command = [sys.executable, "-c", KILLED, str(at), how, str(counted), *arguments]
        environ = {**os.environ, "NEW_URL": into}
        return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, check=False).returncode

    with fresh_database(postgres_server) as name:
        assert run(postgres_server.url(name), 0, "") == 0
    steps = [(at, how) for at in range(1, int(counted.read_text()) + 1) for how in ("before", "within", "after")]
    drawn = Random("killed")
    chosen = [steps[0], *drawn.sample(steps[1:-1], rounds(6, len(steps) - 2)), steps[-1]]
    empty = whole = 0
    for at, how in chosen:
        with fresh_database(postgres_server) as name:
            url = postgres_server.url(name)
            assert run(url, at, how) == -9, (at, how)
            nobody_is_at_work(postgres_server, name)
            if is_empty(url):
                empty += 1
            else:
                assert differences(before, contents(url)) == ONLY_THE_STATE, (at, how)
                whole += 1
                assert run(url, 0, "") == 1, "refused: it is not empty"
    assert empty
    assert whole
    figure(f"killed at {len(chosen)} of {len(steps)} steps: {empty} times empty, {whole} times whole, never half")


def nobody_is_at_work(server: EmbeddedPostgres, name: str) -> None:
    """The session of whoever was killed is over."""
    database = Database(server.url())
    while database.rows("SELECT FROM pg_stat_activity WHERE datname = :name", name=name):
        clock.sleep(0.02)
    database.close()


# Size -----------------------------------------------------------------------------------------------------------------

DRILLED = """
import atexit, os, pathlib, sys
from ops import drill
from ops.__main__ import main
drill.SCRATCH, peak = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
atexit.register(lambda: peak.write_text(pathlib.Path("/proc/self/status").read_text()))
sys.exit(main(sys.argv[3:], os.environ))
"""
MOST_MB = 400


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_large_books_are_backed_up_and_drilled_within_an_hour(
    shop: Shop, vault: Vault, postgres_server: EmbeddedPostgres, rounds: Rounds, figure: Figure, tmp_path: Path
) -> None:
    payments = rounds(1000, 1_000_000)
    with fresh_database(postgres_server, TEMPLATE) as name:
        url = postgres_server.url(name)
        fill(postgres_server, name, payments, audit_settings(os.environ).keys[0])
        began = clock.monotonic()
        file = vault.back_up(url)
        backup_s, peak = clock.monotonic() - began, tmp_path / "peak"
        arguments = ["drill", str(file), "--identity", str(vault.key), "--json"]
        command = [sys.executable, "-c", DRILLED, str(tmp_path / "scratch"), str(peak), *arguments]
        environ = {**os.environ, "DATABASE_URL": url}
        ran = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr
    document = json.loads(ran.stdout)
    took_s = {check["name"]: check["took_s"] for check in document["checks"]}
    (most,) = [line.split()[1] for line in peak.read_text().splitlines() if line.startswith("VmHWM:")]
    usable_s = document["took_s"] - took_s["replay"]
    said = ", ".join(f"{name} {seconds / 60:.1f}" for name, seconds in took_s.items())
    figure(
        f"{payments:,} payments: backup {backup_s / 60:.1f} min, {file.stat().st_size / 1e6:.1f} MB; drill"
        f" {document['took_s'] / 60:.1f} min ({said}), {usable_s / 60:.1f} without the replay;"
        f" {int(most) / 1024:.0f} MB of memory"
    )
    assert int(most) / 1024 < MOST_MB
    assert usable_s < MOST_MINUTES * 60
