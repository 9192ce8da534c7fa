"""The invoice again: at once for whoever asks, by one sender only, and by an operator after it was given up."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from netlify.functions import invoice as invoice_function
from tests.fixtures.shop import CUSTOMER, Shop


def paid(shop: Shop, phone: str = CUSTOMER, email: str | None = "alice@example.com") -> str:
    return shop.settled(phone_number=phone, customer_email=email)


def ask(shop: Shop, transaction_id: str) -> int:
    return shop.call("invoice", "POST", "/api/mpesa/invoice", {"transaction_id": transaction_id}).status


def given_up(shop: Shop, phone: str = CUSTOMER) -> str:
    transaction_id = paid(shop, phone)
    shop.simulator.client.fault("mail", "error_500", times=3)
    for _ in range(3):
        shop.sweep()
        shop.age(30 * 60)
    assert shop.row(f"SELECT status FROM invoices WHERE transaction_id = '{transaction_id}'") == {"status": "FAILED"}
    return transaction_id


def resend(shop: Shop, *arguments: str) -> int:
    return shop.ops("invoice", "resend", *arguments, "--who", "Amina", "--why", "the address works again")


# At once --------------------------------------------------------------------------------------------------------------


def test_whoever_asks_for_an_invoice_has_it_before_any_sweep(shop: Shop) -> None:
    transaction_id = paid(shop)
    shop.sweep()
    assert ask(shop, transaction_id) == 202
    assert len(shop.letters()) == 2
    shop.sweep()
    assert len(shop.letters()) == 2


@pytest.mark.parametrize("kind", ["error_500", "too_many_429", "drop", "firewall_403"])
def test_a_mail_server_that_fails_is_not_the_askers_business_and_the_sweep_goes_on(shop: Shop, kind: str) -> None:
    transaction_id = paid(shop)
    shop.sweep()
    shop.simulator.client.fault("mail", kind, seconds=1)
    assert ask(shop, transaction_id) == 202
    assert len(shop.letters()) == 1
    shop.age(301)
    shop.sweep()
    assert len(shop.letters()) == 2


def test_while_mail_is_stopped_whoever_asks_causes_no_login(shop: Shop) -> None:
    """A key that was refused is tried once, however many ask: a mail service locks out who keeps knocking."""
    payments = [paid(shop, f"2547000000{number:02}") for number in range(3)]
    shop.sweep()
    shop.simulator.client.fault("mail", "unauthorized_401", times=10)
    brought = len(shop.simulator.client.deliveries())
    assert [ask(shop, transaction_id) for transaction_id in payments * 2] == [202] * 6
    assert len(shop.simulator.client.deliveries()) == brought + 1
    shop.simulator.client.make_peace()
    shop.age(301)
    shop.sweep()
    assert len(shop.letters()) == 3 + 6


def test_nobody_waits_long_for_a_slow_mail_server(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invoice_function, "A_MAIL_S", 1.5)
    transaction_id = paid(shop)
    shop.sweep()
    shop.simulator.client.fault("mail", "slow", seconds=20)
    began = time.monotonic()
    assert ask(shop, transaction_id) == 202
    assert time.monotonic() - began < 10
    assert shop.row("SELECT tries, last_error IS NOT NULL AS why FROM outbox WHERE topic = 'again'") == {
        "tries": 1,
        "why": True,
    }


@pytest.mark.usefixtures("left_to_the_sweep")
def test_two_senders_never_send_one_row(shop: Shop) -> None:
    """The function sends while sweeps of three other processes take what is due: each row leaves once."""
    payments = [paid(shop, f"2547000000{number:02}") for number in range(4)]
    instances = shop.other_instances(4)
    shop.simulator.client.fault("mail", "slow", times=4, seconds=0.5)
    with ThreadPoolExecutor() as pool:
        sweeps = [pool.submit(instance.sweep) for instance in instances[1:]]
        path, body = "/api/mpesa/invoice", {"transaction_id": payments[0]}
        assert instances[0].call("invoice", "POST", path, body).status == 202
        for sweep in sweeps:
            assert sweep.result().status == 200
    shop.sweep()
    assert len(shop.letters()) == 5
    assert shop.row("SELECT sum(tries) AS n FROM outbox WHERE kind = 'invoice'") == {"n": 5}


@pytest.mark.usefixtures("left_to_the_sweep")
def test_a_sender_that_is_killed_leaves_a_try_on_file_and_the_invoice_to_the_next(shop: Shop) -> None:
    transaction_id = paid(shop)
    instance = shop.another_instance()
    shop.simulator.client.fault("mail", "slow", seconds=30)
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(instance.sweep)
        shop.simulator.client.wait_for(
            lambda: shop.rows("SELECT id FROM outbox WHERE kind = 'invoice' AND tries = 1") or None, "a try", 10
        )
        instance.kill()
        with pytest.raises((OSError, ValueError)):
            asked.result()
    shop.simulator.client.make_peace()
    shop.sweep()
    assert shop.letters() == [], "it is leased to the one that was killed"
    shop.age(61)
    shop.sweep()
    assert shop.payment(transaction_id)["status"] == "PAID"
    assert shop.row("SELECT tries, sent_at IS NOT NULL AS sent FROM outbox WHERE kind = 'invoice'") == {
        "tries": 2,
        "sent": True,
    }


# By an operator -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("left_to_the_sweep")
def test_an_operator_sends_a_failed_invoice_again_under_its_number(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    transaction_id = given_up(shop)
    number = shop.row("SELECT invoice_number FROM invoices")["invoice_number"]
    assert resend(shop, number.lower()) == 0
    assert transaction_id in capsys.readouterr().out
    shop.sweep()
    (letter,) = shop.letters()
    assert number in letter["subject"]
    assert shop.row("SELECT status FROM invoices") == {"status": "SENT"}
    assert shop.ops("case", transaction_id) == 0
    assert "operator Amina had the invoice sent again. Why: the address works again" in capsys.readouterr().out


@pytest.mark.usefixtures("left_to_the_sweep")
def test_after_an_outage_all_that_was_given_up_is_sent_by_one_command(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = {given_up(shop, f"2547000000{number:02}") for number in range(3)}
    paid(shop)
    shop.sweep()
    assert resend(shop, "--failed") == 0
    told = capsys.readouterr().out
    assert all(transaction_id in told for transaction_id in failed)
    assert "3 invoices to be sent again" in told
    shop.sweep()
    assert len(shop.letters()) == 4
    assert shop.rows("SELECT status FROM invoices WHERE status <> 'SENT'") == []
    assert resend(shop, "--failed") == 0
    assert "0 invoices" in capsys.readouterr().out


@pytest.mark.usefixtures("left_to_the_sweep")
def test_one_that_is_sent_again_and_fails_again_is_failed_again(shop: Shop) -> None:
    transaction_id = given_up(shop)
    assert resend(shop, transaction_id) == 0
    assert shop.row("SELECT status FROM invoices") == {"status": "PENDING"}
    shop.simulator.client.fault("mail", "error_500", times=3)
    for _ in range(3):
        shop.sweep()
        shop.age(30 * 60)
    assert shop.row("SELECT status FROM invoices") == {"status": "FAILED"}


@pytest.mark.usefixtures("left_to_the_sweep")
def test_what_cannot_be_sent_again_is_said_and_changes_nothing(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    waiting, one = paid(shop), {"account_reference": "INV00042"}
    nobody = shop.settled(phone_number="254700000001", amount=1501, customer_email=None, **one)
    unpaid = str(shop.pay(phone_number="254700000002", amount=1502, **one).body["transaction_id"])
    for clue, why in (
        (waiting, "still waits"),
        (nobody, "no e-mail address"),
        (unpaid, "is not paid"),
        ("INV-1999-000001", "nothing is known"),
        ("INV00042", "3 payments"),
    ):
        assert resend(shop, clue) == 1
        assert why in capsys.readouterr().err
    assert shop.rows("SELECT id FROM outbox WHERE topic = 'resent'") == []
    assert shop.rows("SELECT id FROM audit_log WHERE event = 'InvoiceResent'") == []
