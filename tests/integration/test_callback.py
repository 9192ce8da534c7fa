"""POST /api/mpesa/callback/…: on file before it is judged, believed only as far as it fits."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from dev.postgres import EmbeddedPostgres
from netlify.functions import callback as callback_function
from shared.database import Database
from shared.settings import receiving
from tests.fixtures.database_proxy import Fault, Proxy
from tests.fixtures.shop import (
    CUSTOMER,
    NOBODY,
    OTHER_CUSTOMER,
    RECEIPT,
    Reply,
    Shop,
    at_once,
    callback_about,
    forget_collaborators,
    write_history,
)

ACCEPTED = {"ResultCode": 0, "ResultDesc": "Accepted"}


class Pending:
    """A payment whose customer is being asked, and what Safaricom may tell about it."""

    def __init__(self, shop: Shop, **order: Any) -> None:
        self.shop = shop
        reply = shop.pay(**order)
        assert reply.status == 202, reply.body
        self.id: str = reply.body["transaction_id"]
        pushed = shop.simulator.client.payments()[0]
        self.ids = {name: pushed[name] for name in ("merchant_request_id", "checkout_request_id")}
        self.amount = pushed["amount"]

    def told(self, code: object = 0, *, path: str | None = None, **changes: Any) -> Reply:
        return self.tell(self.says(code, **changes), path=path)

    def tell(self, body: bytes, *, path: str | None = None) -> Reply:
        return self.shop.call("callback", "POST", path or self.shop.callback_path(self.id), raw=body)

    def says(self, code: Any = 0, *, metadata: bool = True, **changes: object) -> bytes:
        """A change of None leaves out."""
        items = {"amount": "Amount", "receipt": "MpesaReceiptNumber"}
        ids = {"merchant_id": "MerchantRequestID", "checkout_id": "CheckoutRequestID"}
        changed = {items[name]: it for name, it in changes.items() if name in items}
        stk = json.loads(callback_about({**self.ids, "amount": self.amount}, code, **changed))["Body"]["stkCallback"]
        stk |= {ids[name]: it for name, it in changes.items() if name in ids}
        if not metadata:
            del stk["CallbackMetadata"]
        return json.dumps({"Body": {"stkCallback": {name: it for name, it in stk.items() if it is not None}}}).encode()

    def outcomes(self) -> list[str | None]:
        return [entry["outcome"] for entry in self.inbox()]

    @property
    def status(self) -> str:
        return str(self.shop.payment(self.id)["status"])

    @property
    def review_reason(self) -> str:
        return str(self.shop.payment(self.id)["review_reason"])

    def confirmations(self) -> list[dict[str, Any]]:
        return self.shop.rows(
            "SELECT * FROM payment_confirmations WHERE transaction_id = CAST(:id AS uuid)", id=self.id
        )

    def inbox(self) -> list[dict[str, Any]]:
        return self.shop.rows(
            "SELECT * FROM callback_inbox WHERE transaction_id = CAST(:id AS uuid) ORDER BY received_at", id=self.id
        )


# Success --------------------------------------------------------------------------------------------------------------


def test_a_success_pays_with_receipt_invoice_and_history(shop: Shop) -> None:
    payment = Pending(shop)
    reply = payment.told()
    assert (reply.status, reply.body) == (200, ACCEPTED)
    assert payment.status == "PAID"
    (confirmation,) = payment.confirmations()
    assert (confirmation["mpesa_receipt_number"], confirmation["amount"], confirmation["evidence"]) == (
        RECEIPT, 1500, "callback")  # fmt: skip
    assert confirmation["transaction_date"].isoformat() == "2026-05-04T09:15:30+00:00"  # East Africa Time is UTC+3
    (entry,) = payment.inbox()
    assert (entry["outcome"], entry["receipts"], entry["tries"]) == ("paid", [RECEIPT], 1)
    assert bytes(entry["body"]) == payment.says()
    assert shop.row("SELECT status, customer_email FROM invoices") == {
        "status": "SENT",
        "customer_email": "alice@example.com",
    }
    history = shop.rows("SELECT actor, event, from_status, to_status FROM audit_log ORDER BY id")
    assert [tuple(row.values()) for row in history] == [
        ("stkpush", "Order", None, "INITIATED"),
        ("stkpush", "PushAccepted", "INITIATED", "PENDING"),
        ("callback", "Confirmed", "PENDING", "PAID"),
    ]


@pytest.mark.parametrize(
    "knobs",
    [
        {"callback_code": "str"},
        {"callback_amount": "1.0"},
        {"callback_amount": "1.00", "callback_metadata": "shuffled", "callback_balance": "value"},
        {"callback_balance": "absent", "callback_phone": "absent"},
        {"callback_phone": "masked"},
    ],
)
def test_every_form_a_success_was_seen_in_pays(shop: Shop, knobs: dict[str, object]) -> None:
    shop.simulator.client.script(CUSTOMER, "pay", after_s=0, **knobs)
    reply = shop.pay()
    pushed = shop.simulator.client.wait_for_callback(reply.body["checkout_request_id"])
    body = shop.status(reply.body["transaction_id"]).body
    assert (body["status"], body["mpesa_receipt_number"]) == ("paid", pushed["receipt"])


def test_a_callback_that_overtakes_the_answer_to_the_push_pays_once(shop: Shop) -> None:
    shop.simulator.client.script(CUSTOMER, "pay", after_s=0, callback_before_response=True)
    reply = shop.pay()
    assert (reply.status, reply.body["status"]) == (202, "paid")
    payment = shop.payment(reply.body["transaction_id"])
    assert (payment["status"], payment["ids_are_learnt"]) == ("PAID", False)
    assert payment["checkout_request_id"] == reply.body["checkout_request_id"]
    assert shop.alerts(reply.body["transaction_id"]) == set()


# The same again -------------------------------------------------------------------------------------------------------


def test_the_same_callback_again_changes_nothing_more(shop: Shop) -> None:
    payment = Pending(shop)
    for _ in range(3):
        assert payment.told().status == 200
    assert len(payment.confirmations()) == 1
    assert payment.outcomes() == ["paid", "repeated", "repeated"]
    assert shop.row("SELECT count(*) AS n FROM invoices") == {"n": 1}
    assert shop.alerts(payment.id) == set()


def test_four_copies_to_four_instances_at_once_pay_once(shop: Shop) -> None:
    payment = Pending(shop)
    path, body = shop.callback_path(payment.id), payment.says()
    replies = at_once(shop.other_instances(4), lambda instance: instance.call("callback", "POST", path, raw=body))
    assert [reply.status for reply in replies] == [200] * 4
    assert sorted(shop.outcomes(payment.id)) == ["paid", "repeated", "repeated", "repeated"]
    assert len(payment.confirmations()) == 1
    assert shop.row("SELECT count(*) AS n FROM audit_log WHERE to_status = 'PAID' AND from_status <> 'PAID'") == {
        "n": 1
    }


# Failure --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (1, "FAILED"), (1032, "CANCELLED"), ("1032", "CANCELLED"), (1031, "CANCELLED"), (1037, "FAILED"),
        (1019, "EXPIRED"), (2001, "FAILED"), ("SFC_IC0003", "FAILED"), ("E3008", "FAILED"), (26, "FAILED"),
    ],
)  # fmt: skip
def test_a_known_failing_code_fails(shop: Shop, code: object, status: str) -> None:
    payment = Pending(shop)
    assert payment.told(code).status == 200
    assert payment.status == status
    body = shop.status(payment.id).body
    assert (body["status"], body["result_code"]) == ("failed", str(code))
    assert body["message"]
    assert body["next_action"]


@pytest.mark.parametrize("code", [4999, 77, "NEW_0001", -1, "00", "0x0", 0.5, "zero"])
def test_an_unknown_code_goes_to_a_person(shop: Shop, code: object) -> None:
    payment = Pending(shop)
    assert payment.told(code).status == 200
    assert (payment.status, payment.review_reason) == ("REVIEW", "unknown_code")
    assert shop.alerts(payment.id) == {"unknown_code"}


@pytest.mark.parametrize(("failing", "status"), [(1037, "FAILED"), (1032, "CANCELLED"), (1019, "EXPIRED")])
def test_a_success_after_a_failure_is_paid_late_with_an_alert(shop: Shop, failing: int, status: str) -> None:
    payment = Pending(shop)
    payment.told(failing)
    assert payment.status == status
    payment.told()
    row = shop.payment(payment.id)
    assert (row["status"], row["paid_late"]) == ("PAID", True)
    assert shop.alerts(payment.id) == {"late_payment"}
    body = shop.status(payment.id).body
    assert (body["status"], body["mpesa_receipt_number"]) == ("paid", RECEIPT)
    assert body.get("result_code", "0") == "0"  # the code of the failure is history
    assert len(shop.rows("SELECT id FROM invoices")) == 1


def test_a_failure_after_success_alerts_and_changes_nothing(shop: Shop) -> None:
    payment = Pending(shop)
    payment.told()
    payment.told(1032)
    assert payment.status == "PAID"
    assert payment.outcomes() == ["paid", "contradicts"]
    assert shop.alerts(payment.id) == {"contradiction"}
    assert shop.status(payment.id).body.get("result_code", "0") == "0"


@pytest.mark.parametrize("code", ["SFC_IC0003", 2028, 8])
def test_a_code_that_means_that_the_shop_is_set_up_wrongly_alerts_at_once_and_once_a_day(
    shop: Shop, code: object
) -> None:
    first, second = Pending(shop), Pending(shop, phone_number=OTHER_CUSTOMER)
    first.told(code)
    [alert] = shop.rows(
        "SELECT transaction_id, facts, sent_at FROM outbox WHERE topic = 'shop_misconfigured' AND kind = 'alert'"
    )
    assert str(alert["transaction_id"]) == first.id
    assert alert["facts"]["daraja_code"] == str(code)
    assert alert["sent_at"] is not None
    second.told(code)
    assert shop.alerts(second.id) == set()


# What does not fit ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "amount", [1, 1499, 1501, 1500.5, 15_000_000, 1500.005, 10**12, -1500, "1", "5000", "1,499.00", " 1500.5 "]
)
def test_an_amount_that_is_not_ours_goes_to_a_person_and_its_receipt_is_kept(shop: Shop, amount: float | str) -> None:
    payment = Pending(shop)
    assert payment.told(amount=amount).status == 200
    assert (payment.status, payment.review_reason) == ("REVIEW", "amount_mismatch")
    assert payment.inbox()[0]["receipts"] == [RECEIPT]
    assert payment.confirmations() == []
    assert shop.status(payment.id).body["status"] == "under_review"
    payment.told()
    assert payment.status == "PAID"  # the right one resolves it


def test_an_amount_that_is_not_ours_never_waits_for_a_query_that_cannot_see_it(shop: Shop) -> None:
    payment = Pending(shop)
    payment.told(amount=1, receipt=None)
    assert (payment.status, payment.review_reason) == ("REVIEW", "amount_mismatch")


@pytest.mark.parametrize("changes", [{"amount": "1500"}, {"amount": "1,500.00"},
                                     {"amount": "KES 1500"}, {"amount": True}, {"amount": None}, {"receipt": None},
                                     {"receipt": 7}, {"receipt": ""}, {"metadata": False}])  # fmt: skip
def test_a_success_that_does_not_say_enough_waits_for_the_query(shop: Shop, changes: dict[str, Any]) -> None:
    payment = Pending(shop)
    assert payment.told(**changes).status == 200
    assert (payment.status, payment.outcomes()) == ("PENDING", ["waits_for_query"])
    assert shop.alerts(payment.id) == {"incomplete_success"}
    assert shop.status(payment.id).body["status"] == "pending"


@pytest.mark.parametrize("spelt", [RECEIPT, RECEIPT.lower(), f" {RECEIPT.title()}"])
def test_a_receipt_that_paid_another_goes_to_a_person(shop: Shop, spelt: str) -> None:
    first, second = Pending(shop), Pending(shop, phone_number=OTHER_CUSTOMER)
    first.told()
    second.told(receipt=spelt)
    assert (first.status, second.status, second.review_reason) == ("PAID", "REVIEW", "reused_receipt")
    assert shop.alerts(second.id) == {"reused_receipt"}
    second.told(receipt="UE4JS31RBX")
    assert second.status == "REVIEW"  # only a person decides what that receipt was about


def test_a_receipt_that_another_payment_is_about_to_take_goes_to_a_person(shop: Shop, database: Database) -> None:
    shop.history_is_made_up = True
    first, second = Pending(shop, customer_email=None), Pending(shop, phone_number=OTHER_CUSTOMER)
    with ThreadPoolExecutor() as pool:
        with database.transaction() as tx:
            tx.run(
                """
                WITH entry AS (
                    INSERT INTO callback_inbox (transaction_id, body, outcome, next_try_at, receipts)
                    VALUES (CAST(:id AS uuid), '', 'paid', NULL, ARRAY[CAST(:receipt AS text)]) RETURNING id),
                paid AS (
                    UPDATE transactions SET status = 'PAID', paid_at = now() WHERE id = CAST(:id AS uuid)
                    RETURNING id, amount)
                INSERT INTO payment_confirmations (transaction_id, inbox_id, evidence, amount, mpesa_receipt_number)
                SELECT paid.id, entry.id, 'callback', amount, :receipt FROM paid, entry
                """,
                id=first.id,
                receipt=RECEIPT,
            )
            write_history(tx, first.id, "Confirmed", "paid", "PAID", "PENDING")
            telling = pool.submit(second.told)
            time.sleep(0.5)
            assert not telling.done()
        assert telling.result(timeout=20).status == 200
    assert (second.status, second.review_reason) == ("REVIEW", "reused_receipt")


def test_ids_of_another_payment_go_to_a_person(shop: Shop) -> None:
    first, second = Pending(shop), Pending(shop, phone_number=OTHER_CUSTOMER)
    assert second.tell(first.says()).status == 200
    assert (second.status, second.review_reason) == ("REVIEW", "ids_disagree")
    assert first.status == "PENDING"
    assert shop.payment(second.id)["checkout_request_id"] == second.ids["checkout_request_id"]


@pytest.mark.parametrize("shared", ["merchant_id", "checkout_id"])
def test_one_id_of_another_payment_is_enough_to_go_to_a_person(shop: Shop, shared: str) -> None:
    """For a push whose answer never came, the address alone would bind; ids that are taken say that it does not fit."""
    first = Pending(shop)
    shop.simulator.client.script(OTHER_CUSTOMER, drop_response=True, reaches_phone=False)
    uncertain = str(shop.pay(phone_number=OTHER_CUSTOMER).body["transaction_id"])
    new = {"merchant_id": "9-9-9", "checkout_id": "ws_CO_9"}
    del new[shared]
    assert first.told(path=shop.callback_path(uncertain), **new).status == 200
    payment = shop.payment(uncertain)
    assert (payment["status"], payment["review_reason"]) == ("REVIEW", "ids_disagree")
    assert payment["checkout_request_id"] is None


@pytest.mark.parametrize("change", [{"checkout_id": "ws_CO_9"}, {"merchant_id": "9-9-9"}, {"checkout_id": None},
                                    {"merchant_id": None, "checkout_id": None}])  # fmt: skip
def test_ids_that_are_not_the_stored_ones_do_not_pay(shop: Shop, change: dict[str, Any]) -> None:
    payment = Pending(shop)
    payment.told(**change)
    assert (payment.status, payment.review_reason) == ("REVIEW", "ids_disagree")
    assert shop.alerts(payment.id) == {"ids_disagree"}


def test_the_second_payment_of_a_retried_order_goes_to_a_person_without_an_invoice(shop: Shop) -> None:
    first = Pending(shop)
    first.told(1032)
    shop.simulator.client.answer(CUSTOMER, "cancel")
    second = Pending(shop)
    second.told()
    first.told(receipt="UE4JS31RBX")
    assert (first.status, first.review_reason, second.status) == ("REVIEW", "duplicate_payment", "PAID")
    assert shop.alerts(first.id) == {"duplicate_payment"}
    assert first.inbox()[-1]["receipts"] == ["UE4JS31RBX"]
    assert len(shop.rows("SELECT id FROM invoices")) == 1


def test_both_payments_of_a_retried_order_at_once_pay_one(shop: Shop) -> None:
    first = Pending(shop)
    first.told(1032)
    shop.simulator.client.answer(CUSTOMER, "cancel")
    second = Pending(shop)
    told = [
        (shop.callback_path(first.id), first.says(receipt="UE4JS31RBX")),
        (shop.callback_path(second.id), second.says()),
    ]
    instances = zip(shop.other_instances(2), told, strict=True)
    replies = at_once(instances, lambda one: one[0].call("callback", "POST", one[1][0], raw=one[1][1]))
    assert [reply.status for reply in replies] == [200, 200]
    assert sorted([first.status, second.status]) == ["PAID", "REVIEW"]


def test_a_success_waits_for_what_is_being_decided_about_its_phone(shop: Shop, database: Database) -> None:
    first = Pending(shop)
    first.told(1032)
    shop.simulator.client.answer(CUSTOMER, "cancel")
    second = Pending(shop, customer_email=None)
    with ThreadPoolExecutor() as pool:
        with database.transaction() as tx:
            tx.rows("SELECT pg_advisory_xact_lock(hashtextextended(CAST(:phone AS text), 0))", phone=CUSTOMER)
            tx.run(
                """
                WITH paid AS (
                    UPDATE transactions SET status = 'PAID', paid_at = now() WHERE id = CAST(:id AS uuid)
                    RETURNING id, amount)
                INSERT INTO payment_confirmations (transaction_id, evidence, amount)
                SELECT id, 'query', amount FROM paid
                """,
                id=second.id,
            )
            write_history(tx, second.id, "QueryConfirmed", "paid", "PAID", "PENDING")
            telling = pool.submit(first.told)
            time.sleep(0.5)
            assert not telling.done()
        assert telling.result(timeout=20).status == 200
    assert (first.status, first.review_reason, second.status) == ("REVIEW", "duplicate_payment", "PAID")


# What cannot be read --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"", b"x", b"\xff\xfe", b"[]", b"{}", b'{"Body": {}}', b'{"Body": {"stkCallback": {}}}', b"\x00",
        b'{"Body": {"stkCallback": {"ResultCode": 0, "ResultCode": 1032}}}',
        b'{"Body": {"stkCallback": {"ResultCode": false}}}',
        b'{"Body": {"stkCallback": {"ResultCode": null}}}',
        b"[" * 10_000,
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_kept_and_alerted_and_changes_nothing(shop: Shop, body: bytes) -> None:
    payment = Pending(shop)
    reply = shop.call("callback", "POST", shop.callback_path(payment.id), raw=body)
    assert (reply.status, reply.body) == (200, ACCEPTED)
    assert (payment.status, payment.outcomes()) == ("PENDING", ["unreadable"])
    assert shop.alerts(payment.id) == {"unreadable"}


def test_a_receipt_in_what_cannot_be_read_is_kept(shop: Shop) -> None:
    payment = Pending(shop)
    payment.tell(payment.says()[:-3])
    assert (payment.outcomes(), payment.inbox()[0]["receipts"]) == (["unreadable"], [RECEIPT])


def test_safaricom_is_answered_whatever_the_content_type(shop: Shop) -> None:
    payment = Pending(shop)
    path = shop.callback_path(payment.id)
    assert shop.call("callback", "POST", path, headers={"content-type": ""}, raw=payment.says()).status == 200
    assert payment.status == "PAID"


def test_a_callback_for_a_payment_that_is_not_here_is_kept_and_alerted(shop: Shop) -> None:
    """After a restore from a backup, for one."""
    payment = Pending(shop)
    reply = payment.told(path=shop.callback_path(NOBODY))
    assert (reply.status, reply.body) == (200, ACCEPTED)
    assert shop.outcomes(NOBODY) == ["unknown_transaction"]
    assert shop.row("SELECT topic FROM outbox WHERE kind = 'alert'") == {"topic": "unknown_transaction"}
    assert payment.status == "PENDING"


# Forged ---------------------------------------------------------------------------------------------------------------


def test_an_address_written_before_the_secret_was_changed_still_works(shop: Shop) -> None:
    payment = Pending(shop)
    path, (derived,) = shop.callback_path(payment.id), receiving().callback.secrets
    shop.configure(CALLBACK_SECRET="a-new-secret-of-our-own-choosing-now")
    assert payment.told(path=path).status == 404
    shop.configure(CALLBACK_SECRET_PREVIOUS=derived)
    assert payment.told(path=path).status == 200
    assert payment.status == "PAID"


# When the database does not play along --------------------------------------------------------------------------------


@pytest.fixture
def network(shop: Shop, postgres_server: EmbeddedPostgres) -> Iterator[Proxy]:
    """Between the functions and their database, once a payment is there."""
    with Proxy(postgres_server.socket_folder / f".s.PGSQL.{postgres_server.port}") as proxy:
        yield proxy
        forget_collaborators()


def over(network: Proxy, payment: Pending) -> str:
    """From now on the functions reach their database by this network; the payment's callback address."""
    payment.shop.configure(DATABASE_URL=network.url(payment.shop.database_url.split("?")[0].rpartition("/")[2]))
    return payment.shop.callback_path(payment.id)


