"""Callback and push of this checkout beside those of an earlier revision, measured in turn in one run.

The earlier revision is built from a temporary clone by its own build, and its database is made by its own migrations.
Both are driven only from outside: unpacked zips, HTTP events, the same simulator. Nothing of the earlier code is
imported, so it may be laid out as it was. Its functions have to have Netlify's modern form.
"""

from __future__ import annotations

import contextlib
import os
import random
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from time import monotonic, perf_counter, sleep
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from dev.bench.shop import JSON, environment_of, order, paid, server_and_simulator
from dev.bench.unpacked_functions import UnpackedFunctions, answered_ms, unpacked_functions
from dev.build import ZIPS
from dev.deployed_function import http_event
from shared.database import Database
from simulator import Simulator

ROOT = Path(__file__).resolve().parents[2]
AT_MOST_S = 75.0
"""For each measurement, also on a machine that has other things to do: there are fewer pairs then."""
RESAMPLES = 2000

Pairs: TypeAlias = Sequence[tuple[float, float]]


class Revision:
    """The built functions of one revision, with a database of its own."""

    def __init__(self, root: Path, zips: UnpackedFunctions, database_url: str, simulator: Simulator) -> None:
        self._has_catalogue = (root / "shared" / "prices.py").exists()
        self.environment = environment_of(database_url, simulator)
        self._database = Database(database_url)
        self._zips = zips
        self._simulator = simulator
        self._push = zips.start("stkpush", self.environment)
        self._callback = zips.start("callback", self.environment)
        self._number = 0

    def cold_push_ms(self) -> float:
        """A cold instance, to the answer to its first push."""
        taken_ms = self._zips.cold_start_ms("stkpush", self._new_push(), self.environment)
        self._simulator.client.reset()
        return taken_ms

    def cold_callback_ms(self) -> float:
        """A cold instance, until its first callback has settled the payment; what it sends then is not counted."""
        event = self._new_callback()
        began = perf_counter()
        with self._zips.start("callback", self.environment) as function:
            function.send(event)
            while not self._is_paid(event):
                sleep(0.001)
            taken_ms = (perf_counter() - began) * 1000
            function.receive()
        return taken_ms

    def warm_callback_ms(self) -> float:
        """A warm instance: a callback and its settlement."""
        return answered_ms(self._callback, self._new_callback())

    def _new_push(self) -> dict[str, Any]:
        self._number += 1
        phone, reference = f"2547000{self._number:05}", f"BENCH{self._number}"
        body = order(phone, reference, has_catalogue=self._has_catalogue)
        return http_event("POST", "/api/pay/stkpush", body, JSON)

    def _new_callback(self) -> dict[str, Any]:
        """The callback of a new payment, which this revision has asked Daraja for."""
        answered_ms(self._push, self._new_push())
        (payment,) = self._simulator.client.payments()
        self._simulator.client.reset()
        path = urlsplit(payment["callback_url"]).path
        return paid(path, {**payment, "phone_number": payment["phone"]}, f"UKB{self._number:07}")

    def _is_paid(self, callback: Mapping[str, Any]) -> bool:
        """By the id that the callback's address holds."""
        transaction_id = str(callback["path"]).split("/")[-2]
        query = "SELECT 1 AS paid FROM transactions WHERE id = CAST(:id AS uuid) AND status = 'PAID'"
        return self._database.row(query, id=transaction_id) is not None

    def close(self) -> None:
        self._database.close()
        self._push.close()
        self._callback.close()


MEASURED: tuple[tuple[str, Callable[[Revision], float], int, int], ...] = (
    ("cold callback start until the payment is settled", Revision.cold_callback_ms, 40, 2),
    ("cold push start to the first answer", Revision.cold_push_ms, 40, 2),
    ("callback with settlement, warm, through the bridge", Revision.warm_callback_ms, 400, 20),
)
"""What, how, at most how often, and how many of the first do not count: they read from the disk, or warm up."""


def compare(revision: str) -> None:
    """Prints what each costs here, and as a ratio of what it cost then."""
    with contextlib.ExitStack() as opened:
        name, checkout = opened.enter_context(earlier(revision))
        postgres, simulator = opened.enter_context(server_and_simulator(durable=False))
        sides = []
        for database, root, zips in (("now", ROOT, ZIPS), ("then", checkout, checkout / ZIPS.relative_to(ROOT))):
            postgres.run("createdb", database)
            url = postgres.url(database, tcp=True)
            output_of([".venv/bin/python", "-m", "db.migrate"], root, environment_of(url, simulator))
            functions = opened.enter_context(unpacked_functions(zips))
            largest = max(functions.sizes, key=lambda function: function.zip_mb)
            print(f"{f'largest zip {database}':<58} {largest.zip_mb:.1f} MB, {largest.unpacked_mb:.1f} MB unpacked")
            sides.append(Revision(root, functions, url, simulator))
            opened.callback(sides[-1].close)
        print(f"\nThis checkout beside {name}\n")
        for what, measure, at_most, first in MEASURED:
            print(f"{what:<58} {ratio(in_turn(measure, sides, at_most)[first:])}", flush=True)


def in_turn(measure: Callable[[Revision], float], sides: Sequence[Revision], at_most: int) -> Pairs:
    """Pairs of milliseconds now and then, measured in both orders in turn."""
    now, then = sides
    pairs: list[tuple[float, float]] = []
    until = monotonic() + AT_MOST_S
    while len(pairs) < at_most and monotonic() < until:
        taken = {side: measure(side) for side in ((now, then) if len(pairs) % 2 else (then, now))}
        pairs.append((taken[now], taken[then]))
    return pairs


def ratio(pairs: Pairs) -> str:
    """Of the medians, with the interval in which 95 of 100 runs like this one would find it."""

    def medians(some: Pairs) -> tuple[float, float]:
        return statistics.median(pair[0] for pair in some), statistics.median(pair[1] for pair in some)

    chance = random.Random(0)
    resampled = [medians(chance.choices(pairs, k=len(pairs))) for _ in range(RESAMPLES)]
    ratios = sorted(now / then for now, then in resampled)
    low, high = ratios[round(RESAMPLES * 0.025)], ratios[round(RESAMPLES * 0.975) - 1]
    now, then = medians(pairs)
    return f"{now:.2f} ms = {now / then:.2f} of {then:.2f} ms ({low:.2f} to {high:.2f}; {len(pairs)} pairs)"


@contextlib.contextmanager
def earlier(revision: str) -> Iterator[tuple[str, Path]]:
    """(its short name, its checkout, in which its own build has left its zips)."""
    name = output_of(["git", "rev-parse", "--short", f"{revision}^{{commit}}"], ROOT)
    with tempfile.TemporaryDirectory(prefix="lipa-bench-") as folder:
        checkout = Path(folder) / "then"
        output_of(["git", "clone", "--quiet", "--no-checkout", str(ROOT), str(checkout)], ROOT)
        output_of(["git", "checkout", "--quiet", "--detach", name], checkout)
        output_of(["make", "setup"], checkout)  # its pinned packages need not be ours
        output_of([".venv/bin/python", "-m", "dev.build"], checkout)
        yield name, checkout


def output_of(command: list[str], folder: Path, environment: Mapping[str, str] | None = None) -> str:
    env = {**os.environ, **(environment or {})}
    done = subprocess.run(command, check=False, cwd=folder, env=env, capture_output=True, text=True, timeout=900)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    return done.stdout.strip()
