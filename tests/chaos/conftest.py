"""What the attacks share: a crew of instances, and a database with room for all of them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from dev.postgres import EmbeddedPostgres
from tests.chaos.books import LIMITS
from tests.chaos.crew import Crew
from tests.chaos.virtual_time import VirtualTime
from tests.fixtures.database import migrated_template, temporary_postgres
from tests.fixtures.shop import Shop


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[EmbeddedPostgres]:
    """With room for the connections of a whole crew."""
    with temporary_postgres(max_connections="500") as server:
        migrated_template(server)
        yield server


@pytest.fixture(autouse=True)
def limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of the way: the attacks here ring a few phones, from one address, as often as they can."""
    for name in LIMITS:
        monkeypatch.setenv(name, "100000")


@pytest.fixture(scope="session")
def running_crew() -> Iterator[Crew]:
    crew = Crew()
    yield crew
    crew.close()


@pytest.fixture
def crew(shop: Shop, running_crew: Crew) -> Iterator[Crew]:
    """At work for this test's shop; what the instances log is searched as all the shop's logs are."""
    running_crew.new_log()
    running_crew.work_for(os.environ)
    yield running_crew
    running_crew.work_for({})
    shop.logged.append(running_crew.new_log())


@pytest.fixture
def time(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Iterator[VirtualTime]:
    """The shop's time, and its simulator's, moved by hand."""
    moved = VirtualTime(shop.database_url, monkeypatch, shop.simulator)
    yield moved
    moved.close()
