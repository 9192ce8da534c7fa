"""What a month costs, by days of a shop on a virtual clock: `python -m dev.costs`. `--write`: into docs/costs.md.

The five functions run for real, each as one warm instance, on a real PostgreSQL, with the simulator as Daraja and as
mail server. Between two events the database grows older and the clocks of this process go on. A database that sleeps
is taken to do so 5 minutes after its last transaction, and its server to end every connection that is idle for 15 s.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from db.migrate import migrate, read_migrations
from dev.bench.shop import JSON, environment_of, order, paid, quiet
from dev.costs_page import DAYS, page
from dev.deployed_function import http_event
from dev.postgres import EmbeddedPostgres
from ops.checks.bill import SLEEPS_AFTER_MINUTES
from shared import settings
from shared.collaborators import Collaborators, receiver
from shared.daraja.callback_address import callback_url
from shared.database import Database
from shared.gateway import watch
from simulator import Behaviour, Simulator, SimulatorSettings, bodies

PAGE = Path(__file__).resolve().parent.parent / "docs" / "costs.md"
MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
OPENS, CLOSES = 8 * HOUR, 22 * HOUR
SLEEPS_AFTER_S = SLEEPS_AFTER_MINUTES * MINUTE
SERVER_HANGS_UP_AFTER_S = 15.0
CUSTOMER_NEEDS_S = 12.5
PAGE_ASKS_EVERY_S = 3.0
ONE_ROW_EACH = ("installation", "sweeps", "mail_pause", "incidents", "query_budget", "access_tokens", "audit_anchors")
"""Always aged. Of the others only what was due within 70 minutes: what is older decides nothing any more."""


@dataclass
class Day:
    """What one day came to."""

    payments: int
    connections: int = 0
    """Counted by the server."""
    awake_minutes: float = 0
    requests: int = 0
    taken_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def as_json(self) -> dict[str, Any]:
        return {
            "payments": self.payments,
            "connections": self.connections,
            "awake_minutes": round(self.awake_minutes),
            "requests": self.requests,
            "ms": {name: round(statistics.median(taken), 1) for name, taken in sorted(self.taken_ms.items())},
            "busy_s": round(sum(map(sum, self.taken_ms.values())) / 1000, 1),
        }


def agenda_at(hour: int, minute: int = 0) -> str:
    """What a sweep has to do, where it is always that time. The database ages, but its clock stays: shortly before
    midnight every hour of a virtual day would wake for the anchor of the log."""
    now = datetime.now(UTC)
    from_utc = hour * 60 + minute - now.hour * 60 - now.minute
    return watch.AGENDA_IN_S.replace("'Africa/Nairobi'", f"interval '{from_utc} minutes'")


class VirtualTime:
    """Clocks of this process, of the database and of the simulator, which all go on together."""

    def __init__(self, database: Database, simulator: Simulator) -> None:
        self._database, self._simulator = database, simulator
        watch.AGENDA_IN_S = agenda_at(6)
        self._real = time.monotonic
        self._began, self._ahead_s, self._owed_s = self._real(), 0.0, 0.0
        monotonic, wall = time.monotonic, time.time
        time.monotonic = lambda: monotonic() + self._ahead_s
        time.time = lambda: wall() + self._ahead_s
        with database.transaction() as tx:
            columns = tx.rows(
                """
                SELECT c.table_name AS name, array_agg(c.column_name::text) AS columns
                FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
                WHERE c.table_schema = 'public' AND c.data_type = 'timestamp with time zone'
                  AND t.table_type = 'BASE TABLE'
                GROUP BY 1
                """
            )
            older = "".join(_older(row["name"], row["columns"]) for row in columns)
            tx.script(
                f"""
                CREATE FUNCTION grow_older(age interval) RETURNS void LANGUAGE plpgsql
                SET session_replication_role = 'replica' AS $$ BEGIN {older} END $$
                """
            )

    @property
    def now_s(self) -> float:
        return self._real() - self._began + self._ahead_s

    def go_on_until(self, at_s: float) -> None:
        """The database follows when it is asked next: `settle_up`."""
        step_s = max(0.0, at_s - self.now_s)
        self._ahead_s += step_s
        self._owed_s += step_s

    def settle_up(self) -> None:
        if self._owed_s >= SERVER_HANGS_UP_AFTER_S:
            self._database.rows(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'lipa'"
            )
        if self._owed_s:
            self._database.rows("SELECT grow_older(interval '1 second' * CAST(:s AS float8))", s=self._owed_s)
            self._simulator.advance(self._owed_s)
        self._owed_s = 0.0


def _older(table: str, columns: list[str]) -> str:
    settings = ", ".join(f"{column} = {column} - age" for column in columns)
    lately = f"greatest({', '.join(columns)}) > now() - interval '70 minutes'"
    return f"UPDATE {table} SET {settings} WHERE {'true' if table in ONE_ROW_EACH else lately};"  # noqa: S608


class Town:
    """One shop, its customers, and the platform that calls its functions."""

    def __init__(self, postgres: EmbeddedPostgres, simulator: Simulator) -> None:
        self._log = postgres.log
        self._simulator = simulator
        self._clockwork = Database(postgres.url() + "&application_name=clockwork", statement_timeout_s=300)
        os.environ.update(environment_of(postgres.url(tcp=True), simulator), SWEEP_IDLE_MINUTES="60")
        self.time = VirtualTime(self._clockwork, simulator)
        self._functions: dict[str, tuple[Any, Any]] = {
            name: _an_instance_of(name) for name in ("stkpush", "status", "sweep")
        }
        self._functions["callback"] = importlib.import_module("netlify.functions.callback"), receiver()
        self._number = 0
        self._day = Day(0)
        self._touched_s: list[float] = []

    def day(self, payments: list[float]) -> Day:
        """1,440 sweeps, and payments that begin at these seconds of the day."""
        began_s = self.time.now_s
        self._day, self._touched_s = Day(len(payments)), []
        before = self._connections()
        events: list[tuple[float, int, Callable[[], None]]] = [
            (minute * MINUTE, minute, self._sweep) for minute in range(1440)
        ]
        events += [(at_s, -1 - n, partial(self._customer, n)) for n, at_s in enumerate(payments)]
        for at_s, _, happens in sorted(events, key=lambda event: event[:2]):
            self.time.go_on_until(began_s + at_s)
            happens()
        self._day.connections = self._connections() - before
        self._day.awake_minutes = self._awake_s() / MINUTE
        return self._day

    def _customer(self, number: int) -> None:
        """Eight of ten pay, one cancels, one lets the prompt pass; the page is open until it says how it ended."""
        self._number += 1
        phone = f"2547{self._number:08}"
        outcome = {8: "cancel", 9: "ignore"}.get(number % 10, "pay")
        self._simulator.client.script(phone, outcome, after_s=CUSTOMER_NEEDS_S, callback_count=0)
        pushed = self._call("stkpush", http_event("POST", "/api/pay/stkpush", order(phone, f"C{self._number}"), JSON))
        began_s = self.time.now_s
        for polls in range(1, 5):
            self.time.go_on_until(began_s + polls * PAGE_ASKS_EVERY_S)
            self._status(pushed["transaction_id"])
        self.time.go_on_until(began_s + CUSTOMER_NEEDS_S)
        self._call("callback", self._told(pushed["transaction_id"], outcome))
        self.time.go_on_until(began_s + 5 * PAGE_ASKS_EVERY_S)
        self._status(pushed["transaction_id"])

    def _told(self, transaction_id: str, outcome: str) -> dict[str, Any]:
        (payment,) = self._clockwork.rows("SELECT * FROM transactions WHERE id = CAST(:id AS uuid)", id=transaction_id)
        path = "/" + callback_url(settings.receiving().callback, transaction_id).split("/", 3)[3]
        if outcome == "pay":
            return paid(path, payment, f"UKC{self._number:07}")
        code, said = {"cancel": (1032, "Request cancelled by user"), "ignore": (1037, "No response from user.")}[
            outcome
        ]
        ids = payment["merchant_request_id"], payment["checkout_request_id"]
        return http_event("POST", path, bodies.callback(*ids, code, said, None).decode(), JSON)

    def _status(self, transaction_id: str) -> None:
        self._call("status", http_event("GET", f"/api/pay/status/{transaction_id}"))

    def _sweep(self) -> None:
        asleep = self._functions["sweep"][1].sweeps.asleep_s() > 0
        self._call("sweep", http_event("POST", "/", "{}"), named="sweep, asleep" if asleep else "sweep, looks")

    def _call(self, function: str, event: dict[str, Any], named: str | None = None) -> Any:
        module, mine = self._functions[function]
        if named != "sweep, asleep":
            self.time.settle_up()
        trips, began = mine.gateway.database.round_trips, time.perf_counter()
        with quiet():
            answer = module.handler(event, None)
        self._day.taken_ms[named or function].append((time.perf_counter() - began) * 1000)
        self._day.requests += 1
        if mine.gateway.database.round_trips != trips:
            self._touched_s.append(self.time.now_s)
        if answer["statusCode"] not in (200, 202):
            raise RuntimeError(f"{function} did not answer as it should: {answer}")
        return json.loads(answer["body"])

    def _connections(self) -> int:
        return self._log.read_text(encoding="utf-8").count("application_name=lipa")

    def _awake_s(self) -> float:
        awake_s, until_s = 0.0, 0.0
        for at_s in self._touched_s:
            awake_s += at_s + SLEEPS_AFTER_S - max(at_s, until_s)
            until_s = at_s + SLEEPS_AFTER_S
        return awake_s


def _an_instance_of(name: str) -> tuple[Any, Collaborators]:
    """The function with a connection of its own, as a process of its own has."""
    module, mine = importlib.import_module(f"netlify.functions.{name}"), Collaborators(settings.settings())
    module.__dict__["collaborators"] = lambda: mine
    return module, mine


@contextmanager
def town() -> Iterator[Town]:
    with tempfile.TemporaryDirectory(prefix="lipa-costs-") as folder:
        os.chmod(folder, 0o755)  # noqa: S103  the server may run as another user
        standing_still = SimulatorSettings(time_stands_still=True, behaviour=Behaviour(push_latency_s=0))
        postgres = EmbeddedPostgres(
            Path(folder) / "postgres", tcp=True, durable=False, settings={"log_connections": "on"}
        )
        with postgres, Simulator(standing_still) as simulator:
            database = Database(postgres.url())
            migrate(database, read_migrations(), "sandbox")
            database.close()
            yield Town(postgres, simulator)


def seconds_of(payments: int, *, within: tuple[float, float]) -> list[float]:
    """So many, one in each equal part of the time, at a moment of chance."""
    chance = random.Random(payments)
    opens, closes = within
    part_s = (closes - opens) / max(payments, 1)
    return [opens + (n + chance.random()) * part_s for n in range(payments)]


def simulate(name: str) -> dict[str, Any]:
    """A day of a shop that had one payment the day before: its history is anchored every night."""
    payments, evening = DAYS[name]
    with town() as here:
        here.day([OPENS])
        within = (19 * HOUR, 20 * HOUR) if evening else (OPENS, CLOSES)
        return here.day(seconds_of(payments, within=within)).as_json()


def in_a_process_of_its_own(name: str) -> dict[str, Any]:
    """Clocks that were moved stay moved."""
    command = [sys.executable, "-m", "dev.costs", "--only", name]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    print(f"{name}: {done.stdout}", end="", file=sys.stderr, flush=True)
    day: dict[str, Any] = json.loads(done.stdout)
    return day


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m dev.costs", description="What a month costs, from simulated days.")
    parser.add_argument("--write", action="store_true", help="put the page into docs/costs.md")
    parser.add_argument("--only", choices=DAYS, help="one of the days, as JSON, and no page")
    options = parser.parse_args(arguments)
    if options.only:
        print(json.dumps(simulate(options.only)))
        return 0
    text = page({name: in_a_process_of_its_own(name) for name in DAYS})
    if options.write:
        PAGE.write_text(text, encoding="utf-8")
        print(f"written to docs/{PAGE.name}")
    else:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
