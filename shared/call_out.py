"""One call out: sent once by `requests` and over by a hard deadline. To Daraja, and to the shop's own webhook.

A call has a fresh session and verified TLS, and is never repeated or redirected. It keeps the border that matters to
money. `Unavailable`: nothing of the request left us, so it may be tried again. `Unanswered`: bytes may have left. How,
and why so: docs/decisions/calls-out.md.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import RemoteDisconnected
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import IncompleteRead

from shared.certificates import tls_context
from shared.daraja.answers import Unanswered, Unavailable
from shared.deadline import Deadline

MAX_ANSWER_BYTES = 256 * 1024
"""Far more than any answer of Daraja; less than would hurt a function."""
CONNECT_TIMEOUT_S = 5
"""For each address of the host and each step of the handshake: one that is silent leaves time for the next."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer of any status: errors and redirects are answers too."""

    status: int
    body: bytes = field(repr=False)


def send(request: requests.Request, deadline: Deadline, *, answer_takes_s: float = 0.0) -> Answer:
    """Send once and read the answer. Raises `Unavailable` or `Unanswered`, at the latest when the deadline passes.

    Where less than `answer_takes_s` is left once the connection stands, nothing is sent and it is `Unavailable`: a
    request sent with no time for its answer would only be unclear.
    """
    if deadline.remaining_s() <= answer_takes_s:
        raise Unavailable("no time was left to call")
    return Call(request, deadline, answer_takes_s).start().outcome()


class Call:
    """One call on a thread of its own, because no timeout of a socket bounds DNS, or an answer that drips.

    `read` makes the answer of a response; `address_of` checks a host and names the address to connect to. The lock
    orders two events: the thread begins to send, and the caller gives up. If the caller gives up first, the thread
    never sends, however late it wakes (a function can be frozen for minutes).
    """

    def __init__(
        self,
        request: requests.Request,
        deadline: Deadline,
        answer_takes_s: float = 0.0,
        *,
        read: Callable[[requests.Response], Answer] | None = None,
        address_of: Callable[[str, int], str] | None = None,
    ) -> None:
        self.over = threading.Event()
        self._deadline = deadline
        self._answer_takes_s = answer_takes_s
        self._read = read or _whole
        self._lock = threading.Lock()
        self._sending_on: socket.socket | None = None
        self._abandoned = False
        self._answer: Answer | None = None
        self._failure: Exception | None = None
        self._session = _session(self.begin_to_send, address_of)
        self._request = self._session.prepare_request(request)

    def start(self) -> Call:
        """Begins, and waits for nothing. Raises `Unavailable`."""
        try:
            threading.Thread(target=self.run, name="call out", daemon=True).start()
        except RuntimeError as refused:
            raise Unavailable("no thread could be started to call") from refused
        return self

    def run(self) -> None:
        try:
            remaining_s = self._deadline.remaining_s()
            timeout_s = (min(CONNECT_TIMEOUT_S, remaining_s), remaining_s)
            with self._session.send(self._request, timeout=timeout_s, stream=True, allow_redirects=False) as response:
                answer = self._read(response)
            with self._lock:
                if not self._abandoned:  # an answer that we cut off may look like one that ended
                    self._answer = answer
        except Exception as failed:
            self._failure = failed
        finally:
            self.over.set()
            self._session.close()

    def begin_to_send(self, connected: socket.socket) -> None:
        """The connection stands and the first byte is about to leave. Raises where it is too late to send it."""
        with self._lock:
            if self._abandoned or self._deadline.remaining_s() <= self._answer_takes_s:
                raise TimeoutError
            self._sending_on = connected

    def abandon(self) -> None:
        """Give up, where it is not over yet. What is being sent or read is cut off."""
        with self._lock:
            self._abandoned = True
            if self._sending_on is not None and not self.over.is_set():
                with contextlib.suppress(OSError):
                    # Not SSLSocket's own shutdown: it would take the TLS state from under the reader.
                    socket.socket.shutdown(self._sending_on, socket.SHUT_RDWR)

    def outcome(self) -> Answer:
        """The answer, at the latest when the deadline passes. Raises `Unavailable` or `Unanswered`."""
        try:
            self.over.wait(self._deadline.remaining_s())
        finally:
            self.abandon()
        if self._answer is not None:
            return self._answer
        why = _cause(self._failure) if self.over.is_set() else "no whole answer in time"
        raise (Unanswered if self._sending_on else Unavailable)(why) from self._failure


