"""Our Daraja against the whole simulator: the same client that meets Safaricom meets it here over HTTP."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from shared.daraja.answers import NoAnswerYet, PromptOpen, QueryDeclined, QuerySucceeded, Rejected, Unanswered
from shared.daraja.callback_reader import CallbackFailure, CallbackSuccess, read_callback
from shared.daraja.client import Daraja, PushRequest
from simulator import Simulator
from tests.contract.scripted_daraja import SharedStore, daraja_settings, soon
from tests.fixtures.simulator import CallbackReceiver

PHONE = "254708374149"


@pytest.fixture
def daraja(simulator: Simulator) -> Daraja:
    return Daraja(daraja_settings(simulator.base_url), SharedStore())


@pytest.fixture
def order(receiver: CallbackReceiver) -> PushRequest:
    return PushRequest(PHONE, Decimal(1500), "INV00042", "Two baskets", f"{receiver.base_url}/callback")


@pytest.mark.parametrize(
    ("action", "code"), [("wrong_pin", "2001"), ("cancel", "1032"), ("no_funds", "1"), ("ignore", "1037")]
)
def test_each_way_of_not_paying_is_called_back_and_queried_alike(
    simulator: Simulator, daraja: Daraja, order: PushRequest, receiver: CallbackReceiver, action: str, code: str
) -> None:
    accepted = daraja.push(order, soon())
    assert isinstance(daraja.query(accepted.checkout_request_id, soon()), NoAnswerYet)
    simulator.client.wait_for_prompt(PHONE)
    simulator.client.answer(PHONE, action)
    simulator.client.advance(120)
    callback = read_callback(receiver.wait()[0].body)
    assert isinstance(callback, CallbackFailure)
    assert callback.code == code
    assert callback.ids.checkout_request_id == accepted.checkout_request_id
    simulator.client.advance(120)
    assert daraja.query(accepted.checkout_request_id, soon()) == QueryDeclined(code, callback.description)


def test_a_payment_is_called_back_and_queried_as_paid(
    simulator: Simulator, daraja: Daraja, order: PushRequest, receiver: CallbackReceiver
) -> None:
    accepted = daraja.push(order, soon())
    simulator.client.wait_for_prompt(PHONE)
    simulator.client.answer(PHONE, "pin")
    callback = read_callback(receiver.wait()[0].body)
    assert isinstance(callback, CallbackSuccess)
    assert callback.amount_kes == 1500
    assert callback.receipt
    assert callback.ids.merchant_request_id == accepted.merchant_request_id
    simulator.client.advance(120)
    assert isinstance(daraja.query(accepted.checkout_request_id, soon()), QuerySucceeded)


def test_a_second_prompt_on_one_phone_is_refused_as_open(daraja: Daraja, order: PushRequest) -> None:
    daraja.push(order, soon())
    with pytest.raises(PromptOpen):
        daraja.push(order, soon())


@pytest.mark.parametrize(
    ("wrong", "explains"),
    [
        ({"passkey": "another-passkey"}, "MPESA_PASSKEY"),
        ({"shortcode": "123456"}, "MPESA_SHORTCODE"),
        ({"consumer_secret": "another-secret"}, "MPESA_CONSUMER_SECRET"),
        ({"transaction_type": "CustomerBuyGoodsOnline"}, "MPESA_TRANSACTION_TYPE"),
    ],
)
def test_each_wrong_setting_is_explained_by_its_name(
    simulator: Simulator, order: PushRequest, wrong: dict[str, str], explains: str
) -> None:
    with pytest.raises(Rejected) as refused:
        Daraja(daraja_settings(simulator.base_url, **wrong), SharedStore()).push(order, soon())
    assert explains in refused.value.explanation


def test_a_token_that_dies_between_two_pushes_costs_nothing(
    simulator: Simulator, daraja: Daraja, order: PushRequest
) -> None:
    daraja.push(order, soon())
    simulator.client.kill_token()
    daraja.push(replace(order, msisdn="254722000000"), soon())
    assert len(simulator.client.payments()) == 2


@pytest.mark.parametrize(
    ("fault", "pushed"), [("error_500", 0), ("firewall_403", 0), ("firewall_503", 0), ("drop", 0), ("drop_after", 1)]
)
def test_a_push_that_gets_no_clear_answer_is_unanswered_and_sent_once(
    simulator: Simulator, daraja: Daraja, order: PushRequest, fault: str, pushed: int
) -> None:
    simulator.client.fault("push", fault)
    with pytest.raises(Unanswered):
        daraja.push(order, soon())
    assert len(simulator.client.payments()) == pushed


def test_too_many_queries_are_throttled(simulator: Simulator, daraja: Daraja, order: PushRequest) -> None:
    accepted = daraja.push(order, soon())
    simulator.client.fault("query", "too_many_429")
    said = daraja.query(accepted.checkout_request_id, soon())
    assert isinstance(said, NoAnswerYet)
    assert said.throttled
