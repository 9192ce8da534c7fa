"""What is measured: a database and a Daraja, and for each kind of work an event that does it for real."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from db.migrate import migrate, read_migrations
from dev.demo import a_cart
from dev.deployed_function import http_event
from dev.postgres import EmbeddedPostgres
from dev.stack import GENEROUS_LIMITS
from shared.daraja.callback_address import callback_url
from shared.database import Database
from shared.settings import Settings
from shared.values import new_id
from simulator import Behaviour, Simulator, SimulatorSettings

JSON = {"content-type": "application/json"}


FILLING = """
    CREATE TEMPORARY TABLE past ON COMMIT DROP AS
    SELECT n, at, (left(id, 8) || '-' || substr(id, 9, 4) || '-7' || substr(id, 13, 3) || '-a' || substr(id, 16, 3)
                   || '-' || right(id, 12))::uuid AS id
    FROM (SELECT n, at, lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || md5(n::text) AS id
          FROM (SELECT n, now() - interval '1 year' * (:payments - n + 1) / :payments AS at
                FROM generate_series(1, :payments) n) numbered) made;
    INSERT INTO transactions (id, merchant_request_id, checkout_request_id, phone_number, amount, account_reference,
                              customer_email, status, created_at, updated_at, pushed_at, paid_at, callback_received_at,
                              audit_length, audit_head)
    SELECT id, 'fill-' || n, 'ws_CO_fill' || n, '2547' || lpad((n % 100000)::text, 8, '0'), 100, 'FILL' || n,
           'c' || n || '@example.com', 'PAID', at, at, at, at, at, 3, 'filled' FROM past;
    INSERT INTO idempotency_keys (key, fingerprint, transaction_id, created_at)
    SELECT 'key-' || n, md5(n::text), id, at FROM past WHERE at > now() - interval '30 days';
    INSERT INTO callback_inbox (transaction_id, received_at, body, outcome, receipts, tries, next_try_at, judged_at)
    SELECT id, at, convert_to(repeat('x', 500), 'UTF8'), 'paid', ARRAY['F' || lpad(n::text, 9, '0')], 1, NULL, at
    FROM past;
    INSERT INTO payment_confirmations (transaction_id, evidence, amount, mpesa_receipt_number, received_at)
    SELECT id, 'callback', 100, 'F' || lpad(n::text, 9, '0'), at FROM past;
    INSERT INTO invoices (transaction_id, customer_email, amount, invoice_number, invoice_date, status, sent_at)
    SELECT id, 'c' || n || '@example.com', 100, 'FILL-' || n, at, 'SENT', at FROM past;
    INSERT INTO audit_log (at, transaction_id, actor, event, outcome, to_status, place, link, link_key)
    SELECT at, id, 'bench', 'Order', 'admitted', 'PAID', place, repeat('a', 64), 'bench'
    FROM past, generate_series(1, 3) place;
    INSERT INTO outbox (kind, topic, transaction_id, created_at, tries, next_try_at, sent_at)
    SELECT 'invoice', 'settled', id, at, 1, NULL, at FROM past
"""


class Work(StrEnum):
    """The usual work of each function, as the table names it."""

    CALLBACK = "callback"
    STATUS = "status"
    STKPUSH = "stkpush"
    INVOICE = "invoice"
    SWEEP_OF_AN_EMPTY_MINUTE = "sweep of an empty minute"
    SWEEP_WITH_ONE_INVOICE = "sweep with one invoice to send"

    @property
    def function(self) -> str:
        return self.split()[0]


class Shop:
    """A database and a Daraja to measure with, and events that do real work there."""

    def __init__(self, database_url: str, simulator: Simulator) -> None:
        self.environment = environment_of(database_url, simulator)
        self._database = Database(database_url)
        self._callback = Settings.from_environment(self.environment).callback
        self._number = 0

    def event(self, work: Work) -> dict[str, Any]:
        """One that the function has never seen, and everything prepared for it."""
        self._number += 1
        match work:
            case Work.CALLBACK:
                return self.callback(self.payment(email=None))  # as far as the settlement: a letter is work of its own
            case Work.STATUS:
                return http_event("GET", f"/api/pay/status/{self.payment()['id']}")
            case Work.STKPUSH:
                phone = f"2547000{self._number:05}"
                return http_event("POST", "/api/pay/stkpush", order(phone, f"BENCH{self._number}"), JSON)
            case Work.INVOICE:
                asked = {"transaction_id": str(self._paid()["id"])}
                return http_event("POST", "/api/pay/invoice", json.dumps(asked), JSON)
            case Work.SWEEP_OF_AN_EMPTY_MINUTE | Work.SWEEP_WITH_ONE_INVOICE:
                self._forget_payments()  # else it asks Daraja what became of all that were measured before
                if work is Work.SWEEP_WITH_ONE_INVOICE:
                    self._paid()
                return http_event("POST", "/.netlify/functions/sweep", "{}", JSON)

    def payment(self, email: str | None = "bench@example.com") -> dict[str, Any]:
        """A pending payment of KES 10, as a push leaves it."""
        self._number += 1
        ids = {"checkout": f"ws_CO_bench{self._number}{os.getpid()}", "merchant": f"bench-{self._number}-{os.getpid()}"}
        with self._database.transaction() as tx:
            (row,) = tx.rows(
                """
                WITH made AS (
                    INSERT INTO transactions (id, phone_number, amount, account_reference, customer_email, status,
                                              pushed_at, checkout_request_id, merchant_request_id,
                                              audit_length, audit_head)
                    VALUES (CAST(:id AS uuid), :phone, 10, :reference, :email, 'PENDING',
                            now(), :checkout, :merchant, 1, 'bench')
                    RETURNING *),
                audited AS (
                    INSERT INTO audit_log (transaction_id, actor, event, outcome, to_status, place, link, link_key)
                    SELECT id, 'bench', 'Order', 'admitted', 'PENDING', 1, 'bench', 'bench' FROM made)
                SELECT * FROM made
                """,
                id=new_id(),
                phone=f"2547000{self._number:05}",
                reference=f"BENCH{self._number}",
                email=email,
                **ids,
            )
        return row

    def row(self, transaction_id: str) -> dict[str, Any]:
        (row,) = self._database.rows("SELECT * FROM transactions WHERE id = CAST(:id AS uuid)", id=transaction_id)
        return row

    def callback(self, payment: dict[str, Any]) -> dict[str, Any]:
        """Safaricom's callback: it is paid."""
        self._number += 1
        path = "/" + callback_url(self._callback, str(payment["id"])).split("/", 3)[3]
        return paid(path, payment, f"UKB{self._number:07}")

    def fill(self, payments: int) -> None:
        """Paid payments of the last year, with all the rows that each has, in keys that grow with time."""
        database = Database(self.environment["DATABASE_URL"], statement_timeout_s=0, idle_timeout_s=0)
        with database.transaction() as tx:
            tx.script("SET LOCAL session_replication_role = 'replica'")
            tx.script(FILLING.replace(":payments", str(payments)))
            tx.script("ANALYZE")
        database.close()

    def _paid(self) -> dict[str, Any]:
        """A payment that has just been paid: its invoice waits."""
        from netlify.functions import callback

        payment = self.payment()
        usual_s, callback.FOLLOWS_UP_FOR_S = callback.FOLLOWS_UP_FOR_S, 0
        with quiet():
            callback.handler(self.callback(payment), None)
        callback.FOLLOWS_UP_FOR_S = usual_s
        return payment

    def _forget_payments(self) -> None:
        with self._database.transaction() as tx:
            tx.run("SET LOCAL session_replication_role = 'replica'")  # history is kept, but not this
            tx.run("TRUNCATE transactions, outbox CASCADE")

    def close(self) -> None:
        self._database.close()


