"""One call to Daraja: sent once by `requests` and over by a hard deadline, and its answer, read with pydantic.

A call has a fresh session and verified TLS, and is never repeated. It keeps the border that matters to money.
`Unavailable`: nothing of the request left us, so it may be tried again. `Unanswered`: bytes may have left, so it must
not be repeated. How, and why so: docs/decisions/calls-out.md.
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
from typing import Annotated, Any, TypeVar

import requests
from pydantic import AliasChoices, AliasPath, BaseModel, BeforeValidator, Field, ValidationError
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import IncompleteRead

from shared.certificates import tls_context
from shared.daraja.answers import (
    NO_SUCH_ADDRESS,
    TOKEN_REFUSED,
    Accepted,
    NoAnswerYet,
    QueryAnswered,
    QueryDeclined,
    QuerySucceeded,
    Rejected,
    Token,
    TokenRefused,
    Unanswered,
    Unavailable,
    find_refusal,
)
from shared.daraja.callback_reader import ID, Unreadable, prose, read_object, result_code
from shared.daraja.result_codes import QUERY_FAILURES
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
    call = _Call(request, deadline, answer_takes_s)
    try:
        threading.Thread(target=call.run, name="call to Daraja", daemon=True).start()
    except RuntimeError as refused:
        raise Unavailable("no thread could be started to call") from refused
    try:
        call.over.wait(deadline.remaining_s())
    finally:
        call.abandon()
    return call.outcome()


class _Call:
    """One call on a thread of its own, because no timeout of a socket bounds DNS, or an answer that drips.

    The lock orders two events: the thread begins to send, and the caller gives up. If the caller gives up first, the
    thread never sends, however late it wakes (a function can be frozen for minutes).
    """

    def __init__(self, request: requests.Request, deadline: Deadline, answer_takes_s: float) -> None:
        self.over = threading.Event()
        self._deadline = deadline
        self._answer_takes_s = answer_takes_s
        self._lock = threading.Lock()
        self._sending_on: socket.socket | None = None
        self._abandoned = False
        self._answer: Answer | None = None
        self._failure: Exception | None = None
        self._session = _session(self.begin_to_send)
        self._request = self._session.prepare_request(request)

    def run(self) -> None:
        try:
            remaining_s = self._deadline.remaining_s()
            timeout_s = (min(CONNECT_TIMEOUT_S, remaining_s), remaining_s)
            with self._session.send(self._request, timeout=timeout_s, stream=True, allow_redirects=False) as response:
                answer = _whole(response)
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
        if self._answer is not None:
            return self._answer
        why = _cause(self._failure) if self.over.is_set() else "no whole answer in time"
        raise (Unanswered if self._sending_on else Unavailable)(why) from self._failure


class _MarkingHTTPConnection(HTTPConnection):
    """Connects first, then says that the first byte is about to leave."""

    auto_open = 0

    def __init__(self, *args: Any, begin_to_send: Callable[[socket.socket], None], **options: Any) -> None:
        super().__init__(*args, **options)
        self._begin_to_send: Callable[[socket.socket], None] | None = begin_to_send

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

    def __init__(self, begin_to_send: Callable[[socket.socket], None]) -> None:
        super().__init__(max_retries=0)
        self._begin_to_send = begin_to_send

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*args, **options)
        if pool.scheme == "https":
            connection: Any = functools.partial(_MarkingHTTPSConnection, ssl_context=tls_context())
        else:
            connection = _MarkingHTTPConnection
        pool.ConnectionCls = functools.partial(connection, begin_to_send=self._begin_to_send)
        return pool

    def cert_verify(self, *_: object) -> None:
        """Our context verifies certificate and name already. `requests` would load certifi's authorities each time."""


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """There is none. Even with `allow_redirects=False`, `requests` reads the whole body of a redirect."""


def _session(begin_to_send: Callable[[socket.socket], None]) -> requests.Session:
    session = _Session()
    session.trust_env = False  # no proxies and no .netrc
    session.headers.update({"Accept": "application/json", "Accept-Encoding": "identity", "Connection": "close"})
    for scheme in ("https://", "http://"):
        session.mount(scheme, _Adapter(begin_to_send))
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


# The three answers: what must be there and in which form, then what each means ----------------------------------------

OAUTH_REFUSED = (
    "Safaricom did not accept MPESA_CONSUMER_KEY and MPESA_CONSUMER_SECRET. They must belong to one app and to "
    "MPESA_ENV: sandbox keys do not work in production."
)


def _code(value: object) -> str:
    code = result_code(value)
    if code is None:
        raise ValueError("no code")
    return code


_Id = Annotated[str, Field(strict=True, pattern=ID)]
_Code = Annotated[str, BeforeValidator(_code)]
_Prose = Annotated[str, BeforeValidator(prose)]


class _TokenBody(BaseModel):
    access_token: Annotated[str, Field(strict=True, pattern=r"^[A-Za-z0-9._~+/=-]{8,2000}$")]
    expires_in: Annotated[int, Field(gt=0)]  # a number in the documentation, numeric text in captures


