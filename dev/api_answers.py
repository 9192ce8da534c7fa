"""What the functions answer, as models for public/openapi.json: the functions themselves answer plain dicts.

A test holds the examples, which the functions make, against these models; another holds real answers against them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, NotRequired

from pydantic import Field, with_config
from typing_extensions import TypedDict

from dev.api_problems import bridge_problems
from shared.orders import REFERENCE, TransactionId
from shared.payments import PUBLIC
from shared.problems import Kind
from shared.values import LARGEST_KES, SMALLEST_KES, TRANSACTION_ID

PublicStatus = Annotated[str, Field(json_schema_extra={"enum": sorted({*PUBLIC.values()})})]
Code = Annotated[
    str, Field(json_schema_extra={"enum": sorted({kind.code for kind in Kind} | bridge_problems().keys())})
]
Seconds = Annotated[int, Field(ge=1)]


@with_config(extra="forbid")
class Accepted(TypedDict):
    """The customer is being asked, or was: never that it is paid."""

    transaction_id: TransactionId
    checkout_request_id: str | None
    status: PublicStatus
    amount: Annotated[int, Field(ge=int(SMALLEST_KES), le=int(LARGEST_KES))]
    account_reference: Annotated[str, Field(pattern=REFERENCE)]
    message: str
    status_url: Annotated[str, Field(pattern=f"^https?://[^/]+/.*/status/{TRANSACTION_ID}$")]
    poll_after_s: Seconds


@with_config(extra="forbid")
class Payment(TypedDict):
    """Where a payment stands. What there is nothing to say about is left out."""

    transaction_id: TransactionId
    status: PublicStatus
    amount: Annotated[int, Field(ge=int(SMALLEST_KES), le=int(LARGEST_KES))]
    account_reference: Annotated[str, Field(pattern=REFERENCE)]
    message: str
    updated_at: datetime
    mpesa_receipt_number: NotRequired[str]
    result_code: NotRequired[Annotated[str, Field(description="M-Pesa's own: see docs/result-codes.md.")]]
    next_action: NotRequired[Annotated[str, Field(description="What the customer should do now.")]]
    retry_after_s: NotRequired[Seconds]


@with_config(extra="forbid")
class InvoiceSent(TypedDict):
    """The invoice is on its way. The answer never shows the address."""

    transaction_id: TransactionId
    message: str


@with_config(extra="forbid")
class OnFile(TypedDict):
    """The callback is stored. It says nothing about the payment."""

    ResultCode: Literal[0]
    ResultDesc: Literal["Accepted"]


@with_config(extra="forbid")
class FieldError(TypedDict):
    """One field that cannot be used, and what it must be."""

    field: str
    detail: str


@with_config(extra="forbid")
class Problem(TypedDict):
    """RFC 9457. `code` never changes its meaning; `detail` is for people."""

    type: Literal["about:blank"]
    title: str
    status: int
    code: Code
    detail: str
    errors: NotRequired[list[FieldError]]
    retry_after_s: NotRequired[Annotated[int, Field(ge=0, description="As in the header Retry-After.")]]
    limit: NotRequired[Annotated[str, Field(description="Which limit refused.")]]
    amount: NotRequired[Annotated[int, Field(description="What it costs now.")]]
    most_kes: NotRequired[Annotated[int, Field(description="What that limit allows.")]]
