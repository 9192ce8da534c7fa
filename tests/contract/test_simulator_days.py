"""The simulator for whole days: a time that stands still until it is moved, and trouble drawn by chance from a seed."""

from __future__ import annotations

import http.client
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from random import Random

import pytest

from simulator import Behaviour, ControlError, Simulator, SimulatorSettings
from simulator.hostility import OUTCOMES, draw
from tests.fixtures.simulator import PHONE, CallbackReceiver, DarajaCaller

SEED = 7


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """Its time stands still."""
    behaviour = Behaviour(push_latency_s=0, query_limit_per_minute=0)
    with Simulator(SimulatorSettings(seed=SEED, time_stands_still=True, behaviour=behaviour)) as running:
        yield running


def test_nothing_happens_until_time_is_moved_and_then_all_of_it_has_happened(
    caller: DarajaCaller, receiver: CallbackReceiver
) -> None:
    client = caller.simulator.client
    client.script(PHONE, "pay", after_s=20, callback_delay_s=5, callback_count=2, callback_spacing_s=30)
    caller.accepted()
    assert client.advance(0) == 20
    assert client.advance(19.5) == 0.5
    assert client.ledger() == []
    assert client.advance(1) == 4.5
    assert (len(client.ledger()), receiver.received) == (1, [])
    assert client.advance(4.5) == 30
    assert len(receiver.received) == 1
    assert client.advance(3600) is None
    assert len(receiver.received) == 2


def test_what_is_due_within_one_move_happens_in_its_order(caller: DarajaCaller, receiver: CallbackReceiver) -> None:
    client = caller.simulator.client
    for after_s, phone in ((30, "254722000001"), (10, "254722000002"), (20, "254722000003")):
        client.script(phone, "cancel", after_s=after_s)
        caller.accepted(PhoneNumber=phone)
    client.advance(60)
    told = [one.told()["CheckoutRequestID"][-1] for one in receiver.received]
    assert told == ["2", "3", "1"]


def test_a_success_can_be_told_before_the_failure_it_took_back(
    caller: DarajaCaller, receiver: CallbackReceiver
) -> None:
    client = caller.simulator.client
    client.script(PHONE, "ignore", after_s=10, paid_later_s=300, told_in_reverse=True)
    checkout_request_id = caller.accepted()
    client.advance(11)
    assert caller.query(checkout_request_id).json()["ResultCode"] == "1037"
    client.advance(300)
    assert [one.told()["ResultCode"] for one in receiver.wait(2)] == [0, 1037]
    assert caller.query(checkout_request_id).json()["ResultCode"] == "0"
    assert len(client.ledger()) == 1
    with pytest.raises(ControlError, match="told_in_reverse"):
        client.script(PHONE, "ignore", told_in_reverse=True)


def test_the_same_money_can_come_as_a_c2b_confirmation_too(caller: DarajaCaller, receiver: CallbackReceiver) -> None:
    client = caller.simulator.client
    client.script(PHONE, "pay", after_s=0, c2b_confirmation=True)
    client.script(PHONE, "cancel", after_s=0, c2b_confirmation=True)
    caller.accepted(Amount="5")
    client.advance(1)
    confirmation, callback = (one.json() for one in receiver.wait(2))
    assert (confirmation["TransAmount"], confirmation["BillRefNumber"]) == ("5.00", "accountref")
    assert confirmation["TransID"] == client.ledger()[0]["receipt"]
    assert "stkCallback" in callback["Body"]
    caller.accepted()
    client.advance(1)
    assert [one.told()["ResultCode"] for one in receiver.received[2:]] == [1032]


def test_a_hostile_simulator_draws_the_same_troubles_from_the_same_seed(
    caller: DarajaCaller, receiver: CallbackReceiver
) -> None:
    def what_happened() -> list[tuple[str, str, int]]:
        client = caller.simulator.client
        caller.forget_token()
        client.reset(seed=SEED)
        client.behave(hostility=0.5)
        for number in range(40):
            with suppress(http.client.HTTPException):  # some answers are dropped
                order = {"PhoneNumber": f"2547220000{number:02d}", "Amount": str(10 + number)}
                if caller.push(**order).status == 404:  # some tokens die
                    caller.forget_token()
                    caller.push(**order)
            client.advance(60)
        client.advance(6 * 3600)
        return [(one["state"], one["result_code"], len(one["callbacks"])) for one in client.payments()]

    first = what_happened()
    assert first == what_happened()
    assert len(set(first)) > 5


def test_after_peace_was_made_queries_tell_the_truth_and_nothing_fails(caller: DarajaCaller) -> None:
    client = caller.simulator.client
    client.script(PHONE, "pay", after_s=0, query=["firewall_403"], query_stuck_s=900)
    client.fault("query", "error_500", times=9)
    client.script(None, "cancel")
    client.behave(hostility=1)
    checkout_request_id = caller.accepted()
    client.advance(1)
    assert caller.query(checkout_request_id).status == 500
    client.make_peace()
    assert caller.query(checkout_request_id).json()["ResultCode"] == "0"
    caller.accepted()
    client.advance(10)
    assert client.payments()[0]["state"] == "prompt"


def test_without_hostility_a_person_decides(caller: DarajaCaller) -> None:
    caller.accepted()
    caller.simulator.client.advance(10)
    assert caller.simulator.client.payments()[0]["state"] == "prompt"


def test_every_trouble_is_drawn_and_every_draw_is_a_possible_script() -> None:
    drawn = [draw(Random(seed), 0.6) for seed in range(4000)]
    knobs = Counter(
        name for script in drawn for name in script.model_dump(exclude_defaults=True, exclude={"after_s", "outcome"})
    )
    assert {
        "paid_amount", "paid_later_s", "told_in_reverse", "push_answer", "reaches_phone", "drop_response",
        "callback_count", "callback_delay_s", "callback_spacing_s", "callback_before_response", "callback_code",
        "callback_amount", "callback_amount_told", "callback_balance", "callback_phone", "callback_metadata",
        "callback_leave_out", "c2b_confirmation", "query", "query_stuck_s", "query_result",
        "token_dies", "push_latency_s",
    } <= set(knobs)  # fmt: skip


def test_a_peaceful_draw_troubles_nobody() -> None:
    drawn = [draw(Random(seed), 0) for seed in range(500)]
    troubled = {
        (script.callback_count, script.drop_response, script.push_answer, script.query, script.token_dies)
        for script in drawn
    }
    assert troubled == {(1, False, None, (), False)}
    assert sum(weight for weight, _ in OUTCOMES) == 100
