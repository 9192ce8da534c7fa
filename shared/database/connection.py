"""One connection to PostgreSQL: socket, TLS, login, shared round trips. One file, since all of it replaces pg8000's.

Over pg8000, with three differences. The socket is opened here: name resolution, connecting and the TLS handshake end by
one deadline, a dead network ends every later wait, and a refused certificate says why. Any number of statements travel
together, in one round trip with one Sync (the extended protocol's pipelining); pg8000 makes three round trips for one
statement. `channel_binding` is honoured.

Importing this module imports pg8000, which is slow: `shared.database` does so at the first connection.
"""

from __future__ import annotations

import datetime
import selectors
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

from pg8000 import converters
from pg8000.core import (
    COMMAND_COMPLETE,
    DESCRIBE,
    EMPTY_QUERY_RESPONSE,
    IDLE,
    IN_TRANSACTION,
    NULL_BYTE,
    PARSE,
    PORTAL,
    READY_FOR_QUERY,
    SYNC_MSG,
    Context,
    CoreConnection,
    H_pack,
    _read,
    ci_unpack,
    make_params,
    scramp,
)
from pg8000.exceptions import DatabaseError as ServerError
from pg8000.exceptions import InterfaceError

from shared.certificates import verifying_context
from shared.database.errors import CommitUnknown, DatabaseError, DatabaseUnavailable, StatementFailed, translated
from shared.database.url import ConnectionSettings

S = TypeVar("S")
T = TypeVar("T")
Statement: TypeAlias = tuple[str, Sequence[object]]
"""SQL with $1, $2, … and their values."""

PASSWORD_METHODS = (3, 5)
SASL, SASL_FINAL, LOGGED_IN = 10, 12, 0
DEAD_PEER_AFTER_S = 20
TRUSTED_FOR_S = 10
"""A connection that was unused for longer may be dead: the function was frozen, or something on the way forgot it."""


class Connection:
    """Not for two threads at once. `round_trips` counts exchanges after the login."""

    def __init__(self, settings: ConnectionSettings, *, connect_timeout_s: float, read_timeout_s: float) -> None:
        """Raises DatabaseUnavailable."""
        self.round_trips = 0
        self._unanswered = False
        self._used_at = (time.monotonic(), time.time())
        self._wire = _log_in(settings, connect_timeout_s)
        if settings.must_be_writable and self._wire.parameter_statuses.get("in_hot_standby") == "on":
            self.close()
            raise _unavailable("the server is a standby, and target_session_attrs asks for a primary")
        self.read_timeout_s = read_timeout_s

    def together(
        self, statements: Sequence[Statement], *, committing: bool = False, timeout_s: float | None = None
    ) -> list[Context]:
        """Statements with $1, $2, … in one round trip: a result for each. After one that fails, none is executed.

        `committing`: COMMIT is among them, so a lost answer is `CommitUnknown`. `timeout_s`: until the first answer.
        """
        if not statements:
            return []
        return self._exchange(self._wire.execute_together, statements, committing, timeout_s)

    def together_if_trusted(
        self, statements: Sequence[Statement], timeout_s: float, *, committing: bool = False
    ) -> list[Context] | None:
        """The same over a connection that is surely alive; None: nothing was sent.

        It is idle, was used a moment ago, and nothing arrived since: a server that ends a connection says so or hangs
        up. By two clocks, since one may stand still while a function is frozen.
        """
        unused_s = max(time.monotonic() - self._used_at[0], time.time() - self._used_at[1])
        if self._unanswered or self._wire._transaction_status != IDLE or unused_s >= TRUSTED_FOR_S:
            return None
        with selectors.DefaultSelector() as waiting:
            waiting.register(self._wire._usock, selectors.EVENT_READ)
            if waiting.select(0):
                return None
        return self._exchange(self._wire.execute_together, statements, committing, timeout_s)

    def script(self, sql: str, *, timeout_s: float | None = None) -> None:
        """Statements without parameters, as one simple query."""
        self._exchange(self._wire.execute_simple, sql, False, timeout_s)

    @property
    def lost(self) -> bool:
        """An answer never came, or the connection was closed."""
        return self._unanswered

    @property
    def in_transaction(self) -> bool:
        """In a transaction that has not failed."""
        return not self._unanswered and self._wire._transaction_status == IN_TRANSACTION

    @property
    def idle(self) -> bool:
        """In no transaction, with no answer owed: ready for the next BEGIN."""
        return not self._unanswered and self._wire._transaction_status == IDLE

    @property
    def tls_version(self) -> str | None:
        """Like TLSv1.3; None: the connection is not encrypted."""
        return self._wire._usock.version() if isinstance(self._wire._usock, ssl.SSLSocket) else None

    def close(self) -> None:
        """Never fails."""
        self._unanswered = True
        _hang_up(self._wire)

    def _exchange(self, send: Callable[[S], T], what: S, committing: bool, timeout_s: float | None) -> T:
        if self._unanswered:
            raise DatabaseUnavailable("Nothing was done: the connection was lost.")
        self._wire.read_timeout_s = self.read_timeout_s
        self._wire._usock.settimeout(timeout_s or self.read_timeout_s)
        self._wire.ended_with = None
        self._unanswered = True
        self.round_trips += 1
        try:
            answer = send(what)
        except ServerError as error:
            self._unanswered = False
            failure: DatabaseError = translated(error.args[0], committing=committing)
        except _NotSent as error:
            self._unanswered = False
            self.round_trips -= 1
            failure = StatementFailed(str(error), sqlstate="")
        except CONNECTION_LOST:
            failure = self._lost(committing)
        else:
            self._unanswered = False
            self._used_at = (time.monotonic(), time.time())
            return answer
        if self._unanswered:
            self.close()
        raise failure

    def _lost(self, committing: bool) -> DatabaseError:
        if self._wire.ended_with is not None:
            return translated(self._wire.ended_with, committing=committing)
        if committing:
            return CommitUnknown("COMMIT was sent and the connection was lost before its answer.")
        return DatabaseUnavailable("Nothing was done: the connection was lost or the server did not answer in time.")


