"""The way to the server: name resolution, connecting and TLS, all by one deadline, with certificates verified.

Whoever cannot be trusted is refused with the reason.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from typing import Any

from shared.certificates import verifying_context
from shared.database.url import ConnectionSettings

DEAD_PEER_AFTER_S = 20
AN_ADDRESS_ANSWERS_WITHIN_S = 5
"""The connection itself. What is behind it may need much longer: a database that wakes."""


class Refused(Exception):
    """We do not go on with this server; the text says why."""


def opened(settings: ConnectionSettings, deadline: float) -> socket.socket:
    """A connected socket, over TLS where the settings say so. Raises Refused, OSError or ssl.SSLError."""
    sock = _socket(settings, deadline)
    return sock if settings.tls == "off" else _over_tls(sock, settings, deadline)


def left(deadline: float) -> float:
    """Seconds until `deadline`. Raises TimeoutError when it has passed."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


def _socket(settings: ConnectionSettings, deadline: float) -> socket.socket:
    if settings.socket_path is not None:
        if not hasattr(socket, "AF_UNIX"):
            raise Refused("this system has no Unix sockets: name the database's host in DATABASE_URL")
        addresses: list[Any] = [(socket.AF_UNIX, socket.SOCK_STREAM, 0, "", settings.socket_path)]
    else:
        addresses = _addresses(settings.host, settings.port, deadline)
    failure: OSError = OSError("no address")
    for tried, (family, kind, protocol, _, address) in enumerate(addresses):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(min(left(deadline) / (len(addresses) - tried), AN_ADDRESS_ANSWERS_WITHIN_S))
            sock.connect(address)
        except OSError as error:
            sock.close()
            failure = error
            continue
        if settings.socket_path is None:
            _keep_alive(sock)
        return sock
    raise failure


def _addresses(host: str, port: int, deadline: float) -> list[Any]:
    """getaddrinfo knows no timeout, so a thread of its own waits for it."""
    found: list[Any] = []
    failed: list[OSError] = []

    def resolve() -> None:
        try:
            found.extend(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except OSError as error:
            failed.append(error)
        except UnicodeError:
            failed.append(socket.gaierror())

    thread = threading.Thread(target=resolve, daemon=True)
    thread.start()
    thread.join(min(left(deadline), AN_ADDRESS_ANSWERS_WITHIN_S))
    if failed:
        raise failed[0]
    if not found:
        raise TimeoutError
    return found


def _keep_alive(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    wanted = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 2, "TCP_USER_TIMEOUT": DEAD_PEER_AFTER_S * 1000}
    for name, value in wanted.items():
        option = getattr(socket, name, None)
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


# TLS ------------------------------------------------------------------------------------------------------------------

SSL_REQUEST = (8).to_bytes(4, "big") + (80877103).to_bytes(4, "big")


def _over_tls(sock: socket.socket, settings: ConnectionSettings, deadline: float) -> ssl.SSLSocket:
    context = _tls_context(settings)
    try:
        sock.settimeout(left(deadline))
        sock.sendall(SSL_REQUEST)
        answer = sock.recv(1)
        if answer != b"S":
            raise Refused("the server offers no TLS" if answer == b"N" else "no PostgreSQL server answers")
        sock.settimeout(left(deadline))
        return context.wrap_socket(sock, server_hostname=settings.host)
    except BaseException:
        sock.close()
        raise


def _tls_context(settings: ConnectionSettings) -> ssl.SSLContext:
    if settings.root_certificates is not None:
        try:
            context = ssl.create_default_context(cafile=settings.root_certificates)
        except (OSError, ssl.SSLError):
            raise Refused("the file of sslrootcert cannot be read or holds no certificate") from None
        # private authorities of hosted databases are often made without the extensions that Python 3.13 insists on
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    else:
        context = verifying_context()
    if settings.tls != "verified":
        context.check_hostname = False
    if settings.tls == "unverified":
        context.verify_mode = ssl.CERT_NONE
    return context


NOT_TRUSTED = {
    10: "its certificate has expired",
    18: "its certificate is self-signed; a private authority comes in through sslrootcert",
    19: "its certificate comes from a private authority; it comes in through sslrootcert",
    20: "its certificate comes from an authority that is not known here; a private one comes in through sslrootcert",
    62: "its certificate is for another host name; sslmode=verify-ca with sslrootcert checks its authority alone",
    64: "its certificate is for another address",
}


def why_not_trusted(refused: ssl.SSLCertVerificationError) -> str:
    why = NOT_TRUSTED.get(refused.verify_code, f"its certificate is not valid ({refused.verify_message})")
    return f"the server is not trusted: {why}"
