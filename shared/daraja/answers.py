"""What Daraja answered to our own calls: read with pydantic, judged row by row, said in our words.

A push is refused only by an answer that says so, in a code and words listed here. Everything else is unclear, and an
unclear push may have reached the customer's phone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypeAlias

from pydantic import BaseModel, BeforeValidator, Field, TypeAdapter, ValidationError

from shared.calls_out import Answer, Unanswered, Unavailable
from shared.daraja.fields import Unreadable, opaque_id, prose, read_object, result_code
from shared.daraja.result_codes import QUERY_FAILURES


class Rejected(Exception):
    """Daraja said no, clearly: no prompt went out. `message` is its text, `explanation` tells the shop what to do."""

    def __init__(self, code: str, message: str, explanation: str) -> None:
        self.code = code
        self.message = message
        self.explanation = explanation
        super().__init__(f"{code} {message}".strip())


class PromptOpen(Rejected):
    """A prompt is still open on the customer's phone: finish or cancel that one, and wait a minute."""


class TokenRefused(Rejected):
    """The access token is dead. `may_repeat` where a push may be repeated, once, with a new one."""

    may_repeat = False


class TokenDied(TokenRefused):
    """404.001.03, the push's own way to say that the token is dead."""

    may_repeat = True


@dataclass(frozen=True, slots=True)
class Accepted:
    """Daraja took the push and the prompt is on its way. Not paid."""

    merchant_request_id: str
    checkout_request_id: str
    response_code: str
    response_description: str
    customer_message: str


@dataclass(frozen=True, slots=True)
class QuerySucceeded:
    """The payment was made. A query names no receipt and no amount."""

    result_desc: str


@dataclass(frozen=True, slots=True)
class QueryDeclined:
    """A terminal failure, of the closed query table."""

    code: str
    description: str


@dataclass(frozen=True, slots=True)
class NoAnswerYet:
    """Nothing that settles anything: still open, or no answer at all. `throttled`: we asked too often."""

    reason: str
    throttled: bool = False


QueryAnswered: TypeAlias = QuerySucceeded | QueryDeclined | NoAnswerYet


@dataclass(frozen=True, slots=True)
class Token:
    value: str
    lifetime_s: int


# The models: what must be there, and in which form --------------------------------------------------------------------


def _must(value: str | None) -> str:
    if value is None:
        raise ValueError("not of the form it must have")
    return value


_Id = Annotated[str, BeforeValidator(lambda value: _must(opaque_id(value)))]
_Code = Annotated[str, BeforeValidator(lambda value: _must(result_code(value)))]
_Prose = Annotated[str, BeforeValidator(prose)]


class _TokenBody(BaseModel):
    access_token: Annotated[str, Field(strict=True, pattern=r"^[A-Za-z0-9._~+/=-]{8,2000}$")]
    expires_in: Annotated[int, Field(gt=0)]  # a number in the documentation, numeric text in captures


class _PushBody(BaseModel):
    MerchantRequestID: _Id
    CheckoutRequestID: _Id
    ResponseCode: _Code
    ResponseDescription: _Prose = ""
    CustomerMessage: _Prose = ""


class _QueryBody(BaseModel):
    ResponseCode: _Code
    ResultCode: _Code
    ResultDesc: _Prose = ""
    CheckoutRequestID: _Id | None = None
    errorCode: None = None  # an answer that also names an error is none


class _ErrorBody(BaseModel):
    errorCode: _Code
    errorMessage: _Prose = ""


class _FaultDetail(BaseModel):
    errorcode: _Code


class _Fault(BaseModel):
    faultstring: _Prose = ""
    detail: _FaultDetail


class _FaultBody(BaseModel):
    fault: _Fault


_REFUSAL_BODY: TypeAdapter[_ErrorBody | _FaultBody] = TypeAdapter(_ErrorBody | _FaultBody)


# Refusals: every row of them ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Refusal:
    """An error code together with words of its message: Daraja gives one code to opposite things."""

    code: str
    words: str
    explanation: str
    error: type[Rejected] = Rejected


