"""Callback and push of this checkout beside those of an earlier revision, measured in turn in one run.

The earlier revision is built from a temporary clone by its own build, and its database is made by its own migrations.
Both are driven only from outside: unpacked zips, HTTP events, the same simulator. Nothing of the earlier code is
imported, so it may be laid out as it was.
"""

from __future__ import annotations

import contextlib
import os
import random
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from dev.bench.shop import JSON, environment_of, order, paid, server_and_simulator
from dev.bench.unpacked_functions import UnpackedFunctions, unpacked_functions
from dev.build import ZIPS
from dev.deployed_function import http_event
from dev.postgres import EmbeddedPostgres
from simulator import Simulator

ROOT = Path(__file__).resolve().parents[2]
COLD_PAIRS = 40
WARM_PAIRS = 400
AT_MOST_S = 75.0
"""For each of the two, also on a machine that has other things to do: there are fewer pairs then."""
RESAMPLES = 2000


class Revision:
    """The built functions of one revision, with a database of its own."""

    def __init__(self, checkout: Path, zips: UnpackedFunctions, database_url: str, simulator: Simulator) -> None:
        self.zips = zips
        self.environment = environment_of(database_url, simulator)
        self._simulator = simulator
        self._number = 0
        migrate = subprocess.run(
            [checkout / ".venv" / "bin" / "python", "-m", "db.migrate"],
            check=False,
            cwd=checkout,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
        )
        if migrate.returncode != 0:
            raise RuntimeError(f"the migrations of {checkout} failed:\n{migrate.stdout}{migrate.stderr}")
        self._push = zips.start("stkpush", self.environment)

    def pushed(self) -> dict[str, Any]:
        """The callback of a new payment, which this revision has asked Daraja for."""
        self._number += 1
        phone, reference = f"2547000{self._number:05}", f"BENCH{self._number}"
        answer = self._push.invoke(http_event("POST", "/api/pay/stkpush", order(phone, reference), JSON))
        if answer["statusCode"] != 202:
            raise RuntimeError(f"stkpush did not answer as it should: {answer}\n{self._push.log()}")
        (payment,) = self._simulator.client.payments()
        self._simulator.client.reset()
        path = urlsplit(payment["callback_url"]).path
        return paid(path, {**payment, "phone_number": payment["phone"]}, f"UKB{self._number:07}")

    def cold_callback_ms(self) -> float:
        """A cold instance, to the answer to its first callback."""
        return self.zips.cold_start_ms("callback", self.pushed(), self.environment)

    def cold_push_ms(self) -> float:
        """A cold instance, to the answer to its first push."""
        self._number += 1
        event = http_event("POST", "/api/pay/stkpush", order(f"2547000{self._number:05}", f"BENCH{self._number}"), JSON)
        taken_ms = self.zips.cold_start_ms("stkpush", event, self.environment)
        self._simulator.client.reset()
        return taken_ms

    @contextlib.contextmanager
    def warm(self) -> Iterator[Callable[[], float]]:
        """A warm instance: each call is one callback with its settlement, in milliseconds as Node sees it."""
        with self.zips.start("callback", self.environment) as instance:

            def one() -> float:
                answer, taken_ms = instance.timed(self.pushed())
                if answer["statusCode"] != 200:
                    raise RuntimeError(f"callback did not answer as it should: {answer}\n{instance.log()}")
                return taken_ms

            for _ in range(20):
                one()
            yield one

    def close(self) -> None:
        self._push.close()


def compare(revision: str) -> None:
    """Prints what each costs here, and as a ratio of what it cost then."""
    with earlier(revision) as (name, checkout, zips), unpacked_functions(zips) as then, unpacked_functions(ZIPS) as now:
        with server_and_simulator(durable=False) as (postgres, simulator):
            print(f"This checkout beside {name}\n")
            for what, pairs in measured(postgres, simulator, checkout, then, now):
                print(f"{what:<58} {ratio(pairs)}")
        for what, sizes in (("then", then.sizes), ("now", now.sizes)):
            largest = max(sizes, key=lambda function: function.zip_mb)
            print(f"{f'largest zip {what}':<58} {largest.zip_mb:.1f} MB, {largest.unpacked_mb:.1f} MB unpacked")


def measured(
    postgres: EmbeddedPostgres, simulator: Simulator, checkout: Path, then: UnpackedFunctions, now: UnpackedFunctions
) -> Iterator[tuple[str, list[tuple[float, float]]]]:
    """(what, pairs of milliseconds now and then). Each pair is measured in both orders in turn."""
    with contextlib.ExitStack() as opened:
        sides = []
        for name, place, zips in (("now", ROOT, now), ("then", checkout, then)):
            postgres.run("createdb", name)
            side = Revision(place, zips, postgres.url(name, tcp=True), simulator)
            opened.callback(side.close)
            sides.append(side)
        ours, theirs = sides
        for what in ("cold_callback_ms", "cold_push_ms"):
            pairs = in_turn(getattr(ours, what), getattr(theirs, what), COLD_PAIRS)
            yield what.replace("_ms", " start to the first answer").replace("_", " "), pairs[2:]  # the first: the disk
        with ours.warm() as our_callback, theirs.warm() as their_callback:
            yield (
                "callback with settlement, warm, through the bridge",
                in_turn(our_callback, their_callback, WARM_PAIRS),
            )


def in_turn(ours: Callable[[], float], theirs: Callable[[], float], at_most: int) -> list[tuple[float, float]]:
    pairs: list[tuple[float, float]] = []
    until = monotonic() + AT_MOST_S
    while len(pairs) < at_most and monotonic() < until:
        if len(pairs) % 2:
            before = theirs()
            pairs.append((ours(), before))
        else:
            pairs.append((ours(), theirs()))
    return pairs


def ratio(pairs: Sequence[tuple[float, float]]) -> str:
    """Of the medians, with the interval in which 95 of 100 runs like this one would find it."""

    def of_medians(some: Sequence[tuple[float, float]]) -> float:
        return statistics.median(pair[0] for pair in some) / statistics.median(pair[1] for pair in some)

    chance = random.Random(0)
    resampled = sorted(of_medians(chance.choices(pairs, k=len(pairs))) for _ in range(RESAMPLES))
    low, high = resampled[round(RESAMPLES * 0.025)], resampled[round(RESAMPLES * 0.975) - 1]
    now, then = (statistics.median(pair[side] for pair in pairs) for side in (0, 1))
    return f"{now:.2f} ms = {of_medians(pairs):.2f} of {then:.2f} ms ({low:.2f} to {high:.2f}; {len(pairs)} pairs)"


@contextlib.contextmanager
def earlier(revision: str) -> Iterator[tuple[str, Path, Path]]:
    """(its short name, its checkout, the zips that its own build made of it)."""
    name = said_by(["git", "rev-parse", "--short", f"{revision}^{{commit}}"], ROOT)
    with tempfile.TemporaryDirectory(prefix="lipa-bench-") as folder:
        checkout = Path(folder) / "then"
        said_by(["git", "clone", "--quiet", "--no-checkout", str(ROOT), str(checkout)], ROOT)
        said_by(["git", "checkout", "--quiet", "--detach", name], checkout)
        said_by(["make", "setup"], checkout)  # its pinned packages need not be ours
        said_by([".venv/bin/python", "-m", "dev.build"], checkout)
        yield name, checkout, checkout / ".netlify" / "functions"


def said_by(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True, timeout=900)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    return done.stdout.strip()
