"""The audit log is signed as it is written, verified with the key, and anchored outside once a day."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from netlify.functions import callback as callback_function
from ops.__main__ import main
from shared import sweeping
from shared.audit_chain import AuditKey
from shared.collaborators import receiver
from shared.gateway import trail
from shared.settings import audit_settings
from tests.fixtures.shop import CUSTOMER, OTHER_CUSTOMER, Shop, at_once, wrongly_signed

A_DAY_S = 86400
TOKEN = re.compile(r"lipa-anchor-1/[\w./-]+")

REFUNDED = ("review", "refunded", "--receipt", "UE5AA11BBC", "--why", "sent back", "--yes")


def run(*arguments: str, without: tuple[str, ...] = (), **more: str) -> int:
    return main(arguments, {name: value for name, value in {**os.environ, **more}.items() if name not in without})


def paid(shop: Shop, phone_number: str = CUSTOMER, reference: str | None = None) -> str:
    named = {} if reference is None else {"account_reference": reference}
    return shop.settled(phone_number=phone_number, **named)


def as_numbered(shop: Shop, text: str) -> str:
    """`id = 2` and `row 2` mean the second row: what was tried again leaves a gap in the numbers."""
    ids = [row["id"] for row in shop.rows("SELECT id FROM audit_log ORDER BY id")]
    return re.sub(r"\b(id = |row )([1-3])\b", lambda named: f"{named[1]}{ids[int(named[2]) - 1]}", text)


def wrong(shop: Shop) -> list[str]:
    return [finding.what for finding in wrongly_signed(shop.books)]


# Signed ---------------------------------------------------------------------------------------------------------------


def test_every_change_of_a_payment_is_the_next_link_of_its_chain(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    transaction_id = paid(shop)
    rows = shop.rows("SELECT place, event, link_key FROM audit_log ORDER BY id")
    key = audit_settings(os.environ).key
    assert [(row["place"], row["event"]) for row in rows] == [(1, "Order"), (2, "PushAccepted"), (3, "Confirmed")]
    assert {row["link_key"] for row in rows} == {key.id}
    assert shop.payment(transaction_id)["audit_length"] == 3
    assert run("audit", "verify") == 0
    assert f"3 rows signed with the key {key.id}\n1 payment, 3 rows, 0 anchors compared, 0 things wrong\n" in (
        capsys.readouterr().out
    )
    assert run("audit", "verify", transaction_id) == 0
    assert "1 payment, 3 rows" in capsys.readouterr().out


def test_what_changes_no_status_is_signed_too(shop: Shop) -> None:
    transaction_id = paid(shop)
    shop.calls_back(transaction_id, MpesaReceiptNumber="UE5AA11BBC")
    row = shop.row("SELECT place, from_status, to_status, outcome FROM audit_log ORDER BY id DESC LIMIT 1")
    assert row == {"place": 4, "from_status": "PAID", "to_status": "PAID", "outcome": "contradicts"}
    assert wrong(shop) == []


def test_a_repeated_callback_changes_nothing_and_adds_no_row(shop: Shop) -> None:
    transaction_id = paid(shop)
    before = shop.payment(transaction_id)
    body = bytes(shop.row("SELECT body FROM callback_inbox")["body"])
    shop.calls_back(transaction_id, raw=body)
    assert shop.payment(transaction_id)["audit_head"] == before["audit_head"]


def test_signing_costs_no_round_trip(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callback_function, "follow_up_on", lambda *_: None)  # until the settlement's commit
    paid(shop)
    transaction_id = shop.pay(phone_number=OTHER_CUSTOMER).body["transaction_id"]
    before = receiver().gateway.database.round_trips
    shop.calls_back(transaction_id, 1032)
    assert receiver().gateway.database.round_trips - before <= 4


# Verified -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("UPDATE audit_log SET actor = 'operator amina' WHERE id = 2", "row 2 is not what was signed"),
        ("DELETE FROM audit_log WHERE id = 2", "row 3 is number 3 of its chain, number 2 was expected"),
        ("DELETE FROM audit_log WHERE id = 3", "the payment says that it has 3 rows, there are 2"),
        ("UPDATE transactions SET audit_head = repeat('0', 64)", "the head on the payment is not that of its last row"),
        ("UPDATE audit_log SET link_key = '00000000' WHERE id = 3", "row 3 is signed with the key 00000000, which"),
        ("DELETE FROM audit_log", "it has no history"),
        ("DELETE FROM transactions", "3 rows of history, but the payment itself is gone"),
        ("UPDATE audit_log SET link = '', link_key = '' WHERE id = 3", "row 3 is signed with the key , which"),
        ("UPDATE installation SET stamped_at = stamped_at + interval '1 day'", "row 1 is not what was signed"),
        (
            "UPDATE transactions SET status = 'REVIEW', review_reason = 'silence'",
            "the payment is REVIEW, its history ends in PAID",
        ),
    ],
)
def test_what_was_tampered_with_is_named(
    shop: Shop, change: str, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.history_is_made_up = True
    transaction_id = paid(shop)
    kept = shop.copy_of("transactions", "audit_log", "installation")
    change, what = as_numbered(shop, change), as_numbered(shop, what)
    shop.overwrite(change)
    assert run("audit", "verify") == 1
    told = capsys.readouterr().out
    assert f"WRONG  {transaction_id}  " in told
    assert what in told
    assert run("audit", "verify", transaction_id) == 1
    assert what in capsys.readouterr().out
    assert run("verify") == 1
    assert "BROKEN  audit_log_is_signed" in capsys.readouterr().out
    shop.put_back(kept)


def test_without_the_key_the_books_are_verified_as_far_as_they_go(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    paid(shop)
    keyless = ("MPESA_PASSKEY", "AUDIT_SECRET")
    assert run("verify", without=keyless) == 0
    assert "not checked: the signatures of the audit log" in capsys.readouterr().out
    assert run("audit", "verify", without=keyless) == 2
    assert "AUDIT_SECRET must hold the secret that signs the audit log; or MPESA_ENV" in capsys.readouterr().err


def test_nothing_is_audited_without_the_key(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    transaction_id = paid(shop)
    assert run(*REFUNDED, transaction_id, without=("MPESA_PASSKEY",)) == 2
    assert "AUDIT_SECRET must hold the secret that signs the audit log; or MPESA_ENV" in capsys.readouterr().err
    assert shop.status(transaction_id).body["status"] == "paid"


def test_a_new_key_signs_what_comes_and_the_old_one_still_verifies(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    transaction_id = paid(shop)
    assert run("audit-secret") == 0
    old, new = capsys.readouterr().out.strip(), "a-new-secret-of-our-own-choosing-now"
    assert run(*REFUNDED, transaction_id, AUDIT_SECRET=new) == 0
    capsys.readouterr()
    assert run("audit", "verify", AUDIT_SECRET=new) == 1
    assert f"is signed with the key {AuditKey(old).id}, which is not at hand" in capsys.readouterr().out
    shop.configure(AUDIT_SECRET=new, AUDIT_SECRET_PREVIOUS=old)
    assert run("audit", "verify") == 0
    told = capsys.readouterr().out
    assert f"3 rows signed with the key {AuditKey(old).id}\n" in told
    assert f"1 row signed with the key {AuditKey(new).id}\n" in told


def test_the_history_of_a_payment_that_never_was_is_found(shop: Shop) -> None:
    shop.history_is_made_up = True
    paid(shop)
    nobody = "00000000-0000-0000-0000-000000000000"
    kept = shop.copy_of("transactions", "audit_log")
    shop.overwrite(as_numbered(shop, f"UPDATE audit_log SET transaction_id = '{nobody}' WHERE id = 3"))
    assert any(finding.transaction_id == nobody for finding in wrongly_signed(shop.books))
    shop.put_back(kept)


# Anchors --------------------------------------------------------------------------------------------------------------


def anchored(shop: Shop) -> list[str]:
    """The lines that the shop was mailed, in order."""
    mails = reversed(shop.letters(to_the_shop=True))  # those of sales have no such line
    return [found[0] for mail in mails if (found := TOKEN.findall(mail["text"]))]


def logged(shop: Shop) -> list[str]:
    return [found for line in shop.logged if "'anchor'" in line for found in TOKEN.findall(line)]


def test_once_a_day_an_anchor_leaves_by_log_and_by_mail(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    paid(shop)
    shop.sweep()
    assert (anchored(shop), logged(shop)) == ([], [])
    shop.age(2 * A_DAY_S)
    paid(shop, reference="TODAY")
    for _ in range(3):
        assert "anchors_failed" not in shop.sweep().body
    (token,) = anchored(shop)
    assert logged(shop) == [token]
    assert token.split("/")[3:5] == ["3", "1"]  # what was written today is not in it
    shop.age(A_DAY_S * 2)
    shop.sweep()
    assert [line.split("/")[3:5] for line in anchored(shop)] == [["3", "1"], ["6", "2"]]
    for token in anchored(shop)[:2]:
        assert run("audit", "verify", "--anchor", token) == (1 if token == anchored(shop)[0] else 0)
    told = capsys.readouterr().out
    assert "was made when the books began at another moment" in told  # the first was made before all was moved in time
    assert "3 anchors compared, 0 things wrong" in told


def test_an_anchor_kept_outside_sees_a_payment_that_is_gone(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    paid(shop)
    paid(shop, OTHER_CUSTOMER)
    shop.age(2 * A_DAY_S)
    shop.sweep()
    (token,) = anchored(shop)
    assert run("audit", "verify", "--anchor", token) == 0
    assert "2 anchors compared, 0 things wrong" in capsys.readouterr().out
    kept = shop.copy_of("transactions", "audit_log", "audit_anchors", "outbox", "payment_confirmations", "invoices")
    last = "(SELECT max(id::text)::uuid FROM transactions)"
    for table in ("outbox", "audit_log", "payment_confirmations", "invoices"):
        shop.overwrite(f"DELETE FROM {table} WHERE transaction_id = {last}")
    shop.overwrite("DELETE FROM audit_anchors")
    shop.overwrite(f"DELETE FROM transactions WHERE id = {last}")
    assert run("audit", "verify") == 0
    capsys.readouterr()
    assert run("audit", "verify", "--anchor", token) == 1
    assert "it counted 6 rows of 2 payments, now there are 3 of 1" in capsys.readouterr().out
    shop.put_back(kept)


def test_sweeps_that_overlap_make_one_anchor(shop: Shop) -> None:
    paid(shop)
    shop.sweep()
    shop.age(2 * A_DAY_S)
    at_once(shop.other_instances(3), lambda instance: instance.sweep())
    assert shop.row("SELECT count(*) AS n FROM audit_anchors") == {"n": 1}
    assert len(anchored(shop)) == 1


def test_a_long_log_is_anchored_in_steps(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trail, "ROWS_A_STEP", 2)
    paid(shop)
    paid(shop, OTHER_CUSTOMER)
    shop.age(2 * A_DAY_S)
    shop.sweep()
    steps = shop.rows("SELECT last_audit_id, day_is_over FROM audit_anchors ORDER BY id")
    ids = [row["id"] for row in shop.rows("SELECT id FROM audit_log ORDER BY id")]  # what was tried again leaves a gap
    assert [tuple(row.values()) for row in steps] == [(ids[1], False), (ids[3], False), (ids[5], False), (ids[5], True)]
    assert len(anchored(shop)) == 1
    assert wrong(shop) == []


def test_a_log_that_takes_many_sweeps_holds_up_nothing_in_any_of_them(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One step in each, after the rest: what became due meanwhile is done first."""
    monkeypatch.setattr(trail, "ROWS_A_STEP", 2)
    monkeypatch.setattr(sweeping, "ANCHORS_AT_A_TIME_S", 0)
    paid(shop)
    paid(shop, "254722000000")
    shop.sweep()
    shop.age(2 * A_DAY_S)
    shop.simulator.client.fault("mail", "error_500", times=1)
    paid(shop, "254733000000", "TODAY")
    shop.overwrite("UPDATE outbox SET next_try_at = now() WHERE next_try_at IS NOT NULL")
    done = shop.sweep().body
    assert (done["invoices"], "anchors" in done) == (1, False)
    for steps in (1, 2, 3):
        assert shop.row("SELECT count(*) AS n FROM audit_anchors") == {"n": steps}
        done = shop.sweep().body
    assert done["anchors"] == 2


def test_an_anchor_that_cannot_be_mailed_raises_an_alert(shop: Shop) -> None:
    paid(shop)
    shop.sweep()
    shop.age(2 * A_DAY_S)
    shop.simulator.client.fault("mail", "error_500", times=9)
    for _ in range(5):
        shop.sweep()
        shop.overwrite("UPDATE outbox SET next_try_at = now() WHERE next_try_at IS NOT NULL")
    alerts = shop.rows("SELECT topic FROM outbox WHERE kind = 'alert' AND transaction_id IS NULL")
    assert "anchor_not_sent" in {row["topic"] for row in alerts}
    assert len(logged(shop)) == 1


def test_a_mistyped_anchor_is_explained(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("audit", "verify", "--anchor", "lipa-anchor") == 2
    assert "an anchor is one line like" in capsys.readouterr().err


def test_only_one_place_writes_the_audit_log() -> None:
    root = Path(__file__).parents[2]
    folders = ("shared", "netlify/functions", "ops")
    writers = [
        path.relative_to(root).as_posix()
        for folder in folders
        for path in (root / folder).rglob("*.py")
        if re.search(r"INTO\s+audit_log", path.read_text("utf-8"))
    ]
    assert writers == ["shared/gateway/trail.py"]
