"""A deadline, and the one way in which work that may be repeated is tried again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

A_REQUEST_LASTS_S = 28
LONGEST_PAUSE_S = 2.0


@dataclass(frozen=True, slots=True)
class Deadline:
    """It can only come nearer."""

    at_s: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        return cls(time.monotonic() + seconds)

    @classmethod
    def of_request(cls, context: object) -> Deadline:
        """When the platform ends this request: by its own word, as AWS Lambda has it; else after 28 s."""
        remaining_ms = getattr(context, "get_remaining_time_in_millis", None)
        return cls.after(remaining_ms() / 1000 if remaining_ms else A_REQUEST_LASTS_S)

    def sooner(self, seconds: float) -> Deadline:
        """This deadline, so much earlier."""
        return Deadline(self.at_s - seconds)

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

    The pause grows to 2 s: who is refused a login a hundred times is locked out by some hosts. Raises the last error.
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
            time.sleep(min(pause_s * 1.5 ** (done - 1), max(pause_s, LONGEST_PAUSE_S)))
