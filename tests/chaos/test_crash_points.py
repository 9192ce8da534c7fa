"""Every crash point: whichever operation of a function fails or is its last, no money is lost, doubled or invented.

Each story is played once to record its operations: every login, every round trip to PostgreSQL,
every HTTP request. Then it is played again for each operation and each fault, on a shop as on its first day, and must
have done the same up to there. Afterwards come the browser's repetition, Safaricom's callback and the sweeps; then the
invariants hold, the books agree with the simulator's ledger, and nothing is open any more.

`make test` crashes at every push, every COMMIT (every other of a sweep), and a seeded choice of the rest; `make soak`
plays all there is.
"""

from __future__ import annotations

import itertools
import os
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from dev.postgres import EmbeddedPostgres
from tests.chaos.crash_pool import Case, Pool
from tests.chaos.crash_stories import STORIES, Story
from tests.chaos.crashes import FAULTS, FAULTS_OF_NO_RETURN, Fault
from tests.fixtures.database import TEMPLATE, fresh_database
from tests.fixtures.soak import Figure, Rounds

PUSH = "HTTP POST /mpesa/stkpush/v1/processrequest"
SHARE_OF_THE_REST = 0.02
SEED = "crash points"


@pytest.fixture(scope="module")
def pool(postgres_server: EmbeddedPostgres, request: pytest.FixtureRequest) -> Iterator[Pool]:
    side_by_side = (os.cpu_count() or 2) if request.config.getoption("soak") else 2
    with ExitStack() as databases:
        names = [databases.enter_context(fresh_database(postgres_server, TEMPLATE)) for _ in range(side_by_side)]
        running = Pool([postgres_server.url(name) for name in names])
        yield running
        running.close()


@pytest.fixture(scope="module")
def tally() -> Counter[str]:
    return Counter()


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_every_crash_leaves_the_books_right(
    story: Story, pool: Pool, tally: Counter[str], rounds: Rounds, figure: Figure
) -> None:
    operations = pool.record(story)
    cases = every_case(story, operations)
    chosen = cases if rounds(0, 1) else some_of(story, cases)
    wrong = pool.crash(story, chosen, operations)
    tally.update(stories=1, operations=len(operations), cases=len(cases), played=len(chosen), wrong=len(wrong))
    figure(f"{len(operations)} operations, {len(cases)} crashes, {len(chosen)} played")
    assert wrong == []


@pytest.mark.usefixtures("rounds")  # it has a long form, as the stories have
def test_the_crash_points_are_counted(tally: Counter[str], figure: Figure) -> None:
    """Runs after the stories."""
    assert tally["wrong"] == 0
    played = "all" if tally["played"] == tally["cases"] else f"{tally['played']:,}"
    crashes = f"{tally['operations']:,} operations, {tally['cases']:,} crashes"
    figure(f"{tally['stories']} stories, {crashes}, {played} played: 0 differences")


def every_case(story: Story, operations: list[str]) -> list[Case]:
    return [
        Case(operation, Fault(at, how), callback)
        for callback in story.callbacks
        for at, operation in enumerate(operations)
        for how in (FAULTS_OF_NO_RETURN if operation.startswith(("HTTP", "COMMIT")) else FAULTS)
    ]


def some_of(story: Story, cases: list[Case]) -> list[Case]:
    """Each push in two of the ways, each COMMIT in one (every other of a sweep), some of the rest: always the same."""
    chance = random.Random(f"{SEED} {story.name}")
    chosen: list[Case] = []
    for _, point in itertools.groupby(cases, key=lambda case: (case.callback, case.fault.at)):
        ways = list(point)
        if ways[0].operation == PUSH:
            chosen += chance.sample(ways, 2)
        elif ways[0].operation == "COMMIT":
            chosen += chance.sample(ways, 1 if not story.name.startswith("sweep") else chance.randrange(2))
        else:
            chosen += [case for case in ways if chance.random() < SHARE_OF_THE_REST]
    return chosen
