"""To another machine only TLS, only verified, whatever the URL says; refusals say which, and nothing was sent before.

`127.1` is this machine under a name that is not taken for a loopback address, so it counts as another machine.
"""

from __future__ import annotations

import os
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from subprocess import run
from typing import Protocol

import pytest

from dev.postgres import EmbeddedPostgres
from ops.encryption import ASK, GOOD, look
from shared.database import Database, DatabaseUnavailable
from shared.database.url import SSL_MODES
from tests.fixtures.certificates import Certificate, certificate
from tests.fixtures.database import outside_of_transactions, temporary_postgres
from tests.fixtures.database_proxy import Proxy

ANOTHER_MACHINE = "127.1"
AUTHORITY = certificate("A private authority", authority=True)


@pytest.fixture
def authority_file(tmp_path: Path) -> Path:
    path = tmp_path / "authority.pem"
    path.write_bytes(AUTHORITY.pem)
    return path


class Show(Protocol):
    """A PostgreSQL that shows this certificate, or has no TLS; with a password, or without."""

    def __call__(self, shown: Certificate | None, *, with_password: bool = False) -> Proxy: ...


@pytest.fixture
def server_with(postgres_server: EmbeddedPostgres, tmp_path: Path) -> Iterator[Show]:
    with ExitStack() as running:

        def start(shown: Certificate | None, *, with_password: bool = False) -> Proxy:
            context = None
            if shown is not None:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(shown.write(tmp_path / "shown.pem"))
            port = postgres_server.port
            socket_path = postgres_server.socket_folder / f".s.PGSQL.{port}"
            return running.enter_context(Proxy(port if with_password and port else socket_path, context))

        yield start


def works(url: str) -> bool:
    database = Database(url)
    with database.transaction() as tx:
        answer = tx.row("SELECT CAST(:x AS text) AS x", x="y")
    database.close()
    return answer == {"x": "y"}


@pytest.mark.parametrize(
    ("shown", "says"),
    [
        (certificate(ANOTHER_MACHINE), "self-signed"),
        (certificate(ANOTHER_MACHINE, issuer=AUTHORITY), "authority"),
        (None, "offers no TLS"),
    ],
)
@pytest.mark.parametrize("mode", [None, "allow", "prefer", "require", "verify-ca", "verify-full"])
def test_another_machine_that_cannot_prove_who_it_is_gets_nothing(
    server_with: Show, shown: Certificate | None, says: str, mode: str | None
) -> None:
    proxy = server_with(shown)
    url = proxy.url(host=ANOTHER_MACHINE, **({"sslmode": mode} if mode else {}))
    with pytest.raises(DatabaseUnavailable, match=says):
        works(url)
    assert proxy.sent == []


@pytest.mark.parametrize(
    ("shown", "says", "modes"),
    [
        (certificate("db.other.example", issuer=AUTHORITY), "another host name", ("require", "verify-full")),
        (certificate(ANOTHER_MACHINE, issuer=AUTHORITY, expired=True), "expired", SSL_MODES[3:]),
        (certificate(ANOTHER_MACHINE), "self-signed", SSL_MODES[3:]),
    ],
)
def test_a_private_authority_does_not_vouch_for_everybody(
    server_with: Show, authority_file: Path, shown: Certificate, says: str, modes: tuple[str, ...]
) -> None:
    proxy = server_with(shown)
    for mode in modes:
        with pytest.raises(DatabaseUnavailable, match=says):
            works(proxy.url(host=ANOTHER_MACHINE, sslmode=mode, sslrootcert=str(authority_file)))
    assert proxy.sent == []


def test_verify_ca_with_an_authority_of_its_own_checks_no_name(server_with: Show, authority_file: Path) -> None:
    """As in libpq; Railway's certificates are for `localhost`. Without an authority of its own the name counts."""
    proxy = server_with(certificate("localhost", issuer=AUTHORITY))
    assert works(proxy.url(host=ANOTHER_MACHINE, sslmode="verify-ca", sslrootcert=str(authority_file)))
    with pytest.raises(DatabaseUnavailable, match="another host name; sslmode=verify-ca"):
        works(proxy.url(host=ANOTHER_MACHINE, sslmode="verify-full", sslrootcert=str(authority_file)))


@pytest.mark.parametrize("host", [ANOTHER_MACHINE, "127.0.0.1", "localhost"])
@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
def test_a_private_authority_comes_in_through_sslrootcert(
    server_with: Show, authority_file: Path, host: str, mode: str
) -> None:
    proxy = server_with(certificate(host, issuer=AUTHORITY))
    assert works(proxy.url(host=host, sslmode=mode, sslrootcert=str(authority_file)))


def test_on_this_machine_require_encrypts_and_trusts(server_with: Show) -> None:
    assert works(server_with(certificate("anything")).url(sslmode="require"))
    with pytest.raises(DatabaseUnavailable, match="offers no TLS"):
        works(server_with(None).url(sslmode="require"))


