"""CALLBACK_IP_MODE: what becomes of a callback from an address that is not Safaricom's. Nothing is lost."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import pytest

from ops.__main__ import main as ops
from shared.daraja.callback_address import SAFARICOM_ADDRESSES
from tests.fixtures.shop import CUSTOMER, Reply, Shop, forget_collaborators

STRANGER = "203.0.113.9"
SAFARICOM = "196.201.212.127"
RECEIPT = "UE4JS31RBV"
Switch = Callable[[str], None]


@pytest.fixture
def mode(monkeypatch: pytest.MonkeyPatch, shop: Shop) -> Switch:
    """Set CALLBACK_IP_MODE."""

    def switch(to: str) -> None:
        monkeypatch.setenv("CALLBACK_IP_MODE", to)
        forget_collaborators()

    return switch


class Payment:
    """A pending payment, and Safaricom's news that it is paid."""

    def __init__(self, shop: Shop, phone: str = CUSTOMER, receipt: str = RECEIPT) -> None:
        self.shop, self.receipt = shop, receipt
        asked = shop.pay(phone_number=phone)
        assert asked.status == 202
        self.id = str(asked.body["transaction_id"])
        self.pushed: dict[str, Any] = shop.simulator.client.payments()[0]

    def paid_from(self, address: str | None, **headers: str) -> Reply:
        told = {
            "MerchantRequestID": self.pushed["merchant_request_id"],
            "CheckoutRequestID": self.pushed["checkout_request_id"],
            "ResultCode": 0,
            "ResultDesc": "The service request is processed successfully.",
            "CallbackMetadata": {
                "Item": [
                    {"Name": "Amount", "Value": self.pushed["amount"]},
                    {"Name": "MpesaReceiptNumber", "Value": self.receipt},
                ]
            },
        }
        came_from = {"x-nf-client-connection-ip": address or ""}
        path = self.shop.callback_path(self.id)
        body = json.dumps({"Body": {"stkCallback": told}}).encode()
        return self.shop.call("callback", "POST", path, raw=body, headers=came_from | headers)

    @property
    def status(self) -> str:
        return str(self.shop.payment(self.id)["status"])

    def entry(self) -> dict[str, Any]:
        return self.shop.row(
            "SELECT * FROM callback_inbox WHERE transaction_id = CAST(:id AS uuid) ORDER BY received_at DESC LIMIT 1",
            id=self.id,
        )


@pytest.mark.parametrize("how", ["flag", "enforce"])
@pytest.mark.parametrize("address", sorted(SAFARICOM_ADDRESSES))
def test_safaricoms_own_addresses_are_believed(shop: Shop, mode: Switch, how: str, address: str) -> None:
    mode(how)
    payment = Payment(shop)
    assert payment.paid_from(address).status == 200
    assert (payment.status, payment.entry()["source_check"]) == ("PAID", "listed")
    assert shop.alerts(payment.id) == set()


