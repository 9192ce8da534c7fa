"""Notifies open pages of changes, so that they load the data again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator


class Live:
    def __init__(self) -> None:
        self._listeners: set[asyncio.Queue[str | None]] = set()

    def changed(self, what: str) -> None:
        for queue in self._listeners:
            if queue.qsize() < 100:  # a page that stopped reading catches up with its next reload
                queue.put_nowait(what)

    async def listen(self, every_s: float) -> AsyncIterator[str]:
        """What changed, as it changes; "alive" when nothing did for `every_s`. Ends with `close`."""
        queue: asyncio.Queue[str | None] = asyncio.Queue()
        self._listeners.add(queue)
        try:
            while True:
                try:
                    what = await asyncio.wait_for(queue.get(), every_s)
                except TimeoutError:
                    what = "alive"
                if what is None:
                    return
                yield what
        finally:
            self._listeners.discard(queue)

    def close(self) -> None:
        for queue in self._listeners:
            queue.put_nowait(None)
