"""Every fault that one payment can meet: what a test, or chance, can decide about it. Each default was observed.

A script waits for the next push to its phone and is then used up. An unknown knob is an error that names it.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from simulator.settings import Seconds

Msisdn = Annotated[str, Field(pattern=r"^254[17]\d{8}$")]


class Result(BaseModel):
    """The result of a payment. Codes are numbers or text: 1032, "SFC_IC0003", "E3008"."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    code: int | str
    desc: str

    @property
    def paid(self) -> bool:
        return str(self.code) == "0"


class Outcome(StrEnum):
    PAY = "pay"
    WRONG_PIN = "wrong_pin"
    CANCEL = "cancel"
    IGNORE = "ignore"
    NO_FUNDS = "no_funds"


RESULTS = {
    Outcome.PAY: Result(code=0, desc="The service request is processed successfully."),
    Outcome.WRONG_PIN: Result(code=2001, desc="The initiator information is invalid."),
    Outcome.CANCEL: Result(code=1032, desc="Request cancelled by user"),
    Outcome.IGNORE: Result(code=1037, desc="No response from user."),
    Outcome.NO_FUNDS: Result(code=1, desc="The balance is insufficient for the transaction"),
}
"""The newest captured text of each (callbacks of 2021 to 2026)."""


class PushAnswer(StrEnum):
    """Every answer but acceptance that Daraja has given to a push, or documents."""

    INVALID_AMOUNT = "invalid_amount"
    INVALID_BUSINESS_SHORTCODE = "invalid_business_shortcode"
    INVALID_CALLBACK_URL = "invalid_callback_url"
    INVALID_REQUEST_PAYLOAD = "invalid_request_payload"
    INVALID_ACCESS_TOKEN = "invalid_access_token"
    INVALID_AUTHENTICATION_HEADER = "invalid_authentication_header"
    RESOURCE_NOT_FOUND = "resource_not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    MERCHANT_DOES_NOT_EXIST = "merchant_does_not_exist"
    WRONG_CREDENTIALS = "wrong_credentials"
    SUBSCRIBER_LOCKED = "subscriber_locked"
    SYSTEM_BUSY = "system_busy"
    SPIKE_ARREST_500 = "spike_arrest_500"
    QUOTA_VIOLATION = "quota_violation"
    INTERNAL_SERVER_ERROR = "internal_server_error"
    SPIKE_ARREST_429 = "spike_arrest_429"
    FIREWALL_403 = "firewall_403"
    FIREWALL_503 = "firewall_503"