def test_an_address_that_a_terminal_would_obey_is_shown_without_that(
    shop: Shop, mode: Switch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where no platform writes the header, whoever calls does."""
    mode("enforce")
    payment = Payment(shop)
    assert payment.paid_from("6.6.6.6\x9b2J\x1b[31m").status == 200
    capsys.readouterr()
    for command in (["case", payment.id], ["inbox", "list"], ["case", "\x1b[2J"], ["inbox", "retry", "\x1b[2J"]):
        ops(command, os.environ)
        told = "".join(capsys.readouterr())
        assert told.replace("\n", "").isprintable()
        assert "6.6.6.6" in told or "[2J" in told


def test_a_callback_from_elsewhere_is_flagged_and_judged(shop: Shop, mode: Switch) -> None:
    mode("flag")
    payment = Payment(shop)
    assert payment.paid_from(STRANGER).status == 200
    assert (payment.status, payment.entry()["source_check"]) == ("PAID", "unlisted")
    assert payment.entry()["source_address"] == STRANGER
    assert shop.alerts(payment.id) == {"unlisted_address"}


def test_the_same_strange_address_is_told_once_an_hour(shop: Shop, mode: Switch) -> None:
    mode("flag")
    first = Payment(shop)
    first.paid_from(STRANGER)
    second = Payment(shop, "254722000000", "UE4JS31RBW")
    second.paid_from(STRANGER)
    third = Payment(shop, "254722111111", "UE4JS31RBX")
    third.paid_from("203.0.113.10")
    assert [shop.alerts(payment.id) for payment in (first, second, third)] == [
        {"unlisted_address"},
        set(),
        {"unlisted_address"},
    ]
    shop.age(3601)
    again = Payment(shop, "254700000001", "UE4JS31RBY")
    again.paid_from(STRANGER)
    assert shop.alerts(again.id) == {"unlisted_address"}
    assert {payment.status for payment in (first, second, third, again)} == {"PAID"}


def test_an_enforced_list_keeps_the_callback_without_judging_it(shop: Shop, mode: Switch) -> None:
    mode("enforce")
    payment = Payment(shop)
    assert payment.paid_from(STRANGER).status == 200
    entry = payment.entry()
    assert (payment.status, entry["outcome"], entry["source_check"]) == ("PENDING", "held", "held")
    assert (entry["receipts"], entry["source_address"]) == ([RECEIPT], STRANGER)
    assert shop.alerts(payment.id) == {"held"}
    shop.age(120)
    shop.simulator.client.script(CUSTOMER, "ignore")
    shop.sweep()
    assert payment.entry()["outcome"] == "held"


def test_a_person_can_have_a_held_callback_judged(shop: Shop, mode: Switch, capsys: pytest.CaptureFixture[str]) -> None:
    mode("enforce")
    payment = Payment(shop)
    payment.paid_from(STRANGER)
    assert ops(["inbox", "list"], os.environ) == 0
    assert f"from {STRANGER}, which is not one of Safaricom's addresses" in capsys.readouterr().out
    assert ops(["inbox", "retry", str(payment.entry()["id"])], os.environ) == 0
    assert capsys.readouterr().out.splitlines() == [f"{payment.entry()['id']}: paid", "1 judged again"]
    assert (payment.status, payment.entry()["outcome"]) == ("PAID", "paid")
    assert ops(["case", payment.id], os.environ) == 0
    assert f"It came from {STRANGER}" in " ".join(capsys.readouterr().out.split())


def test_all_that_is_held_can_be_judged_at_once_and_nothing_else(
    shop: Shop, mode: Switch, capsys: pytest.CaptureFixture[str]
) -> None:
    mode("enforce")
    first, second = Payment(shop), Payment(shop, "254722000000", "UE4JS31RBW")
    first.paid_from(STRANGER)
    second.paid_from(STRANGER)
    assert ops(["inbox", "retry"], os.environ) == 1  # no dead letters
    assert ops(["inbox", "retry", "--held"], os.environ) == 0
    assert "2 judged again" in capsys.readouterr().out
    assert [first.status, second.status] == ["PAID", "PAID"]
    assert ops(["inbox", "retry", "--held"], os.environ) == 1


def test_a_process_that_dies_before_it_holds_a_callback_leaves_that_to_the_sweep(
    shop: Shop, mode: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    mode("enforce")
    payment = Payment(shop)

    def dies(*_: object, **__: object) -> str:
        raise RuntimeError

    with monkeypatch.context() as dying:
        dying.setattr("netlify.functions.callback.judge", dies)
        assert payment.paid_from(STRANGER).status == 200
    assert payment.entry()["outcome"] is None
    shop.simulator.client.script(CUSTOMER, "ignore")
    shop.age(31)
    shop.sweep()
    assert (payment.status, payment.entry()["outcome"]) == ("PENDING", "held")
    assert shop.alerts(payment.id) == {"held"}


def test_a_strange_address_is_kept_although_the_payment_is_locked(shop: Shop, mode: Switch) -> None:
    """The alert refers to the payment's row; the bytes must not wait for it."""
    from shared.database import Database

    mode("flag")
    payment = Payment(shop)
    other = Database(os.environ["DATABASE_URL"])
    try:
        with other.transaction() as tx:
            tx.rows("SELECT id FROM transactions WHERE id = CAST(:id AS uuid) FOR UPDATE", id=payment.id)
            assert payment.paid_from(STRANGER).status == 200
            assert payment.entry()["outcome"] is None
    finally:
        other.close()
    shop.age(31)
    shop.sweep()
    assert payment.status == "PAID"
    assert shop.alerts(payment.id) == {"unlisted_address"}


def test_switched_off_nothing_is_said(shop: Shop, mode: Switch) -> None:
    mode("off")
    payment = Payment(shop)
    payment.paid_from(STRANGER)
    assert (payment.status, payment.entry()["source_check"], shop.alerts(payment.id)) == ("PAID", None, set())
    assert payment.entry()["source_address"] == STRANGER


def test_the_simulator_in_place_of_daraja_is_not_flagged(shop: Shop) -> None:
    payment = Payment(shop)
    payment.paid_from("127.0.0.1")
    assert (payment.status, payment.entry()["source_check"], shop.alerts(payment.id)) == ("PAID", None, set())


def test_only_the_platform_says_where_a_callback_comes_from(shop: Shop, mode: Switch) -> None:
    mode("enforce")
    payment = Payment(shop)
    forged = {"x-forwarded-for": SAFARICOM, "x-real-ip": SAFARICOM, "forwarded": f"for={SAFARICOM}"}
    payment.paid_from(STRANGER, **forged)
    payment.paid_from(None, **forged)
    payment.paid_from(f"{SAFARICOM}, {STRANGER}", **forged)
    assert shop.outcomes(payment.id) == ["held"] * 3
    assert payment.status == "PENDING"


def test_a_host_that_names_no_address_is_flagged_for_nothing(shop: Shop, mode: Switch) -> None:
    mode("flag")
    payment = Payment(shop)
    payment.paid_from(None)
    assert (payment.status, payment.entry()["source_check"], shop.alerts(payment.id)) == ("PAID", None, set())
