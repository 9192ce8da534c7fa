"""The simulator's time: real time plus an offset that tests move forward.

Everything that waits or stamps asks this one clock, so a test can let an hour pass at once. Not thread-safe:
`advance` is called in the simulator's own event loop.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone

EAT = timezone(timedelta(hours=3), "EAT")
"""East Africa Time: what M-PESA stamps in ids, callbacks and messages. It has no daylight saving."""


class Clock:
    def __init__(self) -> None:
        self._started_at = datetime.now(UTC)
        self._started_monotonic_s = time.monotonic()
        self._ahead = timedelta(0)
        self._moved = asyncio.Event()

    def now(self) -> datetime:
        return self._started_at + timedelta(seconds=time.monotonic() - self._started_monotonic_s) + self._ahead

    def now_eat(self) -> datetime:
        return self.now().astimezone(EAT)

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass at once and wake whoever slept through them."""
        self._ahead += timedelta(seconds=seconds)
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    async def sleep(self, seconds: float) -> None:
        wake_at = self.now() + timedelta(seconds=seconds)
        while (left_s := (wake_at - self.now()).total_seconds()) > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._moved.wait(), left_s)
