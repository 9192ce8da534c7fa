"""Serves the simulator: one event loop, one port for HTTP and one for SMTP, both on 127.0.0.1."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from datetime import datetime
from types import TracebackType
from typing import Self

from aiohttp import web
from aiohttp.typedefs import Handler

from simulator import smtp
from simulator.account import Account
from simulator.account_control import AccountControl
from simulator.background import Background
from simulator.client import SimulatorClient
from simulator.clock import Clock
from simulator.control import Control
from simulator.daraja import Daraja, SpikeArrest
from simulator.entries import Entry
from simulator.ids import Ids
from simulator.live import Live
from simulator.mailbox import Mailbox
from simulator.mpesa import MPesa
from simulator.outages import Faults
from simulator.pages import Pages
from simulator.scripts import Scripts
from simulator.sendgrid import SendGrid
from simulator.settings import SimulatorSettings
from simulator.tokens import Tokens

HOST = "127.0.0.1"
LARGEST_BODY = 30 * 1024 * 1024
"""SendGrid's limit for one e-mail."""


class World:
    """One simulator's state and application, in one event loop."""

    port = 0
    smtp_ports: Sequence[int] = ()
    """The second one, TLS from the first byte, is there with a certificate."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self.settings = settings
        self.clock = Clock(stands_still=settings.time_stands_still)
        self.live = Live()
        self.background = Background()
        self.ids = Ids(random.Random(settings.seed), self.clock)
        self.chance = random.Random(settings.seed)
        self.scripts = Scripts()
        self.faults = Faults(self.clock)
        self.mailbox = Mailbox(self.live)
        accounts = {one.receives: Account.of_merchant(one, self.clock, self.ids) for one in settings.merchants}
        self.mpesa = MPesa(self.clock, self.chance, self.ids, self.live, self.background, settings.behaviour, accounts)
        self.daraja = Daraja(
            settings,
            self.clock,
            self.ids,
            self.mpesa,
            Tokens(self.ids, self.clock),
            self.scripts,
            self.faults,
            SpikeArrest(self.clock),
        )

    def application(self) -> web.Application:
        sendgrid = SendGrid(self.settings.sendgrid_api_key, self.clock, self.ids, self.faults, self.mailbox)
        application = web.Application(client_max_size=LARGEST_BODY, middlewares=[only_by_our_names])
        for part in (
            AccountControl(self),
            Control(self),
            Pages(self.mailbox),
            sendgrid,
            self.daraja,
        ):  # Daraja's routes take what is left
            application.add_routes(part.routes())
        application.on_shutdown.append(self._shut_down)
        return application

    async def reset(self, seed: int | None = None) -> None:
        """As freshly started, but time goes on and ids are not used again."""
        await self.background.cancel_all()
        if seed is not None:
            self.chance.seed(seed)
        self.mpesa.payments.clear()
        self.mpesa.phones.clear()
        self.mpesa.ledger.clear()
        for account in self.mpesa.accounts.values():
            account.clear()
        self.mpesa.behaviour = self.settings.behaviour
        self.scripts.clear()
        self.faults.clear()
        self.mailbox.clear()
        self.daraja.requests.clear()
        self.daraja.spike_arrest.clear()
        for what in ("payments", "phones", "mail", "scripts", "account"):
            self.live.changed(what)

    async def _shut_down(self, _: web.Application) -> None:
        self.live.close()
        await self.background.cancel_all()


@web.middleware
async def only_by_our_names(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A page of another site may have given its own name our address (DNS rebinding): it gets nothing."""
    if request.host.partition(":")[0] not in (HOST, "localhost"):
        raise web.HTTPMisdirectedRequest(text=f"Call the simulator as {HOST} or localhost.\n")
    return await handler(request)


@asynccontextmanager
async def served(settings: SimulatorSettings, port: int) -> AsyncIterator[World]:
    """A new world; inside, it answers. Raises OSError where the port is taken."""
    world = World(settings)
    runner = web.AppRunner(world.application(), access_log=None, shutdown_timeout=0.2)
    mail: list[asyncio.Server] = []
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, port).start()
        mail = await smtp.start(smtp.MailHandler(world.clock, world.ids, world.faults, world.mailbox), settings)
        world.port = runner.addresses[0][1]
        world.smtp_ports = [server.sockets[0].getsockname()[1] for server in mail]
        yield world
    finally:
        for server in mail:
            server.close()
        await runner.cleanup()


class Simulator:
    """Daraja on a laptop, in a background thread: `with Simulator() as daraja: ... daraja.base_url`.

    Each one has its own ports, state and clock, so several may run at once.
    """

    def __init__(self, settings: SimulatorSettings | None = None, *, port: int = 0) -> None:
        self.settings = settings or SimulatorSettings()
        self._wanted_port = port
        self._started: Future[tuple[World, asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="simulator", daemon=True)

    def start(self) -> Self:
        """Returns when it serves. Raises OSError where the port is taken, RuntimeError at a second start."""
        self._thread.start()
        self._started.result()
        return self

    def stop(self) -> None:
        """Returns when everything is closed; harmless when nothing runs."""
        if self._thread.is_alive():
            _, loop, stop = self._started.result()
            loop.call_soon_threadsafe(stop.set)
            self._thread.join()

    def advance(self, seconds: float) -> float | None:
        """As `client.advance`, without HTTP."""
        world, loop, _ = self._running()
        return asyncio.run_coroutine_threadsafe(world.clock.advance(seconds), loop).result()

    def now(self) -> datetime:
        return self._running()[0].clock.now()

    def entries(self, shortcode: str) -> list[Entry]:
        """What was booked on a paybill or till until now, oldest first."""
        world, loop, _ = self._running()

        async def read() -> list[Entry]:
            return world.mpesa.accounts[shortcode].entries()

        return asyncio.run_coroutine_threadsafe(read(), loop).result()

    @property
    def port(self) -> int:
        return self._running()[0].port

    @property
    def smtp_port(self) -> int:
        return self._running()[0].smtp_ports[0]

    @property
    def smtps_port(self) -> int:
        """TLS from the first byte; only with a certificate."""
        return self._running()[0].smtp_ports[1]

    @property
    def base_url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def client(self) -> SimulatorClient:
        return SimulatorClient(self.base_url)

    def environment(self) -> dict[str, str]:
        """The settings of a shop that talks to this simulator; its callback address and its database are its own."""
        return self.settings.environment(self.base_url)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _running(self) -> tuple[World, asyncio.AbstractEventLoop, asyncio.Event]:
        if not self._started.done():
            raise RuntimeError("start() comes first")
        return self._started.result()

    async def _serve(self) -> None:
        stop = asyncio.Event()
        try:
            async with served(self.settings, self._wanted_port) as world:
                self._started.set_result((world, asyncio.get_running_loop(), stop))
                await stop.wait()
        except BaseException as failure:
            if self._started.done():
                raise
            self._started.set_exception(failure)  # `start` raises it
