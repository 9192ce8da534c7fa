"""The measurements of `make bench`: each gives its lines of the table."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from dev.bench.plain_driver import PlainDriver, Recording
from dev.bench.shop import Shop, Work, quiet
from dev.bench.unpacked_functions import UnpackedFunctions
from dev.deployed_function import http_event

IMPORT_ALONE = "import time; began = time.perf_counter(); import mpesakit; print((time.perf_counter() - began) * 1000)"
ROUNDS = 15
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
    warm = built.warm_calls("status", http_event("GET", "/api/pay/nothing"))
    yield Line(
        "bridge, warm: added to calling the handler directly",
        f"p50 **{warm.overhead_p50:.2f} ms**, p99 {warm.overhead_p99:.2f} ms",
        "p50 at most 1 ms",
    )


def edge(here: Shop) -> Iterator[Line]:
    """What the edge adds to a story: reading the event, checks, headers, JSON and the canonical log line."""
    from netlify.functions import callback, status
    from shared.edge import Request

    def through(work: Work, handler: Callable[[dict[str, Any], None], dict[str, Any]]) -> float:
        event = here.event(work)
        began = perf_counter()
        answer = handler(event, None)
        taken_ms = (perf_counter() - began) * 1000
        if answer["statusCode"] != 200:
            raise RuntimeError(f"{work} did not answer as it should: {answer}")
        return taken_ms

    def alone(work: Work, story: Callable[[Request], object]) -> float:
        event = here.event(work)
        body = str(event["body"] or "").encode()
        request = Request(event["httpMethod"], event["path"], event["headers"], body)
        began = perf_counter()
        story(request)
        return (perf_counter() - began) * 1000

    for work, handler, story in (
        (Work.STATUS, status.handler, status.tell),
        (Work.CALLBACK, callback.handler, callback.receive),
    ):
        with_edge, without = [], []
        with quiet():
            through(work, handler)  # opens the connection
            for _ in range(SETTLEMENTS // 2):  # in both orders: the second of two finds things warm
                with_edge.append(through(work, handler))
                without += [alone(work, story), alone(work, story)]
                with_edge.append(through(work, handler))
        ours, bare = statistics.median(with_edge), statistics.median(without)
        yield Line(
            f"{in_code(work)} through the edge, warm, beside its story alone",
            f"{ours:.2f} ms = **{ours / bare:.2f}** of {bare:.2f} ms",
            "",
        )


def round_trips(here: Shop) -> Iterator[Line]:
    """Exchanges with PostgreSQL of one usual request, in a warm instance."""
    from netlify.functions import callback, invoice, status, stkpush, sweep
    from shared.collaborators import collaborators, receiver

    handlers = {"callback": callback, "status": status, "stkpush": stkpush, "invoice": invoice, "sweep": sweep}
    counted = []
    for work in Work:
        own = receiver() if work is Work.CALLBACK else collaborators()
        trips = 0
        for _ in range(2):  # the first one opens the connection, fetches the token and does what is done once a day
            event = here.event(work)
            before = own.gateway.database.round_trips
            with quiet():
                answer = handlers[work.function].handler(event, None)
            if answer["statusCode"] not in (200, 202):
                raise RuntimeError(f"{work} did not answer as it should: {answer}")
            trips = own.gateway.database.round_trips - before
        counted.append(f"{work} {trips}")
    yield Line("database round trips a request", ", ".join(counted), "callback at most 20")


def settlement(here: Shop) -> Iterator[Line]:
    """A callback with its settlement, beside the same statements sent by pg8000 alone."""
    from netlify.functions import callback

    ours, alone = [], []
    direct = PlainDriver(here.environment["DATABASE_URL"])
    sent = Recording()
    model = here.payment()
    model_event = here.callback(model)
    with sent, quiet():
        callback.handler(model_event, None)
    for _ in range(SETTLEMENTS):
        event = here.event(Work.CALLBACK)
        with quiet():
            began = perf_counter()
            answer = callback.handler(event, None)
            ours.append((perf_counter() - began) * 1000)
        if answer["statusCode"] != 200:
            raise RuntimeError(f"the callback was not taken: {answer}")
        payment = here.payment()
        script = sent.about(model, model_event, payment, here.callback(payment))
        began = perf_counter()
        direct.run(script)
        alone.append((perf_counter() - began) * 1000)
    direct.close()
    mine, plain = statistics.median(ours), statistics.median(alone)
    yield Line(
        "`callback` with settlement, warm, beside its SQL sent by pg8000 alone",
        f"{mine:.2f} ms = **{mine / plain:.2f}** of its {plain:.2f} ms",
        "at most 1.5",
    )


def sizes(built: UnpackedFunctions) -> Iterator[Line]:
    largest = max(built.sizes, key=lambda function: function.zip_mb)
    yield Line(
        f"largest zip of {len(built.sizes)}",
        f"{largest.zip_mb:.1f} MB, {largest.unpacked_mb:.1f} MB unpacked",
        "at most 35 MB, 110 MB",
    )
