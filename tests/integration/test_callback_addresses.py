"""CALLBACK_IP_MODE: what becomes of a callback from an address that is not Safaricom's. Nothing is lost."""

from __future__ import annotations

from typing import Any

import pytest

from shared.daraja.callback_address import SAFARICOM_ADDRESSES
from shared.database import Database
from tests.fixtures.shop import CUSTOMER, OTHER_CUSTOMER, RECEIPT, Reply, Shop, callback_about

STRANGER = "203.0.113.9"
SAFARICOM = "196.201.212.127"


class Payment:
    """A pending payment of a shop with this CALLBACK_IP_MODE, and Safaricom's news that it is paid."""

    def __init__(self, shop: Shop, mode: str | None = None, phone: str = CUSTOMER, receipt: str = RECEIPT) -> None:
        if mode is not None:
            shop.configure(CALLBACK_IP_MODE=mode)
        self.shop, self.receipt = shop, receipt
        self.id = str(shop.pay(phone_number=phone).body["transaction_id"])

    def paid_from(self, address: str | None, **headers: str) -> Reply:
        body = callback_about(self.shop.payment(self.id), MpesaReceiptNumber=self.receipt)
        came_from = {"x-nf-client-connection-ip": address or ""}
        return self.shop.call(
            "callback", "POST", self.shop.callback_path(self.id), raw=body, headers=came_from | headers
        )

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
def test_safaricoms_own_addresses_are_believed(shop: Shop, how: str, address: str) -> None:
    payment = Payment(shop, how)
    assert payment.paid_from(address).status == 200
    assert (payment.status, payment.entry()["source_check"]) == ("PAID", "listed")
    assert shop.alerts(payment.id) == set()


@pytest.mark.parametrize(
    ("mode", "address", "source_check", "alerts"),
    [
        ("flag", STRANGER, "unlisted", {"unlisted_address"}),
        ("flag", None, None, set()),  # a host that names no address
        ("off", STRANGER, None, set()),
        (None, "127.0.0.1", None, set()),  # the simulator, in place of Daraja
    ],
)
def test_a_callback_from_elsewhere_is_flagged_where_the_shop_says_so_and_judged(
    shop: Shop, mode: str | None, address: str | None, source_check: str | None, alerts: set[str]
) -> None:
    payment = Payment(shop, mode)
    assert payment.paid_from(address).status == 200
    entry = payment.entry()
    assert (payment.status, entry["source_check"], entry["source_address"]) == ("PAID", source_check, address)
    assert shop.alerts(payment.id) == alerts


def test_an_address_that_a_terminal_would_obey_is_shown_without_that(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where no platform writes the header, whoever calls does."""
    payment = Payment(shop, "enforce")
    assert payment.paid_from("6.6.6.6\x9b2J\x1b[31m").status == 200
    capsys.readouterr()
    for command in (["case", payment.id], ["inbox", "list"], ["case", "\x1b[2J"], ["inbox", "retry", "\x1b[2J"]):
        shop.ops(*command)
        told = "".join(capsys.readouterr())
        assert told.replace("\n", "").isprintable()
        assert "6.6.6.6" in told or "[2J" in told


def test_the_same_strange_address_is_told_once_an_hour(shop: Shop) -> None:
    first = Payment(shop, "flag")
    first.paid_from(STRANGER)
    second = Payment(shop, phone=OTHER_CUSTOMER, receipt="UE4JS31RBW")
    second.paid_from(STRANGER)
    third = Payment(shop, phone="254722111111", receipt="UE4JS31RBX")
    third.paid_from("203.0.113.10")
    assert [shop.alerts(payment.id) for payment in (first, second, third)] == [
        {"unlisted_address"},
        set(),
        {"unlisted_address"},
    ]
    shop.age(3601)
    again = Payment(shop, phone="254700000001", receipt="UE4JS31RBY")
    again.paid_from(STRANGER)
    assert shop.alerts(again.id) == {"unlisted_address"}
    assert {payment.status for payment in (first, second, third, again)} == {"PAID"}


def test_an_enforced_list_keeps_the_callback_without_judging_it(shop: Shop) -> None:
    payment = Payment(shop, "enforce")
    assert payment.paid_from(STRANGER).status == 200
    entry = payment.entry()
    assert (payment.status, entry["outcome"], entry["source_check"]) == ("PENDING", "held", "held")
    assert (entry["receipts"], entry["source_address"]) == ([RECEIPT], STRANGER)
    assert shop.alerts(payment.id) == {"held"}
    shop.age(120)
    shop.simulator.client.script(CUSTOMER, "ignore")
    shop.sweep()
    assert payment.entry()["outcome"] == "held"


def test_a_person_can_have_a_held_callback_judged(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    payment = Payment(shop, "enforce")
    payment.paid_from(STRANGER)
    assert shop.ops("inbox", "list") == 1  # somebody has to act
    assert f"from {STRANGER}, which is not one of Safaricom's addresses" in capsys.readouterr().out
    assert shop.ops("inbox", "retry", str(payment.entry()["id"])) == 0
    assert capsys.readouterr().out.splitlines() == [f"{payment.entry()['id']}: paid", "1 judged again"]
    assert (payment.status, payment.entry()["outcome"]) == ("PAID", "paid")
    assert shop.ops("case", payment.id) == 0
    assert f"It came from {STRANGER}" in " ".join(capsys.readouterr().out.split())


def test_all_that_is_held_can_be_judged_at_once_and_nothing_else(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = Payment(shop, "enforce"), Payment(shop, phone=OTHER_CUSTOMER, receipt="UE4JS31RBW")
    first.paid_from(STRANGER)
    second.paid_from(STRANGER)
    assert shop.ops("inbox", "retry") == 1  # no dead letters
    assert shop.ops("inbox", "retry", "--held") == 0
    assert "2 judged again" in capsys.readouterr().out
    assert [first.status, second.status] == ["PAID", "PAID"]
    assert shop.ops("inbox", "retry", "--held") == 1


def test_a_process_that_dies_before_it_holds_a_callback_leaves_that_to_the_sweep(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    payment = Payment(shop, "enforce")

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


def test_a_strange_address_is_kept_although_the_payment_is_locked(shop: Shop, database: Database) -> None:
    """The alert refers to the payment's row; the bytes must not wait for it."""
    payment = Payment(shop, "flag")
    with database.transaction() as tx:
        tx.rows("SELECT id FROM transactions WHERE id = CAST(:id AS uuid) FOR UPDATE", id=payment.id)
        assert payment.paid_from(STRANGER).status == 200
        assert payment.entry()["outcome"] is None
    shop.age(31)
    shop.sweep()
    assert payment.status == "PAID"
    assert shop.alerts(payment.id) == {"unlisted_address"}


def test_only_the_platform_says_where_a_callback_comes_from(shop: Shop) -> None:
    payment = Payment(shop, "enforce")
    forged = {"x-forwarded-for": SAFARICOM, "x-real-ip": SAFARICOM, "forwarded": f"for={SAFARICOM}"}
    payment.paid_from(STRANGER, **forged)
    payment.paid_from(None, **forged)
    payment.paid_from(f"{SAFARICOM}, {STRANGER}", **forged)
    assert shop.outcomes(payment.id) == ["held"] * 3
    assert payment.status == "PENDING"
