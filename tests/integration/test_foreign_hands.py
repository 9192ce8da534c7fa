"""Whoever has the functions' password and nothing else: what they write is refused, seen, bounded, or harmless.

Seen: `ops verify`, `audit verify` or `replay` names it. Bounded: the next sweep puts it right. Harmless: it changes
neither what is paid nor what is mailed to whom; the reason stands beside it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest

from ops import audit
from shared import settings
from shared.collaborators import collaborators, receiver
from shared.daraja.callback_address import key_name
from shared.database import Database, DatabaseError
from shared.gateway.inbox import Entry
from shared.payments import ReviewReason
from tests.fixtures.shop import CUSTOMER, Shop, broken_invariants, replayed_differently

FAR = "now() + interval '100 years'"
UPDATES: dict[str, dict[str, tuple[str, str]]] = {
    "transactions": {
        "merchant_request_id": ("refused", "'1-2-3', checkout_request_id = 'ws_CO_other'"),
        "checkout_request_id": ("refused", "NULL, merchant_request_id = NULL"),
        "ids_are_learnt": ("refused", "true"),
        "customer_email": ("refused", "'mallory@example.com'"),
        "status": ("seen", "CASE status WHEN 'PENDING' THEN 'FAILED' ELSE status END"),
        "review_reason": ("refused", "'a_word_that_no_code_knows'"),
        "response_code": ("harmless: an operator reads it", "'1'"),
        "response_message": ("harmless: an operator reads it", "'text'"),
        "result_code": ("seen", "'2001'"),
        "result_desc": ("harmless: an operator reads it", "'text'"),
        "updated_at": ("refused", FAR),
        "pushed_at": ("refused", "now() + interval '1 hour'"),
        "callback_received_at": ("refused", FAR),
        "success_held_at": ("seen", "now()"),
        "paid_at": ("refused", "now() - interval '1 day'"),
        "paid_late": ("refused", "true"),
        "refunded_at": ("refused", "now()"),
        "refund_receipt": ("refused", "'UE9RF00001'"),
        "failed_at": ("refused", "now()"),
        "watched_at": ("refused", FAR),
        "query_count": ("refused", "2147483647"),
        "last_query_at": ("refused", FAR),
        "next_query_at": ("bounded", FAR),
        "audit_length": ("refused", "2147483647"),
        "audit_head": ("seen", "repeat('0', 64)"),
        "order_sent_at": ("refused", FAR),
    },
    "callback_inbox": {
        "outcome": ("refused", "'Nothing to see here'"),
        "receipts": ("harmless: every receipt ever seen stays", "'{}'"),
        "tries": ("refused", "4"),
        "next_try_at": ("bounded", f"{FAR}, outcome = NULL"),
        "judged_at": ("refused", FAR),
        "last_error": ("refused", "repeat('x', 1000000)"),
        "source_check": ("refused", "'listed'"),
        "copies": ("refused", "9223372036854775807"),
    },
    "payment_confirmations": {
        "mpesa_receipt_number": ("refused", "'UE9RF00001'"),
        "inbox_id": ("refused", "NULL"),
        "result_desc": ("refused", "'text'"),
        "balance_amount": ("refused", "'NaN'"),
        "transaction_date": ("refused", "'infinity'"),
        "phone_number": ("refused", "'254722000000'"),
    },
    "invoices": {
        "status": ("seen", "'SENT', sent_at = now()"),
        "sent_at": ("refused", "now() - interval '1 day'"),
    },
    "outbox": {
        "tries": ("refused", "-1"),
        "next_try_at": ("refused", "NULL"),
        "sent_at": ("refused", "now() - interval '1 day', next_try_at = NULL"),
        "last_error": ("refused", "repeat('x', 1000000)"),
        "dropped": ("refused", "'seen'"),
    },
    "callback_keys": {"retired_at": ("bounded", "now()")},
    "access_tokens": {
        "app": ("harmless: a new token is fetched", "'another'"),
        "token": ("refused", "E'a token\\nX-Header: x'"),
        "expires_at": ("bounded", FAR),
        "leased_until": ("bounded", FAR),
    },
    "query_budget": {"app": ("harmless: a budget is made anew", "'another'"), "next_slot_at": ("bounded", FAR)},
    "incidents": {
        "topic": ("harmless: the condition is alerted again", "'another'"),
        "since": ("bounded", FAR),
        "seen_at": ("bounded", FAR),
        "alerted_at": ("bounded", FAR),
    },
    "mail_pause": {"only_row": ("refused", "false"), "until": ("bounded", FAR)},
}  # fmt: skip
SWEEPS = {"only_row", "began_at", "looked_at"}
"""Of `sweeps` only its moments are bounded: a heartbeat pays nothing and mails nothing."""
MAY_UPDATE = """
    SELECT table_name, column_name FROM information_schema.column_privileges
    WHERE grantee = 'lipa_functions' AND privilege_type = 'UPDATE' AND table_name <> 'sweeps'