_WAIT = "Too many requests reached Daraja. Wait a minute; if it lasts, ask Safaricom for a higher limit."
_NO_SUCH_ADDRESS = "Daraja does not know the address we called. Check MPESA_BASE_URL."
_QUOTA = "Your Daraja app's quota is used up. Wait, or ask Safaricom for a higher one."
_LINE = "Safaricom does not accept the customer's number as an M-Pesa line."
_TOKEN = "Daraja did not accept the access token."

REFUSALS = (
    _Refusal(
        "400.002.02", "Invalid BusinessShortCode", "Check MPESA_SHORTCODE: the number given at go-live, 5 to 7 digits."
    ),
    _Refusal("400.002.02", "Invalid Amount", "The amount must be whole shillings from 1 to 250,000."),
    _Refusal("400.002.02", "Invalid PhoneNumber", _LINE),
    _Refusal("400.002.02", "Invalid PartyA", _LINE),
    _Refusal(
        "400.002.02", "Invalid PartyB", "Check MPESA_PARTY_B: for a till its till number; for a paybill leave it unset."
    ),
    _Refusal(
        "400.002.02",
        "Invalid CallBackURL",
        "Check MPESA_CALLBACK_URL: https, public, not localhost. Daraja may refuse addresses that contain "
        "'mpesa': use /api/pay/callback in place of /api/mpesa/callback.",
    ),
    _Refusal("400.002.02", "Invalid Password", "Check MPESA_PASSKEY: it must be the one of MPESA_SHORTCODE."),
    _Refusal(
        "400.002.02",
        "Invalid TransactionType",
        "Check MPESA_TRANSACTION_TYPE: CustomerPayBillOnline for a paybill, CustomerBuyGoodsOnline for a till "
        "(the sandbox knows paybills only).",
    ),
    _Refusal("400.002.02", "", "Daraja found a field of the request invalid: its message names it."),
    _Refusal(
        "400.002.05", "", "Daraja could not read the request. Check MPESA_BASE_URL; if it is right, report a fault."
    ),
    _Refusal("404.001.01", "", _NO_SUCH_ADDRESS),
    _Refusal(
        "404.001.03",
        "",
        f"{_TOKEN} A new one was refused too: is another program using the same Daraja app?",
        TokenDied,
    ),
    _Refusal("404.001.04", "", "The access token did not reach Daraja. Check MPESA_BASE_URL: is a proxy in between?"),
    _Refusal("405.001", "", "Daraja took our request for a GET. Check MPESA_BASE_URL: is a redirect in between?"),
    _Refusal(
        "401.002.01",
        "no apiproduct match",
        "Your Daraja app may not use M-Pesa Express: tick 'Lipa na M-Pesa' for it on the portal.",
    ),
    _Refusal("401.002.01", "Invalid Access Token", f"{_TOKEN} A new one has been fetched: try again.", TokenRefused),
    _Refusal("400.003.01", "Invalid Access Token", f"{_TOKEN} A new one has been fetched: try again.", TokenRefused),
    _Refusal("401.002.01", "", "Daraja did not accept our identity. Does your app have the product 'Lipa na M-Pesa'?"),
    _Refusal(
        "500.001.1001",
        "Merchant does not exist",
        "Safaricom does not know MPESA_SHORTCODE in this environment. For a till use the head-office or store number.",
    ),
    _Refusal(
        "500.001.1001",
        "Wrong credentials",
        "MPESA_PASSKEY does not belong to MPESA_SHORTCODE: they must come from the same environment and go-live.",
    ),
    _Refusal(
        "500.001.1001",
        "Unable to lock subscriber",
        "Another M-Pesa transaction is open on the customer's phone. It is free a minute after that has ended.",
        PromptOpen,
    ),
    _Refusal("500.003.02", "Spike Arrest", _WAIT),
    _Refusal("500.003.03", "Quota Violation", _QUOTA),
    _Refusal("policies.ratelimit.SpikeArrestViolation", "", _WAIT),
    _Refusal("policies.ratelimit.QuotaViolation", "", _QUOTA),
)
"""In the order they are tried: the first whose code is the same and whose words are in the message."""

