"""One HTTP exchange with another server: a fresh connection, verified, over by a hard deadline, never repeated.

It draws the one border that matters to money. `Unavailable`: nothing of the request left us, so it may be tried again.
`Unanswered`: bytes may have left, so it must not be. Why http.client and no library: docs/decisions/calls-out.md.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from shared.certificates import tls_context
from shared.deadline import Deadline
from shared.settings_reader import LOOPBACK

MAX_ANSWER_BYTES = 256 * 1024
"""Far more than any answer of Daraja or SendGrid; less than would hurt a function."""


class CallFailed(Exception):
    """A call out brought no answer that could be read whole."""


class Unavailable(CallFailed):
    """Nothing left us: there was no connection. It may be tried again."""


class Unanswered(CallFailed):
    """The request may have arrived: never repeat it, ask what became of it."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be sent. Its headers and body hold credentials and phone numbers, so they are never shown."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer of any status: errors and redirects are answers too. Header names are lower case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


def exchange(request: Request, deadline: Deadline, *, answer_takes_s: float = 0.0) -> Answer:
    """Send once and read the answer. Raises `Unavailable` or `Unanswered`, at the latest when the deadline passes.

    Where less than `answer_takes_s` is left once the connection stands, nothing is sent and it is `Unavailable`: a
    request sent with no time for its answer would only be unclear.
    """
    if deadline.remaining_s() <= answer_takes_s:
        raise Unavailable("no time was left to call")
    attempt = _Attempt(request, deadline, answer_takes_s)
    try:
        threading.Thread(target=attempt.run, name="call-out", daemon=True).start()
    except RuntimeError as refused:
        raise Unavailable("no thread could be started to call") from refused
    try:
        attempt.over.wait(deadline.remaining_s())
    finally:
        attempt.abandon()
    return attempt.outcome()


class _Attempt:
    """One exchange on its own thread, because no timeout of a socket bounds DNS, or an answer that drips.

    The lock orders two events, whichever comes first: the worker begins to send, or the caller gives up. Once the
    caller has given up, the worker cannot begin any more, however late it wakes (a function can be frozen for minutes).
    """

    def __init__(self, request: Request, deadline: Deadline, answer_takes_s: float) -> None:
        self.over = threading.Event()
        self._deadline = deadline
        self._answer_takes_s = answer_takes_s
        self._lock = threading.Lock()
        self._may_have_sent = False
        self._abandoned = False
        self._answer: Answer | None = None
        self._failure: Exception | None = None
        self._body = request.body
        # Written into the connection's buffer now, so that a header that cannot be sent fails before anything else.
        self._connection = _connection(request.url, deadline)
        self._write_head(request)

    def run(self) -> None:
        try:
            self._connection.connect()
            if self._begin_to_send():
                self._connection.endheaders(self._body)
                self._take(_read(self._connection))
        except Exception as failed:
            self._failure = failed
        finally:
            with self._lock:
                self._connection.close()
                self.over.set()

    def abandon(self) -> None:
        """Give up, where it is not over yet. What is being sent or read is cut off."""
        with self._lock:
            self._abandoned = True
            if not self.over.is_set():
                self._connection.cut()

    def outcome(self) -> Answer:
        if self._answer is not None:
            return self._answer
        why = _in_words(self._failure) if self.over.is_set() else "no whole answer in time"
        if self._may_have_sent:
            raise Unanswered(f"{self._connection.host}: {why}") from self._failure
        raise Unavailable(f"{self._connection.host}: {why}") from self._failure

    def _take(self, answer: Answer) -> None:
        with self._lock:
            if not self._abandoned:  # what was cut off may look like a whole answer that ended
                self._answer = answer

    def _begin_to_send(self) -> bool:
        with self._lock:
            self._may_have_sent = not self._abandoned and self._deadline.remaining_s() > self._answer_takes_s
            return self._may_have_sent

    def _write_head(self, request: Request) -> None:
        parts = urlsplit(request.url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._connection.putrequest(request.method, target, skip_accept_encoding=True)
        for name, value in request.headers.items():
            self._connection.putheader(name, value)
        self._connection.putheader("Connection", "close")
        if request.body or request.method != "GET":
            self._connection.putheader("Content-Length", str(len(request.body)))


_Address = tuple[int, int, int, str, Any]
"""As getaddrinfo gives it."""


class _Connection(http.client.HTTPConnection):
    """Connects once, to the first address that answers, and never again by itself."""

    auto_open = 0

    def __init__(self, host: str, port: int, deadline: Deadline, tls: ssl.SSLContext | None) -> None:
        super().__init__(host, port)
        self._deadline = deadline
        self._tls = tls
        self._cut = False
        self._line: socket.socket | None = None  # http.client forgets its own while an answer is still being read

    def connect(self) -> None:
        self.sock = self._first_that_connects(socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._allow_what_is_left(self.sock)
        if self._tls:
            self.sock = self._tls.wrap_socket(self.sock, server_hostname=self.host)
            self._allow_what_is_left(self.sock)
        self._line = self.sock

    def cut(self) -> None:
        """Wake whoever reads or writes. Called from another thread."""
        self._cut = True
        if self._line is not None:
            with contextlib.suppress(OSError):
                # Not SSLSocket's own shutdown: it would take the TLS state from under the reader.
                socket.socket.shutdown(self._line, socket.SHUT_RDWR)

    def _first_that_connects(self, addresses: Sequence[_Address]) -> socket.socket:
        failure: OSError = OSError("it has no address")
        for tried, (family, kind, protocol, _, address) in enumerate(addresses):
            sock = socket.socket(family, kind, protocol)
            try:
                # A share of the time each: an address that swallows packets must not cost the others theirs.
                self._allow_what_is_left(sock, shared_by=len(addresses) - tried)
                sock.connect(address)
            except OSError as failed:
                sock.close()
                failure = failed
            else:
                return sock
        raise failure

    def _allow_what_is_left(self, sock: socket.socket, shared_by: int = 1) -> None:
        remaining_s = self._deadline.remaining_s()
        if self._cut or not remaining_s:
            raise TimeoutError
        sock.settimeout(remaining_s / shared_by)


def _connection(url: str, deadline: Deadline) -> _Connection:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https" and host:
        return _Connection(host, parts.port or 443, deadline, tls_context())
    if parts.scheme == "http" and host in LOOPBACK:
        return _Connection(host, parts.port or 80, deadline, None)
    raise ValueError("calls go out to https addresses only (http only to this machine)")


def _read(connection: _Connection) -> Answer:
    response = connection.getresponse()
    body = response.read(MAX_ANSWER_BYTES + 1)
    if len(body) > MAX_ANSWER_BYTES:
        raise http.client.HTTPException("the answer is too long")
    said_how_long = response.length is not None or response.chunked
    if response.length or not (said_how_long or body):  # http.client takes a head that broke off for a whole one
        raise http.client.IncompleteRead(b"")
    return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, body)


def _in_words(failure: Exception | None) -> str:
    match failure:
        case None:
            return "the deadline passed while connecting"
        case TimeoutError():
            return "no answer in time"
        case ssl.SSLCertVerificationError():
            return f"its certificate was not accepted ({failure.verify_message})"
        case socket.gaierror():
            return "its name was not found"
        case http.client.RemoteDisconnected():
            return "it closed the connection without an answer"
        case http.client.IncompleteRead():
            return "its answer broke off"
        case OSError():
            return f"the connection failed ({failure.strerror or type(failure).__name__})"
        case _:
            return f"its answer could not be read ({type(failure).__name__})"