# What pg8000 does otherwise -------------------------------------------------------------------------------------------


class _NotSent(Exception):
    """A value cannot be sent; nothing was."""


class _LoginRefused(Exception):
    """We refuse to log in as the server asks."""


NOT_THE_PROTOCOL = (ValueError, LookupError, AttributeError, TypeError, ArithmeticError, struct.error)
CONNECTION_LOST = (InterfaceError, OSError, *NOT_THE_PROTOCOL)
"""What pg8000 raises when the connection ends, or when what arrives is not PostgreSQL's protocol."""


class _Wire(CoreConnection):  # type: ignore[misc]  # pg8000 has no types
    def __init__(self, settings: ConnectionSettings, sock: socket.socket) -> None:
        self.ended_with: dict[str, str] | None = None
        self.read_timeout_s: float | None = None
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
        self.register_in_adapter(converters.TIMESTAMPTZ, _instant)

    def execute_simple(self, statement: str) -> Context:
        context = Context(statement)
        self.send_QUERY(statement)
        self._sock.flush()
        self.handle_messages(context)
        return context

    def execute_together(self, statements: Sequence[Statement]) -> list[Context]:
        """Parse, Bind, Describe and Execute for each, then one Sync."""
        try:
            bound = [(sql.encode(), make_params(self.py_types, values)) for sql, values in statements]
            for _, params in bound:
                for param in params:
                    _ = param is None or param.encode()
        except Exception as error:
            raise _NotSent(f"A value cannot be sent to the database ({type(error).__name__}).") from None
        for statement, params in bound:
            self._send_message(PARSE, NULL_BYTE + statement + NULL_BYTE + H_pack(0))
            self.send_BIND(NULL_BYTE, params)
            self._send_message(DESCRIBE, PORTAL + NULL_BYTE)
            self.send_EXECUTE()
        self._sock.write(SYNC_MSG)
        self._sock.flush()
        return self._answers([Context(sql) for sql, _ in statements])

    def _answers(self, contexts: list[Context]) -> list[Context]:
        """Each statement's answer ends with CommandComplete; the whole ends with ReadyForQuery."""
        answered, code = 0, None
        while code != READY_FOR_QUERY:
            code, length = ci_unpack(_read(self._sock, 5))
            self._usock.settimeout(self.read_timeout_s)
            self.message_types[code](_read(self._sock, length - 4), contexts[min(answered, len(contexts) - 1)])
            answered += code in (COMMAND_COMPLETE, EMPTY_QUERY_RESPONSE)
        for context in contexts:
            if context.error is not None:
                raise context.error
        return contexts

    def handle_ERROR_RESPONSE(self, data: bytes, context: Context) -> None:
        super().handle_ERROR_RESPONSE(data, context)
        self.ended_with = context.error.args[0]

    def handle_AUTHENTICATION_REQUEST(self, data: bytes, context: Context) -> None:
        code = int.from_bytes(data[:4], "big")
        if self._binding == "require" and (code in PASSWORD_METHODS or (code == LOGGED_IN and not self._bound)):
            raise _LoginRefused("the server offers no channel binding, and the URL requires it")
        if code in (*PASSWORD_METHODS, SASL) and self.password is None:
            raise _LoginRefused("the server asks for a password, and the URL has none")
        if code == SASL:
            self._begin_scram([name.decode("ascii") for name in data[4:-2].split(NULL_BYTE)])
        else:
            super().handle_AUTHENTICATION_REQUEST(data, context)
            self._bound = self._bound or (code == SASL_FINAL and self.auth.mechanism_name.endswith("-PLUS"))

    def _begin_scram(self, offered: list[str]) -> None:
        over_tls = isinstance(self._usock, ssl.SSLSocket)
        if self._binding == "require" and not any(name.endswith("-PLUS") for name in offered):
            raise _LoginRefused("the server offers no channel binding, and the URL requires it")
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


