"""What Daraja's answers say, read with pydantic: what must be there and in which form, then what each means."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import AliasChoices, AliasPath, BaseModel, BeforeValidator, Field, ValidationError

from shared.call_out import Answer
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
    page = ", with a page in place of Daraja's JSON" if answer.body.lstrip()[:1] == b"<" else ""
    raise Unavailable(f"Daraja's OAuth answered HTTP {answer.status}{page}")


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