class _MarkingHTTPConnection(HTTPConnection):
    """Connects first, then says that the first byte is about to leave."""

    auto_open = 0

    def __init__(
        self,
        *args: Any,
        begin_to_send: Callable[[socket.socket], None],
        address_of: Callable[[str, int], str] | None,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self._begin_to_send: Callable[[socket.socket], None] | None = begin_to_send
        self._address_of = address_of

    def _new_conn(self) -> socket.socket:
        """To the address that was checked: the name is not looked up a second time. TLS still checks the name."""
        if self._address_of is None:
            return super()._new_conn()
        address = self._address_of(self.host, self.port or self.default_port)
        return socket.create_connection((address, self.port or self.default_port), self.timeout)

    def send(self, data: Any) -> None:
        if self._begin_to_send is not None:
            if self.sock is None:
                self.connect()
            self._begin_to_send(self.sock)
            self._begin_to_send = None
        super().send(data)


class _MarkingHTTPSConnection(_MarkingHTTPConnection, HTTPSConnection):
    pass


class _Adapter(HTTPAdapter):
    """Each call on a new connection of ours."""

    def __init__(self, **marking: Any) -> None:
        super().__init__(max_retries=0)
        self._marking = marking

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*args, **options)
        if pool.scheme == "https":
            connection: Any = functools.partial(_MarkingHTTPSConnection, ssl_context=tls_context())
        else:
            connection = _MarkingHTTPConnection
        pool.ConnectionCls = functools.partial(connection, **self._marking)
        return pool

    def cert_verify(self, *_: object) -> None:
        """Our context verifies certificate and name already. `requests` would load certifi's authorities each time."""


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """There is none. Even with `allow_redirects=False`, `requests` reads the whole body of a redirect."""


def _session(
    begin_to_send: Callable[[socket.socket], None], address_of: Callable[[str, int], str] | None
) -> requests.Session:
    session = _Session()
    session.trust_env = False  # no proxies and no .netrc
    session.headers.update({"Accept": "application/json", "Accept-Encoding": "identity", "Connection": "close"})
    for scheme in ("https://", "http://"):
        session.mount(scheme, _Adapter(begin_to_send=begin_to_send, address_of=address_of))
    return session


def _whole(response: requests.Response) -> Answer:
    raw = response.raw
    body = raw.read(MAX_ANSWER_BYTES + 1, decode_content=False)
    if len(body) > MAX_ANSWER_BYTES:
        raise ValueError("the answer is too long")
    has_length = raw.length_remaining is not None or raw.chunked
    if raw.length_remaining or not (has_length or body):  # a head that broke off is taken for a whole one
        raise IncompleteRead(len(body), raw.length_remaining or 0)
    return Answer(response.status_code, body)


def _cause(failure: Exception | None) -> str:
    """The first cause: `requests` and urllib3 wrap it several times."""
    cause: BaseException | None = failure
    while cause is not None and cause.__context__ is not None:
        cause = cause.__context__
    match cause:
        case TimeoutError():
            return "no answer in time"
        case ssl.SSLCertVerificationError():
            return f"its certificate was not accepted ({cause.verify_message})"
        case socket.gaierror():
            return "its name was not found"
        case RemoteDisconnected():
            return "it closed the connection without an answer"
        case OSError():
            return f"the connection failed ({cause.strerror or type(cause).__name__})"
        case _:
            return f"its answer could not be read ({type(cause).__name__})"
