"""A PostgreSQL that is far away: each byte takes 50 ms in either direction."""

from __future__ import annotations

import asyncio
import threading
from urllib.parse import urlsplit

ONE_WAY_S = 0.05


class Distance:
    """Entered, it is the URL of the same database, far away."""

    def __init__(self, database_url: str) -> None:
        self._url, self._to = database_url, urlsplit(database_url)
        self._loop = asyncio.new_event_loop()

    def __enter__(self) -> str:
        server = self._loop.run_until_complete(asyncio.start_server(self._carry, "127.0.0.1", 0))
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        here = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return self._url.replace(f"{self._to.hostname}:{self._to.port}", here)

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _carry(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        server, to_server = await asyncio.open_connection(self._to.hostname, self._to.port)
        await asyncio.gather(self._late(client, to_server), self._late(server, to_client))

    async def _late(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        """Bytes keep their order, since each is due as long after it came as the one before."""
        while data := await source.read(65536):
            self._loop.call_later(ONE_WAY_S, sink.write, data)
        self._loop.call_later(ONE_WAY_S, sink.close)
