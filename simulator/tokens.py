"""Access tokens: a new one invalidates the one before (Daraja portal, FAQ)."""

from __future__ import annotations

from datetime import datetime, timedelta

from simulator.clock import Clock
from simulator.ids import Ids

LIFETIME = timedelta(seconds=3600)


class Tokens:
    def __init__(self, ids: Ids, clock: Clock) -> None:
        self._ids = ids
        self._clock = clock
        self._alive: tuple[str, datetime] | None = None
        self._issued = 0

    def issue(self) -> tuple[str, bool]:
        """A new token, and whether `expires_in` is text this time: both forms were seen, so they alternate."""
        token = self._ids.access_token()
        self._alive = (token, self._clock.now() + LIFETIME)
        self._issued += 1
        return token, self._issued % 2 == 1

    def accepts(self, token: str) -> bool:
        return self._alive is not None and self._alive[0] == token and self._clock.now() < self._alive[1]

    def kill(self) -> None:
        """Invalidate the current token, as another program's request for one would."""
        self._alive = None
