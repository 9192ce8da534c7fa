"""`ops doctor`, outside the house: Daraja, the mail service, and whatever stands before the deployed functions."""

from __future__ import annotations

import re
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import certifi
import pytest

from dev.postgres import EmbeddedPostgres
from shared import certificates, settings
from shared.database import Database
from tests.fixtures.certificates import Certificate, certificate
from tests.fixtures.database import TEMPLATE, fresh_database
from tests.fixtures.http_server import Handler, serving
from tests.fixtures.patient import Patient


def secret() -> str:
    return settings.receiving().callback.secrets[0]


# Daraja and mail ------------------------------------------------------------------------------------------------------


def test_a_running_shop_keeps_its_token(patient: Patient) -> None:
    shop = patient.shop
    shop.settled()
    before = shop.row("SELECT token FROM access_tokens")
    assert patient.named() == {}
    assert shop.row("SELECT token FROM access_tokens") != before
    shop.age(60)
    shop.settled(phone_number="254722000000")


def test_a_wrong_key_and_a_wrong_secret_are_told_apart(patient: Patient) -> None:
    assert "wrong is one of the two" in patient.named(MPESA_CONSUMER_KEY="another-key")["daraja_token"]
    patient.shop.settled()
    stored = "SELECT token FROM access_tokens WHERE token IS NOT NULL"
    before = patient.shop.row(stored)
    keep = {"AUDIT_SECRET": settings.settings().audit.key.secret, "CALLBACK_SECRET": secret()}
    named = patient.named(MPESA_CONSUMER_SECRET="another-secret", **keep)
    assert "wrong is MPESA_CONSUMER_SECRET" in named.pop("daraja_token")
    assert named == {}
    assert patient.shop.row(stored) == before


@pytest.mark.parametrize("fault", ["firewall_403", "firewall_503"])
def test_a_firewall_and_no_network_are_told_apart(patient: Patient, fault: str) -> None:
    patient.shop.simulator.client.fault("oauth", fault)
    named = patient.named()["daraja_token"]
    assert "a page in place of Daraja's JSON" in named
    assert "A firewall answers" in named
    named = patient.named(MPESA_BASE_URL="http://127.0.0.1:1")["daraja_token"]
    assert "the connection failed" in named
    assert "firewall" not in named


@pytest.mark.parametrize(
    ("fault", "says"),
    [("unauthorized_401", "SENDGRID_API_KEY"), ("error_500", "SendGrid took no mail"), ("drop", "no answer")],
)
def test_mail_that_is_not_taken_is_named(patient: Patient, fault: str, says: str) -> None:
    patient.shop.simulator.client.fault("mail", fault)
    assert says in patient.named()["mail"]


def test_a_mail_server_is_logged_in_to_and_sent_nothing(patient: Patient) -> None:
    client, port = patient.shop.simulator.client, patient.shop.simulator.smtp_port
    taken = patient.named(verdict="ok", SMTP_URL=f"smtp://shop:any@127.0.0.1:{port}")["mail"]
    assert "the mail server takes the login; nothing was sent" in taken
    assert client.mail() == []
    assert "the mail server" in patient.named(SMTP_URL="smtp://127.0.0.1:1")["mail"]


# The deployed shop ----------------------------------------------------------------------------------------------------


class Edge(Handler):
    """What may stand where the callback function should be."""

    status: ClassVar[int] = 404
    page: ClassVar[bytes] = b'{"code": "not_found"}'
    headers_sent: ClassVar[dict[str, str]] = {"content-type": "application/json"}
    takes_s: ClassVar[float] = 0

    def do_POST(self) -> None:
        self.body()
        assert "cookie" not in {name.lower() for name in self.headers}
        time.sleep(self.takes_s)
        self.answer(self.status, self.page, self.headers_sent)

    do_GET = do_POST


PROBLEM = b'{"code": "%s", "errors": [{"field": "MPESA_PASSKEY", "message": "must hold it"}]}'


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (403, b"<html>Access denied</html>", "a firewall or CDN answers 403"),
        (403, b'{"code": "forbidden"}', "a firewall or CDN answers 403"),
        (401, b"", "asks for a password"),
        (301, b"", "the address redirects"),
        (200, b"<html>Checking your browser</html>", "a page of HTML (200)"),
        (404, b"<html>Page not found</html>", "a page of HTML (404)"),
        (503, b"<html>challenge</html>", "a page of HTML (503)"),
        (405, b"", "405 in place of"),
        (500, PROBLEM % b"misconfigured", "lack settings: MPESA_PASSKEY"),
        (503, PROBLEM % b"unavailable", "cannot reach their database"),
    ],
)
def test_what_stands_before_the_function_is_named(patient: Patient, status: int, body: bytes, says: str) -> None:
    kind = {"content-type": "application/json", "location": "https://www.shop.example/"}
    members = {"status": status, "page": body, "headers_sent": kind}
    with serving(type("Wrong", (Edge,), members)) as address:
        named = patient.named("--live", address)
        assert says in named["callback_answer"]
        assert "test_callback" not in named


