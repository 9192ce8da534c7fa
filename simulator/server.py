"""Serves the simulator: one event loop, one port for HTTP and one for SMTP, both on 127.0.0.1."""

from __future__ import annotations

import asyncio
import random
import threading
from types import TracebackType
from typing import Self

from aiohttp import web

from simulator import smtp
from simulator.background import Background
from simulator.client import SimulatorClient
from simulator.clock import Clock
from simulator.control import Control
from simulator.daraja import Daraja, SpikeArrest
from simulator.faults import Faults
from simulator.ids import Ids
from simulator.ledger import Ledger
from simulator.live import Live
from simulator.mailbox import Mailbox
from simulator.mpesa import MPesa
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

    def __init__(self, settings: SimulatorSettings) -> None:
        self.settings = settings
        self.clock = Clock(stands_still=settings.time_stands_still)
        self.live = Live()
        self.background = Background()
        self.ids = Ids(random.Random(settings.seed), self.clock)
        self.chance = random.Random(settings.seed)
        self.scripts = Scripts()
        self.faults = Faults(self.clock)
        self.mailbox = Mailbox()
        self.mpesa = MPesa(self.clock, self.chance, self.ids, self.live, self.background, settings.behaviour)
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
        self.smtp_port = 0
        self.smtps_port: int | None = None

    def application(self) -> web.Application:
        sendgrid = SendGrid(self.settings.sendgrid_api_key, self.clock, self.ids, self.live, self.faults, self.mailbox)
        control = Control(
            self.clock,
            self.live,
            self.mpesa,
            self.daraja,
            self.scripts,
            self.faults,
            self.mailbox,
            self.reset,
            lambda: self.smtp_port,
        )
        application = web.Application(client_max_size=LARGEST_BODY)
        pages = Pages(self.mailbox)
        application.add_routes([*control.routes(), *pages.routes(), *sendgrid.routes(), *self.daraja.routes()])
        application.on_shutdown.append(self._shut_down)
        return application

    async def reset(self, seed: int | None = None) -> None:
        """As freshly started, but time goes on and ids are not used again."""
        await self.background.cancel_all()
        if seed is not None:
            self.chance.seed(seed)
        self.mpesa.payments.clear()
        self.mpesa.phones.clear()
        self.mpesa.ledger = Ledger()
        self.mpesa.behaviour = self.settings.behaviour
        self.scripts.clear()
        self.faults.clear()
        self.mailbox.clear()
        self.daraja.requests.clear()
        self.daraja.spike_arrest.clear()
        for what in ("payments", "phones", "mail", "scripts"):
            self.live.changed(what)

    async def _shut_down(self, _: web.Application) -> None:
        self.live.close()
        await self.background.cancel_all()


class Running:
    """A world that is being served. Call `await Running.start(...)` inside its event loop."""

    def __init__(self, world: World, runner: web.AppRunner, port: int, mail: list[asyncio.Server]) -> None:
        self.world = world
        self.port = port
        self._runner = runner
        self._mail = mail

    @classmethod
    async def start(cls, settings: SimulatorSettings, port: int) -> Running:
        """Raises OSError where the port is taken."""
        world = World(settings)
        runner = web.AppRunner(world.application(), access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        try:
            site = web.TCPSite(runner, HOST, port)
            await site.start()
            handler = smtp.MailHandler(world.clock, world.ids, world.live, world.faults, world.mailbox)
            mail = await smtp.start(handler, settings)
        except BaseException:
            await runner.cleanup()
            raise
        world.smtp_port = mail[0].sockets[0].getsockname()[1]
        world.smtps_port = mail[1].sockets[0].getsockname()[1] if len(mail) > 1 else None
        return cls(world, runner, runner.addresses[0][1], mail)

    async def stop(self) -> None:
        for server in self._mail:
            server.close()
        await self._runner.cleanup()


class Simulator:
    """Daraja on a laptop, in a background thread: `with Simulator() as daraja: ... daraja.base_url`.

    Each one has its own ports, state and clock, so several may run at once.
    """

    def __init__(self, settings: SimulatorSettings | None = None, *, port: int = 0) -> None:
        self.settings = settings or SimulatorSettings()
        self._wanted_port = port
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running: Running | None = None
        self._failure: BaseException | None = None
        self._stop: asyncio.Event | None = None

    def start(self) -> Self:
        """Returns when it serves. Raises OSError where the port is taken."""
        if self._thread is not None:
            raise RuntimeError("this simulator was started before")
        ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(ready,), name="simulator", daemon=True)
        self._thread.start()
        ready.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure
        return self

    def stop(self) -> None:
        """Returns when everything is closed; harmless when nothing runs."""
        if self._thread is None or self._loop is None or self._stop is None:
            return
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    def advance(self, seconds: float) -> float | None:
        """As `client.advance`, without HTTP."""
        if self._loop is None:
            raise RuntimeError("start() comes first")
        return asyncio.run_coroutine_threadsafe(self._served.world.clock.advance(seconds), self._loop).result()

    @property
    def port(self) -> int:
        return self._served.port

    @property
    def smtp_port(self) -> int:
        return self._served.world.smtp_port

    @property
    def smtps_port(self) -> int | None:
        """TLS from the first byte; None: there is no certificate."""
        return self._served.world.smtps_port

    @property
    def base_url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def client(self) -> SimulatorClient:
        return SimulatorClient(self.base_url)

    def environment(self) -> dict[str, str]:
        """The settings of a shop that talks to this simulator; its callback address and its database are its own."""
        merchant = self.settings.merchants[0]
        return {
            "MPESA_ENV": "sandbox",
            "MPESA_CONSUMER_KEY": self.settings.consumer_key,
            "MPESA_CONSUMER_SECRET": self.settings.consumer_secret,
            "MPESA_SHORTCODE": merchant.shortcode,
            "MPESA_PASSKEY": merchant.passkey,
            "MPESA_BASE_URL": self.base_url,
            "SENDGRID_API_KEY": self.settings.sendgrid_api_key,
            "SENDGRID_BASE_URL": self.base_url,
        }

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def _served(self) -> Running:
        if self._running is None:
            raise RuntimeError("start() comes first")
        return self._running

    def _serve(self, ready: threading.Event) -> None:
        try:
            asyncio.run(self._run(ready))
        except BaseException as error:  # start() raises it
            self._failure = error
        finally:
            ready.set()

    async def _run(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._running = await Running.start(self.settings, self._wanted_port)
        ready.set()
        await self._stop.wait()
        await self._running.stop()