class CustomAnswer(BaseModel):
    """Any other error, in Daraja's envelope."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    http_status: Annotated[int, Field(ge=200, le=599)]
    error_code: str
    error_message: str


class QueryShape(StrEnum):
    """Every answer that a query has given, and `terminal` for the result."""

    STILL_PROCESSING = "still_processing"
    BEING_PROCESSED = "being_processed"
    EMPTY_ERROR_200 = "empty_error_200"
    EMPTY_ERROR_500 = "empty_error_500"
    DOES_NOT_EXIST = "does_not_exist"
    INVALID_CHECKOUT_REQUEST_ID = "invalid_checkout_request_id"
    SPIKE_ARREST_429 = "spike_arrest_429"
    FIREWALL_403 = "firewall_403"
    FIREWALL_503 = "firewall_503"
    SYSTEM_BUSY = "system_busy"
    DROPPED = "dropped"
    """INF: the connection is closed instead of an answer, as for a push."""
    TERMINAL = "terminal"


ItemName = Literal["Amount", "MpesaReceiptNumber", "Balance", "TransactionDate", "PhoneNumber"]


class Script(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    phone: Msisdn | None = None
    """Whose next push this is for; None: anybody's."""
    uses: Annotated[int, Field(ge=1, le=100_000)] = 1
    """How many pushes it serves."""

    # What the customer does
    outcome: Outcome | Result | None = None
    """None: a person decides on the virtual phone."""
    after_s: Seconds = 1.0
    """From the prompt to the outcome (observed: paid after 7 to 18 s, cancelled after 14 s)."""
    paid_amount: Annotated[int, Field(ge=1, le=500_000)] | None = None
    """The amount that really moves, if it is not the one that was asked for."""
    paid_later_s: Seconds | None = None
    """After a failure: the money moves all the same, so much later."""
    told_in_reverse: bool = False
    """With `paid_later_s`: the callback of the success is sent before that of the failure."""

    # What the push answers
    push_latency_s: Seconds | None = None
    """None: the simulator's own (0.9 s)."""
    push_answer: PushAnswer | CustomAnswer | None = None
    """Instead of accepting."""
    reaches_phone: bool | None = None
    """Whether a prompt goes out. None: only when the push is accepted. An unclear 500 may well have sent one."""
    drop_response: bool = False
    """Close the connection instead of answering."""
    token_dies: bool = False
    """Another program of the app has just fetched a token: 404.001.03; the rest is for the repeated push."""
    prompt_after_s: Seconds | None = None
    """From the push to the prompt. None: with the answer."""

    # What the callbacks say
    callback_count: Annotated[int, Field(ge=0, le=3)] = 1
    callback_delay_s: Seconds = 0.0
    """From the outcome to the first callback (observed: the same second)."""
    callback_spacing_s: Seconds = 0.0
    """Between copies. 0: all at the same moment."""
    callback_before_response: bool = False
    """The callback comes before the answer to the push."""
    callback_code: Literal["int", "str"] = "int"
    callback_amount: Literal["1", "1.0", "1.00"] = "1"
    """How a whole number of shillings is written."""
    callback_amount_told: Decimal | None = None
    """Another amount than was asked for or paid."""
    callback_receipt_told: str | None = None
    """Another receipt than the payment's own."""
    callback_balance: Literal["no_value", "value", "absent"] = "no_value"
    """`{"Name":"Balance"}` without a value in 2025-10, no such item in 2026-05."""
    callback_phone: Literal["number", "text", "masked", "absent"] = "number"
    """A full number in every capture; nobody has shown `254708***430`."""
    callback_metadata: Literal["ordered", "shuffled", "empty", "absent"] = "ordered"
    callback_leave_out: tuple[ItemName, ...] = ()
    c2b_confirmation: bool = False
    """A C2B confirmation with the same receipt is sent before the callback."""

    # What queries answer
    query: tuple[QueryShape, ...] = ()
    """One shape per query, then the truth."""
    query_latency_s: Seconds = 0.0
    """How long each answer takes."""
    query_stuck_s: Seconds | None = None
    """How long after the push the query still says 4999, whatever happened (observed up to 33 min)."""
    query_result: Result | None = None
    """A terminal answer that disagrees with what happened."""

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.callback_before_response and (self.outcome is None or self.callback_count == 0):
            raise ValueError("callback_before_response needs an outcome and at least one callback")
        if self.callback_before_response and not self.sends_prompt:
            raise ValueError("callback_before_response needs a push that reaches the phone")
        if self.told_in_reverse and self.paid_later_s is None:
            raise ValueError("told_in_reverse needs paid_later_s")
        if self.reaches_phone is False and self.push_answer is None and not self.drop_response:
            raise ValueError(
                "reaches_phone: false needs push_answer or drop_response, an accepted push reaches the phone"
            )
        return self

    @property
    def sends_prompt(self) -> bool:
        return self.push_answer is None if self.reaches_phone is None else self.reaches_phone


class Scripts:
    """The scripts that wait for a push, oldest first."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Script, int]] = []

    def add(self, script: Script) -> None:
        self._waiting.append((script, script.uses))

    def put_back(self, msisdn: str, script: Script) -> None:
        """For the repetition of a refused push: before all others."""
        self._waiting.insert(0, (script.model_copy(update={"phone": msisdn}), 1))

    def take(self, msisdn: str) -> Script | None:
        """The oldest script for this phone, else the oldest for anybody, else none."""
        for wanted in (msisdn, None):
            for position, (script, uses) in enumerate(self._waiting):
                if script.phone == wanted:
                    if uses > 1:
                        self._waiting[position] = (script, uses - 1)
                    else:
                        del self._waiting[position]
                    return script
        return None

    def waiting(self) -> list[Script]:
        return [script.model_copy(update={"uses": uses}) for script, uses in self._waiting]

    def clear(self) -> None:
        self._waiting.clear()