"""


@pytest.fixture
def foreign(functions_url: str) -> Iterator[Database]:
    """The functions' role, by hand."""
    database = Database(functions_url)
    yield database
    database.close()


@pytest.fixture
def busy(shop: Shop) -> Shop:
    """A shop with a payment that is paid, whose invoice waits, one that is open, and a row of everything."""
    shop.simulator.client.fault("mail", "error_500", times=1)
    shop.simulator.client.script(CUSTOMER, "pay", after_s=0)
    shop.simulator.client.wait_for_callback(shop.pay().body["checkout_request_id"])
    shop.pay(phone_number="254722000000", account_reference="OPEN")
    shop.overwrite("INSERT INTO incidents (topic) VALUES ('work_stuck')")
    shop.overwrite("INSERT INTO mail_pause (until) VALUES (now())")
    shop.overwrite("INSERT INTO query_budget (app) VALUES ('an app') ON CONFLICT DO NOTHING")
    shop.overwrite("UPDATE callback_inbox SET source_check = NULL")
    collaborators().gateway.watch.put_right(good_keys())
    return shop


def good_keys() -> list[str]:
    return [key_name(secret) for secret in settings.settings().callback.secrets]


def refused(database: Database, sql: str) -> bool:
    try:
        with database.transaction() as tx:
            tx.run(sql)
    except DatabaseError:
        return True
    return False


def named(shop: Shop) -> list[str]:
    """What the operator's commands find wrong."""
    keys = settings.audit_settings(os.environ).keys
    return [
        *broken_invariants(shop.books),
        *(finding.what for finding in audit.verify(shop.books, keys).findings),
        *(difference.what for difference in replayed_differently(shop.books)),
    ]


def test_every_column_that_the_functions_may_change_is_thought_of(database: Database) -> None:
    may = {(row["table_name"], row["column_name"]) for row in database.rows(MAY_UPDATE)}
    assert may == {(table, column) for table, columns in UPDATES.items() for column in columns}


def test_what_the_password_alone_can_change(busy: Shop, foreign: Database) -> None:
    assert named(busy) == []
    wrong = []
    tables = tuple(UPDATES)
    kept = busy.copy_of(*tables)
    for table, columns in UPDATES.items():
        for column, (verdict, value) in columns.items():
            was_refused = refused(foreign, f"UPDATE {table} SET {column} = {value}")
            if was_refused or verdict == "refused":
                if was_refused != (verdict == "refused"):
                    wrong.append((table, column, verdict, "refused" if was_refused else "done"))
                continue
            if verdict == "bounded":
                collaborators().gateway.watch.put_right(good_keys())
                late = f"{column} > now() + interval '1 minute'"
                if column == "retired_at":
                    late = "retired_at IS NOT NULL"
                if busy.rows(f"SELECT 1 AS one FROM {table} WHERE {late}"):
                    wrong.append((table, column, verdict, "still there"))
            found = named(busy)
            if bool(found) != (verdict == "seen"):
                wrong.append((table, column, verdict, str(found)))
            busy.put_back(kept)
    assert wrong == []
    assert named(busy) == []


