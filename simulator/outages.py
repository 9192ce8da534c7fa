"""Outages of a whole service, for some requests or for a while: errors, firewall pages, slowness, broken connections.

Faults of one payment are in its script (simulator/scripts.py). Faults of one e-mail name its recipient (`to`).
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, StrEnum, auto
from typing import Annotated, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from simulator.clock import Clock
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
    """The right answer, after `seconds`."""
    DROP = "drop"
    """The connection is closed; nothing was done."""
    DROP_AFTER = "drop_after"
    """Done, and then the connection is closed instead of an answer."""
    RESET = "reset"
    """Mail only: the connection is reset in the middle of it; nothing was done."""
    SLOW_AFTER = "slow_after"
    """Mail only: done at once, and answered after `seconds`."""
    UNAUTHORIZED_401 = "unauthorized_401"
    """Mail only: the sender's key or login is refused."""
    REFUSED_400 = "refused_400"
    """Mail only: this message is refused for good."""
    TOO_LARGE_413 = "too_large_413"
    """Mail only: likewise."""
    GARBAGE = "garbage"
    """Mail only: an answer outside the protocol; nothing was done."""


MAIL_ONLY = frozenset(
    {Kind.RESET, Kind.SLOW_AFTER, Kind.UNAUTHORIZED_401, Kind.REFUSED_400, Kind.TOO_LARGE_413, Kind.GARBAGE}
)


class Fault(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    where: Where
    kind: Kind
    times: Annotated[int, Field(ge=1, le=100_000)] = 1
    seconds: Seconds = 5.0
    for_s: Seconds | None = None
    """Every request for so long, however many they are."""
    to: Annotated[str, Field(min_length=1, max_length=320)] | None = None
    """Mail only: letters to this address, and no others."""

    @model_validator(mode="after")
    def _happens_there(self) -> Self:
        if self.kind in MAIL_ONLY and self.where is not Where.MAIL:
            raise ValueError(f"{self.kind} happens to mail only")
        if self.to is not None and self.where is not Where.MAIL:
            raise ValueError("to is for mail only")
        if self.for_s is not None and "times" in self.model_fields_set:
            raise ValueError("for_s and times exclude each other")
        return self


@dataclass
class Waiting:
    fault: Fault
    times: int
    until: datetime | None


class Faults:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: list[Waiting] = []

    def add(self, fault: Fault) -> None:
        until = None if fault.for_s is None else self._clock.now() + timedelta(seconds=fault.for_s)
        self._waiting.append(Waiting(fault, fault.times, until))

    def take(self, where: Where, to: Sequence[str] = ()) -> Fault | None:
        """The oldest fault for this request; `to`: the recipients of an e-mail."""
        addresses = {address.lower() for address in to}
        self._forget_what_is_over()
        for waiting in self._waiting:
            fault = waiting.fault
            if fault.where == where and (fault.to is None or fault.to.lower() in addresses):
                if waiting.until is None:
                    waiting.times -= 1
                return fault
        return None

    def waiting(self) -> list[Fault]:
        self._forget_what_is_over()
        return [waiting.fault.model_copy(update={"times": waiting.times}) for waiting in self._waiting]

    def clear(self) -> None:
        self._waiting.clear()

    def _forget_what_is_over(self) -> None:
        now = self._clock.now()
        self._waiting = [
            waiting for waiting in self._waiting if waiting.times > 0 and (waiting.until is None or now < waiting.until)
        ]


class Cut(Enum):
    """The connection ends without an answer."""

    CLOSED = auto()
    RESET = auto()


Answer = TypeVar("Answer")


async def meet(
    fault: Fault | None, answers: Mapping[Kind, Answer], clock: Clock, work: Callable[[], Awaitable[Answer]]
) -> Answer | Cut:
    """What a request gets: the answer that is this fault, or that of the work; late, or never."""
    if fault is None:
        return await work()
    match fault.kind:
        case Kind.SLOW:
            await clock.sleep(fault.seconds)
            return await work()
        case Kind.SLOW_AFTER:
            answer = await work()
            await clock.sleep(fault.seconds)
            return answer
        case Kind.DROP:
            return Cut.CLOSED
        case Kind.DROP_AFTER:
            await work()
            return Cut.CLOSED
        case Kind.RESET:
            return Cut.RESET
        case kind:
            return answers[kind]


def cut(transport: asyncio.BaseTransport | None, how: Cut) -> None:
    """Close the connection, or send a TCP reset."""
    if isinstance(transport, asyncio.Transport):
        if how is Cut.RESET:
            at_once = struct.pack("ii", 1, 0)
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
            transport.abort()
        else:
            transport.close()
