"""`ops doctor`: a right shop has nothing that failed; each planted fault is named by its check, with what to do."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from shared import settings
from shared.deployed import HEADER, name_of, proof
from shared.values import new_test_id
from tests.fixtures.shop import Reply, Shop


def secret() -> str:
    return settings.receiving().callback.secrets[0]


def asked(shop: Shop, **headers: str) -> Reply:
    return shop.call("status", "GET", "/api/pay/status/doctor", headers=headers)


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
    }
