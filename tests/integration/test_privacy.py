"""A person leaves the books, and the money stays: export, erasure and retention on real payments.

Each test ends as all tests of the shop end: every invariant holds, and every decision taken again from the evidence on
file gives what the books say.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import threading
import uuid
from pathlib import Path
from typing import Any

import pytest

from ops import erasure, privacy, retention
from ops.__main__ import main
from ops.people import NOT_YET, RECENT_H, People, Person
from ops.personal_columns import NULLED, REPLACED, TABLES
from shared import collaborators
from shared.database import ConstraintBroken, Database, Row
from shared.gateway.invoices import Operator
from shared.gateway.trail import Trail
from shared.settings import audit_settings
from shared.values import ERASED_EMAIL
from tests.fixtures.shop import CUSTOMER, RECEIPT, Shop, callback_about, replayed_differently

NUMBER = CUSTOMER[3:]
EMAIL = "alice@example.com"
OTHER = "254700000042"
BOB = {"customer_email": "bob@example.com", "customer_name": "Bob"}
A_DAY = 86_400
THREE_DAYS = 3 * A_DAY
CANCELLED = {"code": "1032", "desc": "Request cancelled by user"}
NO_MONEY = {"code": "1", "desc": "The balance is insufficient for the transaction"}
UNREACHABLE = {"code": "1037", "desc": "DS timeout user cannot be reached"}


def erase(shop: Shop, person: str = CUSTOMER, *more: str) -> int:
    return shop.ops("privacy", "erase", person, "--who", "amina", "--why", "asked by letter of 3 May", *more)


def erase_later(shop: Shop, person: str = CUSTOMER) -> None:
    """When everything was sent and three days have passed."""
    shop.sweep()
    shop.age(THREE_DAYS)
    assert erase(shop, person) == 0


def settled(shop: Shop, outcome: str | dict[str, Any] = "pay", **order: object) -> str:
    """A payment that has come to its end, its invoice and alerts sent."""
    transaction_id = shop.settled(outcome, f"key-{order.get('account_reference', 'INV00042')}", **order)
    shop.sweep()
    return transaction_id


def erased(shop: Shop, outcome: str | dict[str, Any] = "pay") -> str:
    """A settled payment whose customer is erased."""
    transaction_id = settled(shop, outcome)
    erase_later(shop)
    return transaction_id


def not_called_back(shop: Shop, **knobs: object) -> str:
    """The customer has paid, and Safaricom says nothing by itself."""
    shop.simulator.client.script(CUSTOMER, "pay", after_s=0, callback_count=0, **knobs)
    return str(shop.pay().body["transaction_id"])


def by_hand(shop: Shop, verdict: str, transaction_id: str, *more: str) -> None:
    """A person's word about a payment."""
    assert shop.ops("review", verdict, transaction_id, *more, "--why", "on the statement", "--who", "amina") == 0


def everything(shop: Shop) -> str:
    """Every value in every table, as text."""
    tables = shop.rows(
        "SELECT table_name AS name FROM information_schema.tables "
        "WHERE table_schema = 'public' AND table_type = 'BASE TABLE' ORDER BY 1"
    )
    rows = [row for table in tables for row in shop.rows(f"SELECT * FROM {table['name']}")]
    return "\n".join(_readable(value) for row in rows for value in row.values())


def _readable(value: object) -> str:
    return bytes(value).decode("utf-8", "replace") if isinstance(value, bytes | bytearray) else str(value)


def money(shop: Shop) -> list[Row]:
    """What must never change."""
    return shop.rows(
        """
        SELECT t.id, t.status, t.amount, t.created_at, t.pushed_at, t.paid_at, t.failed_at, t.refunded_at, t.updated_at,
               t.refund_receipt, t.result_code, t.review_reason, t.paid_late, c.amount AS confirmed, c.evidence,
               c.mpesa_receipt_number, c.transaction_date, c.received_at, v.invoice_number, v.amount AS invoiced,
               v.invoice_date, v.status AS invoice_status,
               ARRAY(SELECT i.outcome || array_to_string(i.receipts, ' ') FROM callback_inbox i
                     WHERE i.transaction_id = t.id ORDER BY i.received_at) AS callbacks
        FROM transactions t LEFT JOIN payment_confirmations c ON c.transaction_id = t.id
        LEFT JOIN invoices v ON v.transaction_id = t.id ORDER BY t.id
        """
    )


def stored(key: str, phone: str = CUSTOMER) -> str:
    """An Idempotency-Key as the books have it."""
    return hashlib.sha256(f"{phone} {key}".encode()).hexdigest()


# Erasing --------------------------------------------------------------------------------------------------------------