def test_a_slow_answer_is_named(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ops.checks.live.SLOW_S", 0.1)
    with serving(type("Slow", (Edge,), {"takes_s": 0.2})) as address:
        assert "only after" in patient.named("--live", address, verdict="warning")["callback_answer"]


def test_functions_with_another_secret_are_named(patient: Patient) -> None:
    named = patient.named(CALLBACK_SECRET="another-secret-" * 4)
    assert "their CALLBACK_SECRET, set or derived, is another" in named["test_callback"]
    assert "another CALLBACK_SECRET" in named["deployed"]


def test_functions_with_another_database_are_named(patient: Patient, postgres_server: EmbeddedPostgres) -> None:
    with fresh_database(postgres_server, TEMPLATE) as name:
        url = postgres_server.url(name)
        other = Database(url)
        other.run("INSERT INTO installation (environment) VALUES ('sandbox')")
        other.close()
        named = patient.named(DATABASE_URL=url)
    assert "in another database than this DATABASE_URL's" in named["test_callback"]
    assert "another database than this DATABASE_URL's" in named["deployed"]
    assert "Compare DATABASE_URL" in named["test_callback"]


def test_functions_of_another_commit_and_far_from_their_database_are_named(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient.shop.configure(COMMIT_REF="0" * 40)
    monkeypatch.setattr("ops.checks.live.FAR_MS", 0)
    named = patient.named(verdict="warning")["deployed"]
    assert "another commit is deployed" in named
    assert "Put both in one region" in named
    monkeypatch.setattr("ops.checks.live.FAR_MS", 60_000)
    monkeypatch.setenv("AWS_REGION", "us-east-2")
    monkeypatch.setattr("ops.checks.live.REGION", re.compile("127.0.0.1"))
    assert "far apart (us-east-2 and 127.0.0.1)" in patient.named(verdict="warning")["deployed"]


PUBLIC_AUTHORITIES = certifi.where


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Certificate]:
    """One that certifi knows, and this machine."""
    made = certificate("Authority of a test", authority=True, identified=True)
    (tmp_path / "authority.pem").write_bytes(made.pem)
    monkeypatch.setattr("certifi.where", lambda: str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    certificates.tls_context.cache_clear()
    yield made
    certificates.tls_context.cache_clear()


@contextmanager
def serving_tls(folder: Path, *chain: Certificate) -> Iterator[str]:
    """An https server that shows these certificates; its address."""
    file = folder / "chain.pem"
    file.write_bytes(chain[0].key_pem + b"".join(each.pem for each in chain))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)

    with ThreadingHTTPServer(("127.0.0.1", 0), Edge) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield f"https://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_certificates_that_safaricom_would_refuse_are_told_apart(
    patient: Patient, authority: Certificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    between = certificate("Between", issuer=authority, authority=True, identified=True)
    behind = certificate("127.0.0.1", issuer=between, identified=True)
    shown: tuple[tuple[str, tuple[Certificate, ...]], ...] = (
        ("it is self-signed", (certificate("127.0.0.1", authority=True, identified=True),)),
        ("it has expired", (certificate("127.0.0.1", issuer=authority, expired=True, identified=True),)),
        ("it is for another", (certificate("127.0.0.2", issuer=authority, identified=True),)),
        ("its chain has a gap", (behind,)),
    )
    for says, chain in shown:
        with serving_tls(tmp_path, *chain) as address:
            named = patient.named("--live", address)
            assert says in named["callback_tls"]
            assert "full chain" in named["callback_tls"]
            assert "callback_answer" not in named
    with serving_tls(tmp_path, behind, between) as address:
        findings = patient.examined("--live", address)
        monkeypatch.setattr("certifi.where", PUBLIC_AUTHORITIES)
        assert "its chain has a gap" in patient.named("--live", address)["callback_tls"]  # this machine alone trusts it
    found = {each["name"]: (each["verdict"], each["says"]) for each in findings}
    assert found["callback_tls"] == ("warning", "the certificate ends in 1 days")
    assert found["callback_answer"][0] == "ok"