def test_on_this_machine_plain_is_fine_and_full_verification_is_meant(server_with: Show, authority_file: Path) -> None:
    assert works(server_with(None).url())
    elsewhere = server_with(certificate("127.0.0.2", issuer=AUTHORITY))
    with pytest.raises(DatabaseUnavailable, match="another address"):
        works(elsewhere.url(sslmode="verify-full", sslrootcert=str(authority_file)))


def test_what_is_seen_of_encryption_is_told_to_the_operator(server_with: Show, authority_file: Path) -> None:
    """`ops privacy check`: verified, a tunnel to this machine, and plain; at rest can never be seen."""
    proxy = server_with(certificate(ANOTHER_MACHINE, issuer=AUTHORITY))
    verified = proxy.url(host=ANOTHER_MACHINE, sslmode="verify-full", sslrootcert=str(authority_file))
    told = {
        verified: "in transit: TLSv1.3, the server's certificate and name verified",
        server_with(certificate("anything")).url(sslmode="require"): "a tunnel?), its certificate not verified",
        server_with(None).url(): "not encrypted, and it does not leave this machine",
    }
    for url, expected in told.items():
        database = Database(url)
        findings = look(database)
        database.close()
        assert [finding.mark for finding in findings if expected in finding.what] == [GOOD]
        assert any(finding.mark == ASK and "cannot see whether a disk" in finding.what for finding in findings)


@pytest.mark.parametrize("content", [None, b"no certificate"])
def test_an_authority_that_cannot_be_read_is_told(server_with: Show, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "authority.pem"
    if content is not None:
        path.write_bytes(content)
    proxy = server_with(certificate(ANOTHER_MACHINE, issuer=AUTHORITY))
    with pytest.raises(DatabaseUnavailable, match="sslrootcert"):
        works(proxy.url(host=ANOTHER_MACHINE, sslrootcert=str(path)))


def test_where_the_interpreter_finds_no_authorities_certifi_brings_them(tmp_path: Path) -> None:
    code = (
        "from shared.database.login import _tls_context; from shared.database.url import connection_settings;"
        "print(_tls_context(connection_settings('postgres://u@db.example/d')).cert_store_stats()['x509_ca'])"
    )
    nowhere = {**os.environ, "SSL_CERT_FILE": str(tmp_path / "none.pem"), "SSL_CERT_DIR": str(tmp_path)}
    known = run([sys.executable, "-c", code], env=nowhere, capture_output=True, text=True, check=True).stdout
    assert int(known) > 50


# Channel binding ------------------------------------------------------------------------------------------------------


def test_required_channel_binding_is_refused_where_the_server_offers_none(
    postgres_server: EmbeddedPostgres, server_with: Show, authority_file: Path
) -> None:
    shown = certificate(ANOTHER_MACHINE, issuer=AUTHORITY)
    for with_password in (True, False):
        proxy = server_with(shown, with_password=with_password)
        url = proxy.url(
            host=ANOTHER_MACHINE,
            password=postgres_server.password if with_password else "",
            sslmode="require",
            sslrootcert=str(authority_file),
        )
        assert works(url)
        proxy.sent.clear()
        with pytest.raises(DatabaseUnavailable, match="no channel binding"):
            works(f"{url}&channel_binding=require")
        assert not any(sent.startswith(b"p") for sent in proxy.sent)


@pytest.mark.parametrize("binding", ["require", "prefer", "disable"])
def test_a_server_with_tls_of_its_own_binds_the_login_to_the_channel(
    tls_postgres15: EmbeddedPostgres, authority_file: Path, binding: str
) -> None:
    database = Database(
        f"{tls_postgres15.url(tcp=True)}?sslmode=verify-full&sslrootcert={authority_file}&channel_binding={binding}"
    )
    with database.transaction() as tx:
        row = tx.row("SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    assert row == {"ssl": True, "version": "TLSv1.3"}
    connection = database._connection
    assert connection is not None
    mechanism = connection._wire.auth.mechanism_name
    assert mechanism == ("SCRAM-SHA-256" if binding == "disable" else "SCRAM-SHA-256-PLUS")
    database.close()


@pytest.fixture(scope="module")
def tls_postgres15(postgres15_server: EmbeddedPostgres) -> Iterator[EmbeddedPostgres]:
    """Debian's server was built with TLS; the embedded one was not."""
    with temporary_postgres(postgres15_server.binaries) as server:
        owner, shown = server.data.stat(), certificate("127.0.0.1", issuer=AUTHORITY)
        for name, content in (("server.crt", shown.pem), ("server.key", shown.key_pem)):
            path = server.data / name
            path.write_bytes(content)
            path.chmod(0o600)
            os.chown(path, owner.st_uid, owner.st_gid)
        outside_of_transactions(server, "ALTER SYSTEM SET ssl = 'on'")
        outside_of_transactions(server, "SELECT pg_reload_conf()")
        give_up = time.monotonic() + 20
        while not offers_tls(server):
            assert time.monotonic() < give_up
            time.sleep(0.02)
        yield server


def offers_tls(server: EmbeddedPostgres) -> bool:
    with socket.create_connection(("127.0.0.1", server.port or 0), timeout=10) as plain:
        plain.sendall((8).to_bytes(4, "big") + (80877103).to_bytes(4, "big"))
        return plain.recv(1) == b"S"
