"""One payment, from the accepted push to the last callback."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from simulator.scripts import QueryShape, Result, Script
from simulator.settings import Merchant


@dataclass(frozen=True)
class Push:
    """A request that passed every check."""

    merchant: Merchant
    amount_kes: int
    msisdn: str
    party_b: str
    callback_url: str
    account_reference: str
    transaction_desc: str


@dataclass(frozen=True)
class Delivery:
    """One callback and how it was received. `http_status` is None where no answer came."""

    at: datetime
    body: str
    http_status: int | None
    problem: str | None = None


@dataclass(frozen=True)
class Movement:
    """Money that really moved, whatever callbacks and queries say. Amounts are whole shillings."""

    receipt: str
    amount_kes: int
    msisdn: str
    shortcode: str
    account_reference: str
    at: datetime
    checkout_request_id: str
    balance_after_kes: int


@dataclass
class Payment:
    push: Push
    script: Script
    merchant_request_id: str
    checkout_request_id: str
    pushed_at: datetime
    prompted_at: datetime | None = None
    prompt_wait_s: float | None = None
    result: Result | None = None
    receipt: str | None = None
    amount_moved_kes: int | None = None
    balance_after_kes: int | None = None
    finished_at: datetime | None = None
    deliveries: list[Delivery] = field(default_factory=list)
    shapes_left: list[QueryShape] = field(default_factory=list)
    decided: asyncio.Future[Result] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    """What the person did."""
    callbacks_sent: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the callbacks of the first outcome were sent, or there are none."""

    @property
    def prompt_open(self) -> bool:
        return self.prompted_at is not None and self.result is None

    @property
    def state(self) -> Literal["prompt", "paid", "failed"]:
        if self.result is None:
            return "prompt"
        return "paid" if self.result.paid else "failed"
