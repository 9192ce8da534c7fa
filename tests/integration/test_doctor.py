"""`ops doctor`: a right shop has nothing that failed; each planted fault is named by its check, with what to do."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from dev.ports import free_port
from dev.postgres import EmbeddedPostgres
from ops.__main__ import main
from ops.checks.order import CHECKS
from shared import settings
from shared.deployed import HEADER, name_of, proof
from shared.values import new_test_id
from tests.fixtures.patient import Patient
from tests.fixtures.pgbouncer import pgbouncer
from tests.fixtures.shop import Reply, Shop

ROOT = Path(__file__).parents[2]


def secret() -> str:
    return settings.receiving().callback.secrets[0]


def asked(shop: Shop, **headers: str) -> Reply:
    return shop.call("status", "GET", "/api/pay/status/doctor", headers=headers)


def test_a_right_shop_has_nothing_that_failed(patient: Patient) -> None:
    shop = patient.shop
    shop.settled()
    shop.sweep()
    mails = shop.letters()
    found = patient.examined()
    assert [each for each in found if each["verdict"] == "failed"] == []
    assert list(dict.fromkeys(each["name"] for each in found)) == [check.name for check in CHECKS]
    assert shop.letters() == mails
    assert shop.rows("SELECT FROM outbox WHERE kind = 'alert'") == []


def test_it_is_a_table_in_a_terminal_and_lines_in_a_pipe(patient: Patient, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert patient.shop.ops("doctor") == 0
    told = capsys.readouterr().out
    assert "ok       daraja_token: Daraja gave a token for sandbox" in told
    assert "0 failed" in told


@pytest.mark.parametrize("address", ["shop.example", "https://shop.example/pay", "ftp://shop.example", ""])
def test_an_address_that_is_none_cannot_be_examined(address: str) -> None:
    assert main(["doctor", "--live", address or "https://"], {}) == 2


def test_every_page_and_heading_that_it_sends_to_is_there() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "ops" / "checks").glob("*.py"))
    code = re.sub(r'"\n\s+f?"', "", code)
    named = re.findall(r"(docs/[\w-]+\.md)(?:, ([A-Z][\w' ]+\w|step \d|[a-z_]+))?(?=[\":;])", code)
    assert len(named) > 20
    for page, part in set(named):
        heading = part.replace("step ", "") + "." if part.startswith("step") else part
        titles = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
        assert any(title.strip("`").startswith(heading) for title in titles), (page, part)


# The database ---------------------------------------------------------------------------------------------------------


def test_what_needs_the_database_is_skipped_where_it_does_not_answer(patient: Patient) -> None:
    nowhere = patient.functions_url.replace("127.0.0.1:", "127.0.0.1:1").partition("/test")[0]
    found = patient.examined(DATABASE_URL="postgresql://nobody@127.0.0.1:1/nothing")
    assert nowhere not in str(found)
    assert {each["name"] for each in found if each["verdict"] == "failed"} == {"database"}
    skips = {each["name"]: each["says"] for each in found if each["verdict"] == "skipped"}
    assert skips.pop("callback_tls") == "skipped because the address is not https"
    assert set(skips.values()) == {"skipped because database failed"}
    assert {"role", "daraja_token", "test_callback", "deployed", "sweep"} <= skips.keys()


def test_a_right_that_is_missing_and_an_owner_are_named(patient: Patient) -> None:
    shop = patient.shop
    shop.overwrite("REVOKE UPDATE (order_sent_at) ON transactions FROM lipa_functions")
    shop.overwrite("REVOKE SELECT ON invoice_years FROM lipa_functions")
    lacking = patient.named()["role"]
    assert "lacks SELECT on invoice_years; UPDATE (order_sent_at) on transactions" in lacking
    assert "db.migrate --roles" in lacking
    shop.overwrite("GRANT UPDATE (order_sent_at) ON transactions TO lipa_functions")
    shop.overwrite("GRANT SELECT ON invoice_years TO lipa_functions")
    assert "owns the tables" in patient.named(verdict="warning", DATABASE_URL=shop.database_url)["role"]


def test_a_key_that_did_not_sign_the_books_is_named(patient: Patient) -> None:
    patient.shop.settled()
    own = settings.settings().audit.key.secret
    assert "signed with another key" in patient.named(AUDIT_SECRET="n" * 40)["audit_key"]
    signed_before = patient.named(verdict="warning", AUDIT_SECRET="n" * 40, AUDIT_SECRET_PREVIOUS=own)
    assert "AUDIT_SECRET_PREVIOUS" in signed_before["audit_key"]


@pytest.mark.parametrize(("off_s", "verdict"), [(1, "ok"), (30, "warning"), (86_400, "failed"), (-90, "failed")])
def test_a_clock_that_is_wrong_is_named(
    patient: Patient, monkeypatch: pytest.MonkeyPatch, off_s: float, verdict: str
) -> None:
    monkeypatch.setattr("ops.checks.database.time", SimpleNamespace(time=lambda: time.time() + off_s))
    (clock,) = [each for each in patient.examined() if each["name"] == "clock"]
    assert clock["verdict"] == verdict


def test_a_pooled_address_is_known_by_what_it_does(patient: Patient, postgres_server: EmbeddedPostgres) -> None:
    port = free_port()
    with pgbouncer(postgres_server, port, users={"lipa_functions": "of-the-functions"}):
        pooled = re.sub(r"127\.0\.0\.1:\d+", f"127.0.0.1:{port}", patient.functions_url)
        assert "a pooled address" in patient.named(verdict="ok", DATABASE_URL=pooled)["database_address"]
    assert "a direct address" in patient.named(verdict="ok")["database_address"]


# What runs, and duties ------------------------------------------------------------------------------------------------


def test_open_incidents_and_payments_that_wait_are_named(patient: Patient) -> None:
    shop = patient.shop
    shop.settled({"code": "7777", "desc": "Something new"})
    shop.overwrite("INSERT INTO incidents (topic) VALUES ('mail_stopped')")
    assert "mail_stopped | python -m ops alerts" in patient.named()["alerts"]
    assert "1 payment waits for a person | python -m ops review list" in patient.named(verdict="warning")["review"]


def test_callbacks_from_elsewhere_and_customers_behind_a_cdn_are_noticed(patient: Patient) -> None:
    shop = patient.shop
    assert "no callback of Safaricom's has come yet" in patient.named(verdict="warning")["callbacks"]
    shop.configure(CALLBACK_IP_MODE="flag")
    shop.settled()
    shop.overwrite("INSERT INTO push_callers (address_digest) SELECT 'one' FROM generate_series(1, 40)")
    shop.overwrite("UPDATE push_callers SET address_digest = 'one'")
    noticed = patient.named(verdict="warning")["callbacks"]
    assert "1 callback in 7 days came from addresses that are not Safaricom's" in noticed
    assert "a CDN in front of the site hides them" in noticed


def test_books_that_were_never_compared_or_not_for_long_are_named(patient: Patient) -> None:
    assert "never compared" in patient.named(verdict="warning")["reconciled"]
    patient.shop.overwrite(
        """
        INSERT INTO statement_files
        VALUES (repeat('a', 64), 'A', NULL, now() - interval '99 days', now() - interval '60 days', 0, 'ok', 'amina')
        """
    )
    assert "compared with statements until" in patient.named(verdict="warning")["reconciled"]
    patient.shop.overwrite("UPDATE statement_files SET ends = now(), balance_chain = 'broken'")
    assert "never compared" in patient.named(verdict="warning")["reconciled"]
    patient.shop.overwrite("UPDATE statement_files SET balance_chain = 'ok'")
    assert "reconciled" in patient.named(verdict="ok")


def test_the_bill_counts_what_wakes_the_database(patient: Patient) -> None:
    shop = patient.shop
    assert "keeps the database awake for 720 hours" in patient.named(verdict="ok")["bill"]
    assert (
        "for 60 hours: 9 credits at Netlify (Free); prices of"
        in patient.named(verdict="ok", SWEEP_IDLE_MINUTES="60")["bill"]
    )
    shop.overwrite(
        """
        INSERT INTO transactions (phone_number, amount, account_reference, status, created_at, updated_at)
        SELECT '254700000000', 1, 'BILL', 'FAILED', at, at
        FROM generate_series(now() - interval '23 hours 30 minutes', now(), interval '2 hours') at
        """
    )
    busy = patient.named(verdict="ok", SWEEP_IDLE_MINUTES="720")["bill"]
    assert "like the last 1 day with 12 payments, a month keeps the database awake for 35 hours" in busy
    shop.overwrite("DELETE FROM transactions WHERE account_reference = 'BILL'")


# What the functions do for it -----------------------------------------------------------------------------------------


def test_a_test_callback_is_stored_and_reaches_no_payment_alert_or_flood(shop: Shop) -> None:
    shop.configure(CALLBACK_IP_MODE="enforce")
    transaction_id = new_test_id()
    path = shop.callback_path(transaction_id)
    said = [shop.call("callback", "POST", path, raw=b"{}").status for _ in range(34)]
    assert (said[:32], said[32:]) == ([200] * 32, [429] * 2)
    assert set(shop.outcomes(transaction_id)) == {"test"}
    assert shop.row("SELECT count(*) AS n FROM callback_inbox WHERE source_check IS NULL AND copies = 0")["n"] == 32
    shop.sweep()
    assert shop.rows("SELECT topic FROM outbox WHERE kind = 'alert'") == []
    assert shop.ops("inbox", "list") == 0


def test_the_deployed_functions_say_what_they_see_to_whoever_has_the_callback_secret(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    shop.configure(COMMIT_REF="4f2c", CONTEXT="branch-deploy")
    shop.sweep()
    now = datetime.now(UTC)
    nobody = shop.status("0c9e8f1a-0b1c-4d2e-8f3a-5b6c7d8e9f00")
    for wrong in ({}, {HEADER: ""}, {HEADER: proof("x" * 32, now)}, {HEADER: proof(secret(), now, 3)}, {HEADER: "é"}):
        assert asked(shop, **wrong) == nobody
    said = asked(shop, **{HEADER: proof(secret(), now)})
    stamp = shop.row("SELECT environment, stamped_at FROM installation")
    assert said.status == 200
    assert said.body.pop("database_ms") >= 0
    assert said.body == {
        "database": name_of(secret(), stamp["environment"], stamp["stamped_at"]),
        "environment": "sandbox",
        "commit": "4f2c",
        "context": "branch-deploy",
        "region": "eu-central-1",
        "limits": {"MAX_PAYMENT_KES": 250000, "MAX_PHONE_KES_PER_DAY": 500000, "MAX_SHOP_KES_PER_DAY": None},
    }