def paid(path: str, payment: Mapping[str, Any], receipt: str) -> dict[str, Any]:
    """Safaricom's callback to this address: this payment was made."""
    items = [
        {"Name": "Amount", "Value": int(payment["amount"])},
        {"Name": "MpesaReceiptNumber", "Value": receipt},
        {"Name": "TransactionDate", "Value": 20260504120000},
        {"Name": "PhoneNumber", "Value": int(payment["phone_number"])},
    ]
    body = {
        "MerchantRequestID": payment["merchant_request_id"],
        "CheckoutRequestID": payment["checkout_request_id"],
        "ResultCode": 0,
        "ResultDesc": "The service request is processed successfully.",
        "CallbackMetadata": {"Item": items},
    }
    return http_event("POST", path, json.dumps({"Body": {"stkCallback": body}}), JSON)


def order(phone: str, reference: str, *, has_catalogue: bool = True) -> str:
    """Of what this shop sells; an older revision knows only amounts."""
    what = {"items": a_cart()} if has_catalogue else {"amount": 10}
    return json.dumps(
        {"phone_number": phone, **what, "account_reference": reference, "customer_email": "bench@example.com"}
    )


def environment_of(database_url: str, simulator: Simulator) -> dict[str, str]:
    """What the functions are told. One machine is all customers here."""
    return {
        **simulator.environment(),
        **GENEROUS_LIMITS,
        "DATABASE_URL": database_url,
        "MPESA_CALLBACK_URL": "http://127.0.0.1:9/api/pay/callback",
        "INVOICE_EMAIL_FROM": "invoices@shop.example",
        "INVOICE_EMAIL_REPLY_TO": "support@shop.example",
        "SWEEP_IDLE_MINUTES": "0",
    }


@contextlib.contextmanager
def shop() -> Iterator[Shop]:
    with server_and_simulator() as (postgres, simulator):
        database = Database(postgres.url())
        migrate(database, read_migrations(), "sandbox")
        database.close()
        here = Shop(postgres.url(tcp=True), simulator)
        try:
            yield here
        finally:
            here.close()


@contextlib.contextmanager
def server_and_simulator(*, durable: bool = True) -> Iterator[tuple[EmbeddedPostgres, Simulator]]:
    """PostgreSQL, and a Daraja that answers at once and whose customers do nothing."""
    waits_for_ever = Behaviour(push_latency_s=0, no_answer_after_s=86_400)
    with tempfile.TemporaryDirectory(prefix="lipa-bench-") as folder:
        os.chmod(folder, 0o755)  # noqa: S103  the server may run as another user
        with (
            EmbeddedPostgres(Path(folder) / "postgres", tcp=True, durable=durable) as postgres,
            Simulator(SimulatorSettings(behaviour=waits_for_ever)) as simulator,
        ):
            yield postgres, simulator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """The functions' log lines are written, and thrown away."""
    from aws_lambda_powertools import Logger  # its handler keeps the stream it was made with

    with open(os.devnull, "w") as nowhere:
        for handler in Logger(service="lipa").handlers:
            handler.stream = nowhere  # type: ignore[attr-defined]
        yield
