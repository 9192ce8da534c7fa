"""What the sweep's process remembers from one sweep to the next: above all until when it leaves the database alone.

By the process's own clocks: a process that starts anew remembers nothing, and looks.
"""

from __future__ import annotations

import time

BROKEN_IN_A_ROW = 15
BROKEN_SLEEPS_S = 15 * 60.0
"""After so many sweeps in a row in which something broke and was alerted, it looks only so often: trying every minute
would keep the database awake for as long as nobody repairs it."""


class Sweeps:
    """By two clocks, as one may stand still while the function is frozen, and one may be set: the first wakes it."""

    def __init__(self) -> None:
        self.stumbled: set[str] = set()
        """The steps for which the database was unavailable last time."""
        self._broken_in_a_row = 0
        self._until: tuple[float, float] | None = None

    def asleep_s(self) -> float:
        """For how long the database is still left alone; 0: it is time to look."""
        if self._until is None:
            return 0.0
        return max(0.0, min(self._until[0] - time.monotonic(), self._until[1] - time.time()))

    def got_through(self, sleeps_s: float) -> None:
        self._broken_in_a_row = 0
        self._sleep(sleeps_s)

    def broken(self) -> None:
        self._broken_in_a_row += 1
        self._sleep(BROKEN_SLEEPS_S if self._broken_in_a_row >= BROKEN_IN_A_ROW else 0.0)

    def _sleep(self, for_s: float) -> None:
        self._until = (time.monotonic() + for_s, time.time() + for_s) if for_s > 0 else None