def test_a_callback_that_nobody_received_is_not_believed(shop: Shop, foreign: Database) -> None:
    """Put on file by hand, with ids, amount and receipt that fit: it is held for a person, who hears of it."""
    asked = shop.pay().body
    payment = shop.payment(asked["transaction_id"])
    body = {
        "Body": {
            "stkCallback": {
                "MerchantRequestID": payment["merchant_request_id"],
                "CheckoutRequestID": payment["checkout_request_id"],
                "ResultCode": 0,
                "ResultDesc": "The service request is processed successfully.",
                "CallbackMetadata": {
                    "Item": [
                        {"Name": "Amount", "Value": 1500},
                        {"Name": "MpesaReceiptNumber", "Value": "UE4FORGED1"},
                        {"Name": "TransactionDate", "Value": 20261130141500},
                        {"Name": "PhoneNumber", "Value": 254708374149},
                    ]
                },
            }
        }
    }
    foreign.run(
        """
        INSERT INTO callback_inbox (id, transaction_id, body, tries, next_try_at, seal)
        VALUES (gen_random_uuid(), CAST(:id AS uuid), :body, 0, now(), repeat('0', 64))
        """,
        id=asked["transaction_id"],
        body=json.dumps(body).encode(),
    )
    shop.sweep()
    assert shop.payment(asked["transaction_id"])["status"] == "PENDING"
    assert shop.outcomes(asked["transaction_id"]) == ["held"]
    assert shop.alerts(asked["transaction_id"]) == {"held"}


def test_a_callback_that_the_function_stored_and_died_is_judged_by_the_sweep(shop: Shop) -> None:
    shop.simulator.client.script(CUSTOMER, "pay", after_s=0)
    asked = shop.pay().body
    shop.simulator.client.wait_for_callback(asked["checkout_request_id"])
    body = bytes(shop.row("SELECT body FROM callback_inbox")["body"])
    receiver().gateway.inbox.remember(
        Entry("00000000-0000-4000-8000-000000000001", asked["transaction_id"], body), None
    )
    shop.age(31)
    shop.sweep()
    assert shop.outcomes(asked["transaction_id"]) == ["paid", "repeated"]


def test_the_schema_knows_the_words_of_the_code(database: Database) -> None:
    (rule,) = database.rows(
        "SELECT pg_get_constraintdef(oid) AS says FROM pg_constraint WHERE conname = 'review_reason_is_known'"
    )
    assert {f"'{reason}'" for reason in ReviewReason} <= {word.split("::")[0] for word in _words(rule["says"])}


def _words(text: str) -> list[str]:
    return [part.strip("([]) ") for part in text.replace("[", ",").split(",")]


# Poison -----------------------------------------------------------------------------------------------------------

