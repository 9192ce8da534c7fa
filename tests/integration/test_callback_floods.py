"""A callback address that leaked: what one payment can store is bounded, and what is real is not crowded out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from netlify.functions.callback import ACCEPTED
from shared.collaborators import receiver
from shared.database import Database
from shared.deadline import Deadline
from shared.gateway.inbox import MOST_FROM_EACH, Entry, Kept
from shared.settlement import remember
from tests.fixtures.ledger import Ledger
from tests.fixtures.shop import CUSTOMER, Reply, Shop, at_once, callback_about

STRANGER, SAFARICOM = "203.0.113.9", "196.201.212.127"


class Payment:
    """A pending payment whose callback address somebody knows who should not."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.id = str(shop.pay().body["transaction_id"])
        self.pushed: dict[str, Any] = shop.simulator.client.payments()[0]

    def told(self, body: bytes, address: str = STRANGER) -> Reply:
        came_from = {"x-nf-client-connection-ip": address}
        return self.shop.call("callback", "POST", self.shop.callback_path(self.id), raw=body, headers=came_from)

    def flooded(self, address: str = STRANGER, *, beyond: int = 0) -> list[int]:
        """As many different bodies as are stored, and more; what each was answered."""
        return [self.told(b"%04d %s" % (n, b"x" * 1000), address).status for n in range(MOST_FROM_EACH + beyond)]

    def success(self) -> bytes:
        return callback_about(self.pushed)

    @property
    def status(self) -> str:
        return str(self.shop.payment(self.id)["status"])

    def on_file(self) -> list[dict[str, Any]]:
        return self.shop.rows(
            "SELECT body, copies, outcome, source_check FROM callback_inbox WHERE transaction_id = CAST(:id AS uuid)",
            id=self.id,
        )


@pytest.fixture
def flagged(shop: Shop) -> Shop:
    """A shop that tells Safaricom's addresses from others, as every one does in production."""
    shop.configure(CALLBACK_IP_MODE="flag")
    return shop


def test_an_address_that_leaked_stores_so_many_bodies_and_no_more(flagged: Shop) -> None:
    payment = Payment(flagged)
    assert payment.flooded(beyond=20) == [200] * MOST_FROM_EACH + [429] * 20
    refused = payment.told(b"one more")
    assert refused.body["code"] == "inbox_full"
    assert refused.headers["content-type"] == "application/problem+json"
    assert len(payment.on_file()) == MOST_FROM_EACH == 32
    assert flagged.alerts(payment.id) == {"unreadable", "unlisted_address", "callback_flood"}
    assert flagged.row("SELECT count(*) AS n FROM outbox WHERE kind = 'alert' AND topic = 'callback_flood'") == {"n": 1}
    assert any("'outcome': 'not_stored'" in line and payment.id in line for line in flagged.logged)
    assert flagged.sweep().body.get("judged") is None  # nothing of it is left to the sweep


def test_safaricoms_own_word_comes_through_a_flood_from_elsewhere(flagged: Shop) -> None:
    payment = Payment(flagged)
    payment.flooded(beyond=5)
    assert payment.told(payment.success(), SAFARICOM).status == 200
    assert (payment.status, len(payment.on_file())) == ("PAID", MOST_FROM_EACH + 1)
    assert payment.told(payment.success(), SAFARICOM).status == 200
    assert payment.told(b"after it was paid").status == 429
    assert payment.status == "PAID"


def test_what_a_flood_shut_out_is_asked_for(flagged: Shop) -> None:
    """Safaricom called from an address that is not on the list: refused, and paid by the query, without its receipt."""
    flagged.simulator.client.script(CUSTOMER, "pay", after_s=0, callback_count=0)
    payment = Payment(flagged)
    payment.flooded()
    assert payment.told(payment.success(), "203.0.113.10").status == 429
    assert payment.status == "PENDING"
    flagged.age(25)
    flagged.sweep()
    confirmation = flagged.row("SELECT evidence, mpesa_receipt_number FROM payment_confirmations")
    assert (payment.status, confirmation) == ("PAID", {"evidence": "query", "mpesa_receipt_number": None})


