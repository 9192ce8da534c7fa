"""An idle shop's sweep leaves the database alone, says until when, and wakes for what it saw coming due."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from dev.costs import agenda_at
from shared import collaborators, sweeping
from shared.collaborators import collaborators as mine
from shared.gateway import watch
from tests.chaos.customers import nth_order, push
from tests.fixtures.shop import Shop, forget_collaborators

BY_THE_CLOCK = watch.AGENDA_IN_S


@pytest.fixture
def sleepy(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A shop whose sweep sleeps as it does by default."""
    monkeypatch.delenv("SWEEP_IDLE_MINUTES")
    monkeypatch.setattr(watch, "AGENDA_IN_S", agenda_at(6))
    forget_collaborators()
    return shop


def asleep_s(shop: Shop) -> float:
    """What is written down; 0: nothing."""
    row = shop.row("SELECT extract(epoch FROM asleep_until - now()) AS s FROM sweeps")
    return max(0.0, float(row["s"] or 0))


def touches_the_database(shop: Shop) -> bool:
    before = mine().gateway.database.round_trips
    assert (shop.sweep().status, shop.sweep().body) == (200, {})
    return mine().gateway.database.round_trips != before


def woken(shop: Shop) -> float:
    """A process that starts anew looks; for how long it says that it sleeps."""
    shop.overwrite("UPDATE sweeps SET asleep_until = NULL")
    collaborators.collaborators().sweeps.got_through(0)
    assert shop.sweep().status == 200
    return asleep_s(shop)


def test_an_idle_sweep_says_that_it_sleeps_for_an_hour_and_does(sleepy: Shop) -> None:
    sleepy.sweep()
    assert 3590 < asleep_s(sleepy) <= 3600
    assert not touches_the_database(sleepy)


@pytest.mark.parametrize("stands_still", ["monotonic", "time"])
def test_it_wakes_when_either_clock_says_so(sleepy: Shop, monkeypatch: pytest.MonkeyPatch, stands_still: str) -> None:
    sleepy.sweep()
    clocks = {"monotonic": lambda: time.monotonic() + 3601, "time": lambda: time.time() + 3601}
    clocks[stands_still] = getattr(time, stands_still)
    monkeypatch.setattr(sweeping, "time", SimpleNamespace(**clocks))
    assert touches_the_database(sleepy)


def test_a_cold_process_looks(sleepy: Shop) -> None:
    sleepy.sweep()
    sleepy.age(1800)
    sleepy.another_instance().sweep()
    assert 3590 < asleep_s(sleepy) <= 3600


def test_who_never_idles_looks_every_time(shop: Shop) -> None:
    shop.sweep()
    assert asleep_s(shop) == 0
    assert touches_the_database(shop)


def test_while_a_payment_is_open_it_does_not_sleep(sleepy: Shop) -> None:
    payment = push(sleepy, nth_order(1), query=["still_processing"] * 9)
    assert woken(sleepy) == 0
    sleepy.age(16 * 60)
    assert woken(sleepy) == 0
    sleepy.call("callback", "POST", payment.path, raw=payment.success())
    assert woken(sleepy) > 3590


@pytest.mark.parametrize(
    ("what", "least_s", "most_s"),
    [
        ("UPDATE transactions SET next_query_at = now() + interval '5 minutes'", 290, 300),
        ("INSERT INTO outbox (kind, topic, next_try_at) VALUES ('alert', 'x', now() + interval '9 minutes')", 530, 540),
        ("UPDATE transactions SET status = 'REVIEW', review_reason = 'silence',"
         " updated_at = now() - interval '23 hours 30 minutes'", 1790, 1800),
        ("UPDATE callback_inbox SET outcome = 'dead_letter', judged_at = now() - interval '23 h 45 min'", 890, 900),
        ("INSERT INTO mail_pause (until) VALUES (now() + interval '20 minutes');"
         " UPDATE outbox SET sent_at = NULL, next_try_at = now(), tries = 1 WHERE kind = 'invoice'", 1190, 1200),
    ],
)  # fmt: skip
def test_what_comes_due_earlier_shortens_it(sleepy: Shop, what: str, least_s: float, most_s: float) -> None:
    sleepy.history_is_made_up = True
    payment = push(sleepy, nth_order(1))
    sleepy.call("callback", "POST", payment.path, raw=payment.success())
    kept = sleepy.copy_of("transactions", "callback_inbox", "outbox", "mail_pause")
    with sleepy.books.transaction() as tx:
        tx.script("SET LOCAL session_replication_role = 'replica'")
        tx.script(what)
    assert least_s < woken(sleepy) <= most_s
    sleepy.put_back(kept)


def test_it_wakes_for_the_anchor_of_the_day(sleepy: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    payment = push(sleepy, nth_order(1))
    sleepy.call("callback", "POST", payment.path, raw=payment.success())
    sleepy.age(2 * 86_400)
    sleepy.sweep()
    assert len([mail for mail in sleepy.letters(to_the_shop=True) if "keep this message" in mail["subject"]]) == 1
    assert woken(sleepy) > 3590
    monkeypatch.setattr(watch, "AGENDA_IN_S", BY_THE_CLOCK)
    monkeypatch.setattr(watch, "AGENDA_IN_S", agenda_at(23, 45))  # the next one is due at a quarter past midnight
    assert 1730 < woken(sleepy) <= 1800


def test_an_alert_that_no_sweep_runs_counts_from_when_it_wakes(sleepy: Shop) -> None:
    sleepy.sweep()
    sleepy.age(40 * 60)
    payment = push(sleepy, nth_order(1))
    sleepy.age(29 * 60)
    sleepy.status(payment.transaction_id)
    assert "'alert': 'sweep_stopped'" not in "\n".join(sleepy.logged)
    sleepy.age(3 * 60)
    sleepy.status(payment.transaction_id)
    assert "'alert': 'sweep_stopped'" in "\n".join(sleepy.logged)


def test_what_a_clock_that_was_ahead_wrote_silences_no_alert(sleepy: Shop) -> None:
    payment = push(sleepy, nth_order(1), "cancel")
    sleepy.call("callback", "POST", payment.path, raw=payment.failure(1032, "cancelled"))
    sleepy.sweep()
    sleepy.overwrite("UPDATE sweeps SET asleep_until = '2199-01-01'")
    sleepy.age(11 * 60)
    sleepy.status(payment.transaction_id)
    assert "'alert': 'sweep_stopped'" in "\n".join(sleepy.logged)


def test_a_payment_whose_callback_is_lost_and_whose_page_is_closed_is_settled_within_61_minutes(
    sleepy: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed_s = 0.0
    clocks = SimpleNamespace(monotonic=lambda: time.monotonic() + passed_s, time=lambda: time.time() + passed_s)
    monkeypatch.setattr(sweeping, "time", clocks)
    sleepy.sweep()
    payment = push(sleepy, nth_order(1))
    minutes = 0
    while sleepy.payment(payment.transaction_id)["status"] == "PENDING":
        minutes, passed_s = minutes + 1, passed_s + 60
        sleepy.age(60)
        sleepy.sweep()
        assert minutes <= 61
    assert sleepy.payment(payment.transaction_id)["status"] == "PAID"
    assert len(sleepy.letters()) == 1


def test_an_idle_day_is_at_most_26_connections() -> None:
    command = [sys.executable, "-m", "dev.costs", "--only", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)
    day = json.loads(done.stdout)
    assert day["requests"] == 1440
    assert 20 <= day["connections"] <= 26
    assert day["awake_minutes"] <= 130