PAYMENT = "(SELECT id FROM transactions WHERE status = 'PENDING' LIMIT 1)"
AUDIT = (
    "INSERT INTO audit_log (id, at, transaction_id, actor, event, outcome, from_status, to_status, place, link,"
    " link_key) OVERRIDING SYSTEM VALUE"
    " SELECT {id}, {at}, {payment}, 'x', 'x', 'x', NULL, 'INITIATED', {place}, 'x', 'x'"
)
NEXT = "nextval('audit_log_id_seq')"
POISON = {
    "an infinite instant of history": AUDIT.format(id=NEXT, at="'-infinity'", payment=PAYMENT, place=2),
    "a number of history that never comes": AUDIT.format(id=2**63 - 1, at="now()", payment=PAYMENT, place=2),
    "the place of the next row": AUDIT.format(id=NEXT, at="now()", payment=PAYMENT, place=3),
    "history of a foreign payment": AUDIT.format(id=NEXT, at="now()", payment="gen_random_uuid()", place=1),
    "an instant beyond every calendar": "UPDATE transactions SET next_query_at = 'infinity'",
    "an instant before every calendar": "UPDATE outbox SET next_try_at = '-infinity'",
    "a payment from the future": "INSERT INTO transactions (phone_number, amount, account_reference, created_at)"
                                 " VALUES ('254722000009', 1, 'X', now() + interval '1 day')",
    "a payment that is paid": "INSERT INTO transactions (phone_number, amount, account_reference, status, paid_at)"
                              " VALUES ('254722000009', 1, 'X', 'PAID', now())",
    "a count that overflows": "UPDATE transactions SET query_count = 2147483647",
    "copies that overflow": "UPDATE callback_inbox SET copies = 9223372036854775807",
    "negative tries": "UPDATE outbox SET tries = -1",
    "an unknown kind": "INSERT INTO outbox (kind, topic) VALUES ('bomb', 'x')",
    "an unknown notice":
        f"INSERT INTO outbox (kind, topic, transaction_id, tells_of) VALUES ('notice', 'x', {PAYMENT}, 1)",
    "an unknown way of an anchor":
        "INSERT INTO outbox (kind, topic, anchor_id) SELECT 'anchor', 'x', max(id) FROM audit_anchors",
    "an invoice of what is not paid":
        f"INSERT INTO outbox (kind, topic, transaction_id) VALUES ('invoice', 'again', {PAYMENT})",
    "an invoice of nothing": "INSERT INTO outbox (kind, topic) VALUES ('invoice', 'again')",
    "a row number of the outbox that comes soon":
        "INSERT INTO outbox (id, kind, topic) OVERRIDING SYSTEM VALUE VALUES (1000, 'alert', 'x')",
    "a digest that cannot be sent":
        "INSERT INTO audit_anchors (last_audit_id, row_count, payment_count, digest, day_is_over)"
        " VALUES (1, 1, 1, 'x', true)",
    "facts that are no object": "INSERT INTO outbox (kind, topic, facts) VALUES ('alert', 'x', '[1]')",
    "facts without an end":
        "INSERT INTO outbox (kind, topic, facts) VALUES ('alert', 'x', jsonb_build_object('x', repeat('x', 1000000)))",
    "a text without an end": "UPDATE transactions SET response_message = repeat('x', 100000000)",
    "a token that is two lines": "INSERT INTO access_tokens (app, token) VALUES ('x', E'a\\nb')",
    "no instant where one is due": "UPDATE outbox SET next_try_at = NULL WHERE sent_at IS NULL",
    "a review for an unknown reason":
        "UPDATE transactions SET status = 'REVIEW', review_reason = 'x' WHERE status = 'PENDING'",
    "another environment": "INSERT INTO installation (environment) VALUES ('production')",
}  # fmt: skip
HARMLESS = {
    "an alert of an unknown topic": "INSERT INTO outbox (kind, topic, facts) VALUES ('alert', 'nobody_knows', '{}')",
    "an alert of a foreign payment":
        f"INSERT INTO outbox (kind, topic, transaction_id) VALUES ('alert', 'x', {PAYMENT})",
    "a thousand callers": "INSERT INTO push_callers (address_digest) SELECT 'x' || n FROM generate_series(1, 1000) n",
    "an unknown incident": "INSERT INTO incidents (topic, since) VALUES ('x', '2199-01-01')",
    "a pause of mail until the year 2199": "UPDATE mail_pause SET until = '2199-01-01'",
    "a heartbeat of the year 2199": "UPDATE sweeps SET began_at = '2199-01-01', looked_at = '2199-01-01'",
    "questions of the year 2199": "UPDATE transactions SET next_query_at = '2199-01-01'",
    "bytes that are no callback": "INSERT INTO callback_inbox (id, transaction_id, body, next_try_at)"
                                  " VALUES (gen_random_uuid(), gen_random_uuid(), '\\x00ff00', now())",
    "a callback of a foreign payment, to be judged":
        "INSERT INTO callback_inbox (id, transaction_id, body, next_try_at)"
        " SELECT gen_random_uuid(), id, body, now() FROM callback_inbox",
    "a key retired": "UPDATE callback_keys SET retired_at = now()",
    "an unknown key": "INSERT INTO callback_keys (name) VALUES (repeat('0', 32))",
    "a token of nobody": "UPDATE access_tokens SET token = 'x', expires_at = '2199-01-01', leased_until = '2199-01-01'",
}  # fmt: skip


def test_poison_is_refused_by_the_schema(busy: Shop, foreign: Database) -> None:
    assert [what for what, sql in POISON.items() if not refused(foreign, sql)] == []
    assert len(POISON) >= 8


def test_what_is_not_refused_stops_no_step_of_the_sweep_and_no_function(busy: Shop, foreign: Database) -> None:
    """All of it at once: the sweep does all its work, and a customer pays."""
    busy.history_is_made_up = True  # a callback that nobody received has an outcome and no judge
    for what, sql in HARMLESS.items():
        assert not refused(foreign, sql), what
    for _ in range(2):
        done = busy.sweep()
        assert (done.status, [name for name in done.body if name.endswith("_failed")]) == (200, []), done.body
        busy.age(61)
    busy.simulator.client.script("254733000000", "pay", after_s=0)
    paid = busy.pay(phone_number="254733000000", account_reference="AFTER")
    assert paid.status == 202
    busy.simulator.client.wait_for_callback(paid.body["checkout_request_id"])
    busy.sweep()
    assert busy.status(paid.body["transaction_id"]).body["status"] == "paid"
    assert [mail for mail in busy.letters() if "AFTER" in str(mail)] != []
