"""Forgers against the callback function: nothing is settled, no paid payment is harmed, and nothing breaks.

The real handler, on a real database, with the simulator as the Daraja that is asked where a query decides. No money
moves for the payments that are attacked, so whatever becomes paid was invented. A failure names the class and the
number of the variant, which forge the same again.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from shared.collaborators import collaborators
from shared.database import Row
from shared.deadline import Deadline
from shared.gateway.daraja import QueryDue
from shared.query_schedule import Budget
from shared.settlement import ask, check_age
from tests.chaos.crew import Crew, Job, callback, function
from tests.chaos.customers import Pushed, Truth, nth_order, push
from tests.chaos.forgeries import FORGERIES, AimsAt, Forgery, Kind, Scene, Target, failing, told
from tests.fixtures.shop import ORDER, Shop
from tests.fixtures.soak import Figure, Rounds

SEED = "2026-11-22"
PAID_PAYMENTS = 6
A_PRIME = 997
"""So many amounts before one comes again, then for another phone."""
REFUSED = (400, 404, 405, 413)


def test_no_forgery_settles_a_payment_or_harms_a_paid_one(unhurried: Shop, rounds: Rounds, figure: Figure) -> None:
    shop = unhurried
    town, truth, score = Town(shop), Truth(shop), Score()
    for kind in FORGERIES:
        truth.begin_round()
        town.everybody_cancels()
        books = town.books()
        targets: dict[str, str] = {}
        for variant in range(rounds(6, 500)):
            named = f"{kind.name} {variant}"
            randomness = random.Random(f"{SEED} {named}")
            scene = town.scene(kind.aims_at, randomness)
            on_file = -1 if kind.address_leaked else stored(shop)
            status = post(shop, kind.forge(scene), randomness)
            score.answered(named, status)
            if not kind.address_leaked and (status not in REFUSED or stored(shop) != on_file):
                score.let_in.append(named)
            targets[scene.target.transaction_id] = named
        score.unjudged += [targets.get(str(row["transaction_id"]), kind.name) for row in shop.rows(UNJUDGED)]
        town.next_minute()
        if kind.aims_at is not AimsAt.PAID:
            score.settled += [named for id, named in targets.items() if is_settled(shop.payment(id))]
        score.harmed += [f"{kind.name}: {payment}" for payment in town.books() if payment not in books]
        assert truth.unexplained() == []
    assert score == Score(forgeries=score.forgeries)
    figure(
        f"{len(FORGERIES)} classes, {score.forgeries:,} forgeries: 0 settled, 0 paid payments harmed, 0 answers of 500"
    )


def test_forgeries_that_race_the_real_callback_change_nothing_without_the_address(
    shop: Shop, crew: Crew, rounds: Rounds, figure: Figure
) -> None:
    raced = race(shop, crew, times := rounds(10, 500), address_leaked=False)
    assert raced == Raced(forgeries=raced.forgeries, became=Counter(PAID=times))
    figure(f"{times} of {times} paid with the real receipt")


def test_forgeries_with_the_address_that_race_the_real_callback_lose_no_money(
    shop: Shop, crew: Crew, rounds: Rounds, figure: Figure
) -> None:
    """The worst they can do is to call for a person: then the payment is in review, with its real receipt."""
    raced = race(shop, crew, rounds(10, 500), address_leaked=True)
    assert raced == Raced(forgeries=raced.forgeries, became=raced.became)
    assert set(raced.became) <= {"PAID", "REVIEW"}
    figure(f"{raced.became['PAID']} paid, {raced.became['REVIEW']} in review, all with the real receipt")


def test_a_perfect_forgery_is_believed_below_the_threshold_only(shop: Shop) -> None:
    """By design, since Daraja signs nothing: such a forgery is word for word what Safaricom would send."""
    town = Town(shop)
    believed, doubted = town.accepted(random.Random(1)), town.large(random.Random(1))
    for number, target in enumerate((believed, doubted)):
        scene = Scene(target, town.paid[0], town.paid[1], random.Random(number))
        assert post(shop, Forgery(target.path, told(target, scene)), scene.randomness) == 200
    town.next_minute()
    assert shop.payment(believed.transaction_id)["status"] == "PAID"
    assert shop.payment(doubted.transaction_id)["status"] == "REVIEW"
    assert shop.alerts(doubted.transaction_id) == {"contradiction"}


@pytest.mark.parametrize("kind", FORGERIES, ids=lambda kind: kind.name)
def test_a_class_of_forgeries_has_many_variants_and_forges_the_same_again(kind: Kind) -> None:
    def forged(variant: int) -> Forgery:
        randomness = random.Random(variant)
        target, other, third = (a_target(randomness) for _ in range(3))
        return kind.forge(Scene(target, other, third, randomness))

    assert len({(one.path, one.body, one.method) for one in map(forged, range(25))}) == 25
    assert [forged(variant) for variant in range(25)] == [forged(variant) for variant in range(25)]


def test_the_proofs_page_names_every_class_of_forgeries() -> None:
    page = (Path(__file__).parents[2] / "docs" / "proofs" / "README.md").read_text("utf-8")
    assert [kind.name for kind in FORGERIES if f"`{kind.name}`" not in page] == []


# The customers --------------------------------------------------------------------------------------------------------


class Town:
    """Customers whose payments are attacked. Those that are not paid never will be: their customers cancelled."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._client = shop.simulator.client
        self._orders = 0
        self.everybody_cancels()
        self.paid = [self._paid() for _ in range(PAID_PAYMENTS)]
        self._third = self._ask_for({})

    def everybody_cancels(self) -> None:
        """Unless they are told otherwise."""
        self._client.script(None, "cancel", after_s=0, callback_count=0, uses=100_000)

    def scene(self, aims_at: AimsAt, randomness: random.Random) -> Scene:
        """With a target that nobody has attacked before, unless it is paid."""
        mark, other = randomness.sample(self.paid, k=2)
        makers: dict[AimsAt, Callable[[random.Random], Target]] = {
            AimsAt.OPEN: self.open,
            AimsAt.ACCEPTED: self.accepted,
            AimsAt.LARGE: self.large,
            AimsAt.PAID: lambda _: mark,
        }
        return Scene(makers[aims_at](randomness), other, self._third, randomness)

    def open(self, randomness: random.Random) -> Target:
        """Accepted, or unanswered: then the first ids that it learns are the forger's."""
        if randomness.randrange(5):
            return self.accepted(randomness)
        return self._ask_for({}, drop_response=True)

    def accepted(self, randomness: random.Random) -> Target:
        """Pending, declined, or in review for its silence."""
        target = self._ask_for({})
        match randomness.choice(["pending", "pending", "declined", "silent"]):
            case "declined":
                assert self._shop.call("callback", "POST", target.path, raw=failing(target, "1037")).status == 200
            case "silent":
                self._shop.rows(AN_HOUR_AGO, id=target.transaction_id)
                assert check_age(collaborators().gateway, target.transaction_id) == "to_review"
        return target

    def large(self, randomness: random.Random) -> Target:
        """Above the threshold, by a shilling or more; Daraja may take its time to say that nobody paid."""
        silences = randomness.choice([[], [], ["still_processing"] * 9, ["spike_arrest_429"], ["firewall_403"]])
        return self._ask_for({"amount": 20_001 + self._orders}, query=silences)

    def pays(self) -> Pushed:
        """A customer who does pay; Safaricom has not called back yet."""
        return push(self._shop, self._next_order())

    def next_minute(self) -> None:
        """Everything that is due is asked, judged and sent."""
        while isinstance(due := collaborators().gateway.queries.take(Budget(0)), QueryDue):
            ask(collaborators().gateway, collaborators().daraja, due, Deadline.after(8))
        assert self._shop.sweep().status == 200

    def books(self) -> list[Row]:
        """All that is on file about the paid payments, but for who last asked and told."""
        ids = ",".join(target.transaction_id for target in self.paid)
        return self._shop.rows(PAID_BOOKS, ids=ids)

    def _next_order(self, **changes: object) -> dict[str, object]:
        """Of small amounts, so that thousands of payments stay below what M-Pesa moves for a phone in a day."""
        self._orders += 1
        return nth_order(self._orders, **{"amount": 100 + self._orders % A_PRIME, **changes})

    def _paid(self) -> Target:
        paid = self.pays()
        assert self._shop.call("callback", "POST", paid.path, raw=paid.success()).status == 200
        return Target(**vars(paid))

    def _ask_for(self, changes: dict[str, object], **knobs: object) -> Target:
        order = self._next_order(**changes)
        if knobs:
            self._client.script(str(order["phone_number"]), "cancel", after_s=0, callback_count=0, **knobs)
        reply = self._shop.call("stkpush", "POST", "/api/mpesa/stkpush", {**ORDER, **order})
        assert reply.status == 202, reply.body
        found = self._shop.payment(reply.body["transaction_id"])
        return Target(
            transaction_id=str(found["id"]),
            path=self._shop.callback_path(str(found["id"])),
            merchant_request_id=found["merchant_request_id"] or f"0000-0000-0000-{self._orders:05}",
            checkout_request_id=found["checkout_request_id"] or f"ws_CO_0000{self._orders:05}",
            phone=found["phone_number"],
            amount=int(found["amount"]),
        )