class _PushBody(BaseModel):
    MerchantRequestID: _Id
    CheckoutRequestID: _Id
    ResponseCode: _Code
    ResponseDescription: _Prose = ""


class _QueryBody(BaseModel):
    ResponseCode: _Code
    ResultCode: _Code
    ResultDesc: _Prose = ""
    CheckoutRequestID: _Id | None = None
    errorCode: None = None  # an answer that also names an error is none


class _ErrorBody(BaseModel):
    """Either envelope of an error: Daraja's own, or its gateway's."""

    code: Annotated[_Code, Field(validation_alias=AliasChoices("errorCode", AliasPath("fault", "detail", "errorcode")))]
    message: Annotated[
        _Prose, Field(validation_alias=AliasChoices("errorMessage", AliasPath("fault", "faultstring")))
    ] = ""


_Body = TypeVar("_Body", bound=BaseModel)


def _read(model: type[_Body], answer: Answer) -> _Body | None:
    """The body of an answer, or None where it is not of the model's form."""
    try:
        return model.model_validate(read_object(answer.body))
    except (Unreadable, ValidationError):
        return None


def read_token(answer: Answer) -> Token:
    """The answer to OAuth. Raises `Rejected` where our credentials were refused, `Unavailable` for everything else."""
    if answer.status == 200:
        token = _read(_TokenBody, answer)
        if token is None:
            raise Unavailable("Daraja's OAuth answered 200 with something that is no token")
        return Token(token.access_token, min(token.expires_in, 24 * 3600))
    if answer.status == 400 and not answer.body.strip():
        raise Rejected(
            "400", "", OAUTH_REFUSED, shops_fault=True
        )  # how a wrong key is refused, in the one capture of it
    error = _read(_ErrorBody, answer)
    if answer.status in (400, 401, 404) and error is not None:
        explanation = OAUTH_REFUSED if answer.status != 404 else NO_SUCH_ADDRESS
        raise Rejected(error.code, error.message, explanation, shops_fault=True)
    if answer.status == 401:
        raise Rejected("401", "", OAUTH_REFUSED, shops_fault=True)
    raise Unavailable(f"Daraja's OAuth answered HTTP {answer.status}")


def read_push(answer: Answer) -> Accepted:
    """The answer to a push. Raises `Rejected` for a listed refusal, `Unanswered` for everything that is unclear."""
    if answer.status != 200:
        refused = _refused(answer)
        if refused is None:
            raise Unanswered(f"Daraja answered {_said(answer, _error(answer))}")
        raise refused
    body = _read(_PushBody, answer)
    if body is None:
        raise Unanswered("Daraja answered 200 with something that is no acceptance")
    if body.ResponseCode != "0":
        raise Unanswered(f"Daraja answered 200 with ResponseCode {body.ResponseCode}")
    return Accepted(body.MerchantRequestID, body.CheckoutRequestID, body.ResponseCode, body.ResponseDescription)


def read_query(answer: Answer, checkout_request_id: str) -> QueryAnswered:
    """The answer to a query: only HTTP 200 with a code of the closed list, for the id we asked about, settles anything.

    Raises `TokenRefused`.
    """
    if answer.status != 200:
        refused = _refused(answer)
        if isinstance(refused, TokenRefused):
            raise refused
        too_often = answer.status == 429 or (refused is not None and refused.too_often)
        return NoAnswerYet(_said(answer, _error(answer)), too_often)
    body = _read(_QueryBody, answer)
    if body is None:
        return NoAnswerYet("HTTP 200 without a result")
    if body.CheckoutRequestID not in (None, checkout_request_id):
        return NoAnswerYet("an answer about another payment")
    if body.ResponseCode != "0":
        return NoAnswerYet(f"ResponseCode {body.ResponseCode}")
    if body.ResultCode == "0":
        return QuerySucceeded(body.ResultDesc)
    if body.ResultCode in QUERY_FAILURES:
        return QueryDeclined(body.ResultCode, body.ResultDesc)
    return NoAnswerYet(f"ResultCode {body.ResultCode}")


def _refused(answer: Answer) -> Rejected | None:
    """The clear refusal that an answer is; None where it is none."""
    error = _error(answer)
    row = find_refusal(error.code, error.message) if error else None
    if row is None and answer.status == 401:
        row = TOKEN_REFUSED
    if row is None:
        return None
    code, message = (error.code, error.message) if error else (str(answer.status), "")
    return row.error(code, message, row.explanation, shops_fault=row.shops_fault, too_often=row.too_often)


def _error(answer: Answer) -> _ErrorBody | None:
    return _read(_ErrorBody, answer) if answer.status >= 400 else None


def _said(answer: Answer, error: _ErrorBody | None) -> str:
    said = f"{error.code} {error.message}".rstrip() if error else "and no error of Daraja's"
    return f"HTTP {answer.status} {said}"
