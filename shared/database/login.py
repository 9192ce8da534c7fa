"""The way to the server and the login, all by one deadline: name resolution, connecting, TLS, password.

Whoever cannot be trusted is refused with the reason; `channel_binding` is honoured, which pg8000 does not do.
Importing this module imports pg8000, which is slow: `shared.database` does so at the first connection.
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from typing import Any

from pg8000.core import NULL_BYTE, Context, CoreConnection, scramp
from pg8000.exceptions import DatabaseError as ServerError
from pg8000.exceptions import InterfaceError

from shared.certificates import verifying_context
from shared.database.errors import DatabaseError, DatabaseUnavailable, login_refused
from shared.database.url import ConnectionSettings

DEAD_PEER_AFTER_S = 20
AN_ADDRESS_ANSWERS_WITHIN_S = 5
"""The connection itself. What is behind it may need much longer: a database that wakes."""
PASSWORD_METHODS = (3, 5)
SASL, SASL_FINAL, LOGGED_IN = 10, 12, 0
NOT_THE_PROTOCOL = (ValueError, LookupError, AttributeError, TypeError, ArithmeticError, struct.error)
CONNECTION_LOST = (InterfaceError, OSError, *NOT_THE_PROTOCOL)
"""What pg8000 raises when the connection ends, or when what arrives is not PostgreSQL's protocol."""


class Refused(Exception):
    """We do not go on with this server; the text says why."""


def logged_in(settings: ConnectionSettings, timeout_s: float) -> Wire:
    """A session of the server's. Raises DatabaseUnavailable."""
    began = time.monotonic()
    sock: socket.socket | None = None
    try:
        sock = _opened(settings, began + timeout_s)
        sock.settimeout(_left(began + timeout_s))
        return Wire(settings, sock)
    except ServerError as error:
        failure: DatabaseError = login_refused(error.args[0], settings.password)
    except Refused as refused:
        failure = unavailable(str(refused))
    except ssl.SSLCertVerificationError as refused:
        failure = unavailable(_why_not_trusted(refused))
    except ssl.SSLError as refused:
        failure = unavailable(f"TLS with the server failed ({refused.reason or type(refused).__name__})")
    except TimeoutError:
        waited_s = min(timeout_s, round(time.monotonic() - began, 1))
        failure = unavailable(f"the server did not answer within {waited_s:g} s")
    except socket.gaierror:
        failure = unavailable("the host's name cannot be resolved")
    except (OSError, InterfaceError) as lost:
        failure = unavailable(f"the connection was refused or lost ({_root_of(lost)})")
    except scramp.ScramException:
        failure = unavailable("logging in by SCRAM failed: the server's answers do not fit")
    except NOT_THE_PROTOCOL:
        failure = unavailable("the server does not speak PostgreSQL's protocol")
    if sock is not None:
        sock.close()
    raise failure


class Wire(CoreConnection):  # type: ignore[misc]  # pg8000 has no types
    """pg8000's connection, with a login of our own. Texts are UTF-8, whatever a session says."""

    def __init__(self, settings: ConnectionSettings, sock: socket.socket) -> None:
        self._binding = settings.channel_binding
        self._bound = False
        super().__init__(
            settings.user,
            database=settings.database,
            password=settings.password,
            application_name=settings.application_name,
            startup_params={"options": settings.options} if settings.options else None,
            sock=sock,
            ssl_context=False,
        )

    def handle_PARAMETER_STATUS(self, data: bytes, context: Context) -> None:
        """Not followed, as in `Connection`."""

    def handle_AUTHENTICATION_REQUEST(self, data: bytes, context: Context) -> None:
        code = int.from_bytes(data[:4], "big")
        if self._binding == "require" and (code in PASSWORD_METHODS or (code == LOGGED_IN and not self._bound)):
            raise Refused("the server offers no channel binding, and the URL requires it")
        if code in (*PASSWORD_METHODS, SASL) and self.password is None:
            raise Refused("the server asks for a password, and the URL has none")
        if code == SASL:
            self._begin_scram([name.decode("ascii") for name in data[4:-2].split(NULL_BYTE)])
        else:
            super().handle_AUTHENTICATION_REQUEST(data, context)
            self._bound = self._bound or (code == SASL_FINAL and self.auth.mechanism_name.endswith("-PLUS"))

    def _begin_scram(self, offered: list[str]) -> None:
        over_tls = isinstance(self._usock, ssl.SSLSocket)
        if self._binding == "require" and not any(name.endswith("-PLUS") for name in offered):
            raise Refused("the server offers no channel binding, and the URL requires it")
        self.auth = scramp.ScramClient(
            [name for name in offered if name.startswith("SCRAM-")],
            self.user.decode(),
            self.password.decode(),
            channel_binding=("tls-server-end-point", self._usock) if over_tls and self._binding != "disable" else None,
        )
        first = self.auth.get_client_first().encode()
        mechanism = self.auth.mechanism_name.encode("ascii") + NULL_BYTE
        self._send_message(b"p", mechanism + len(first).to_bytes(4, "big") + first)
        self._sock.flush()


def unavailable(why: str) -> DatabaseUnavailable:
    return DatabaseUnavailable(f"Nothing was done: {why}.")


def _root_of(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__


# The socket -----------------------------------------------------------------------------------------------------------


def _opened(settings: ConnectionSettings, deadline: float) -> socket.socket:
    """A connected socket, over TLS where the settings say so. Raises Refused, OSError or ssl.SSLError."""
    sock = _socket(settings, deadline)
    return sock if settings.tls == "off" else _over_tls(sock, settings, deadline)


def _left(deadline: float) -> float:
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
            sock.settimeout(min(_left(deadline) / (len(addresses) - tried), AN_ADDRESS_ANSWERS_WITHIN_S))
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
    thread.join(min(_left(deadline), AN_ADDRESS_ANSWERS_WITHIN_S))
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
        sock.settimeout(_left(deadline))
        sock.sendall(SSL_REQUEST)
        answer = sock.recv(1)
        if answer != b"S":
            raise Refused("the server offers no TLS" if answer == b"N" else "no PostgreSQL server answers")
        sock.settimeout(_left(deadline))
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


def _why_not_trusted(refused: ssl.SSLCertVerificationError) -> str:
    why = NOT_TRUSTED.get(refused.verify_code, f"its certificate is not valid ({refused.verify_message})")
    return f"the server is not trusted: {why}"
