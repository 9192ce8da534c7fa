"""To another machine only TLS, only verified, whatever the URL says; refusals say which, and nothing was sent before.

`127.1` is this machine under a name that is not taken for a loopback address, so it counts as another machine.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from subprocess import run
from typing import NamedTuple, Protocol

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from dev.postgres import EmbeddedPostgres
from ops.encryption import ASK, GOOD, look
from shared.database import Database, DatabaseUnavailable
from shared.database.url import SSL_MODES
from tests.fixtures.database import outside_of_transactions, temporary_postgres
from tests.fixtures.database_proxy import Proxy
from tests.fixtures.soak import Figure

NOW = datetime.datetime.now(datetime.UTC)
ANOTHER_MACHINE = "127.1"


class Certificate(NamedTuple):
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        form = serialization.PrivateFormat.PKCS8
        return self.key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def certificate(
    *names: str, issuer: Certificate | None = None, authority: bool = False, expired: bool = False
) -> Certificate:
    """Without the key identifiers that careful authorities add, as some hosted databases' own authorities are made."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    until = NOW - datetime.timedelta(days=1) if expired else NOW + datetime.timedelta(days=1)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - datetime.timedelta(days=2))
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([_name(name) for name in names]), critical=False)
    )
    return Certificate(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)


def _name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


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
                path = tmp_path / "shown.pem"
                path.write_bytes(shown.pem + shown.key_pem)
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(path)
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
    server_with: Show,
    authority_file: Path,
    shown: Certificate,
    says: str,
    modes: tuple[str, ...],
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
        "from shared.database.network import _tls_context; from shared.database.url import connection_settings;"
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
        shows(server, certificate("127.0.0.1", issuer=AUTHORITY))
        yield server


def shows(server: EmbeddedPostgres, shown: Certificate | None) -> None:
    """From now on the server itself shows this certificate, or has no TLS."""
    if shown is not None:
        owner = server.data.stat()
        for name, content in (("server.crt", shown.pem), ("server.key", shown.key_pem)):
            path = server.data / name
            path.write_bytes(content)
            path.chmod(0o600)
            os.chown(path, owner.st_uid, owner.st_gid)
    outside_of_transactions(server, f"ALTER SYSTEM SET ssl = {'on' if shown else 'off'}")
    outside_of_transactions(server, "SELECT pg_reload_conf()")
    wanted = shown.certificate.public_bytes(serialization.Encoding.DER) if shown else None
    give_up = time.monotonic() + 20
    while _shown_by(server) != wanted:
        assert time.monotonic() < give_up
        time.sleep(0.02)


def _shown_by(server: EmbeddedPostgres) -> bytes | None:
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", server.port or 0), timeout=10) as plain:
        plain.sendall((8).to_bytes(4, "big") + (80877103).to_bytes(4, "big"))
        if plain.recv(1) != b"S":
            return None
        with trusting.wrap_socket(plain) as over_tls:
            return over_tls.getpeercert(binary_form=True)


# A real server, as the shop's database would be ----------------------------------------------------------------------

NOT_TO_BE_TRUSTED = {
    "a self-signed certificate": (
        certificate("localhost"),
        "the server is not trusted: its certificate is self-signed",
    ),
    "a certificate for another name": (
        certificate("db.other.example", issuer=AUTHORITY),
        "the server is not trusted: its certificate is for another host name",
    ),
    "no certificate": (None, "the server offers no TLS"),
}


@pytest.mark.parametrize("mode", ["verify-full", "verify-ca"])
def test_a_server_that_cannot_prove_who_it_is_is_refused_and_the_error_says_which(
    postgres15_server: EmbeddedPostgres, authority_file: Path, mode: str, figure: Figure
) -> None:
    """PostgreSQL's own TLS, with a password in the URL; then the same server with the right certificate."""
    with temporary_postgres(postgres15_server.binaries, log_connections="on") as server:
        url = server.url(tcp=True).replace("@127.0.0.1:", "@localhost:")
        url += f"?sslmode={mode}&sslrootcert={authority_file}"
        told = {}
        wrong = {what: each for what, each in NOT_TO_BE_TRUSTED.items() if mode == "verify-full" or "name" not in what}
        for what, (shown, _) in wrong.items():
            shows(server, shown)
            with pytest.raises(DatabaseUnavailable) as refused:
                works(url)
            told[what] = str(refused.value)
        assert "method=scram" not in logins(server)
        shows(server, certificate("localhost", issuer=AUTHORITY))
        assert works(url)
        assert "method=scram" in logins(server)
    right = [what for what, (_, says) in wrong.items() if says in told[what]]
    figure(f"{len(right)} of {len(wrong)} servers refused with sslmode={mode}, each error says which")
    assert right == list(wrong), told


def logins(server: EmbeddedPostgres) -> str:
    """Who logged in, by the server's own log."""
    lines = server.log.read_text("utf-8", "replace").splitlines()
    return "\n".join(line for line in lines if "connection authorized" in line or "connection authenticated" in line)