# The forgers ----------------------------------------------------------------------------------------------------------


@dataclass
class Score:
    """What forgers achieved, by class and variant. They should achieve nothing."""

    forgeries: int = 0
    settled: list[str] = field(default_factory=list)
    harmed: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    """Answered with 5xx."""
    let_in: list[str] = field(default_factory=list)
    """Stored, or answered as a callback, without the address."""
    unjudged: list[str] = field(default_factory=list)
    """On file, and judging it failed: even the strangest bytes are an outcome, not an exception."""

    def answered(self, named: str, status: int) -> None:
        self.forgeries += 1
        if status >= 500:
            self.broken.append(named)


@dataclass
class Raced(Score):
    became: Counter[str] = field(default_factory=Counter)


def race(shop: Shop, crew: Crew, how_many: int, *, address_leaked: bool) -> Raced:
    """Every payment is really paid, and told of by Safaricom, while three forgers try their luck with it."""
    town, truth, score = Town(shop), Truth(shop), Raced()
    kinds = [
        kind
        for kind in FORGERIES
        if kind.aims_at in (AimsAt.OPEN, AimsAt.ACCEPTED) and kind.address_leaked is address_leaked
    ]
    for beginning in range(0, how_many, 25):
        truth.begin_round()
        jobs: list[tuple[str | None, Job]] = []
        paying = [town.pays() for _ in range(beginning, min(beginning + 25, how_many))]
        for variant, paid in enumerate(paying, beginning):
            randomness = random.Random(f"{SEED} race {variant}")
            target = Target(**vars(paid))
            scene = Scene(target, randomness.choice(town.paid), town.paid[0], randomness)
            forgeries = [(f"{kind.name} {variant}", kind.forge(scene)) for kind in randomness.sample(kinds, k=2)]
            if address_leaked:
                forgeries.append((f"failure {variant}", Forgery(paid.path, failing(target, "1032"))))
            tried = [(named, as_job(forged, randomness)) for named, forged in forgeries]
            jobs += [(None, callback(paid.path, paid.success())), *tried]
        answers = crew.at_once([job for _, job in jobs], spread_s=0.05, seed=beginning)
        for (named, _), answer in zip(jobs, answers, strict=True):
            if named is None:
                assert answer.status == 200
            else:
                score.answered(named, answer.status)
        if shop.rows(UNJUDGED):  # they lost every race for a lock: the sweep takes them up when their lease is over
            shop.age(31)
        town.next_minute()
        score.became += Counter(str(shop.payment(paid.transaction_id)["status"]) for paid in paying)
        score.settled += truth.unexplained()
    return score


