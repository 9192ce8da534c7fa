"""The simulator's clock: real time plus an offset that tests move, or a time that stands still until it is moved.

Everything that waits or needs the time uses this clock. On a clock that stands still `advance` wakes one sleeper after
the other and lets each finish, so that a day takes a second and the same seed gives the same day. Not thread-safe.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta, timezone

EAT = timezone(timedelta(hours=3), "EAT")
"""East Africa Time: what M-PESA stamps in ids, callbacks and messages. It has no daylight saving."""

TURNS_UNTIL_QUIET = 12
"""Of the event loop: more than any chain of tasks here needs from waking up to its next sleep."""


class Clock:
    def __init__(self, *, stands_still: bool = False) -> None:
        self.stands_still = stands_still
        self._started_at = datetime.now(UTC)
        self._started_monotonic_s = time.monotonic()
        self._ahead = timedelta(0)
        self._moved = asyncio.Event()
        self._sleepers: list[tuple[datetime, int, asyncio.Event]] = []
        self._order = itertools.count()
        self._under_way = 0

    def now(self) -> datetime:
        if self.stands_still:
            return self._started_at + self._ahead
        return self._started_at + timedelta(seconds=time.monotonic() - self._started_monotonic_s) + self._ahead

    def now_eat(self) -> datetime:
        return self.now().astimezone(EAT)

    async def advance(self, seconds: float) -> float | None:
        """Let `seconds` pass at once. Gives the seconds until somebody wakes next, on a clock that stands still."""
        if not self.stands_still:
            self._ahead += timedelta(seconds=seconds)
            moved, self._moved = self._moved, asyncio.Event()
            moved.set()
            return None
        until = self._ahead + timedelta(seconds=seconds)
        await self._quiet()
        while self._sleepers and self._sleepers[0][0] - self._started_at <= until:
            wakes_at, _, woken = heapq.heappop(self._sleepers)
            self._ahead = max(self._ahead, wakes_at - self._started_at)
            woken.set()
            await self._quiet()
        self._ahead = until
        return (self._sleepers[0][0] - self.now()).total_seconds() if self._sleepers else None

    async def sleep(self, seconds: float) -> None:
        wake_at = self.now() + timedelta(seconds=seconds)
        if self.stands_still:
            await self._sleep_until(wake_at)
            return
        while (left_s := (wake_at - self.now()).total_seconds()) > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._moved.wait(), left_s)

    @contextmanager
    def held(self) -> Iterator[None]:
        """A clock that stands still does not move meanwhile: for what takes real time, such as a request."""
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1

    async def _sleep_until(self, wake_at: datetime) -> None:
        if wake_at <= self.now():
            return
        sleeper = (wake_at, next(self._order), asyncio.Event())
        heapq.heappush(self._sleepers, sleeper)
        try:
            await sleeper[2].wait()
        except asyncio.CancelledError:
            with suppress(ValueError):
                self._sleepers.remove(sleeper)
                heapq.heapify(self._sleepers)
            raise

    async def _quiet(self) -> None:
        """Wait until every woken task sleeps again or has ended."""
        while True:
            for _ in range(TURNS_UNTIL_QUIET):
                await asyncio.sleep(0)
            if not self._under_way:
                return
            await asyncio.sleep(0.001)
