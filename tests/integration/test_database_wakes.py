"""A database that sleeps, and a server that is full: a callback is stored at any moment within the platform's limit."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from dev.postgres import EmbeddedPostgres
from shared.values import new_id
from tests.chaos.customers import decided
from tests.fixtures.database import FUNCTIONS, FUNCTIONS_PASSWORD, outside_of_transactions
from tests.fixtures.database_proxy import Proxy
from tests.fixtures.shop import Shop, forget_collaborators


class Sleeping(Proxy):
    """Before a server that sleeps: until it is awake, a connection is held, refused, or each is held for so long."""

    def __init__(self, port: int, how: str, wakes_after_s: float) -> None:
        self.how, self.wakes_after_s, self.wakes_at = how, wakes_after_s, 0.0
        super().__init__(port)

    def falls_asleep(self) -> None:
        self.forget_open_connections()
        self.wakes_at = time.monotonic() + self.wakes_after_s

    def _serve(self, client: socket.socket) -> None:
        wakes_at = time.monotonic() + self.wakes_after_s if self.how == "each is held" else self.wakes_at
        if self.how == "refused" and time.monotonic() < wakes_at:
            client.close()
            return
        time.sleep(max(0, wakes_at - time.monotonic()))
        super()._serve(client)


@pytest.mark.parametrize("how", ["held", "refused", "each is held"])
@pytest.mark.parametrize("wakes_after_s", [5, 10, 20])
def test_a_callback_is_stored_whenever_the_database_wakes_in_time(
    shop: Shop, postgres_server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch, how: str, wakes_after_s: int
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
        began = time.monotonic()
        reply = shop.call("callback", "POST", paid.path, raw=paid.success())
        took_s = time.monotonic() - began
        assert reply.status == 200
        assert wakes_after_s <= took_s < 28
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
        shop.request_lasts_s = 12
        began = time.monotonic()
        assert shop.call("callback", "POST", paid, {"Body": {}}).status == 503
        assert 6 < time.monotonic() - began < 12
        forget_collaborators()
        proxy.wakes_at = 0


def test_24_frozen_instances_at_a_limit_of_24_do_not_cost_a_callback(
    shop: Shop, postgres_server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has answered one status question, and stands still with its session."""
    shop.simulator.client.script(None, "pay", after_s=0, callback_count=0)
    paid = decided(shop, str(shop.pay().body["transaction_id"]))
    forget_collaborators()
    outside_of_transactions(postgres_server, f"ALTER ROLE {FUNCTIONS} CONNECTION LIMIT 24")
    try:
        with ThreadPoolExecutor(4) as pool:
            instances = shop.other_instances(24, warm=False)
            asked = list(pool.map(lambda instance: instance.status(new_id()), instances))
        assert {reply.status for reply in asked} <= {404, 503}  # the first may be over when the last has started
        sessions = shop.row(f"SELECT count(*) AS n FROM pg_stat_activity WHERE usename = '{FUNCTIONS}'")
        while int(sessions["n"]) < 24 and len(shop.rows("SELECT 1")):  # all at once, as under load
            list(ThreadPoolExecutor(24).map(lambda instance: instance.status(new_id()), instances))
            sessions = shop.row(f"SELECT count(*) AS n FROM pg_stat_activity WHERE usename = '{FUNCTIONS}'")
        began = time.monotonic()
        assert shop.call("callback", "POST", paid.path, raw=paid.success()).status == 200
        assert time.monotonic() - began > 3
        assert len(shop.outcomes(paid.transaction_id)) == 1
    finally:
        outside_of_transactions(postgres_server, f"ALTER ROLE {FUNCTIONS} CONNECTION LIMIT -1")
