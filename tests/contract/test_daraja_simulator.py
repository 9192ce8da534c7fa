"""Our Daraja against the whole simulator: the same client that meets Safaricom meets it here over HTTP."""

from __future__ import annotations

from decimal import Decimal

import pytest

from shared.daraja.answers import NoAnswerYet, PromptOpen, QueryDeclined, QuerySucceeded, Rejected, Unanswered
from shared.daraja.callback_reader import CallbackFailure, CallbackSuccess, read_callback
from shared.daraja.client import Daraja, PushRequest
from shared.deadline import Deadline
from shared.settings import DarajaSettings
from simulator import SANDBOX_PASSKEY, Simulator
from tests.contract.scripted_daraja import SharedStore
from tests.fixtures.simulator import CallbackReceiver

PHONE = "254708374149"


def settings(simulator: Simulator, **changes: str) -> DarajaSettings:
    values = {
        "environment": "sandbox",
        "base_url": simulator.base_url,
        "consumer_key": "lipa-dev-key",
        "consumer_secret": "lipa-dev-secret",
        "shortcode": "174379",
        "passkey": SANDBOX_PASSKEY,
        "transaction_type": "CustomerPayBillOnline",
        "party_b": "174379",
        **changes,
    }
    return DarajaSettings(**values)  # type: ignore[arg-type]


def request(receiver: CallbackReceiver, phone: str = PHONE) -> PushRequest:
    return PushRequest(phone, Decimal(1500), "INV00042", "Two baskets", f"{receiver.base_url}/callback")


def soon() -> Deadline:
    return Deadline.after(20)


@pytest.mark.parametrize(
    ("action", "code"), [("wrong_pin", "2001"), ("cancel", "1032"), ("no_funds", "1"), ("ignore", "1037")]
)
def test_each_way_of_not_paying_is_called_back_and_queried_alike(
    simulator: Simulator, receiver: CallbackReceiver, action: str, code: str
) -> None:
    daraja = Daraja(settings(simulator), SharedStore())
    accepted = daraja.push(request(receiver), soon())
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


def test_a_payment_is_called_back_and_queried_as_paid(simulator: Simulator, receiver: CallbackReceiver) -> None:
    daraja = Daraja(settings(simulator), SharedStore())
    accepted = daraja.push(request(receiver), soon())
    simulator.client.wait_for_prompt(PHONE)
    simulator.client.answer(PHONE, "pin")
    callback = read_callback(receiver.wait()[0].body)
    assert isinstance(callback, CallbackSuccess)
    assert callback.amount_kes == 1500
    assert callback.receipt
    assert callback.ids.merchant_request_id == accepted.merchant_request_id
    simulator.client.advance(120)
    assert isinstance(daraja.query(accepted.checkout_request_id, soon()), QuerySucceeded)


def test_a_second_prompt_on_one_phone_is_refused_as_open(simulator: Simulator, receiver: CallbackReceiver) -> None:
    daraja = Daraja(settings(simulator), SharedStore())
    daraja.push(request(receiver), soon())
    with pytest.raises(PromptOpen):
        daraja.push(request(receiver), soon())


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
    simulator: Simulator, receiver: CallbackReceiver, wrong: dict[str, str], explains: str
) -> None:
    with pytest.raises(Rejected) as refused:
        Daraja(settings(simulator, **wrong), SharedStore()).push(request(receiver), soon())
    assert explains in refused.value.explanation


def test_a_token_that_dies_between_two_pushes_costs_nothing(simulator: Simulator, receiver: CallbackReceiver) -> None:
    daraja = Daraja(settings(simulator), SharedStore())
    daraja.push(request(receiver), soon())
    simulator.client.kill_token()
    daraja.push(request(receiver, "254722000000"), soon())
    assert len(simulator.client.payments()) == 2


def test_an_accepted_push_whose_answer_is_lost_is_unanswered_and_sent_once(
    simulator: Simulator, receiver: CallbackReceiver
) -> None:
    simulator.client.fault("push", "drop_after")
    with pytest.raises(Unanswered):
        Daraja(settings(simulator), SharedStore()).push(request(receiver), soon())
    assert len(simulator.client.payments()) == 1


@pytest.mark.parametrize("kind", ["error_500", "firewall_403", "firewall_503", "drop"])
def test_every_unclear_answer_to_a_push_is_unanswered(
    simulator: Simulator, receiver: CallbackReceiver, kind: str
) -> None:
    simulator.client.fault("push", kind)
    with pytest.raises(Unanswered):
        Daraja(settings(simulator), SharedStore()).push(request(receiver), soon())


def test_too_many_queries_are_throttled(simulator: Simulator, receiver: CallbackReceiver) -> None:
    daraja = Daraja(settings(simulator), SharedStore())
    accepted = daraja.push(request(receiver), soon())
    simulator.client.fault("query", "too_many_429")
    said = daraja.query(accepted.checkout_request_id, soon())
    assert isinstance(said, NoAnswerYet)
    assert said.throttled
