"""What a call to Daraja came to: answers as values, errors named for what the caller does next, the table of refusals.

A push is refused only by an answer that says so, in a code and words of the table below. Everything else is unclear,
and an unclear push may have reached the customer's phone. calls.py reads the answers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias


class Unavailable(Exception):
    """Nothing left us: there was no connection. It may be tried again."""


class Unanswered(Exception):
    """The request may have arrived: never repeat it, ask what became of it."""


class Rejected(Exception):
    """Daraja refused clearly: no prompt went out. `message` is its text, `explanation` tells the shop what to do.

    `shops_fault`: no push will work until the shop has done it. `too_often`: the next query waits.
    """

    def __init__(
        self, code: str, message: str, explanation: str, *, shops_fault: bool = False, too_often: bool = False
    ) -> None:
        self.code = code
        self.message = message
        self.explanation = explanation
        self.shops_fault = shops_fault
        self.too_often = too_often
        super().__init__(f"{code} {message}".strip())


class PromptOpen(Rejected):
    """A prompt is still open on the customer's phone: finish or cancel that one, and wait a minute."""


class TokenRefused(Rejected):
    """The access token is dead: the request was not looked at, and may be repeated once, with a new token."""


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


# Every error that Daraja has been seen to answer a call with and that is a clear refusal ------------------------------


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error code together with words of its message: Daraja gives one code to opposite things."""

    code: str
    """A regular expression: Daraja's gateway numbers one refusal differently from API to API, and from year to year."""
    words: str
    explanation: str
    error: type[Rejected] = Rejected
    shops_fault: bool = False
    too_often: bool = False
    """We asked too often: the next query waits."""


_WAIT = "Too many requests reached Daraja. Wait a minute; if it lasts, ask Safaricom for a higher limit."
NO_SUCH_ADDRESS = "Daraja does not know the address we called. Check MPESA_BASE_URL."
_QUOTA = "Your Daraja app's quota is used up. Wait, or ask Safaricom for a higher one."
_LINE = "Safaricom does not accept the customer's number as an M-Pesa line."
_TOKEN = (
    "Daraja did not accept the access token. A new one was refused too: is another program using the same Daraja app?"
)
_PRODUCT = "Your Daraja app may not use M-Pesa Express: tick 'Lipa na M-Pesa' for it on the portal."
TOKEN_REFUSED = Refusal("401", "", _TOKEN, TokenRefused)
"""Also HTTP 401 with nothing that can be read: the gateway let nothing pass."""

_BAD_FIELD = r"400\.002\.02"
_UNKNOWN_SHOP = r"500\.001\.1001"

REFUSALS = (
    Refusal(
        _BAD_FIELD,
        "Invalid BusinessShortCode",
        "Check MPESA_SHORTCODE: the number given at go-live, 5 to 7 digits.",
        shops_fault=True,
    ),
    Refusal(_BAD_FIELD, "Invalid Amount", "The amount must be whole shillings from 1 to 250,000."),
    Refusal(_BAD_FIELD, "Invalid PhoneNumber", _LINE),
    Refusal(_BAD_FIELD, "Invalid PartyA", _LINE),
    Refusal(
        _BAD_FIELD,
        "Invalid PartyB",
        "Check MPESA_PARTY_B: for a till its till number; for a paybill leave it unset.",
        shops_fault=True,
    ),
    Refusal(
        _BAD_FIELD,
        "Invalid CallBackURL",
        "Check MPESA_CALLBACK_URL: https, public, not localhost. Daraja may refuse addresses that contain "
        "'mpesa': use /api/pay/callback in place of /api/mpesa/callback.",
        shops_fault=True,
    ),
    Refusal(
        _BAD_FIELD,
        "Invalid Password",
        "Check MPESA_PASSKEY: it must be the one of MPESA_SHORTCODE.",
        shops_fault=True,
    ),
    Refusal(
        _BAD_FIELD,
        "Invalid TransactionType",
        "Check MPESA_TRANSACTION_TYPE: CustomerPayBillOnline for a paybill, CustomerBuyGoodsOnline for a till "
        "(the sandbox knows paybills only).",
        shops_fault=True,
    ),
    Refusal(_BAD_FIELD, "", "Daraja found a field of the request invalid: its message names it."),
    Refusal(
        r"400\.002\.05", "", "Daraja could not read the request. Check MPESA_BASE_URL; if it is right, report a fault."
    ),
    Refusal(r"40\d\.\d{3}\.\d\d", "no apiproduct match", _PRODUCT, shops_fault=True),
    Refusal(r"40\d\.\d{3}\.\d\d", "Invalid Access Token", _TOKEN, TokenRefused),
    Refusal(r"404\.\d{3}\.03", "", _TOKEN, TokenRefused),
    Refusal(r"401\.\d{3}\.\d\d", "", _TOKEN, TokenRefused),
    Refusal(r"404\.\d{3}\.01", "", NO_SUCH_ADDRESS, shops_fault=True),
    Refusal(
        r"404\.001\.04",
        "",
        "The access token did not reach Daraja. Check MPESA_BASE_URL: is a proxy in between?",
        shops_fault=True,
    ),
    Refusal(
        r"405\.001",
        "",
        "Daraja took our request for a GET. Check MPESA_BASE_URL: is a redirect in between?",
        shops_fault=True,
    ),
    Refusal(
        _UNKNOWN_SHOP,
        "Merchant does not exist",
        "Safaricom does not know MPESA_SHORTCODE in this environment. For a till use the head-office or store number.",
        shops_fault=True,
    ),
    Refusal(
        _UNKNOWN_SHOP,
        "Wrong credentials",
        "MPESA_PASSKEY does not belong to MPESA_SHORTCODE: they must come from the same environment and go-live.",
        shops_fault=True,
    ),
    Refusal(
        _UNKNOWN_SHOP,
        "Unable to lock subscriber",
        "Another M-Pesa transaction is open on the customer's phone. It is free a minute after that has ended.",
        PromptOpen,
    ),
    Refusal(r"500\.\d{3}\.\d\d", "Spike Arrest", _WAIT, too_often=True),
    Refusal(r"500\.\d{3}\.\d\d", "Quota Violation", _QUOTA, shops_fault=True, too_often=True),
    Refusal(r"policies\.ratelimit\.SpikeArrestViolation", "", _WAIT, too_often=True),
    Refusal(r"policies\.ratelimit\.QuotaViolation", "", _QUOTA, shops_fault=True, too_often=True),
)
"""In the order they are tried: the first whose code matches and whose words are in the message."""


def find_refusal(code: str, message: str) -> Refusal | None:
    """The row of an answer, or None: then the answer refuses nothing."""
    for row in REFUSALS:
        if re.fullmatch(row.code, code) and row.words.casefold() in message.casefold():
            return row
    return None
