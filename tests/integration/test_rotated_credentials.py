"""Netlify changes the password of its database when it likes, and hands the new address over with the next request."""

from __future__ import annotations

import contextlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from dev.build import copy_site
from dev.deployed_function import DeployedFunction, http_event, unpack
from dev.postgres import EmbeddedPostgres
from shared.daraja.callback_address import callback_url
from shared.database import Database
from shared.settings import Settings
from shared.values import new_id
from tests.fixtures.database import FUNCTIONS, outside_of_transactions
from tests.fixtures.python_functions import running
from tests.fixtures.shop import NOBODY
from tests.unit.test_settings import GUIDE

ROTATIONS, SENDERS = 20, 3
SETTINGS = {name: value for name, value in GUIDE.items() if name != "DATABASE_URL"}


@dataclass
class Credential:
    """A login of the functions. `rotate` changes its password, and ends the sessions that logged in with another."""

    server: EmbeddedPostgres
    database: str
    login: str = field(default_factory=lambda: f"netlify_{secrets.token_hex(6)}")
    password: str = ""

    @property
    def url(self) -> str:
        return f"postgresql://{self.login}:{self.password}@127.0.0.1:{self.server.port}{urlsplit(self.database).path}"

    def create(self) -> None:
        outside_of_transactions(self.server, f"CREATE ROLE {self.login} LOGIN IN ROLE {FUNCTIONS}")
        self.rotate()

    def rotate(self) -> None:
        self.password = secrets.token_hex(12)
        outside_of_transactions(self.server, f"ALTER ROLE {self.login} PASSWORD '{self.password}'")
        ends = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{self.login}'"
        outside_of_transactions(self.server, ends)


@pytest.fixture
def credential(postgres_server: EmbeddedPostgres, database_url: str) -> Iterator[Credential]:
    made = Credential(postgres_server, database_url)
    made.create()
    yield made
    made.rotate()
    outside_of_transactions(postgres_server, f"DROP ROLE {made.login}")


def handed_over(credential: Credential, method: str, path: str, body: str | None = None) -> dict[str, Any]:
    """An event as the platform hands it over: Netlify's own entry makes NETLIFY_DB_URL of `netlifyDBURL`."""
    return {**http_event(method, path, body), "netlifyDBURL": credential.url}


def test_a_deployed_function_follows_a_rotated_password(
    built_zips: Path, unpacking_folder: Path, credential: Credential
) -> None:
    with DeployedFunction(built_zips / "status.zip", unpacking_folder / "status", SETTINGS) as function:
        pids = set()
        for _ in range(3):
            answer = function.invoke(handed_over(credential, "GET", f"/api/pay/status/{NOBODY}"))
            assert answer["statusCode"] == 404, answer["body"] + function.log()
            pids |= {process.pid for process in function.python_processes()}
            credential.rotate()
        assert len(pids) == 1, "the process that was there"


def test_no_callback_is_lost_in_twenty_rotations_under_load(
    built_zips: Path, unpacking_folder: Path, credential: Credential
) -> None:
    settings = Settings.from_environment({**SETTINGS, "NETLIFY_DB_URL": credential.url}).callback
    body = json.dumps({"Body": {"stkCallback": {"ResultCode": 1032}}})
    under_way, over = [threading.Lock() for _ in range(SENDERS)], threading.Event()
    answered: list[int] = []

    def send(number: int) -> None:
        """Callbacks until all rotations are over."""
        with DeployedFunction(built_zips / "callback.zip", unpacking_folder / "callback", SETTINGS) as function:
            while not over.is_set():
                path = urlsplit(callback_url(settings, new_id())).path
                with under_way[number]:
                    answer = function.invoke(handed_over(credential, "POST", path, body))
                answered.append(answer["statusCode"])

    if not (unpacking_folder / "callback").exists():
        unpack(built_zips / "callback.zip", unpacking_folder / "callback")
    with ThreadPoolExecutor(SENDERS) as threads, over_at_the_end(over):
        senders = [threads.submit(send, number) for number in range(SENDERS)]
        for _ in range(ROTATIONS):
            enough = len(answered) + SENDERS
            while len(answered) < enough and not any(sender.done() for sender in senders):
                over.wait(0.02)
            with contextlib.ExitStack() as all_answered:  # who was handed the old address is through
                for sender in under_way:
                    all_answered.enter_context(sender)
                credential.rotate()
    for sent in senders:
        sent.result()
    database = Database(credential.database)
    try:
        assert database.rows("SELECT count(*) AS n FROM callback_inbox") == [{"n": len(answered)}]
    finally:
        database.close()
    assert set(answered) == {200}


@contextlib.contextmanager
def over_at_the_end(over: threading.Event) -> Iterator[None]:
    try:
        yield
    finally:
        over.set()


ROTATING = """
const fs = require('node:fs')
const read = () => { process.env.NETLIFY_DB_URL = fs.readFileSync(FILE, 'utf8') }
read()
setInterval(read, 5).unref()
"""
"""Loaded into the CLI: what the platform does there, changing the variable while it runs."""


def test_netlify_dev_follows_a_rotated_password(tmp_path: Path, credential: Credential) -> None:
    site, address, rotating = tmp_path / "site", tmp_path / "address", tmp_path / "rotating.cjs"
    copy_site(site)
    address.write_text(credential.url)
    rotating.write_text(ROTATING.replace("FILE", json.dumps(str(address))))
    with running(site, {**SETTINGS, "DATABASE_URL": "", "NETLIFY_DB_URL": credential.url}, preloaded=rotating) as dev:
        pids = set()
        for _ in range(3):
            reply = dev.get(f"/api/pay/status/{NOBODY}")
            assert reply.status == 404, reply.text + dev.log()
            pids |= {process.pid for process in dev.python_processes()}
            credential.rotate()
            address.write_text(credential.url)
            time.sleep(0.5)
        assert len(pids) == 1, "the process that was there"
