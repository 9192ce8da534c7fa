"""What a call to Daraja came to: its answers as values, and errors that are named for what the caller does next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


class Unavailable(Exception):
    """Nothing left us: there was no connection. It may be tried again."""


class Unanswered(Exception):
    """The request may have arrived: never repeat it, ask what became of it."""


class Rejected(Exception):
    """Daraja refused clearly: no prompt went out. `message` is its text, `explanation` tells the shop what to do."""

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
class Token:
    value: str
    lifetime_s: int


@dataclass(frozen=True, slots=True)
class Accepted:
    """Daraja took the push and the prompt is on its way. Not paid."""

    merchant_request_id: str
    checkout_request_id: str
    response_code: str
    response_description: str


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
