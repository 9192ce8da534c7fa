"""A deadline, and the one way in which work that may be repeated is tried again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar


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


T = TypeVar("T")


def retry(
    work: Callable[[], T],
    on: type[Exception] | tuple[type[Exception], ...],
    *,
    tries: int | None = None,
    for_s: float | None = None,
    pause_s: float = 0,
) -> T:
    """What `work` returns; an error of `on` is tried again, `tries` times in all or for `for_s` seconds.

    Raises the last error.
    """
    began, done = time.monotonic(), 0
    while True:
        try:
            return work()
        except on:
            done += 1
            if tries is not None and done >= tries:
                raise
            if for_s is not None and time.monotonic() - began >= for_s:
                raise
            time.sleep(pause_s)
