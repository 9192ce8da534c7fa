"""Each step of the sweep made to fail for ever: every other does its work, and an alert leaves within two sweeps."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shared import collaborators
from shared.database import Busy, DatabaseUnavailable
from shared.gateway.daraja import Queries
from shared.gateway.inbox import Inbox
from shared.gateway.outbox import Outbox
from shared.gateway.trail import Anchors
from shared.gateway.watch import EVERYTHING, Watch
from tests.chaos.customers import Pushed, nth_order, push
from tests.fixtures.shop import Shop

STEPS: dict[str, tuple[type, str, str]] = {
    "reading what there is to do": (Watch, "agenda", "agenda"),
    "judging": (Inbox, "take", "callbacks"),
    "burying": (Inbox, "bury", "dead_letters"),
    "ages": (Queries, "silent", "ages"),
    "anchors": (Anchors, "make", "anchoring"),
    "sending": (Outbox, "take", "messages"),
    "giving up": (Outbox, "give_up", "given_up"),
    "looking at the shop": (Watch, "look", "looking"),
    "forgetting": (Watch, "forget", "forgetting"),
    "asking": (Queries, "take", "queries"),
}
"""What is made to fail, and the name under which it is alerted."""


@pytest.fixture
def busy(unhurried: Shop, monkeypatch: pytest.MonkeyPatch) -> Work:
    return Work(unhurried, monkeypatch)


class Work:
    """A shop in which every step has something to do, and by what one sees that it was done."""

    def __init__(self, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shop = shop
        self.number = 0
        self.paid = push(shop, nth_order(90))  # history of an earlier day, for an anchor
        shop.call("callback", "POST", self.paid.path, raw=self.paid.success())
        shop.age(2 * 86_400)
        shop.simulator.client.advance(0)
        self.unjudged, self.invoiced, self.silent, self.asked = (self._pushed() for _ in range(4))
        with monkeypatch.context() as left:
            left.setattr("netlify.functions.callback.FOLLOWS_UP_FOR_S", 0)
            shop.call("callback", "POST", self.invoiced.path, raw=self.invoiced.success())
            left.setattr("netlify.functions.callback.judge", _raises(RuntimeError("dies")))
            shop.call("callback", "POST", self.unjudged.path, raw=self.unjudged.success())
        shop.overwrite(
            f"""
            UPDATE transactions SET next_query_at = NULL, created_at = created_at - interval '16 minutes'
            WHERE id = '{self.silent.transaction_id}';
            """.strip().rstrip(";")
        )
        shop.age(31)

    def _pushed(self) -> Pushed:
        self.number += 1
        return push(self.shop, nth_order(self.number))

    def done(self) -> dict[str, bool]:
        shop = self.shop
        status = {row["id"]: row["status"] for row in shop.rows("SELECT id::text, status FROM transactions")}
        return {
            "judging": status[self.unjudged.transaction_id] == "PAID",
            "asking": status[self.asked.transaction_id] == "PAID",
            "ages": "silence" in shop.alerts(self.silent.transaction_id),
            "anchors": bool(shop.rows("SELECT id FROM audit_anchors")),
            "sending": any(self.invoiced.receipt in mail["text"] for mail in shop.letters() if self.invoiced.receipt),
            "looking at the shop": bool(shop.rows("SELECT looked_at FROM sweeps WHERE looked_at IS NOT NULL")),
        }


def _raises(failure: BaseException) -> Callable[..., object]:
    def broken(*_: object, **__: object) -> object:
        raise failure

    return broken


def alerted(shop: Shop) -> str:
    return "\n".join(line for line in shop.logged if "'alert': 'work_stuck'" in line)


def test_all_of_it_is_done_in_one_sweep(busy: Work) -> None:
    assert busy.shop.sweep().status == 200
    assert set(busy.done().values()) == {True}
    assert alerted(busy.shop) == ""


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("failure", [RuntimeError("broken"), DatabaseUnavailable("slow"), Busy("slow")], ids=type)
def test_a_step_that_fails_for_ever_stops_no_other_and_is_alerted(
    busy: Work, monkeypatch: pytest.MonkeyPatch, step: str, failure: Exception
) -> None:
    shop, (owner, method, named) = busy.shop, STEPS[step]
    if step == "reading what there is to do" and isinstance(failure, DatabaseUnavailable):
        return  # then there is no database: nothing can be done, and the sweep says so
    with monkeypatch.context() as broken:
        broken.setattr(Watch, "agenda", lambda _: EVERYTHING)  # each has something to do in both sweeps
        broken.setattr(owner, method, _raises(failure))
        for _ in range(2):
            assert shop.sweep().status in (500, 503)
        assert f"'step': '{named}'" in alerted(shop)
        assert shop.row("SELECT count(*) AS n FROM sweeps WHERE began_at > now() - interval '5 s'") == {"n": 0}
        missing = {what for what, done in busy.done().items() if not done}
        assert missing <= {step} | ({"sending"} if step == "judging" else set())
    shop.age(61)
    assert shop.sweep().status == 200
    assert shop.row("SELECT count(*) AS n FROM sweeps WHERE began_at > now() - interval '5 s'") == {"n": 1}


def test_an_alert_leaves_even_where_none_can_be_stored(busy: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Queries, "silent", _raises(RuntimeError("broken")))
    monkeypatch.setattr(Watch, "step_breaks", _raises(RuntimeError("broken too")))
    busy.shop.sweep()
    assert "'step': 'ages'" in alerted(busy.shop)


def test_one_payment_that_cannot_be_looked_at_is_alerted_and_stops_no_other(
    busy: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.sweeping.check_age", _raises(RuntimeError("poisoned")))
    assert busy.shop.sweep().status == 200
    assert "'step': 'clock'" in alerted(busy.shop)
    assert {what for what, done in busy.done().items() if not done} == {"ages"}


def test_a_sweep_that_breaks_for_a_quarter_of_an_hour_tries_every_quarter_of_an_hour(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would keep a database awake that is paid by the hour; the alert has left."""
    monkeypatch.setattr(Watch, "forget", _raises(RuntimeError("broken")))
    sweeps = collaborators.collaborators().sweeps
    for _ in range(15):
        assert sweeps.asleep_s() == 0
        shop.overwrite("UPDATE sweeps SET looked_at = NULL")
        assert shop.sweep().status == 500
    assert 890 < sweeps.asleep_s() <= 900


def test_alerts_leave_first(busy: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where everything after them is cut off."""
    shop = busy.shop
    shop.rows("INSERT INTO outbox (kind, topic) VALUES ('alert', 'review_waiting') RETURNING id")
    monkeypatch.setattr(Inbox, "take", _raises(SystemExit()))
    with pytest.raises(SystemExit):
        shop.sweep()
    assert "'alert': 'review_waiting'" in "\n".join(shop.logged)
