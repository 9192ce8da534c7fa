"""A database that sleeps, and a server that is full: a callback is stored at any moment within the platform's limit.

The platform gives a request 28 s, of which 23 s are for storing. One case is of that length; the others get less time.
"""

from __future__ import annotations

import socket
import threading
import time
from typing import Any
from urllib.parse import urlsplit

import pytest

from dev.postgres import EmbeddedPostgres
from shared import settings
from shared.collaborators import Collaborators
from shared.values import new_id
from tests.chaos.customers import decided
from tests.fixtures.database import FUNCTIONS, FUNCTIONS_PASSWORD, outside_of_transactions
from tests.fixtures.database_proxy import Proxy
from tests.fixtures.shop import Shop, forget_collaborators


class Sleeping(Proxy):
    """Before a server that sleeps: until it is awake, a connection is held, refused, or each is held for so long."""

    def __init__(self, port: int, how: str, wakes_after_s: float) -> None:
        self.how, self.wakes_after_s, self.wakes_at = how, wakes_after_s, 0.0
        self._over = threading.Event()
        super().__init__(port)

    def __exit__(self, *failure: Any) -> None:
        self._over.set()
        super().__exit__(*failure)

    def falls_asleep(self) -> None:
        self.forget_open_connections()
        self.wakes_at = time.monotonic() + self.wakes_after_s

    def _serve(self, client: socket.socket) -> None:
        wakes_at = time.monotonic() + self.wakes_after_s if self.how == "each is held" else self.wakes_at
        if self.how == "refused" and time.monotonic() < wakes_at:
            client.close()
            return
        self._over.wait(max(0, wakes_at - time.monotonic()))
        super()._serve(client)


@pytest.mark.parametrize(
    ("how", "wakes_after_s", "request_lasts_s"),
    [("each is held", 20, None), ("each is held", 3, 9), ("held", 3, 9), ("refused", 3, 9), ("refused", 1, 28)],
)
def test_a_callback_is_stored_whenever_the_database_wakes_in_time(
    shop: Shop,
    postgres_server: EmbeddedPostgres,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
    wakes_after_s: int,
    request_lasts_s: float | None,
) -> None:
    shop.simulator.client.script(None, "pay", after_s=0, callback_count=0)
    paid = decided(shop, str(shop.pay().body["transaction_id"]))
    proxy = Sleeping(postgres_server.port, how, wakes_after_s)
    with proxy:
        user = f"{FUNCTIONS}:{FUNCTIONS_PASSWORD}"
        monkeypatch.setenv(
            "DATABASE_URL", f"postgresql://{user}@127.0.0.1:{proxy.port}{urlsplit(shop.database_url).path}"
        )
        forget_collaborators()
        proxy.falls_asleep()
        shop.request_lasts_s = request_lasts_s
        began = time.monotonic()
        reply = shop.call("callback", "POST", paid.path, raw=paid.success())
        took_s = time.monotonic() - began
        assert reply.status == 200
        assert wakes_after_s <= took_s < (request_lasts_s or 28)
        assert shop.outcomes(paid.transaction_id) in (["paid"], [None])  # what came late is judged by the sweep
        forget_collaborators()


def test_a_database_that_does_not_wake_is_answered_503_within_the_limit(
    shop: Shop, postgres_server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    paid = shop.callback_path(new_id())
    proxy = Sleeping(postgres_server.port, "held", 60)
    with proxy:
        monkeypatch.setenv("DATABASE_URL", f"postgresql://x:x@127.0.0.1:{proxy.port}/x")
        forget_collaborators()
        proxy.falls_asleep()
        shop.request_lasts_s = 8
        began = time.monotonic()
        assert shop.call("callback", "POST", paid, {"Body": {}}).status == 503
        assert 2 < time.monotonic() - began < 8
        forget_collaborators()


def test_24_frozen_instances_at_a_limit_of_24_do_not_cost_a_callback(
    shop: Shop, postgres_server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has answered one status question, and stands still with its session."""
    shop.simulator.client.script(None, "pay", after_s=0, callback_count=0)
    paid = decided(shop, str(shop.pay().body["transaction_id"]))
    forget_collaborators()
    outside_of_transactions(postgres_server, f"ALTER ROLE {FUNCTIONS} CONNECTION LIMIT 24")
    instances = [Collaborators(settings.settings()) for _ in range(24)]
    try:
        for instance in instances:
            assert instance.gateway.statuses.watch(new_id()) is None
        began = time.monotonic()
        assert shop.call("callback", "POST", paid.path, raw=paid.success()).status == 200
        assert time.monotonic() - began > 3
        assert len(shop.outcomes(paid.transaction_id)) == 1
    finally:
        for instance in instances:
            instance.gateway.database.close()
        outside_of_transactions(postgres_server, f"ALTER ROLE {FUNCTIONS} CONNECTION LIMIT -1")
