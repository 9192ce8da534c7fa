"""The measurements of `make bench`: each gives its lines of the table."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from dev.bench.distance import Distance
from dev.bench.shop import Shop, Work, quiet, shop
from dev.bench.unpacked_functions import UnpackedFunctions, answered_ms
from dev.deployed_function import http_event

IMPORT_ALONE = "import time; began = time.perf_counter(); import mpesakit; print((time.perf_counter() - began) * 1000)"
ROUNDS = 15
CALLS, WARM_UP = 550, 50
SETTLEMENTS = 200


@dataclass(frozen=True)
class Line:
    """One line of the table."""

    what: str
    measured: str
    target: str


def in_code(work: Work) -> str:
    """Its name, with the function's in the page's type for code."""
    return work.replace(work.function, f"`{work.function}`", 1)


def cold_starts(here: Shop, built: UnpackedFunctions) -> Iterator[Line]:
    """A cold instance to its first answer, beside `import mpesakit` (the leading Python SDK) in this Python."""
    imports: list[float] = []
    taken: dict[Work, list[float]] = {work: [] for work in Work}
    for number in range(ROUNDS + 1):
        run = subprocess.run([sys.executable, "-c", IMPORT_ALONE], check=True, capture_output=True, text=True)
        answers = {work: built.cold_start_ms(work.function, here.event(work), here.environment) for work in Work}
        if number:  # the first round reads the files from the disk
            imports.append(float(run.stdout))
            for work, cold in answers.items():
                taken[work].append(cold)
    sdk = statistics.median(imports)
    yield Line("`import mpesakit`, the import alone", f"{sdk:.0f} ms", "the yardstick")
    targets = {Work.CALLBACK: "at most 1.0", Work.STKPUSH: "at most 1.5"}
    for work, values in taken.items():
        cold = statistics.median(values)
        yield Line(
            f"{in_code(work)}: cold start to first answer, PostgreSQL included",
            f"{cold:.0f} ms = **{cold / sdk:.2f}** of that import",
            targets.get(work, ""),
        )


def bridge(built: UnpackedFunctions) -> Iterator[Line]:
    """What Node and the Runtime API add to a call of the handler in Python."""
    nothing = http_event("GET", "/api/pay/nothing")  # a 404, which needs no environment
    bridged = []
    with built.start("status") as function:
        for _ in range(CALLS):
            function.invoke(nothing)
            bridged.append(function.took_ms)
    direct = statistics.median(built.called_directly_ms("status", nothing, CALLS)[WARM_UP:])
    percentiles = statistics.quantiles(bridged[WARM_UP:], n=100, method="inclusive")
    yield Line(
        "bridge, warm: added to calling the handler directly",
        f"p50 **{percentiles[49] - direct:.2f} ms**, p99 {percentiles[98] - direct:.2f} ms",
        "p50 at most 1 ms",
    )


def round_trips(here: Shop) -> Iterator[Line]:
    """Exchanges with PostgreSQL of one usual request, in a warm instance; a callback's until its payment is settled."""
    from netlify.functions import callback, invoice, status, stkpush, sweep
    from shared.collaborators import collaborators, receiver

    handlers = {"callback": callback, "status": status, "stkpush": stkpush, "invoice": invoice, "sweep": sweep}
    counted = []
    for work in Work:
        own = receiver() if work is Work.CALLBACK else collaborators()
        trips, sends_for_s = 0, callback.FOLLOWS_UP_FOR_S
        callback.FOLLOWS_UP_FOR_S = 0  # until the payment is settled: what it sends after that holds nothing up
        for _ in range(2):  # the first one opens the connection, fetches the token and does what is done once a day
            event = here.event(work)
            before = own.gateway.database.round_trips
            with quiet():
                answer = handlers[work.function].handler(event, None)
            if answer["statusCode"] not in (200, 202):
                raise RuntimeError(f"{work} did not answer as it should: {answer}")
            trips = own.gateway.database.round_trips - before
        callback.FOLLOWS_UP_FOR_S = sends_for_s
        counted.append(f"{work} {trips}")
    yield Line("database round trips a request", ", ".join(counted), "callback 5, stkpush 7, status 2, empty sweep 10")


def far_away(here: Shop, built: UnpackedFunctions) -> Iterator[Line]:
    """A warm request where the database is 100 ms away, as Frankfurt is from Nairobi; with what it sends."""
    for work in (Work.CALLBACK, Work.STKPUSH, Work.STATUS):
        with (
            Distance(here.environment["DATABASE_URL"]) as url,
            built.start(work.function, {**here.environment, "DATABASE_URL": url}) as instance,
        ):
            taken = [answered_ms(instance, here.event(work)) for _ in range(10)]
        yield Line(f"{in_code(work)}, warm, database 100 ms away", f"{statistics.median(taken[2:]):.0f} ms", "")


def full_books(built: UnpackedFunctions, payments: int) -> Iterator[Line]:
    """A warm request on books with so many payments, beside one on empty books, in turn."""
    with shop() as full, shop() as empty, contextlib.ExitStack() as opened:
        full.fill(payments)
        for work in (Work.CALLBACK, Work.STKPUSH, Work.STATUS):
            ours, bare = (opened.enter_context(built.start(work.function, each.environment)) for each in (full, empty))
            pairs = [
                (answered_ms(ours, full.event(work)), answered_ms(bare, empty.event(work))) for _ in range(SETTLEMENTS)
            ]
            of_full, of_empty = (statistics.median(pair[side] for pair in pairs[20:]) for side in (0, 1))
            yield Line(
                f"{in_code(work)}, warm, p50 on books with {payments:,} payments",
                f"{of_full:.2f} ms = **{of_full / of_empty:.2f}** of {of_empty:.2f} ms on empty books",
                "at most 1.1",
            )


def sizes(built: UnpackedFunctions) -> Iterator[Line]:
    largest = max(built.sizes, key=lambda function: function.zip_mb)
    yield Line(
        f"largest zip of {len(built.sizes)}",
        f"{largest.zip_mb:.1f} MB, {largest.unpacked_mb:.1f} MB unpacked",
        "at most 35 MB, 110 MB",
    )
