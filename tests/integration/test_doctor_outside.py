"""`ops doctor`, outside the house: Daraja, the mail service, and whatever stands before the deployed functions."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fixtures.certificates import Certificate, certificate
from tests.fixtures.http_server import serving
from tests.fixtures.patient import PUBLIC_AUTHORITIES, Edge, Patient, serving_tls

# Daraja and mail ------------------------------------------------------------------------------------------------------


def test_a_running_shop_keeps_its_token(patient: Patient) -> None:
    shop = patient.shop
    shop.settled()
    before = shop.row("SELECT token FROM access_tokens")
    assert patient.named() == {}
    assert shop.row("SELECT token FROM access_tokens") != before
    shop.age(60)
    shop.settled(phone_number="254722000000")


def test_a_wrong_secret_leaves_the_token_of_the_shop(patient: Patient) -> None:
    patient.shop.settled()
    stored = "SELECT token FROM access_tokens WHERE token IS NOT NULL"
    before = patient.shop.row(stored)
    assert "daraja_token" in patient.named(MPESA_CONSUMER_SECRET="another-secret")
    assert patient.shop.row(stored) == before


def test_a_mail_server_is_logged_in_to_and_sent_nothing(patient: Patient) -> None:
    client, port = patient.shop.simulator.client, patient.shop.simulator.smtp_port
    taken = patient.named(verdict="ok", SMTP_URL=f"smtp://shop:any@127.0.0.1:{port}")["mail"]
    assert "the mail server takes the login; nothing was sent" in taken
    assert client.mail() == []
    assert "the mail server" in patient.named(SMTP_URL="smtp://127.0.0.1:1")["mail"]


# The deployed shop ----------------------------------------------------------------------------------------------------


def test_a_slow_answer_is_named(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ops.checks.live.SLOW_S", 0.1)
    with serving(type("Slow", (Edge,), {"takes_s": 0.2})) as address:
        assert "only after" in patient.named("--live", address, verdict="warning")["callback_answer"]


def test_functions_of_another_commit_and_far_from_their_database_are_named(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient.shop.configure(COMMIT_REF="0" * 40)
    monkeypatch.setattr("ops.checks.live.FAR_MS", 0)
    named = patient.named(verdict="warning")["deployed"]
    assert "another commit is deployed" in named
    assert "Put both in one region" in named


def test_a_full_chain_is_taken_where_it_ends_at_an_authority_that_everybody_knows(
    patient: Patient, authority: Certificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    between = certificate("Between", issuer=authority, authority=True, identified=True)
    behind = certificate("127.0.0.1", issuer=between, identified=True)
    with serving_tls(tmp_path, behind, between) as address:
        findings = patient.examined("--live", address)
        monkeypatch.setattr("certifi.where", PUBLIC_AUTHORITIES)
        assert "its chain has a gap" in patient.named("--live", address)["callback_tls"]  # this machine alone trusts it
    found = {each["name"]: (each["verdict"], each["says"]) for each in findings}
    assert found["callback_tls"] == ("warning", "the certificate ends in 1 days")
    assert found["callback_answer"][0] == "ok"
