"""Everybody is erased from books that have seen everything: the evidence gives the same states, no shilling moves.

After a hostile day, and after forgers of every class. What was sent by hostile hands is rewritten too, so these bodies
are the widest there are.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from ops import review
from ops.audit import verify
from ops.erasure import Eraser
from ops.people import People, Person
from shared import settings
from shared.collaborators import collaborators
from shared.database import Database
from shared.deadline import Deadline
from shared.gateway.daraja import QueryDue
from shared.gateway.invoices import Operator
from shared.gateway.trail import Trail
from shared.query_schedule import Budget
from shared.settlement import ask
from simulator import Behaviour, Simulator, SimulatorSettings
from tests.chaos.books import broken_invariants, only_the_shop_listens
from tests.chaos.day import PHONES, Day
from tests.chaos.forgeries import FORGERIES
from tests.chaos.test_forgeries import Town, post
from tests.chaos.virtual_time import VirtualTime
from tests.fixtures.shop import Shop, replayed_differently
from tests.fixtures.soak import Figure, Rounds

THREE_DAYS = 3 * 86_400
MONEY = """
    SELECT t.id, t.status, t.amount, t.paid_at IS NULL AS unpaid, t.refund_receipt, c.mpesa_receipt_number, c.evidence,
           c.amount AS confirmed, v.invoice_number, v.amount AS invoiced,
           ARRAY(SELECT (i.id, i.outcome, i.receipts)::text FROM callback_inbox i
                 WHERE i.transaction_id = t.id ORDER BY i.id) AS callbacks
    FROM transactions t LEFT JOIN payment_confirmations c ON c.transaction_id = t.id
    LEFT JOIN invoices v ON v.transaction_id = t.id ORDER BY t.id
"""
WORDS = """
    SELECT concat_ws(' ', t.*) FROM transactions t UNION ALL SELECT concat_ws(' ', c.*) FROM payment_confirmations c
    UNION ALL SELECT concat_ws(' ', v.*) FROM invoices v UNION ALL SELECT concat_ws(' ', o.*) FROM outbox o
    UNION ALL SELECT concat_ws(' ', q.*) FROM query_answers q
    UNION ALL SELECT concat_ws(' ', k.*) FROM idempotency_keys k
    UNION ALL SELECT encode(i.body, 'escape') || ' ' || coalesce(i.last_error, '') FROM callback_inbox i
"""


@pytest.fixture
def simulator(request: pytest.FixtureRequest) -> Iterator[Simulator]:
    """Of a day its time stands still until the day moves it; beside forgers Daraja may be asked at any time."""
    a_day = request.param == "a day"
    behaviour = Behaviour(push_latency_s=0, callback_timeout_s=600, query_limit_per_minute=5 if a_day else 0)
    with Simulator(SimulatorSettings(seed=0, time_stands_still=a_day, behaviour=behaviour)) as running:
        yield running


@pytest.mark.parametrize("simulator", ["a day"], indirect=True)
def test_everybody_of_a_hostile_day_is_erased(
    shop: Shop, rounds: Rounds, figure: Figure, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_the_shop_listens(monkeypatch)
    payments = callbacks = 0
    for seed in range(rounds(1, 300)):
        time = VirtualTime(shop.database_url, monkeypatch, shop.simulator)
        Day(seed, shop, time).run()
        time.close()
        came = everybody_is_erased(shop, PHONES)
        payments, callbacks = payments + came[0], callbacks + came[1]
    figure(f"{payments} payments with {callbacks} callbacks erased after their day: 0 states, 0 KES different")


@pytest.mark.parametrize("simulator", ["forgers"], indirect=True)
def test_everybody_that_forgers_aimed_at_is_erased(unhurried: Shop, rounds: Rounds, figure: Figure) -> None:
    shop = unhurried
    town = Town(shop)
    for kind in FORGERIES:
        for variant in range(rounds(1, 100)):
            randomness = random.Random(f"erased {kind.name} {variant}")
            post(shop, kind.forge(town.scene(kind.aims_at, randomness)), randomness)
        town.next_minute()
    phones = [row["phone_number"] for row in shop.rows("SELECT DISTINCT phone_number FROM transactions")]
    came = everybody_is_erased(shop, phones)
    figure(
        f"{came[0]} payments with {came[1]} callbacks erased after {len(FORGERIES)} classes of forgeries: 0 different"
    )


def everybody_is_erased(shop: Shop, phones: list[str] | tuple[str, ...]) -> tuple[int, int]:
    """How many payments and callbacks there were. Half of the people go first, so that some stay beside them."""
    everything_comes_to_its_end(shop)
    shop.age(THREE_DAYS)
    before = shop.rows(MONEY)
    for half in (phones[: len(phones) // 2], phones[len(phones) // 2 :]):
        for phone in half:
            is_erased(shop, phone)
        assert replayed_differently(shop.books) == []
    assert shop.rows(MONEY) == before
    told = "\n".join(str(next(iter(row.values()))) for row in shop.rows(WORDS))
    assert [phone for phone in phones if phone[3:] in told] == []
    assert "@example.com" not in told
    database = Database(shop.database_url)
    assert broken_invariants(database) == []
    assert verify(database, settings.settings().audit.keys).findings == []
    database.close()
    return len(before), sum(len(row["callbacks"]) for row in before)


def everything_comes_to_its_end(shop: Shop) -> None:
    for _ in range(5):
        shop.age(3700)
        while isinstance(due := collaborators().gateway.queries.take(Budget(0)), QueryDue):
            ask(collaborators().gateway, collaborators().daraja, due, Deadline.after(8))
        shop.sweep()
        for row in shop.rows("SELECT id FROM transactions WHERE status = 'REVIEW'"):
            review.fail(collaborators().gateway, str(row["id"]), "asha", "not on the statement")
        shop.rows("UPDATE callback_inbox SET outcome = 'noted' WHERE outcome = 'dead_letter' RETURNING id")


def is_erased(shop: Shop, phone: str) -> None:
    database = Database(shop.database_url)
    people, person = People(database, nothing_owed=True), Person(phone)
    eraser = Eraser(database, people, Trail(settings.settings().audit.key), Operator("amina", "asked"))
    orders = people.orders_of(person)
    unfinished: list[object] = [order.not_yet for order in orders if order.not_yet or not eraser.person(order)]
    ids = [transaction_id for order in orders for transaction_id in order.ids]
    unfinished += [each for each in people.named_elsewhere(person, but=ids) if not eraser.mention(each, person)]
    database.close()
    assert unfinished == []