def test_without_a_database_safaricom_is_told_within_seconds_that_it_was_not_stored(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    payment = Pending(shop)
    monkeypatch.setattr(callback_function, "STORES_FOR_S", 4)
    shop.configure(DATABASE_URL="postgresql://lipa@127.0.0.1:9/lipa")
    began = time.monotonic()
    reply = payment.told()
    took_s = time.monotonic() - began
    assert (reply.status, reply.body["code"]) == (503, "unavailable")
    assert 3.5 < took_s < 10


def test_a_database_that_falls_silent_is_not_waited_for(
    shop: Shop, network: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    payment = Pending(shop)
    path = over(network, payment)
    monkeypatch.setattr(callback_function, "STORES_FOR_S", 4)
    network.fault, network.trigger = "silent", b"INSERT INTO callback_inbox"
    began = time.monotonic()
    assert payment.told(path=path).status == 503
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("fault", "trigger", "for_s"),
    [
        ("cut before it arrives", b"", 1),
        ("cut before it arrives", b"", 12),
        ("cut after it was done", b"COMMIT\0", 0.5),
    ],
)
def test_a_database_that_comes_back_within_seconds_costs_no_callback(
    shop: Shop, network: Proxy, fault: Fault, trigger: bytes, for_s: float
) -> None:
    """Gone altogether; or it has committed, and only its answer is lost: then the bytes are there once."""
    payment = Pending(shop)
    path = over(network, payment)
    network.fault, network.trigger = fault, trigger
    with ThreadPoolExecutor() as pool:
        telling = pool.submit(payment.told, path=path)
        time.sleep(for_s)
        network.fault = "none"
        assert telling.result(timeout=20).status == 200
    assert (payment.status, len(payment.inbox()), len(payment.confirmations())) == ("PAID", 1, 1)


def test_a_payment_that_is_locked_for_long_is_left_to_the_sweep(shop: Shop, database: Database) -> None:
    payment = Pending(shop)
    with database.transaction() as tx:
        tx.run("SELECT id FROM transactions FOR UPDATE")
        assert payment.told().status == 200
    assert (payment.status, payment.outcomes()) == ("PENDING", [None])
    shop.sweep()
    assert payment.status == "PENDING"  # for 30 s it belongs to whoever received it
    shop.age(31)
    shop.sweep()
    assert (payment.status, payment.outcomes()) == ("PAID", ["paid"])


def written_by_a_newer_version(shop: Shop, transaction_id: str) -> None:
    """A row that this version cannot read: each try to judge about it fails."""
    shop.history_is_made_up = True
    with shop.books.transaction() as tx:
        tx.run("ALTER TABLE transactions DROP CONSTRAINT review_reason_is_known")
        tx.run(
            """
            UPDATE transactions SET status = 'REVIEW', review_reason = 'a_reason_of_tomorrow'
            WHERE id = CAST(:id AS uuid)
            """,
            id=transaction_id,
        )
        write_history(tx, transaction_id, "Tomorrow", "to_review", "REVIEW", "PENDING")


def test_a_callback_that_cannot_be_judged_goes_to_a_person_after_three_tries(shop: Shop) -> None:
    payment, other = Pending(shop), Pending(shop, phone_number=OTHER_CUSTOMER)
    written_by_a_newer_version(shop, payment.id)
    assert payment.told().status == 200
    shop.rows("UPDATE transactions SET next_query_at = NULL RETURNING id")  # this is not about queries
    for tries in (2, 3):
        shop.age(31)
        assert shop.sweep().status == 200
        (entry,) = payment.inbox()
        assert (entry["tries"], entry["outcome"]) == (tries, None)
        assert "ValueError" in entry["last_error"]
    shop.age(31)
    shop.sweep()
    (entry,) = payment.inbox()
    assert (entry["outcome"], entry["receipts"], entry["next_try_at"]) == ("dead_letter", [RECEIPT], None)
    assert shop.alerts(payment.id) == {"dead_letter"}
    assert other.told(receipt="UE4JS31RBX").status == 200
    assert other.status == "PAID"


def test_a_judgement_that_the_database_refuses_holds_up_nothing_else(shop: Shop, database: Database) -> None:
    payment, other = Pending(shop), Pending(shop, phone_number=OTHER_CUSTOMER)
    with database.transaction() as tx:
        tx.run(f"ALTER TABLE payment_confirmations ADD CHECK (mpesa_receipt_number <> '{RECEIPT}')")
    assert payment.told().status == 200
    with database.transaction() as tx:
        tx.run("SELECT id FROM transactions WHERE id = CAST(:id AS uuid) FOR UPDATE", id=other.id)
        other.told(receipt="UE4JS31RBX")
    shop.age(31)
    assert shop.sweep().status == 200
    assert (payment.status, other.status) == ("PENDING", "PAID")
