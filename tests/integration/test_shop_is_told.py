"""The shop hears of every sale by mail and by webhook, and of alerts by one mail a topic and day."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from shared import webhooks
from tests.fixtures.shop import CUSTOMER, Shop
from tests.fixtures.webhook_receiver import SECRET, Receiver, receiving

A_MONTH = "interval '30 days'"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


@pytest.fixture
def told(shop: Shop, receiver: Receiver) -> Shop:
    """A shop with a webhook, and an address for its orders."""
    shop.configure(ORDER_WEBHOOK_URL=receiver.url, ORDER_WEBHOOK_SECRET=SECRET, ORDERS_EMAIL_TO="orders@duka.co.ke")
    return shop


def mails(shop: Shop, to: str = "orders@duka.co.ke") -> list[Any]:
    return [mail for mail in shop.simulator.client.mail() if to in str(mail["to"])]


def webhook_rows(shop: Shop) -> list[dict[str, Any]]:
    return [dict(row) for row in shop.rows("SELECT * FROM outbox WHERE kind = 'webhook' ORDER BY id")]


def the_next_try_comes(shop: Shop) -> None:
    shop.overwrite("UPDATE outbox SET next_try_at = now() WHERE kind = 'webhook' AND next_try_at IS NOT NULL")
    shop.sweep()


# Sales by mail --------------------------------------------------------------------------------------------------------


def test_a_sale_is_mailed_at_once_with_what_was_bought_by_whom_and_how_to_reach_them(told: Shop) -> None:
    paid = told.settled(note="Moi Avenue 7, blue gate", transaction_desc="2 bags of coffee", customer_name="Amina")
    (mail,) = mails(told)
    assert mail["subject"] == "Paid: KES 1,500, order INV00042"
    for part in ("2 bags of coffee", "Amina", f"+{CUSTOMER}", "alice@example.com", "Moi Avenue 7, blue gate", paid):
        assert part in mail["text"]
        assert part in mail["html"]
    assert f"python -m ops sent {paid}" in mail["text"]
    number = told.row("SELECT invoice_number FROM invoices")["invoice_number"]
    assert f"Invoice: {number}" in mail["text"]  # after a restore the shop has to know the last one


def test_what_a_customer_typed_is_no_link_and_no_html_in_the_shops_mail(told: Shop) -> None:
    told.settled(note="<b>see</b> https://evil.example/x\r\nBcc: all@example.com")
    (mail,) = mails(told)
    assert "https://evil" not in mail["text"]
    assert "evil.example" not in mail["html"]
    assert "<b>" not in mail["html"]
    assert not {"bcc"} & {name.lower() for name, _ in mail["headers"]}


def test_a_refund_and_a_late_payment_are_mailed_too(told: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    late = told.settled("cancel")
    assert told.calls_back(late).status == 200
    assert told.ops("review", "refunded", late, "--receipt", "UE4JREFUND", "--why", "gone", "--who", "asha") == 0
    told.sweep()
    subjects = [mail["subject"].partition(":")[0] for mail in reversed(mails(told))]
    assert [word for word in subjects if word != "Alert"] == ["Paid late", "Refunded"]
    assert "UE4JREFUND" in mails(told)[0]["text"]


def test_a_failure_is_no_sale(told: Shop) -> None:
    told.settled("cancel")
    told.sweep()
    assert mails(told) == []


def test_mail_of_sales_goes_where_customers_answer_to_unless_the_shop_says_otherwise(shop: Shop) -> None:
    shop.settled()
    assert [mail["subject"][:5] for mail in mails(shop, "support@shop.example")] == ["Paid:"]


# Alerts by mail -------------------------------------------------------------------------------------------------------


def test_alerts_of_a_topic_are_one_mail_a_day_and_none_is_lost(told: Shop) -> None:
    late = [told.settled("cancel", phone_number=f"25470800000{n}", account_reference=f"L{n}") for n in range(3)]
    for number, one in enumerate(late):
        assert told.calls_back(one, MpesaReceiptNumber=f"UE4JLATE0{number}").status == 200
        told.sweep()
    (first,) = [mail for mail in mails(told) if mail["subject"] == "Alert: late_payment"]
    assert late[0] in first["text"]
    assert late[1] not in first["text"]
    assert "docs/runbook.md#late_payment" in first["text"]
    told.age(23 * 3600)
    told.sweep()
    assert len([mail for mail in mails(told) if mail["subject"] == "Alert: late_payment"]) == 1
    told.age(2 * 3600)
    told.sweep()
    second, _ = [mail for mail in mails(told) if mail["subject"] == "Alert: late_payment"]
    assert late[1] in second["text"]
    assert late[2] in second["text"]
    assert late[0] not in second["text"]
    assert not any(number in second["text"] for number in ("254708", "alice@"))


# Webhooks -------------------------------------------------------------------------------------------------------------


def test_an_event_is_what_the_design_says_and_its_signature_is_the_standards(told: Shop, receiver: Receiver) -> None:
    paid = told.settled(note="size 42", customer_name="Amina")
    (one,) = receiver.told
    assert receiver.forged == []
    assert one.type == "payment.paid"
    assert one.id.startswith(f"msg_{paid}_")
    row = told.payment(paid)
    assert one.data == {
        "transaction_id": paid,
        "account_reference": "INV00042",
        "amount_kes": 1500,
        "items": None,
        "mpesa_receipt_number": one.data["mpesa_receipt_number"],
        "paid_at": row["paid_at"].astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "customer": {"name": "Amina", "email": "alice@example.com", "phone_number": CUSTOMER, "note": "size 42"},
    }
    assert one.data["mpesa_receipt_number"]
    stored = json.dumps(webhook_rows(told), default=str)
    assert not any(private in stored for private in ("Amina", CUSTOMER)), "what is sent is never stored"


@pytest.mark.parametrize(("outcome", "event"), [("pay", "paid"), ("cancel", "failed"), ("wrong_pin", "failed")])
def test_each_end_of_a_payment_is_an_event(told: Shop, receiver: Receiver, outcome: str, event: str) -> None:
    payment = told.settled(outcome)
    told.sweep()
    assert receiver.types(payment) == [f"payment.{event}"]
    told.sweep()
    assert len(receiver.told) == 1


def test_review_and_refund_are_events(told: Shop, receiver: Receiver) -> None:
    payment = told.settled("cancel")
    assert told.calls_back(payment, Amount=1).status == 200
    assert told.ops("review", "refunded", payment, "--receipt", "UE4JREFUND", "--why", "gone", "--who", "asha") == 0
    told.sweep()
    assert receiver.types(payment) == ["payment.failed", "payment.under_review", "payment.refunded"]
    assert receiver.told[-1].data["paid_at"] is None


def test_a_shop_without_a_webhook_stores_no_events_and_an_operators_are_dropped(shop: Shop) -> None:
    paid = shop.settled()
    assert webhook_rows(shop) == []
    assert shop.ops("review", "refunded", paid, "--receipt", "UE4JREFUND", "--why", "gone", "--who", "asha") == 0
    shop.sweep()
    assert [row["dropped"] for row in webhook_rows(shop)] == ["off"]


def test_events_of_a_payment_keep_their_order_while_the_server_is_down(told: Shop, receiver: Receiver) -> None:
    receiver.behaves = lambda event: "500" if event["type"] == "payment.failed" and len(receiver.told) < 3 else "200"
    payment = told.settled("cancel")
    assert told.calls_back(payment).status == 200
    the_next_try_comes(told)
    assert set(receiver.types(payment)) == {"payment.failed"}, "the success waits for its turn"
    the_next_try_comes(told)
    told.sweep()
    the_next_try_comes(told)
    assert receiver.types(payment) == ["payment.failed"] * 4 + ["payment.paid"]
    assert len({one.id for one in receiver.told}) == 2, "a retry keeps its id"


def test_an_event_is_tried_seven_times_then_an_alert_says_so_and_an_operator_sends_it_again(
    told: Shop, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    receiver.behaves = lambda _: "500"
    payment = told.settled()
    waits = []
    for _ in range(7):
        waits += [
            row["waits_s"]
            for row in told.rows(
                "SELECT extract(epoch FROM next_try_at - now())::int AS waits_s FROM outbox WHERE kind = 'webhook'"
            )
        ]
        the_next_try_comes(told)
    (row,) = webhook_rows(told)
    assert len(receiver.told) == 7
    assert row["tries"] == 7
    assert row["next_try_at"] is None
    assert waits[:6] == [pytest.approx(wait, abs=20) for wait in (60, 300, 1800, 7200, 43_200, 86_400)]
    assert told.alerts(payment) == {"webhook_not_delivered"}
    receiver.behaves = lambda _: "204"
    assert told.ops("webhook", "resend", payment) == 0
    told.sweep()
    assert receiver.told[-1].id == receiver.told[0].id
    assert receiver.told[-1].answered == "204"
    assert webhook_rows(told)[0]["sent_at"] is not None


def test_gone_ends_it_with_an_alert(told: Shop, receiver: Receiver) -> None:
    receiver.behaves = lambda _: "410"
    payment = told.settled()
    told.sweep()
    the_next_try_comes(told)
    assert len(receiver.told) == 1
    assert told.alerts(payment) == {"webhook_not_delivered"}


def test_a_redirect_is_never_followed(told: Shop, receiver: Receiver) -> None:
    receiver.behaves = lambda _: "redirect"
    told.settled()
    (row,) = webhook_rows(told)
    assert receiver.elsewhere == []
    assert row["sent_at"] is None
    assert "307" in row["last_error"]


def test_a_server_that_hangs_holds_up_neither_the_answer_nor_the_mail(told: Shop, receiver: Receiver) -> None:
    receiver.behaves = lambda _: "hang"
    told.settled()
    assert len(mails(told)) == 1
    assert len(told.letters()) >= 1
    (row,) = webhook_rows(told)
    assert row["tries"] == 1
    assert "no answer in time" in row["last_error"].replace("whole ", "")


def test_a_body_without_an_end_is_not_read(told: Shop, receiver: Receiver) -> None:
    receiver.behaves = lambda _: "huge"
    told.settled()
    assert webhook_rows(told)[0]["sent_at"] is not None


def test_two_secrets_sign_while_one_takes_the_place_of_the_other(told: Shop, receiver: Receiver) -> None:
    told.configure(ORDER_WEBHOOK_SECRET=f"whsec_{'A' * 32},{SECRET}")
    told.settled()
    assert receiver.forged == []
    assert len(receiver.told) == 1


def test_a_mistyped_secret_stops_neither_payment_nor_mail_and_loses_no_event(told: Shop, receiver: Receiver) -> None:
    told.configure(ORDER_WEBHOOK_SECRET="whsec_short")
    paid = told.settled()
    assert told.payment(paid)["status"] == "PAID"
    assert receiver.told == []
    assert {mail["subject"][:5] for mail in mails(told)} == {"Paid:", "Alert"}
    (row,) = told.rows("SELECT facts FROM outbox WHERE topic = 'webhook_not_delivered' AND kind = 'alert'")
    assert row["facts"]["variables"] == "ORDER_WEBHOOK_SECRET"
    told.configure(ORDER_WEBHOOK_SECRET=SECRET)
    the_next_try_comes(told)
    assert receiver.types(paid) == ["payment.paid"]


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.7", "169.254.169.254", "172.16.0.1", "192.168.1.1", "100.64.0.1", "0.0.0.0", "224.0.0.1",
     "::1", "fe80::1%eth0", "fc00::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "::",
     "fec0::1", "2a00::5efe:a00:1", "2001:20::1", "3fff::1", "168.63.129.16"],
)  # fmt: skip
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert not webhooks.is_public(address)


def test_in_production_the_connection_goes_to_the_address_that_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """One look at the name: a second one could be answered with another address."""
    looks: list[str] = []

    def looked_up(host: str, port: int, **_: object) -> list[Any]:
        looks.append(host)
        return [(2, 1, 6, "", ("10.0.0.7" if len(looks) > 1 else "8.8.8.8", port))]

    monkeypatch.setattr("shared.webhooks.socket.getaddrinfo", looked_up)
    assert webhooks.public_address("hooks.duka.co.ke", 443) == "8.8.8.8"
    assert looks == ["hooks.duka.co.ke"]
    with pytest.raises(webhooks.NotPublic):
        webhooks.public_address("hooks.duka.co.ke", 443)


def test_times_in_an_event_name_their_zone() -> None:
    from shared.shop_events import _instant

    assert _instant(datetime(2026, 5, 4, 12, 15, tzinfo=UTC)) == "2026-05-04T12:15:00.000Z"
