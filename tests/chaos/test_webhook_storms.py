"""Every event of a payment reaches the shop's webhook, signed and in order, or an alert says that it did not; every
sale is mailed, and twice only where an answer was lost. Whatever the shop's server and the mail service do.

A storm that fails prints its seed, and replays alone: `STORM=7 pytest tests/chaos/test_webhook_storms.py`.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from shared import delivery
from shared.collaborators import collaborators
from shared.gateway.cases import Report
from shared.gateway.inbox import Entry
from shared.payments import OperatorRefunded
from shared.settlement import judge, settle
from shared.values import new_id
from tests.chaos.books import broken_invariants, only_the_shop_listens, wipe
from tests.fixtures.certificates import self_signed
from tests.fixtures.shop import Shop, admit, callback_about, write_history
from tests.fixtures.soak import Figure, Rounds
from tests.fixtures.webhook_receiver import SECRET, Receiver, receiving, untrusted

PAYMENTS = 300
BY_HANDLER = 10
"""Payments whose callback comes by the function, which tries at once."""
FAILS = ("500", "503", "404", "301", "redirect", "hang", "drip", "reset", "401")
TAKES = ("200", "204", "huge")
A_POST_LASTS_S = 0.25
MOST_SWEEPS = 60
SHOPS_MAILBOX = "orders@duka.co.ke"
EVENTS = """
    SELECT 'msg_' || o.transaction_id || '_' || o.tells_of AS event_id, o.transaction_id::text, o.topic, o.tells_of,
           o.tries, o.next_try_at, o.sent_at, o.last_error,
           EXISTS (SELECT FROM outbox a WHERE a.transaction_id = o.transaction_id AND a.kind = 'alert'
                     AND a.topic = 'webhook_not_delivered') AS alerted
    FROM outbox o WHERE o.kind = 'webhook' ORDER BY o.id
