"""Faults of a whole service, one request at a time: errors, firewall pages, slowness, broken connections.

What concerns one payment belongs into its script; this is for OAuth, for mail, and for whatever comes next.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from simulator.settings import Seconds


class Where(StrEnum):
    OAUTH = "oauth"
    PUSH = "push"
    QUERY = "query"
    MAIL = "mail"
    """SendGrid and SMTP alike."""


class Kind(StrEnum):
    ERROR_500 = "error_500"
    TOO_MANY_429 = "too_many_429"
    FIREWALL_403 = "firewall_403"
    FIREWALL_503 = "firewall_503"
    SLOW = "slow"
    """Answered rightly, after `seconds`."""
    DROP = "drop"
    """The connection is closed; nothing was done."""
    DROP_AFTER = "drop_after"
    """Done, and then the connection is closed instead of an answer."""
    REFUSED_400 = "refused_400"
    """Mail only: this message will never be taken."""
    GARBAGE = "garbage"
    """Mail only: an answer that is none of the protocol's; nothing was done."""


class Fault(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    where: Where
    kind: Kind
    times: Annotated[int, Field(ge=1, le=100_000)] = 1
    seconds: Seconds = 5.0

    @model_validator(mode="after")
    def _happens_there(self) -> Self:
        if self.kind in (Kind.REFUSED_400, Kind.GARBAGE) and self.where is not Where.MAIL:
            raise ValueError(f"{self.kind} happens to mail only")
        return self


class Faults:
    def __init__(self) -> None:
        self._waiting: list[tuple[Fault, int]] = []

    def add(self, fault: Fault) -> None:
        self._waiting.append((fault, fault.times))

    def take(self, where: Where) -> Fault | None:
        """The fault that hits this request, oldest first."""
        for position, (fault, times) in enumerate(self._waiting):
            if fault.where == where:
                if times > 1:
                    self._waiting[position] = (fault, times - 1)
                else:
                    del self._waiting[position]
                return fault
        return None

    def waiting(self) -> list[Fault]:
        return [fault.model_copy(update={"times": times}) for fault, times in self._waiting]

    def clear(self) -> None:
        self._waiting.clear()
