"""The shop takes payments while a migration waits for its turn behind backups and `make verify`."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from db.migrate import LOCK_TIMEOUT_S, Migration, migrate, read_migrations
from dev.bench.shop import FILLING
from dev.postgres import EmbeddedPostgres
from shared.database import Database
from tests.chaos.customers import nth_order, push
from tests.fixtures.database import TEMPLATE, fresh_database
from tests.fixtures.shop import Shop, forget_collaborators
from tests.fixtures.soak import Figure, Rounds

ROOT = Path(__file__).parents[2]
PAYMENTS = 12
RUNS = 5
"""Of each reader. A reader without any pause could keep a migration out for as long as it likes."""
ADDS_COLUMNS = """
    SET LOCAL lock_timeout = '2s';
    ALTER TABLE transactions ADD COLUMN something integer NOT NULL DEFAULT 0;
    ALTER TABLE callback_inbox ADD COLUMN something integer NOT NULL DEFAULT 0;
"""


def test_every_callback_is_stored_and_answered_while_a_migration_waits_for_readers(
    shop: Shop, postgres_server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch, rounds: Rounds, figure: Figure
) -> None:
    with fresh_database(postgres_server, TEMPLATE) as name:
        url = postgres_server.url(name)
        owner = Database(url, statement_timeout_s=0, idle_timeout_s=0, lock_timeout_s=LOCK_TIMEOUT_S)
        with owner.transaction() as tx:
            tx.script("SET LOCAL session_replication_role = 'replica'")
            tx.script(FILLING.replace(":payments", str(filled := rounds(5_000, 1_000_000))))
            tx.script("ANALYZE")  # as autovacuum does in a real shop: without statistics an invariant takes hours
        monkeypatch.setenv("DATABASE_URL", url)
        forget_collaborators()
        busy = Shop(url, shop.simulator)
        paid = [push(busy, nth_order(number)) for number in range(PAYMENTS)]

        stop = threading.Event()
        read = {"pg_dump": 0, "verify": 0}

        def dump() -> None:
            while not stop.is_set() and read["pg_dump"] < RUNS:
                postgres_server.run("pg_dump", "--format=custom", "--compress=0", "--no-sync", "--file=/dev/null", name)
                read["pg_dump"] += 1

        def verify() -> None:
            environ = {"PATH": os.environ["PATH"], "DATABASE_URL": url}
            while not stop.is_set() and read["verify"] < RUNS:
                command = [sys.executable, "-m", "ops", "verify"]
                done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
                assert "invariants, " in done.stdout, done.stderr
                read["verify"] += 1

        def apply() -> float:
            began = time.monotonic()
            assert migrate(owner, [*read_migrations(), Migration("9999_more", ADDS_COLUMNS)], None, said.append) == [
                "9999_more"
            ]
            return time.monotonic() - began

        said: list[str] = []
        answers: list[tuple[int, float]] = []
        with ThreadPoolExecutor() as pool:
            readers = [pool.submit(work) for work in (dump, verify)]
            time.sleep(1)
            migrating = pool.submit(apply)
            try:
                while not migrating.done() or len(answers) < 5 * PAYMENTS:
                    payment = paid[len(answers) % PAYMENTS]
                    began = time.monotonic()
                    reply = busy.call("callback", "POST", payment.path, raw=payment.success())
                    answers.append((reply.status, time.monotonic() - began))
                    time.sleep(0.05)
            finally:
                stop.set()
            waited_s = migrating.result(timeout=1)
            for reader in readers:
                reader.result(timeout=600)
        longest_s = max(took_s for _, took_s in answers)
        figure(
            f"{filled:,} payments, {read['pg_dump']} pg_dump and {read['verify']} verify: the migration was through "
            f"after {waited_s:.1f} s, {len(answers)} callbacks, the slowest {longest_s:.1f} s"
        )
        assert {status for status, _ in answers} == {200}
        assert longest_s < 5
        assert {busy.payment(each.transaction_id)["status"] for each in paid} == {"PAID"}
        forget_collaborators()
        busy.close()
        owner.close()