def post(shop: Shop, forged: Forgery, randomness: random.Random) -> int:
    """The status it was answered with."""
    answer = shop._handle("callback", as_job(forged, randomness)["event"])
    return int(answer["statusCode"])


def as_job(forged: Forgery, randomness: random.Random) -> Job:
    """A body that is text travels as text or in base64, as the platform likes."""
    body: str | bytes = forged.body
    with suppress(UnicodeDecodeError):
        body = forged.body if randomness.randrange(3) == 0 else forged.body.decode()
    return function("callback", forged.method, forged.path, body, forged.headers)


def stored(shop: Shop) -> int:
    return int(shop.row("SELECT count(*) AS n FROM callback_inbox")["n"])


def is_settled(payment: Row) -> bool:
    return payment["status"] in ("PAID", "REFUNDED") or payment["paid_at"] is not None


def a_target(randomness: random.Random) -> Target:
    number = randomness.getrandbits(40)
    token = f"{randomness.getrandbits(256):064x}"
    transaction_id = f"{randomness.getrandbits(32):08x}-0000-4000-8000-{number:012x}"
    path = f"/api/mpesa/callback/{transaction_id}/{token}"
    ids = (f"5998-46a7-{number}", f"ws_CO_22112026{number}")
    return Target(transaction_id, path, *ids, "254700000010", randomness.randrange(100, 9_999), f"UK{number}")


AN_HOUR_AGO = """
    UPDATE transactions SET created_at = created_at - interval '61 minutes' WHERE id = CAST(:id AS uuid) RETURNING id
"""
UNJUDGED = "SELECT transaction_id FROM callback_inbox WHERE outcome IS NULL"
PAID_BOOKS = """
    SELECT t.id, t.status, t.amount, t.paid_at, t.paid_late, t.refunded_at, t.failed_at, t.updated_at, t.customer_email,
           t.merchant_request_id, t.checkout_request_id, t.ids_are_learnt, t.result_code, t.callback_received_at,
           to_jsonb(c) AS confirmation, to_jsonb(i) - 'status' - 'sent_at' AS invoice
    FROM transactions t
    LEFT JOIN payment_confirmations c ON c.transaction_id = t.id LEFT JOIN invoices i ON i.transaction_id = t.id
    WHERE t.id::text = ANY (string_to_array(CAST(:ids AS text), ',')) ORDER BY t.id
"""