def test_a_copy_of_what_is_on_file_is_counted_there(flagged: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """Every 200 has its bytes on file, also in a flood."""
    payment = Payment(flagged)
    answers = [payment.told(payment.success())] + [payment.told(b"%d" % n) for n in range(MOST_FROM_EACH - 1)]
    audit = flagged.row("SELECT count(*) AS n FROM audit_log")
    answers += [payment.told(payment.success()) for _ in range(3)]
    assert {(reply.status, tuple(reply.body.items())) for reply in answers} == {(200, tuple(ACCEPTED.items()))}
    rows = payment.on_file()
    assert sum(1 + row["copies"] for row in rows) == len(answers)
    assert [row["copies"] for row in rows if row["body"] == payment.success()] == [3]
    assert flagged.row("SELECT count(*) AS n FROM audit_log") == audit
    assert payment.status == "PAID"
    assert flagged.alerts(payment.id) >= {"callback_flood"}
    assert flagged.ops("case", payment.id) == 0
    assert "The same came 3 times more, word for word, in a flood." in " ".join(capsys.readouterr().out.split())


def test_a_copy_waits_for_nobody(flagged: Shop, database: Database) -> None:
    """Its payment is being judged: it is on file all the same."""
    payment = Payment(flagged)
    payment.flooded()
    with database.transaction() as tx:
        tx.rows("SELECT id FROM transactions WHERE id = CAST(:id AS uuid) FOR UPDATE", id=payment.id)
        assert payment.told(b"%04d %s" % (0, b"x" * 1000)).status == 200
        assert {row["copies"] for row in payment.on_file()} == {0}
    assert payment.told(b"%04d %s" % (0, b"x" * 1000)).status == 200
    assert sum(row["copies"] for row in payment.on_file()) == 1
    assert "callback_flood" in flagged.alerts(payment.id)


def test_below_that_a_copy_is_stored_like_anything_else(flagged: Shop) -> None:
    payment = Payment(flagged)
    for _ in range(4):
        assert payment.told(payment.success(), SAFARICOM).status == 200
    assert [(row["outcome"], row["copies"]) for row in payment.on_file()] == [("paid", 0)] + [("repeated", 0)] * 3


def test_a_copy_from_safaricom_is_no_copy_of_what_a_stranger_sent(flagged: Shop) -> None:
    """With the list enforced the stranger's is held, so Safaricom's own has to be judged."""
    flagged.configure(CALLBACK_IP_MODE="enforce")
    payment = Payment(flagged)
    payment.told(payment.success())
    payment.flooded()
    assert payment.status == "PENDING"
    assert payment.told(payment.success(), SAFARICOM).status == 200
    assert payment.status == "PAID"


def test_a_lost_answer_to_the_last_commit_is_no_copy(ledger: Ledger) -> None:
    transaction_id = ledger.admit()
    entry = [ledger.on_file(transaction_id, b"%d" % n) for n in range(MOST_FROM_EACH)][-1]
    assert remember(ledger.gateway, entry, "127.0.0.1", Deadline.after(4)) is Kept.STORED
    again = Entry("00000000-0000-4000-8000-000000000001", transaction_id, entry.body)
    assert remember(ledger.gateway, again, "127.0.0.1", Deadline.after(4)) is Kept.AS_A_COPY
    assert ledger.row("SELECT sum(copies) AS n FROM callback_inbox") == {"n": 1}
    unknown = "00000000-0000-4000-8000-00000000000a"
    for n in range(MOST_FROM_EACH):
        ledger.on_file(unknown, b"%d" % n)
    for body in (b"a", b"b"):
        assert remember(ledger.gateway, Entry(again.id, unknown, body), None, Deadline.after(4)) is Kept.NOT_AT_ALL
    assert ledger.row(
        "SELECT count(*) AS n FROM outbox WHERE kind = 'alert' AND topic = 'callback_flood' AND transaction_id IS NULL"
    ) == {"n": 1}


def test_a_flood_at_one_moment_stores_little_more(flagged: Shop) -> None:
    """It is counted without a lock, so that no callback waits for another: as many more as are being stored then."""
    payment = Payment(flagged)
    instances = flagged.other_instances(4)
    path = flagged.callback_path(payment.id)

    def floods(which: int) -> list[int]:
        bodies = [b"%d %d" % (which, n) for n in range(MOST_FROM_EACH)]
        return [instances[which].call("callback", "POST", path, raw=body).status for body in bodies]

    answers = [status for told in at_once(range(4), floods) for status in told]
    stored = len(payment.on_file())
    assert MOST_FROM_EACH <= stored <= MOST_FROM_EACH + 3
    assert (answers.count(200), answers.count(429)) == (stored, 4 * MOST_FROM_EACH - stored)


def test_a_callback_that_nobody_floods_costs_no_round_trip_more(flagged: Shop) -> None:
    payment = Payment(flagged)
    payment.told(b"the connection is open")
    database = receiver().gateway.database
    before = database.round_trips
    assert receiver().gateway.inbox.remember(Entry(payment.id, payment.id, b"x"), None) is Kept.STORED
    assert database.round_trips - before <= 2
    receiver().gateway.inbox.close(Entry(payment.id, payment.id, b"x"), "unreadable", ())


def test_who_was_flooded_is_erased_once_a_person_looked(flagged: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """Money may have been told of in what was not stored."""
    payment = Payment(flagged)
    payment.told(payment.success(), SAFARICOM)
    payment.flooded(beyond=1)
    flagged.sweep()
    flagged.age(3 * 86_400)
    erase = ("privacy", "erase", CUSTOMER, "--who", "amina", "--why", "asked by letter")
    assert flagged.ops(*erase) == 1
    assert "was not stored in a flood: money may have to go back" in capsys.readouterr().out
    assert flagged.ops(*erase, "--nothing-owed") == 0


def test_the_invariant_knows_how_many_fill_an_inbox() -> None:
    text = (Path(__file__).parents[2] / "db" / "invariants.sql").read_text("utf-8")
    assert f"< {MOST_FROM_EACH}\n       OR NOT EXISTS (SELECT FROM outbox o" in text
