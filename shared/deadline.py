"""A deadline: one moment on the monotonic clock, by which everything that a call waits for must be over."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deadline:
    """It can only come nearer."""

    at_s: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        return cls(time.monotonic() + seconds)

    def remaining_s(self) -> float:
        """Never negative."""
        return max(0.0, self.at_s - time.monotonic())

    def passed(self) -> bool:
        return self.remaining_s() == 0.0

    def at_most(self, seconds: float) -> Deadline:
        """This deadline, or `seconds` from now where that is earlier."""
        return Deadline(min(self.at_s, time.monotonic() + seconds))
