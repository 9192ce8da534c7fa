"""`ops golive`: from nothing to live in many runs, against the simulator; no phone rings without its owner's word."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from tempfile import TemporaryFile
from typing import IO, Any

import pytest

from shared.database import DatabaseError
from tests.fixtures.shop import CUSTOMER, Shop
from tests.fixtures.statement_rows import on_statement

OWNER = "0708 374 149"
LOW = {"MAX_PAYMENT_KES": 5000, "MAX_PHONE_KES_PER_DAY": 10000, "MAX_SHOP_KES_PER_DAY": 50000}
BEFORE_THE_PROMPT = ("doctor", "limits_low")
BY_WORD = ("--who", "amina", "--why", "seen on the phone")


class Run:
    """One run, in a process of its own, with the variables of the site; what is typed comes from a terminal."""

    def __init__(self, shop: Shop, functions_url: str, *words: str, typed: str = "") -> None:
        self._shop = shop
        self._printed, self._told = TemporaryFile("w+"), TemporaryFile("w+")  # noqa: SIM115
        terminal, self._keyboard = os.openpty()
        if typed:
            os.write(self._keyboard, typed.encode())
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ops", "golive", "--json", "--who", "amina", *words],
            stdin=terminal if typed else subprocess.DEVNULL, stdout=self._printed, stderr=self._told,
            env={**os.environ, "DATABASE_URL": functions_url},
        )  # fmt: skip
        os.close(terminal)

    def waits_for_the_phone(self) -> Run:
        wait_for(lambda: "Waiting for the phone" in read(self._told))
        return self

    def ended(self) -> tuple[int, dict[str, Any]]:
        """Its exit code, and its document; nothing private is in what it printed or remembers."""
        code = self.process.wait(timeout=240)
        os.close(self._keyboard)
        kept = str(self._shop.rows("SELECT who, says, facts FROM golive_steps"))
        printed, told = read(self._printed), read(self._told)
        assert re.search(r"(254|0)[17](\s?[0-9]){8}|[\w.]+@\w+\.\w+", printed + told + kept) is None
        assert printed, told
        return code, json.loads(printed)

    def found(self) -> dict[str, Any]:
        """The step that is next, as it was found."""
        code, said = self.ended()
        assert (code, "steps" in said) == (1, True), said
        (step,) = [it for it in said["steps"] if it["state"] == "now"]
        return step  # type: ignore[no-any-return]


class Operator:
    def __init__(self, shop: Shop, functions_url: str) -> None:
        self.shop = shop
        self._functions_url = functions_url

    def start(self, *words: str, typed: str = "") -> Run:
        return Run(self.shop, self._functions_url, *words, typed=typed)

    def run(self, *words: str, typed: str = "") -> tuple[int, dict[str, Any]]:
        return self.start(*words, typed=typed).ended()

    def now(self, *words: str, typed: str = "") -> dict[str, Any]:
        return self.start(*words, typed=typed).found()

    def pushes(self) -> int:
        return len(self.shop.simulator.client.requests("/mpesa/stkpush/v1/processrequest"))


@pytest.fixture
def operator(shop: Shop, functions_url: str) -> Iterator[Operator]:
    shop.configure(CATALOGUE="tests/fixtures/catalogue_closed.json", **LOW)
    shop.sweep()
    yield Operator(shop, functions_url)
    shop.configure(CATALOGUE="tests/fixtures/catalogue.json")


@pytest.fixture
def ready(operator: Operator) -> Operator:
    """The KES 1 is next."""
    for step in BEFORE_THE_PROMPT:
        assert operator.run("--done", step, *BY_WORD[2:])[0] == 1
    return operator


def typed(number: str = OWNER, again: str | None = None) -> str:
    return f"{number}\n{number if again is None else again}\n"


def test_a_shop_goes_from_nothing_to_live_in_many_runs(operator: Operator) -> None:
    shop = operator.shop
    shop.configure(MAX_PAYMENT_KES=250000)
    assert "--yes" in operator.now()["says"], "doctor's warnings are a person's to accept"
    found = operator.now("--yes")
    assert found["name"] == "limits_low"
    assert "MAX_PAYMENT_KES=5000" in found["do_now"]
    shop.configure(**LOW)
    assert "terminal" in operator.now()["says"], "no phone rings for a program"
    assert operator.pushes() == 0

    shop.simulator.client.script(CUSTOMER, "cancel", after_s=0)
    found = operator.now(typed=typed())
    assert (found["name"], operator.pushes()) == ("payment", 1)
    shop.simulator.client.script(CUSTOMER, "pay", after_s=0)
    found = operator.now(typed=typed("+254708374149", "0708374149"))
    assert (found["name"], operator.pushes()) == ("books", 2), found
    sent = [mail for mail in shop.simulator.client.mail() if "INV-" in str(mail)]
    assert sent, "the shop has the invoice of its own test"

    found = operator.now()
    assert (found["name"], "no fault so far" in found["says"]) == ("watch", True)
    shop.age(25 * 3600)
    assert "no sweep runs" in operator.now()["says"]
    shop.sweep()
    assert "incident" in operator.now()["says"], "the sweep had stopped"
    shop.overwrite("DELETE FROM incidents")
    found = operator.now()
    assert (found["name"], "reconcile" in found["do_now"]) == ("statement", True)
    receipt = shop.row("SELECT mpesa_receipt_number AS number FROM payment_confirmations")["number"]
    on_statement(shop, receipt, "1")

    assert "wait for 7" in operator.now()["says"]
    shop.age(7 * 86400)
    shop.configure(CATALOGUE="tests/fixtures/catalogue.json")
    for number in range(20):
        amount = 2000 if number else 3000
        shop.settled(phone_number=f"2547000000{number:02}", amount=amount)
    shop.sweep()
    found = operator.now()
    assert found["name"] == "limits_raised"
    assert "Set MAX_PAYMENT_KES=10000, MAX_SHOP_KES_PER_DAY=100000" in found["do_now"]
    shop.configure(MAX_PAYMENT_KES=10000, MAX_SHOP_KES_PER_DAY=100000)
    assert "doctor failed again: alerts" in operator.now("--yes")["says"], "the week was without a sweep"
    shop.overwrite("DELETE FROM incidents")
    code, said = operator.run("--yes")
    assert (code, {it["state"] for it in said["steps"]}) == (0, {"done"}), said["steps"][-1]["says"]
    assert operator.run("--status") == (0, said), "another machine sees the same"
    assert {it["who"] for it in said["steps"]} == {"amina"}
    assert operator.pushes() == 22


def test_paid_at_once_proves_both_steps_with_one_prompt(ready: Operator) -> None:
    ready.shop.simulator.client.script(CUSTOMER, "pay", after_s=0)
    assert ready.now(typed=typed())["name"] == "payment"
    assert ready.now()["name"] == "watch"
    assert ready.pushes() == 1


def test_a_wrong_passkey_is_explained_and_asked_again_only_by_consent(ready: Operator) -> None:
    ready.shop.simulator.client.script(CUSTOMER, push_answer="wrong_credentials")
    found = ready.now(typed=typed())
    assert found["name"] == "prompt"
    assert "MPESA_PASSKEY does not belong to MPESA_SHORTCODE" in found["says"]
    assert "terminal" in ready.now()["says"]
    assert ready.pushes() == 1
    ready.shop.simulator.client.script(CUSTOMER, "cancel", after_s=0)
    assert ready.now(typed=typed())["name"] == "payment"
    assert ready.pushes() == 2


def test_a_lost_callback_is_named(ready: Operator, unhurried: Shop) -> None:
    unhurried.simulator.client.script(CUSTOMER, callback_count=0)
    run = ready.start(typed=typed()).waits_for_the_phone()
    unhurried.simulator.client.answer(CUSTOMER, "cancel")
    unhurried.age(200)  # so it is asked about at once
    wait_for(lambda: unhurried.rows("SELECT 1 FROM transactions WHERE status = 'CANCELLED'"))
    unhurried.age(60)  # no callback came in this time either
    found = run.found()
    assert (found["name"], "no callback came" in found["says"]) == ("prompt", True)
    assert "docs/deploying.md, step 7" in found["do_now"]


def test_an_ignored_prompt_proves_nothing_yet(ready: Operator) -> None:
    ready.shop.simulator.client.script(CUSTOMER, "ignore", after_s=0)
    found = ready.now(typed=typed())
    assert (found["name"], "No answer from the phone" in found["says"]) == ("prompt", True)


def test_who_stops_waiting_reads_where_it_stands(ready: Operator) -> None:
    ready.shop.simulator.client.script(CUSTOMER)
    run = ready.start(typed=typed()).waits_for_the_phone()
    run.process.send_signal(signal.SIGINT)
    assert "PENDING" in run.found()["says"]
    ready.shop.simulator.client.answer(CUSTOMER, "cancel")
    assert ready.now()["name"] == "payment"
    assert ready.pushes() == 1


def test_a_customers_limits_hold_for_the_test_too(ready: Operator) -> None:
    ready.shop.simulator.client.script(CUSTOMER, "ignore", after_s=0)
    ready.now(typed=typed())
    found = ready.now(typed=typed())
    assert "was asked for just now" in found["says"]
    assert re.fullmatch(r"Wait [0-9]+ seconds; then python -m ops golive", found["do_now"])
    assert ready.pushes() == 1


@pytest.mark.parametrize("answers", [typed(again="0722 000 000"), typed("12"), typed(again="")])
def test_without_the_same_number_twice_nothing_is_sent(ready: Operator, answers: str) -> None:
    assert "Nothing was sent" in ready.now(typed=answers)["says"]
    assert ready.pushes() == 0
    assert ready.shop.rows("SELECT 1 FROM golive_steps WHERE state = 'asked'") == []


def test_runs_at_once_ring_once(ready: Operator) -> None:
    ready.shop.simulator.client.script(CUSTOMER)
    runs = [run.waits_for_the_phone() for run in [ready.start(typed=typed()) for _ in range(3)]]
    ready.shop.simulator.client.answer(CUSTOMER, "cancel")
    assert {run.found()["name"] for run in runs} == {"payment"}
    assert ready.pushes() == 1
    assert len(ready.shop.rows("SELECT 1 FROM golive_steps WHERE state = 'asked'")) == 1


def test_a_run_that_was_killed_is_gone_on_with_and_rings_no_second_time(ready: Operator) -> None:
    ready.shop.simulator.client.script(CUSTOMER)
    ready.start(typed=typed()).waits_for_the_phone().process.kill()
    another = ready.start().waits_for_the_phone()  # the number is not asked for again
    ready.shop.simulator.client.answer(CUSTOMER, "cancel")
    assert another.found()["name"] == "payment"
    assert ready.pushes() == 1


def test_a_wish_whose_request_never_left_is_asked_anew_when_its_link_is_out_of_date(ready: Operator) -> None:
    lost = {"reference": "LIVE00000000", "order": "x.y", "key": "k", "until": "2026-01-01T00:00:00+00:00"}
    ready.shop.overwrite(
        "INSERT INTO golive_steps (step, state, who, says, facts)"
        " VALUES ('prompt', 'asked', 'amina', '', CAST(:facts AS jsonb))",
        facts=json.dumps(lost),
    )
    ready.shop.simulator.client.script(CUSTOMER, "cancel", after_s=0)
    assert ready.now(typed=typed())["name"] == "payment"


def test_a_persons_word_is_kept_as_that_and_live_comes_last(operator: Operator) -> None:
    assert operator.run("--done", "live", *BY_WORD[2:])[1]["error"]["code"] == "refused"
    for step in ("doctor", "limits_low", "prompt", "payment", "books", "watch", "statement", "limits_raised"):
        code, said = operator.run("--done", step, *BY_WORD[2:])
        assert (code, next(it for it in said["steps"] if it["name"] == step)["state"]) == (1, "said")
    assert "already" in operator.run("--done", "watch", *BY_WORD[2:])[1]["error"]["says"]
    code, said = operator.run("--yes")
    assert (code, operator.pushes()) == (0, 0), said
    watch, live = said["steps"][5], said["steps"][-1]
    assert "first day was not watched" in watch["says"]
    assert "Not proven, but said by a person: doctor, limits_low" in live["says"]


def test_the_steps_are_kept_for_ever_and_status_writes_none(operator: Operator) -> None:
    code, said = operator.run("--status")
    assert (code, said["steps"][0]["state"], said["steps"][0]["do_now"]) == (1, "now", "python -m ops golive")
    assert operator.shop.rows("SELECT 1 FROM golive_steps") == []
    operator.run("--done", "doctor", *BY_WORD[2:])
    for change in ("UPDATE golive_steps SET who = 'x'", "DELETE FROM golive_steps", "TRUNCATE golive_steps"):
        with pytest.raises(DatabaseError), operator.shop.books.transaction() as tx:
            tx.run(change)
    assert operator.run("--done", "doctor")[0] == 2, "a word needs its reason"


def read(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


def wait_for(found: Any) -> None:
    until = time.monotonic() + 120
    while not found():
        assert time.monotonic() < until
        time.sleep(0.05)