def _instant(text: str) -> Any:
    try:
        return datetime.datetime.fromisoformat(text)
    except ValueError:
        return converters.timestamptz_in(text)


# From settings to a logged-in connection ------------------------------------------------------------------------------


def _log_in(settings: ConnectionSettings, timeout_s: float) -> _Wire:
    deadline = time.monotonic() + timeout_s
    sock: socket.socket | None = None
    try:
        sock = _socket(settings, deadline)
        if settings.tls != "off":
            sock = _over_tls(sock, settings, deadline)
        sock.settimeout(_left(deadline))
        return _Wire(settings, sock)
    except ServerError as error:
        failure: DatabaseError = translated(error.args[0])
    except _LoginRefused as refused:
        failure = _unavailable(str(refused))
    except ssl.SSLCertVerificationError as refused:
        failure = _unavailable(_why_not_trusted(refused))
    except ssl.SSLError as refused:
        failure = _unavailable(f"TLS with the server failed ({refused.reason or type(refused).__name__})")
    except TimeoutError:
        failure = _unavailable(f"the server did not answer within {timeout_s:g} s")
    except socket.gaierror:
        failure = _unavailable("the host's name cannot be resolved")
    except (OSError, InterfaceError) as lost:
        failure = _unavailable(f"the connection was refused or lost ({_root_of(lost)})")
    except scramp.ScramException:
        failure = _unavailable("logging in by SCRAM failed: the server's answers do not fit")
    except NOT_THE_PROTOCOL:
        failure = _unavailable("the server does not speak PostgreSQL's protocol")
    if sock is not None:
        sock.close()
    raise failure


def _unavailable(why: str) -> DatabaseUnavailable:
    return DatabaseUnavailable(f"Nothing was done: {why}.")


def _root_of(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _socket(settings: ConnectionSettings, deadline: float) -> socket.socket:
    if settings.socket_path is not None:
        if not hasattr(socket, "AF_UNIX"):
            raise _LoginRefused("this system has no Unix sockets: name the database's host in DATABASE_URL")
        addresses: list[Any] = [(socket.AF_UNIX, socket.SOCK_STREAM, 0, "", settings.socket_path)]
    else:
        addresses = _addresses(settings.host, settings.port, deadline)
    failure: OSError = OSError("no address")
    for tried, (family, kind, protocol, _, address) in enumerate(addresses):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(_left(deadline) / (len(addresses) - tried))
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
    thread.join(_left(deadline))
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
            raise _LoginRefused("the server offers no TLS" if answer == b"N" else "no PostgreSQL server answers")
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
            raise _LoginRefused("the file of sslrootcert cannot be read or holds no certificate") from None
        # private authorities of hosted databases are often made without the extensions that Python 3.13 insists on
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    else:
        context = verifying_context()
    if settings.tls == "unverified":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


NOT_TRUSTED = {
    10: "its certificate has expired",
    18: "its certificate is self-signed; a private authority comes in through sslrootcert",
    19: "its certificate comes from a private authority; it comes in through sslrootcert",
    20: "its certificate comes from an authority that is not known here; a private one comes in through sslrootcert",
    62: "its certificate is for another host name",
    64: "its certificate is for another address",
}


def _why_not_trusted(refused: ssl.SSLCertVerificationError) -> str:
    why = NOT_TRUSTED.get(refused.verify_code, f"its certificate is not valid ({refused.verify_message})")
    return f"the server is not trusted: {why}"


def _hang_up(wire: _Wire) -> None:
    try:
        if wire._usock is not None:
            wire._usock.settimeout(1)
            wire.close()
    except (*CONNECTION_LOST, ServerError):
        pass