_TOO_OFTEN = frozenset(
    {"500.003.03", "policies.ratelimit.SpikeArrestViolation", "policies.ratelimit.QuotaViolation", "500.003.02"}
)
_OAUTH_EXPLANATION = (
    "Safaricom did not accept MPESA_CONSUMER_KEY and MPESA_CONSUMER_SECRET. They must belong to one app and to "
    "MPESA_ENV: sandbox keys do not work in production."
)


def _refusal(answer: Answer) -> Rejected | None:
    """The clear refusal in an answer with an error status, or None where it is anything else."""
    said = _error_in(answer)
    if said is None:
        return None
    code, message = said
    for row in REFUSALS:
        if row.code == code and row.words.casefold() in message.casefold():
            return row.error(code, message, row.explanation)
    return None


def _error_in(answer: Answer) -> tuple[str, str] | None:
    """Code and message of either envelope, Daraja's own or its gateway's."""
    if answer.status < 400:
        return None
    try:
        body = _REFUSAL_BODY.validate_python(read_object(answer.body))
    except (Unreadable, ValidationError):
        return None
    match body:
        case _ErrorBody(errorCode=code, errorMessage=message):
            return code, message
        case _FaultBody(fault=fault):
            return fault.detail.errorcode, fault.faultstring


# The three answers ----------------------------------------------------------------------------------------------------


def read_token(answer: Answer) -> Token:
    """The answer to OAuth. Raises `Rejected` where our credentials were refused, `Unavailable` for everything else."""
    if answer.status == 200:
        try:
            body = _TokenBody.model_validate(read_object(answer.body))
        except (Unreadable, ValidationError):
            raise Unavailable("Daraja's OAuth answered 200 with something that is no token") from None
        return Token(body.access_token, min(body.expires_in, 24 * 3600))
    if answer.status == 400 and not answer.body.strip():
        raise Rejected("400", "", _OAUTH_EXPLANATION)  # how a wrong key is refused, in the one capture of it
    said = _error_in(answer)
    if answer.status in (400, 401, 404) and said is not None:
        raise Rejected(*said, _OAUTH_EXPLANATION if answer.status != 404 else _NO_SUCH_ADDRESS)
    if answer.status == 401:
        raise Rejected("401", "", _OAUTH_EXPLANATION)
    raise Unavailable(f"Daraja's OAuth answered HTTP {answer.status}")


def read_push(answer: Answer) -> Accepted:
    """The answer to a push. Raises `Rejected` for a listed refusal, `Unanswered` for everything that is unclear."""
    if answer.status != 200:
        refused = _refusal(answer)
        if refused is not None:
            raise refused
        raise Unanswered(f"Daraja answered HTTP {answer.status}{_what_it_said(answer)}")
    try:
        body = _PushBody.model_validate(read_object(answer.body))
    except (Unreadable, ValidationError):
        raise Unanswered("Daraja answered 200 with something that is no acceptance") from None
    if body.ResponseCode != "0":
        raise Unanswered(f"Daraja answered 200 with ResponseCode {body.ResponseCode}")
    return Accepted(
        body.MerchantRequestID,
        body.CheckoutRequestID,
        body.ResponseCode,
        body.ResponseDescription,
        body.CustomerMessage,
    )


def read_query(answer: Answer, checkout_request_id: str) -> QueryAnswered:
    """The answer to a query: only HTTP 200 with a code of the closed list, for the id we asked about, settles anything.

    Raises `TokenRefused`.
    """
    if answer.status != 200:
        return _no_answer(answer)
    try:
        body = _QueryBody.model_validate(read_object(answer.body))
    except (Unreadable, ValidationError):
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


def _no_answer(answer: Answer) -> NoAnswerYet:
    refused = _refusal(answer)
    if isinstance(refused, TokenRefused):
        raise refused
    throttled = answer.status == 429 or (refused is not None and refused.code in _TOO_OFTEN)
    return NoAnswerYet(f"HTTP {answer.status}{_what_it_said(answer)}", throttled)


def _what_it_said(answer: Answer) -> str:
    said = _error_in(answer)
    return f" {said[0]} {said[1]}".rstrip() if said else " and no error of Daraja's"
