"""Thirty-two instances behind a pooler that gives them two sessions: the functions do not notice.

PgBouncer in transaction mode, as Neon, Supabase and Netlify Database offer it. The control does the same work on the
same statements, sent one by one by the plain driver as they would be in autocommit, and breaks the books.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from dev.ports import free_port
from dev.postgres import EmbeddedPostgres
from tests.chaos.crew import Crew, ask, callback, status, stkpush, sweep
from tests.chaos.customers import Pushed, Truth, decided, nth_order
from tests.fixtures.database import TEMPLATE, broken_invariants, fresh_database
from tests.fixtures.pgbouncer import PGBOUNCER, POOL, pgbouncer
from tests.fixtures.shop import Shop
from tests.fixtures.soak import Figure, Rounds

CLIENTS = 32
ORDERS = 8
"""At once; each is asked for four times."""

pytestmark = pytest.mark.skipif(not Path(PGBOUNCER).exists(), reason="PgBouncer is not installed (Debian: pgbouncer)")


@pytest.fixture
def pooler(postgres_server: EmbeddedPostgres) -> Iterator[str]:
    """Its address, up to the name of a database."""
    port = free_port()
    with pgbouncer(postgres_server, port):
        yield f"postgresql://postgres:{postgres_server.password}@127.0.0.1:{port}"


def test_32_clients_share_two_sessions_and_break_nothing(
    shop: Shop, crew: Crew, pooler: str, rounds: Rounds, figure: Figure
) -> None:
    crew.work_for(os.environ | {"DATABASE_URL": pooler + urlsplit(shop.database_url).path})
    truth, violations = Truth(shop), Counter[str]()
    for number in range(how_many := rounds(2, 200)):
        violations += a_busy_minute(shop, crew, truth, number)
    sessions = shop.row(SESSIONS)
    figure(f"{how_many} rounds, {CLIENTS} clients, {sessions['n']} sessions: {violations.total()} violations")
    assert violations == Counter()
    assert 0 < sessions["n"] <= POOL


def test_the_same_work_in_autocommit_breaks_the_books(
    shop: Shop, crew: Crew, pooler: str, postgres_server: EmbeddedPostgres, figure: Figure
) -> None:
    """Which shows that the test above can fail. One client alone is served: it is the many that break it."""
    with fresh_database(postgres_server, TEMPLATE) as name:
        careless = Shop(postgres_server.url(name), shop.simulator)
        for table in (
            "transactions",
            "callback_inbox",
        ):  # now() is another in each statement: one alone would be refused
            careless.rows(f"ALTER TABLE {table} DISABLE TRIGGER written_once")
        crew.work_for(os.environ | {"DATABASE_URL": f"{pooler}/{name}"}, autocommit=True)
        shop.simulator.client.script(None, "pay", after_s=0, callback_count=0)
        (alone,) = crew.at_once([stkpush(None, **nth_order(ORDERS))])
        assert alone.status == 202
        violations = a_busy_minute(careless, crew, Truth(careless), 0)
        crew.work_for({})
        careless.close()
    figure(f"violations: {dict(sorted(violations.items()))}")
    assert violations.total() > 0


def a_busy_minute(shop: Shop, crew: Crew, truth: Truth, number: int) -> Counter[str]:
    """Eight customers, each asking four times, then callbacks, queries, sweeps and looks: what was wrong with it."""
    truth.begin_round()
    shop.simulator.client.script(None, "pay", after_s=0, callback_count=0, uses=CLIENTS)
    orders = [nth_order(ORDERS * number + which) for which in range(ORDERS)]
    keys = ["first", "first", "second", None]
    asked = crew.at_once(
        [stkpush(key and f"{key}-{order['account_reference']}", **order) for key in keys for order in orders],
        seed=number,
    )
    wrong = Counter(f"push answered {_answer(one)}" for one in asked if _answer(one) not in ("202", "429"))
    taken = {str(one.body["transaction_id"]) for one in asked if _answer(one) == "202"}
    if len(taken) != ORDERS:
        wrong[f"orders taken: {len(taken)} in place of {ORDERS}"] += 1
    if truth.pushes() != ORDERS:
        wrong[f"pushes sent: {truth.pushes()} in place of {ORDERS}"] += 1
    accepted = [
        decided(shop, str(row["id"]))
        for row in shop.rows("SELECT id FROM transactions WHERE status = 'PENDING' ORDER BY created_at")
        if str(row["id"]) in taken
    ]
    shop.age(21)
    told = [callback(paid.path, paid.success()) for paid in accepted[:ORDERS]] * 3
    others = [ask(paid.transaction_id) for paid in accepted[:4]] + [sweep()] * 2
    others += [status(paid.transaction_id) for paid in accepted[-2:]]
    answers = crew.at_once(told + others, spread_s=0.03, seed=number)
    wrong += Counter(f"answered {_answer(one)}" for one in answers if _answer(one) not in ("200", *STORIES_END_AS))
    wrong += Counter(f"a payment is {_status(shop, paid)}" for paid in accepted if _status(shop, paid) != "PAID")
    wrong += Counter(f"broken: {name}" for name in broken_invariants(shop.database_url))
    wrong += Counter("money unexplained" for _ in truth.unexplained())
    return wrong


STORIES_END_AS = ("paid", "repeated")
SESSIONS = "SELECT count(*) AS n FROM pg_stat_activity WHERE client_port > 0 AND datname = current_database()"


def _answer(one: object) -> str:
    return one if isinstance(one, str) else str(getattr(one, "status", one))


def _status(shop: Shop, paid: Pushed) -> str:
    return str(shop.payment(paid.transaction_id)["status"])
