"""The one way in which work that may be repeated is tried again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

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