def test_a_person_leaves_the_books_and_the_money_stays(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    paid = settled(shop, transaction_desc="For Alice, call 0708 374 149")
    cancelled = settled(shop, CANCELLED, amount=700, account_reference="CANCELLED")
    bystander = settled(shop, phone_number=OTHER, account_reference="BOBS", **BOB)
    shop.age(THREE_DAYS)
    before = money(shop)
    personal = (NUMBER, "0708 374 149", EMAIL, "Alice", stored("key-CANCELLED"))
    assert all(value in everything(shop) for value in personal)

    assert erase(shop) == 0

    assert "2 payments without the person" in capsys.readouterr().out
    left = everything(shop)
    assert [value for value in personal if value in left] == []
    assert money(shop) == before
    assert shop.payment(bystander)["phone_number"] == OTHER
    assert "bob@example.com" in left
    assert shop.status(paid).body["status"] == "paid"
    numbers = {shop.payment(each)["phone_number"] for each in (paid, cancelled)}
    assert ([number[:4] for number in numbers], len(numbers)) == (["2540", "2540"], 2), "no longer one person's"
    audit = shop.row(
        "SELECT * FROM audit_log WHERE event = 'PersonErased' AND transaction_id = CAST(:id AS uuid)", id=paid
    )
    assert (audit["actor"], audit["reason"]) == ("operator amina", "asked by letter of 3 May")


@pytest.mark.parametrize("payer", [int(CUSTOMER), "2547*****149", int(OTHER)], ids=str)
def test_a_callback_becomes_what_it_said_about_the_money(shop: Shop, payer: object) -> None:
    """Whoever paid, and however Safaricom writes the number. An unreadable message goes too."""
    transaction_id = not_called_back(shop)
    shop.calls_back(transaction_id, PhoneNumber=payer)
    shop.calls_back(transaction_id, raw=f'{{"FirstName": "JOHN", "MSISDN": "{OTHER}", '.encode())
    shop.sweep()
    shop.age(THREE_DAYS)
    as_they_came = shop.rows("SELECT body FROM callback_inbox ORDER BY received_at")
    assert erase(shop) == 0
    stored = shop.rows("SELECT body, receipts, erased_sha256 FROM callback_inbox ORDER BY received_at")
    assert [json.loads(bytes(row["body"])) for row in stored] == [
        {
            "result_code": "0",
            "amount_kes": "1500",
            "amount_said": None,
            "mpesa_receipt_number": RECEIPT,
            "transaction_date": "2026-05-04T12:15:30+03:00",
        },
        {"unreadable": "not JSON"},
    ]
    assert [row["receipts"] for row in stored] == [[RECEIPT], []]
    for before, after in zip(as_they_came, stored, strict=True):
        assert after["erased_sha256"] == hashlib.sha256(bytes(before["body"])).hexdigest()
    payment = shop.payment(transaction_id)
    assert payment["phone_number"].startswith("2540")
    assert payment["checkout_request_id"].endswith(payment["phone_number"][3:])
    assert not any(number in everything(shop) for number in (NUMBER, OTHER[3:], "*****149"))


def test_what_postgresql_keeps_of_old_rows_goes_too(shop: Shop) -> None:
    """Its planner samples values, and old versions of rows stay until they are vacuumed."""
    for phone_number in (CUSTOMER, OTHER):
        settled(shop, phone_number=phone_number, account_reference=f"B{phone_number[-3:]}")
    shop.overwrite("ANALYZE transactions")
    assert NUMBER in statistics(shop)
    erase_later(shop)
    assert NUMBER not in statistics(shop)
    vacuumed = shop.rows("SELECT relname FROM pg_stat_user_tables WHERE last_vacuum IS NOT NULL ORDER BY 1")
    assert [row["relname"] for row in vacuumed] == sorted(TABLES)


def statistics(shop: Shop) -> str:
    return str([str(row) for row in shop.rows("SELECT s::text AS s FROM pg_stats s WHERE schemaname = 'public'")])


def test_a_role_that_may_not_vacuum_says_what_is_left_to_do(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(privacy, "_owns_the_tables", lambda _: False)
    erased(shop)
    assert "As the tables' owner, run: VACUUM (ANALYZE) transactions, callback_inbox" in capsys.readouterr().out


def test_erasing_by_email_finds_the_number_too(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    settled(shop)
    settled(shop, amount=700, account_reference="NOADDRESS", customer_email=None, customer_name=None)
    erase_later(shop, "ALICE@example.com")
    assert "erase that too" in capsys.readouterr().out
    assert EMAIL not in everything(shop)
    left = shop.rows("SELECT account_reference FROM transactions WHERE phone_number = :phone", phone=CUSTOMER)
    assert [row["account_reference"] for row in left] == ["NOADDRESS"]
    assert erase(shop) == 0
    assert NUMBER not in everything(shop)


def test_addresses_that_only_look_alike_stay_whole_and_are_nobodys_erasure(shop: Shop) -> None:
    alike = {OTHER: f"jane.{EMAIL}", "254722111111": f"{EMAIL}.ke", "254722000000": f"o'{EMAIL}"}
    for phone_number, address in alike.items():
        settled(shop, phone_number=phone_number, customer_email=address, account_reference=f"B{phone_number[-3:]}")
    mine = settled(shop)
    erase_later(shop, EMAIL)
    for table in ("transactions", "invoices"):
        kept = {row["customer_email"] for row in shop.rows(f"SELECT customer_email FROM {table}")}
        assert kept == {*alike.values(), ERASED_EMAIL}
    erased = shop.rows("SELECT transaction_id FROM erasures WHERE scope = 'person'")
    assert [str(row["transaction_id"]) for row in erased] == [mine]


def test_words_about_an_address_that_looks_alike_stay(shop: Shop) -> None:
    """A mail server's words about o'alice@… are no mention of alice@…, and stay as they are."""
    words = {OTHER: f"550 <o'{EMAIL}>: no such user", "254722111111": f"550 '{EMAIL}' is full"}
    theirs = {}
    says = "UPDATE outbox SET last_error = :said WHERE transaction_id = CAST(:id AS uuid) RETURNING id"
    for phone_number, said in words.items():
        order = {"phone_number": phone_number, "account_reference": f"B{phone_number[-3:]}"}
        theirs[said] = settled(shop, customer_email="b@x.example", **order)
        shop.rows(says, said=said, id=theirs[said])
    erase_later(shop, EMAIL)
    kept = {row["last_error"] for row in shop.rows("SELECT last_error FROM outbox")}
    assert kept == {words[OTHER], None}
    mentioned = shop.rows("SELECT transaction_id FROM erasures")
    assert [str(row["transaction_id"]) for row in mentioned] == [theirs[words["254722111111"]]]


def test_attempts_at_one_order_stay_together(shop: Shop) -> None:
    """Whether an order was paid twice is still seen afterwards."""
    first = settled(shop, UNREACHABLE)
    shop.age(180)
    shop.settled("pay", "second")
    shop.calls_back(first)
    assert shop.payment(first)["review_reason"] == "duplicate_payment"
    by_hand(shop, "refunded", first, "--receipt", "UE6AA11BBC")
    erase_later(shop)
    assert len({row["phone_number"] for row in shop.rows("SELECT phone_number FROM transactions")}) == 1


@pytest.mark.parametrize("reference", ["0708374149", "ALICE1"])
def test_an_order_reference_that_names_the_person_goes_too(shop: Shop, reference: str) -> None:
    settled(shop, account_reference=reference)
    erase_later(shop)
    assert NUMBER not in everything(shop)
    assert shop.row("SELECT account_reference FROM transactions")["account_reference"] == "ERASED"


def test_a_callback_that_names_the_person_beside_another_payment_is_rewritten(shop: Shop) -> None:
    """Somebody else's phone was asked, and this person paid; and a callback about no payment at all."""
    other = settled(shop, UNREACHABLE, phone_number=OTHER, customer_email=None, customer_name=None)
    shop.age(60)
    shop.calls_back(other)
    raw = json.dumps({"MSISDN": "2547*****149", "FirstName": "JOHN", "BillRefNumber": CUSTOMER}).encode()
    shop.calls_back(str(uuid.uuid4()), raw=raw)
    erase_later(shop)
    left = everything(shop)
    assert NUMBER not in left
    assert OTHER in left
    assert shop.payment(other)["status"] == "PAID"


def test_erasing_again_changes_nothing(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    erased(shop)
    before = everything(shop)
    capsys.readouterr()
    assert erase(shop) == 0
    assert everything(shop) == before
    told = capsys.readouterr().out
    assert "0 payments" in told
    assert "nothing more is stored about them" in told


def test_a_dry_run_counts_and_changes_nothing(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    settled(shop)
    shop.age(THREE_DAYS)
    before = everything(shop)
    capsys.readouterr()
    assert erase(shop, CUSTOMER, "--dry-run") == 0
    counted = capsys.readouterr().out
    assert everything(shop) == before
    assert "1 payment would be without the person" in counted
    erase(shop)
    assert capsys.readouterr().out.replace("would be ", "") == counted.replace("would be ", "")


def test_it_goes_on_where_it_was_broken_off(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        settled(shop, amount=700 + number, account_reference=f"ORDER{number}")
    shop.age(THREE_DAYS)
    finished: list[object] = []
    real = erasure.Eraser.person

    def breaks_after_one(self: erasure.Eraser, order: Any) -> bool:
        if finished:
            raise KeyboardInterrupt
        finished.append(order)
        return real(self, order)

    with monkeypatch.context() as broken, pytest.raises(KeyboardInterrupt):
        broken.setattr(erasure.Eraser, "person", breaks_after_one)
        erase(shop)
    assert len(shop.rows("SELECT id FROM transactions WHERE phone_number = :phone", phone=CUSTOMER)) == 2
    assert erase(shop) == 0
    assert NUMBER not in everything(shop)


# Not yet --------------------------------------------------------------------------------------------------------------


def test_what_is_not_finished_is_not_erased_yet(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """Open, in review, settled just now, paid twice, with a callback that nobody could judge."""
    done = settled(shop, account_reference="DONE")
    in_review = settled(shop, {"code": "7777", "desc": "Something new"}, amount=701, account_reference="REVIEWED")
    twice = settled(shop, amount=702, account_reference="TWICE")
    shop.calls_back(twice)
    dead = settled(shop, amount=703, account_reference="DEAD")
    shop.overwrite(f"UPDATE callback_inbox SET outcome = 'dead_letter' WHERE transaction_id = '{dead}'")
    shop.overwrite(f"INSERT INTO outbox (kind, topic, transaction_id) VALUES ('alert', 'dead_letter', '{dead}')")
    shop.sweep()
    shop.age(THREE_DAYS)
    recent = settled(shop, amount=704, account_reference="RECENT")
    open_now = str(shop.pay(amount=705, account_reference="OPEN").body["transaction_id"])

    assert erase(shop) == 1

    told = capsys.readouterr().out
    assert "what waits is still stored: run this again" in told
    assert "nothing more is stored" not in told
    expected = {
        in_review: "in_review",
        twice: "money_may_be_owed",
        dead: "callback_waits",
        recent: "recent",
        open_now: "open",
    }
    for transaction_id, reason in expected.items():
        assert f"not yet: {transaction_id}" in told
        assert NOT_YET[reason] in told
        assert shop.payment(transaction_id)["phone_number"] == CUSTOMER
        assert shop.payment(transaction_id)["customer_email"] == EMAIL
    assert shop.payment(done)["phone_number"].startswith("2540")

    assert erase(shop, CUSTOMER, "--nothing-owed") == 1
    assert shop.payment(twice)["phone_number"].startswith("2540")


def test_what_comes_in_between_is_seen_under_the_lock(shop: Shop, database: Database) -> None:
    """Found to be finished, and then Safaricom calls: it is left alone."""
    transaction_id = settled(shop, CANCELLED)
    shop.age(THREE_DAYS)
    people = People(database)
    (order,) = people.orders_of(Person(CUSTOMER))
    assert order.not_yet == {}
    shop.calls_back(transaction_id)
    by = Operator("amina", "asked by letter of 3 May")
    assert not erasure.Eraser(database, people, Trail(audit_settings(os.environ).key), by).person(order)
    assert shop.payment(transaction_id)["phone_number"] == CUSTOMER
    assert shop.rows("SELECT id FROM erasures") == []


@pytest.mark.parametrize(
    ("told", "verdict"), [([{"Amount": 1400}], "pay"), ([{}, {"MpesaReceiptNumber": "UE5AA11BBC"}], "refunded")]
)
def test_what_a_person_has_decided_is_no_longer_waited_for(
    shop: Shop, told: list[dict[str, Any]], verdict: str
) -> None:
    """Another amount, on the statement all the same; and money that came twice, and went back."""
    transaction_id = not_called_back(shop)
    for items in told:
        shop.calls_back(transaction_id, **items)
    shop.sweep()
    shop.age(THREE_DAYS)
    assert erase(shop) == 1
    by_hand(shop, verdict, transaction_id, "--receipt", "UE6AA11BBC", "--against-evidence")
    erase_later(shop)


# Afterwards -----------------------------------------------------------------------------------------------------------


def test_a_late_callback_about_an_erased_payment_still_pays_it(shop: Shop) -> None:
    """It names the push as Safaricom knows it, with the number; the books have other digits there."""
    transaction_id = settled(shop, CANCELLED)
    as_it_was = callback_about(shop.payment(transaction_id))
    erase_later(shop)

    assert callback_about(shop.payment(transaction_id)) != as_it_was
    shop.calls_back(transaction_id, raw=as_it_was)

    assert shop.outcomes(transaction_id)[-1] == "paid_late"
    assert shop.payment(transaction_id)["status"] == "PAID"
    assert shop.status(transaction_id).body["mpesa_receipt_number"] == RECEIPT
    assert shop.rows("SELECT id FROM invoices") == []
    assert NUMBER in everything(shop)  # on file, byte for byte, until the purge
    assert replayed_differently(shop.books) == []
    shop.sweep()
    shop.age(THREE_DAYS)
    assert shop.ops("privacy", "purge") == 0
    assert NUMBER not in everything(shop)
    shop.calls_back(transaction_id, raw=as_it_was)
    assert shop.outcomes(transaction_id)[-1] == "repeated"


def test_a_late_callback_that_names_another_push_pays_no_erased_payment(shop: Shop) -> None:
    transaction_id = settled(shop, CANCELLED)
    as_it_was = shop.payment(transaction_id)
    erase_later(shop)
    for changed in ("merchant_request_id", "checkout_request_id"):
        digit = "1" if as_it_was[changed][-12] == "0" else "0"
        other = as_it_was[changed][:-12] + digit + as_it_was[changed][-11:]
        shop.calls_back(transaction_id, raw=callback_about({**as_it_was, changed: other}))
        assert shop.payment(transaction_id)["review_reason"] == "ids_disagree"


def test_ids_that_a_late_callback_teaches_leave_with_the_next_purge(shop: Shop) -> None:
    """The push was never answered, so the address alone binds the callback."""
    transaction_id = not_called_back(shop, drop_response=True)
    shop.age(1000)
    shop.sweep()
    by_hand(shop, "fail", transaction_id)
    erase_later(shop)
    ids = {"merchant_request_id": "2654-4b64-97ff", "checkout_request_id": f"ws_CO_04052026101530123{NUMBER}"}
    shop.calls_back(transaction_id, raw=callback_about({**shop.payment(transaction_id), **ids}))
    assert shop.payment(transaction_id)["status"] == "PAID"
    shop.sweep()
    shop.age(THREE_DAYS)
    assert shop.ops("privacy", "purge") == 0
    assert NUMBER not in everything(shop)
    assert shop.payment(transaction_id)["checkout_request_id"].startswith("ws_CO_04052026101530123")


def test_an_erased_payments_invoice_goes_nowhere(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    transaction_id = erased(shop)
    for body in ({}, {"customer_email": "somebody@example.com"}):
        reply = shop.call("invoice", "POST", "/api/mpesa/invoice", {"transaction_id": transaction_id, **body})
        assert (reply.status, reply.body["code"]) == (422, "invalid")
        assert "was removed from the books, and no other is taken for it. Ask the shop" in reply.body["detail"]
        assert ERASED_EMAIL not in str(reply.body)
    assert shop.ops("invoice", "resend", transaction_id, "--why", "they asked again") == 1
    assert "was erased: its invoice goes nowhere any more" in capsys.readouterr().err
    shop.sweep()
    assert len(shop.letters()) == 1
    assert shop.payment(transaction_id)["customer_email"] == ERASED_EMAIL


def test_the_case_of_an_erased_payment_says_who_erased_and_why(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    transaction_id = erased(shop)
    capsys.readouterr()
    assert shop.ops("case", transaction_id) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "asked of an erased number" in told
    assert "operator amina erased whoever paid, or was asked to. Why: asked by letter of 3 May" in told


def test_the_history_of_an_erased_payment_has_to_lead_to_where_it_stands(shop: Shop) -> None:
    transaction_id = erased(shop, CANCELLED)
    kept = shop.copy_of("transactions", "audit_log")
    for change in (
        "UPDATE transactions SET status = 'FAILED'",
        "UPDATE audit_log SET from_status = 'UNCERTAIN' WHERE event = 'Declined'",
        "UPDATE audit_log SET to_status = 'FAILED' WHERE event = 'Declined'",
    ):
        shop.overwrite(change)
        assert {each.transaction_id for each in replayed_differently(shop.books)} == {transaction_id}
        shop.put_back(kept)


def test_evidence_that_only_claims_to_be_erased_differs(shop: Shop) -> None:
    """Without the erasure in the signed history its bytes are read as any others."""
    transaction_id = settled(shop)
    kept = shop.copy_of("callback_inbox")
    shop.overwrite("UPDATE callback_inbox SET body = '{\"result_code\": \"0\"}', erased_sha256 = 'ab'")
    assert {each.transaction_id for each in replayed_differently(shop.books)} == {transaction_id}
    shop.put_back(kept)


def test_the_person_may_come_back(shop: Shop) -> None:
    erased(shop)
    again = settled(shop, account_reference="COMEBACK")
    assert shop.status(again).body["status"] == "paid"
    assert shop.payment(again)["phone_number"] == CUSTOMER


def test_erasing_beside_live_callbacks_loses_nothing(shop: Shop) -> None:
    """Twenty orders are erased while Safaricom repeats itself about each."""
    as_they_were: dict[str, bytes] = {}
    for number in range(20):
        shop.age(400)
        transaction_id = settled(shop, NO_MONEY, amount=700 + number, account_reference=f"ORDER{number}")
        payment = shop.payment(transaction_id)
        as_they_were[transaction_id] = callback_about(payment, MpesaReceiptNumber=f"UE5AA11B{number:02}")
    shop.age(THREE_DAYS)

    def safaricom() -> None:
        for transaction_id, body in as_they_were.items():
            shop.calls_back(transaction_id, raw=body)

    calling = threading.Thread(target=safaricom)
    calling.start()
    erase(shop)
    calling.join()
    assert {row["status"] for row in shop.rows("SELECT status FROM transactions")} == {"PAID"}
    while shop.rows(
        "SELECT id FROM outbox WHERE next_try_at <= now() + interval '1 hour'"
    ):  # on a slow machine more than one shift's
        shop.sweep()
    shop.age(THREE_DAYS)
    erase(shop)
    shop.ops("privacy", "purge")
    assert NUMBER not in everything(shop)


# What the schema allows -----------------------------------------------------------------------------------------------

ERASES = """
    INSERT INTO erasures (transaction_id, scope, who, why) VALUES (CAST(:id AS uuid), 'person', 'a', 'b') RETURNING id
"""


def test_evidence_changes_only_in_the_transaction_that_erases(shop: Shop) -> None:
    transaction_id = settled(shop)
    shop.rows(
        "INSERT INTO query_answers (transaction_id, said, outcome) VALUES (CAST(:id AS uuid), 'y', 'no_answer_yet') "
        "RETURNING id",
        id=transaction_id,
    )
    for erased_before in (False, True):
        if erased_before:
            shop.rows(ERASES, id=transaction_id)
        for change in (
            "UPDATE callback_inbox SET body = 'x'",
            "UPDATE callback_inbox SET erased_sha256 = 'x'",
            "UPDATE query_answers SET said = 'x'",
            "UPDATE transactions SET phone_number = '254012345678'",
        ):
            with pytest.raises(ConstraintBroken):
                shop.rows(change)


def test_an_erasure_allows_its_own_payment_and_no_more_than_the_personal_values(shop: Shop, database: Database) -> None:
    gone, other = settled(shop), settled(shop, phone_number=OTHER, account_reference="OTHER")
    refused = (
        f"UPDATE callback_inbox SET body = 'x' WHERE transaction_id = '{other}'",
        f"UPDATE callback_inbox SET transaction_id = '{other}' WHERE transaction_id = '{gone}'",
        f"UPDATE transactions SET phone_number = '254700000001' WHERE id = '{gone}'",
        f"UPDATE payment_confirmations SET amount = 1 WHERE transaction_id = '{gone}'",
        f"DELETE FROM callback_inbox WHERE transaction_id = '{gone}'",
        "UPDATE erasures SET who = 'nobody'",
        "DELETE FROM erasures",
    )
    for change in refused:
        with pytest.raises(ConstraintBroken), database.transaction() as tx:
            tx.run(ERASES, id=gone)
            tx.run(change)


def test_an_open_payment_is_not_erased_by_any_road(shop: Shop) -> None:
    transaction_id = str(shop.pay().body["transaction_id"])
    with pytest.raises(ConstraintBroken):
        shop.rows(
            """
            WITH said AS (INSERT INTO erasures (transaction_id, scope, who, why)
                          VALUES (CAST(:id AS uuid), 'person', 'a', 'b') RETURNING id)
            UPDATE transactions SET phone_number = '254012345678' WHERE EXISTS (SELECT FROM said) RETURNING id
            """,
            id=transaction_id,
        )


# Exporting ------------------------------------------------------------------------------------------------------------


def test_everything_about_a_person_goes_into_one_file(
    shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    transaction_id = settled(shop)
    settled(shop, phone_number=OTHER, account_reference="OTHER", **BOB)
    for person in (CUSTOMER, "0708 374 149", EMAIL):
        found, text = exported(shop, person, tmp_path)
        (payment,) = found["payments"]
        assert payment["payment"]["id"] == transaction_id
        assert payment["callbacks"][0]["mpesa_receipt_number"] == payment["confirmation"]["mpesa_receipt_number"]
        assert payment["invoice"]["invoice_number"].startswith("INV-")
        assert payment["request"][0]["key"] == stored("key-INV00042")
        assert payment["audit_log"][0]["event"] == "Order"
        assert {message["kind"] for message in payment["messages"]} == {"sale", "invoice"}
        assert any("KES 1,500 for INV00042" in line for line in payment["in_words"])
        assert "bob" not in text
    file = tmp_path / "personal-data.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "1 payment\n" in capsys.readouterr().out
    assert shop.ops("privacy", "export", CUSTOMER, "--out", str(file)) == 2  # never over another file
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("asker", [CUSTOMER, EMAIL])
def test_the_number_and_what_was_typed_beside_it_may_be_two_persons(shop: Shop, tmp_path: Path, asker: str) -> None:
    """Whoever holds the phone did not have to be the one who typed name, address and description."""
    settled(shop, transaction_desc="For Alice")
    found, text = exported(shop, asker, tmp_path)
    by_number, by_address = (CUSTOMER, NUMBER), (EMAIL, "Alice")
    assert all(value in text for value in (by_number if asker == CUSTOMER else by_address))
    assert not any(value in text for value in (by_address if asker == CUSTOMER else by_number))
    assert ("customer_email" in found["payments"][0]["payment"]) == (asker == EMAIL)


def test_after_erasing_there_is_nothing_to_export(
    shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    erased(shop)
    for person in (CUSTOMER, EMAIL, OTHER):
        assert shop.ops("privacy", "export", person, "--out", str(tmp_path / "alice.json")) == 1
        assert "nothing is stored about them; no file was written" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def exported(shop: Shop, person: str, tmp_path: Path) -> tuple[dict[str, Any], str]:
    file = tmp_path / "personal-data.json"
    file.unlink(missing_ok=True)
    assert shop.ops("privacy", "export", person, "--out", str(file)) == 0
    return json.loads(file.read_text()), file.read_text()


def test_of_somebody_elses_payment_a_person_sees_what_they_paid_and_no_more(shop: Shop, tmp_path: Path) -> None:
    """Bob was asked, and Alice paid: she learns what she paid, and not whose payment it was."""
    bobs = settled(shop, UNREACHABLE, phone_number=OTHER, account_reference="BOBS", **BOB)
    shop.age(60)
    shop.calls_back(bobs)
    shop.calls_back(bobs, raw=json.dumps({"MSISDN": CUSTOMER, "FirstName": "JOHN", "BillRefNumber": OTHER}).encode())
    found, text = exported(shop, CUSTOMER, tmp_path)
    assert found["payments"] == []
    paid, named = found["named_by_evidence_about_other_payments"]
    assert (paid["phone_number"], paid["amount"], paid["mpesa_receipt_number"]) == (CUSTOMER, "1500", RECEIPT)
    assert named["says"] == "It names you, and says nothing more about you."
    payment = shop.payment(bobs)
    theirs = (OTHER[3:], bobs, "BOBS", "bob", "JOHN", payment["merchant_request_id"], payment["checkout_request_id"])
    assert [value for value in theirs if value in text] == []


def test_a_persons_own_record_names_nobody_else(shop: Shop, tmp_path: Path) -> None:
    """Another payment's callback came to this one, with a name; and whoever gave the address had another before."""
    mine = settled(shop, UNREACHABLE)
    shop.calls_back(mine, PhoneNumber=int(OTHER))
    named = {"MSISDN": OTHER, "FirstName": "JOHN", "Email": "bob@example.com", "Ref": "0700 000 042"}
    shop.calls_back(mine, raw=json.dumps(named).encode())
    found, text = exported(shop, CUSTOMER, tmp_path)
    assert len(found["payments"][0]["callbacks"]) == 3
    assert [value for value in (OTHER[3:], "700 000 042", "JOHN", "bob@example.com") if value in text] == []
    assert all(value in text for value in (CUSTOMER, "2547*****042"))


def test_who_has_the_address_learns_no_number_and_no_other_address(shop: Shop, tmp_path: Path) -> None:
    """Somebody typed it for a payment of their own, and their own address for the attempt before."""
    settled(shop, UNREACHABLE, **BOB)
    shop.age(180)
    again = shop.settled("pay", "again")
    found, text = exported(shop, EMAIL, tmp_path)
    assert [payment["payment"]["id"] for payment in found["payments"]] == [again]
    assert [value for value in (NUMBER, "bob@example.com", "Bob") if value in text] == []
    assert "2547*****149" in text


# Retention ------------------------------------------------------------------------------------------------------------


def test_what_need_not_stay_goes_in_its_time(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    paid = settled(shop)
    failed = settled(shop, CANCELLED, amount=700, account_reference="FAILED")
    before = money(shop)
    shop.status(paid)
    shop.age(31 * A_DAY)
    assert shop.ops("privacy", "purge") == 0
    assert shop.rows("SELECT key FROM idempotency_keys") == []
    assert shop.payment(paid)["customer_email"] == EMAIL

    shop.age(370 * A_DAY)
    assert shop.ops("privacy", "purge") == 0
    assert EMAIL not in everything(shop)
    assert shop.payment(paid)["phone_number"] == CUSTOMER
    assert shop.payment(failed)["phone_number"].startswith("2540")

    shop.age(6 * 366 * A_DAY)
    capsys.readouterr()
    assert shop.ops("privacy", "purge", "--dry-run") == 0
    assert "      1  persons of payments past their time" in capsys.readouterr().out
    assert shop.payment(paid)["phone_number"] == CUSTOMER
    assert shop.ops("privacy", "purge") == 0
    assert NUMBER not in everything(shop)
    moments = ("_at", "date")
    assert [[v for k, v in row.items() if not k.endswith(moments)] for row in money(shop)] == [
        [v for k, v in row.items() if not k.endswith(moments)] for row in before
    ]


def test_the_purge_touches_nothing_that_is_open(shop: Shop) -> None:
    open_now = str(shop.pay("an-open-key", phone_number=OTHER).body["transaction_id"])
    in_review = settled(shop, {"code": "7777", "desc": "Something new"}, amount=701, account_reference="REVIEWED")
    shop.age(1200)
    shop.sweep()  # tells of the silence
    shop.age(8 * 366 * A_DAY)
    assert shop.ops("privacy", "purge") == 0
    for transaction_id in (open_now, in_review):
        assert shop.payment(transaction_id)["phone_number"] in (CUSTOMER, OTHER)
        assert shop.payment(transaction_id)["customer_email"] == EMAIL
    assert {row["key"] for row in shop.rows("SELECT key FROM idempotency_keys")} == {
        stored("an-open-key", OTHER),
        stored("key-REVIEWED"),
    }
    assert shop.row("SELECT source_address FROM callback_inbox")["source_address"]


# What others learn ----------------------------------------------------------------------------------------------------


def test_whoever_lacks_the_id_learns_nothing_from_a_status(shop: Shop) -> None:
    """Unknown, malformed, nearly right: one answer. An unknown id costs the database what a known one costs."""
    known = settled(shop)
    unknown = str(uuid.uuid4())
    asked = [unknown, unknown.upper(), known.upper(), known[:-1], f"{known}0", known.replace("-", ""), "1", "%00"]
    replies = [shop.status(each) for each in asked]
    assert {reply.status for reply in replies} == {404}
    assert len({json.dumps([reply.headers, reply.body], sort_keys=True) for reply in replies}) == 1
    assert not any(private in str(replies) for private in (known, NUMBER, EMAIL, "1500"))
    database = collaborators.collaborators().gateway.database
    costs = []
    for each in (known, unknown):
        before = database.round_trips
        shop.status(each)
        costs.append(database.round_trips - before)
    assert costs[0] == costs[1]


# What is promised -----------------------------------------------------------------------------------------------------

# Text of a closed list, or of ours; the money; and who erased, but never whom.
IMPERSONAL = {
    "installation": "environment reconciliation_head",
    "transactions": "status review_reason response_code result_code lang refund_receipt items link_digest",
    "callback_inbox": "outcome source_check erased_sha256 receipts seal",
    "callback_keys": "name",
    "query_answers": "result_code outcome",
    "payment_confirmations": "evidence result_code mpesa_receipt_number",
    "invoices": "status invoice_number etims_scu_id etims_cu_invoice_number etims_receipt_signature etims_internal_data"
    " etims_qr_url",
    "outbox": "kind topic dropped facts",
    "erasures": "scope who why",
    "drills": "backup_sha256 found who",
    "statement_files": "sha256 family shortcode balance_chain who",
    "statement_rows": "sha256 receipt class status linked_receipt",
    "reconciliation_log": "kind subject facts who why link link_key",
    "recoveries": "backup_sha256 who finished_by why facts",
    "invoice_gaps": "who why",
    "golive_steps": "step state who says facts",
    "backups": "place sha256 recipients server_version client_version migration facts",
    "query_budget": "app",
    "incidents": "topic",
    "access_tokens": "app",
}
PURGED = {
    "callback_inbox": "source_address",
    "idempotency_keys": "key fingerprint",
    "access_tokens": "token",
    "push_callers": "address_digest",
}


def test_every_column_that_can_hold_words_is_erased_purged_or_impersonal(shop: Shop) -> None:
    """A new column has to say which it is: in ops/personal_columns.py, in ops/retention.py, or here."""
    found = shop.rows(
        """
        SELECT c.table_name || '.' || c.column_name AS name FROM information_schema.columns c
        JOIN information_schema.tables t USING (table_schema, table_name)
        WHERE c.table_schema = 'public' AND t.table_type = 'BASE TABLE'
          AND c.data_type IN ('text', 'character varying', 'bytea', 'json', 'jsonb', 'ARRAY', 'inet')
          AND c.table_name NOT LIKE 'audit%' AND c.column_name NOT LIKE 'audit%'
        """
    )
    listed = [(table, names.split()) for kind in (IMPERSONAL, PURGED) for table, names in kind.items()]
    erased = [*NULLED.items(), *REPLACED.items()]
    sorted_out = {f"{table}.{column}" for table, columns in [*listed, *erased] for column in columns}
    sorted_out -= {"transactions.watched_at"}  # an instant
    assert sorted({row["name"] for row in found} - sorted_out) == []
    assert sorted(sorted_out - {row["name"] for row in found}) == []


def test_the_page_about_privacy_tells_what_the_code_does() -> None:
    page = (Path(__file__).parents[2] / "docs" / "privacy.md").read_text(encoding="utf-8")
    kept = {retention.KEYS_KEPT: "30 days", retention.CONTACTS_KEPT: "400 days", retention.A_DAY: "a day at most"}
    for rule in retention.RULES:
        assert re.search(
            rf"^- \*\*{rule.what}\*\* \({rule.table}\): .*\. Kept: [^.]*{kept[rule.age]}\.$", page, re.MULTILINE
        )
    assert retention.BOOKS_KEPT.days // 365 == 7
    assert f"{retention.CONTACTS_KEPT.days} days" in page
    assert f"within {RECENT_H} hours" in page


# The command ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", [f"asked from {EMAIL}", "asked from 0708 374 149", f"asked from {CUSTOMER}"])
def test_the_reason_may_not_name_the_person(reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    environ = {"DATABASE_URL": "postgresql://nobody@127.0.0.1/x"}
    assert main(["privacy", "erase", CUSTOMER, "--why", reason], environ) == 2
    assert "no phone number" in capsys.readouterr().err


def test_what_can_be_seen_of_encryption_is_told_and_what_cannot(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert shop.ops("privacy", "check") == 0
    told = capsys.readouterr().out
    assert "does not leave this machine" in told
    assert "a connection cannot see whether a disk is encrypted" in told
