"""What Daraja answered to our own calls: read with pydantic, judged by the tables of codes, said in our words."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import AliasChoices, AliasPath, BaseModel, BeforeValidator, Field, ValidationError

from shared.daraja.answers import (
    NO_SUCH_ADDRESS,
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
from shared.daraja.transport import Answer

OAUTH_REFUSED = (
    "Safaricom did not accept MPESA_CONSUMER_KEY and MPESA_CONSUMER_SECRET. They must belong to one app and to "
    "MPESA_ENV: sandbox keys do not work in production."
)


# The models: what must be there, and in which form --------------------------------------------------------------------


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


# The three answers ----------------------------------------------------------------------------------------------------


def read_token(answer: Answer) -> Token:
    """The answer to OAuth. Raises `Rejected` where our credentials were refused, `Unavailable` for everything else."""
    if answer.status == 200:
        token = _read(_TokenBody, answer)
        if token is None:
            raise Unavailable("Daraja's OAuth answered 200 with something that is no token")
        return Token(token.access_token, min(token.expires_in, 24 * 3600))
    if answer.status == 400 and not answer.body.strip():
        raise Rejected("400", "", OAUTH_REFUSED)  # how a wrong key is refused, in the one capture of it
    error = _read(_ErrorBody, answer)
    if answer.status in (400, 401, 404) and error is not None:
        raise Rejected(error.code, error.message, OAUTH_REFUSED if answer.status != 404 else NO_SUCH_ADDRESS)
    if answer.status == 401:
        raise Rejected("401", "", OAUTH_REFUSED)
    raise Unavailable(f"Daraja's OAuth answered HTTP {answer.status}")


def read_push(answer: Answer) -> Accepted:
    """The answer to a push. Raises `Rejected` for a listed refusal, `Unanswered` for everything that is unclear."""
    if answer.status != 200:
        error = _error(answer)
        row = find_refusal(error.code, error.message) if error else None
        if error is None or row is None:
            raise Unanswered(f"Daraja answered {_in_words(answer, error)}")
        raise row.error(error.code, error.message, row.explanation)
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
        error = _error(answer)
        row = find_refusal(error.code, error.message) if error else None
        if error is not None and row is not None and issubclass(row.error, TokenRefused):
            raise row.error(error.code, error.message, row.explanation)
        too_often = answer.status == 429 or (row is not None and row.too_often)
        return NoAnswerYet(_in_words(answer, error), too_often)
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


def _error(answer: Answer) -> _ErrorBody | None:
    return _read(_ErrorBody, answer) if answer.status >= 400 else None


def _in_words(answer: Answer, error: _ErrorBody | None) -> str:
    said = f"{error.code} {error.message}".rstrip() if error else "and no error of Daraja's"
    return f"HTTP {answer.status} {said}"