"""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


@pytest.fixture
def wrong_certificate(tmp_path: Path) -> Iterator[str]:
    """The address of a server whose certificate nobody vouches for."""
    with untrusted(self_signed(tmp_path)) as url:
        yield url


class Storm:
    """One round: payments that are paid, fail, come late and go back, and a server that takes events as it likes."""

    def __init__(self, seed: int, shop: Shop, receiver: Receiver, wrong_certificate: str) -> None:
        self._chance = Random(seed)
        self._shop, self._receiver, self._wrong_certificate = shop, receiver, wrong_certificate
        self._fails_left: dict[str, int] = {}
        self._gone: set[str] = set()
        self._never: set[str] = set()
        self.came: Counter[str] = Counter()
        receiver.told.clear()
        receiver.behaves_by_id = self._behaves

    def _behaves(self, event_id: str, _: dict[str, Any]) -> str:
        """By the event's fate, drawn when it comes first."""
        if event_id not in self._fails_left:
            fate = self._chance.choices(("well", "badly", "never", "gone"), (60, 30, 6, 4))[0]
            self._fails_left[event_id] = {"well": 0, "badly": self._chance.randint(1, 4)}.get(fate, 99)
            if fate == "gone":
                self._gone.add(event_id)
        if event_id in self._gone:
            return "410"
        if self._fails_left[event_id]:
            self._fails_left[event_id] -= 1
            return self._chance.choice(FAILS)
        return self._chance.choice(TAKES)

    def run(self) -> Counter[str]:
        self._trouble_for_mail()
        for number in range(PAYMENTS):
            self._pay(number)
        self._deliver()
        self._events_came_in_order_or_were_alerted()
        self._sales_were_mailed()
        assert broken_invariants(self._shop.books) == []
        return self.came

    def _trouble_for_mail(self) -> None:
        for kind in ("drop_after", "drop", "error_500", "drop_after", "reset"):
            self._shop.simulator.client.fault("mail", kind, to=SHOPS_MAILBOX, times=self._chance.randint(1, 2))

    def _pay(self, number: int) -> None:
        gateway = collaborators().gateway
        phone = f"2547{number:08}"
        with self._shop.books.transaction() as tx:
            payment = admit(tx, phone)
            ids = (f"m-{payment}", f"ws_CO_{payment}")
            tx.later(
                """
                UPDATE transactions SET status = 'PENDING', merchant_request_id = :merchant,
                       checkout_request_id = :checkout
                WHERE id = CAST(:id AS uuid)
                """,
                id=payment,
                merchant=ids[0],
                checkout=ids[1],
            )
            write_history(tx, payment, "PushAccepted", "accepted", "PENDING", "INITIATED")
        row = {"amount": 1500, "merchant_request_id": ids[0], "checkout_request_id": ids[1]}
        fate = self._chance.choices(("paid", "failed", "late", "refunded", "late refunded"), (60, 10, 15, 10, 5))[0]
        receipt = f"UE{number:08}"
        said = [callback_about(row, MpesaReceiptNumber=receipt, PhoneNumber=int(phone))]
        if fate.startswith(("failed", "late")):
            said.insert(0, callback_about(row, 1032))
        for body in said[: 1 if fate == "failed" else 2]:
            if number < BY_HANDLER:
                assert self._shop.call("callback", "POST", self._shop.callback_path(payment), raw=body).status == 200
                continue
            entry = Entry(new_id(), payment, body)
            gateway.inbox.remember(entry, "127.0.0.1")
            judge(gateway, entry, "callback")
        if "refunded" in fate:
            settle(gateway, payment, Report(OperatorRefunded(f"RE{number:08}"), "operator asha", why="gone"))

    def _deliver(self) -> None:
        """Sweeps, until nothing waits; what is to be tried again later is due at once."""
        for number in range(MOST_SWEEPS):
            with_wrong_certificate = number == 2
            self._shop.configure(
                ORDER_WEBHOOK_URL=self._wrong_certificate if with_wrong_certificate else self._receiver.url
            )
            reply = self._shop.sweep()
            assert reply.status == 200, reply.body
            self.came["sweeps"] += 1
            self._shop.overwrite("UPDATE outbox SET next_try_at = now() WHERE next_try_at > now()")
            if not self._shop.rows("SELECT id FROM outbox WHERE next_try_at IS NOT NULL LIMIT 1"):
                return
        raise AssertionError(
            self._shop.rows("SELECT kind, topic, tries, last_error FROM outbox WHERE next_try_at IS NOT NULL")
        )

    def _events_came_in_order_or_were_alerted(self) -> None:
        assert self._receiver.forged == []
        assert self._receiver.elsewhere == [], "a redirect was followed"
        arrived: dict[str, list[str]] = defaultdict(list)
        for one in self._receiver.told:
            arrived[one.id].append(one.answered)
        events = self._shop.rows(EVENTS)
        assert set(arrived) <= {row["event_id"] for row in events}
        for row in events:
            came = arrived[row["event_id"]]
            told = f"{row}: {came}"
            assert row["next_try_at"] is None, told
            assert len(came) <= row["tries"] <= 7, told
            if row["sent_at"]:
                assert came, told
                assert came[-1] in TAKES, told
            else:
                assert row["alerted"], told
                assert came[-1:] == ["410"] or row["tries"] == 7, told
                self.came["alerted"] += 1
            self.came["events"] += 1
            self.came["tries"] += len(came)
        place = {row["event_id"]: row["tells_of"] for row in events}
        order: dict[str, list[int]] = defaultdict(list)
        for one in self._receiver.told:
            order[one.data["transaction_id"]].append(place[one.id])
        assert [payment for payment, places in order.items() if places != sorted(places)] == []

    def _sales_were_mailed(self) -> None:
        brought: dict[str, list[Any]] = defaultdict(list)
        for one in self._shop.simulator.client.deliveries():
            (message_id,) = [value for name, value in one["headers"] if name == "X-Lipa-Message-Id"]
            brought[message_id].append(one)
        for row in self._shop.rows("SELECT id, sent_at, last_error FROM outbox WHERE kind = 'sale'"):
            taken = [one for one in brought[f"sale.{row['id']}"] if one["mail_id"]]
            lost = [one for one in taken if one["answer"] is None]
            assert row["sent_at"], row
            assert 1 <= len(taken) <= 1 + len(lost), (row, taken)
            self.came["sales"] += 1
            self.came["mailed twice"] += len(taken) - 1
            self.came["answers lost"] += len(lost)


def test_every_event_arrives_signed_and_in_order_or_is_alerted_and_every_sale_is_mailed(
    shop: Shop,
    receiver: Receiver,
    wrong_certificate: str,
    rounds: Rounds,
    figure: Figure,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    only_the_shop_listens(monkeypatch)
    monkeypatch.setattr(delivery, "A_POST_LASTS_S", A_POST_LASTS_S)
    monkeypatch.setattr("netlify.functions.callback.FOLLOWS_UP_FOR_S", 1.5)
    shop.history_is_made_up = True
    shop.configure(ORDER_WEBHOOK_URL=receiver.url, ORDER_WEBHOOK_SECRET=SECRET, ORDERS_EMAIL_TO=SHOPS_MAILBOX)
    shop.sweep()
    first = int(os.environ.get("STORM", "0"))
    seeds = [first] if "STORM" in os.environ else range(rounds(1, 10))
    came: Counter[str] = Counter()
    for seed in seeds:
        try:
            came += Storm(seed, shop, receiver, wrong_certificate).run()
        except BaseException:
            print(f"the storm that failed: STORM={seed} pytest tests/chaos/test_webhook_storms.py", *shop.logged[-8:])
            raise
        wipe(shop.books)
        shop.simulator.client.reset()
        shop.logged.clear()
    assert min(came[name] for name in ("alerted", "mailed twice")) > 0, "that was no storm"
    figure(
        f"{len(seeds) * PAYMENTS:,} payments, {came['events']:,} events in {came['tries']:,} tries: each delivered and"
        f" signed, in order, or alerted ({came['alerted']}); {came['sales']:,} sales mailed,"
        f" {came['mailed twice']} twice for {came['answers lost']} lost answers"
    )
