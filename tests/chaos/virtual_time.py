"""Time of a shop, moved by hand: its database, its simulator and the sweep's patience go on together.

The database grows older instead of its clock going forward: everything that was ever written happened that much
earlier. All instants that decide anything are plain columns, so for the shop that is the same. What its clock has gone
on by itself meanwhile is taken off: on a slow machine too, the shop and its Safaricom agree what time it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from shared import deadline, sweeping
from shared.database import Busy, Database, connection_settings
from shared.database.connection import Connection
from simulator import Simulator

PATIENCE_MS = 3000
MOMENTS = """
    SELECT c.table_name, string_agg(format('%1$I = %1$I - age', c.column_name), ', ') AS older
    FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
    WHERE c.table_schema = 'public' AND c.data_type = 'timestamp with time zone' AND t.table_type = 'BASE TABLE'
    GROUP BY c.table_name ORDER BY c.table_name
"""
ONLY_FASTER = """
    SELECT c.relname AS index FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE NOT i.indisunique AND c.relnamespace = 'public'::regnamespace ORDER BY c.relname
"""
"""Indexes without which the same happens: while everything grows older they would take half of a day's time."""

A_WAIT_OF_NOBODY_S = 60
"""The sweep waits in pieces for its turn to ask; where nobody waits they need not be small."""


class VirtualTime:
    """Seconds since the beginning are in `now_s`. `simulator` None: there is none whose time would have to be moved."""

    def __init__(
        self,
        database_url: str,
        monkeypatch: pytest.MonkeyPatch,
        simulator: Simulator | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.now_s = 0.0
        self._clock = clock
        self._read_s = clock()
        self._ahead_s = 0.0
        self.database = Database(database_url, statement_timeout_s=60)
        self._clockwork = Connection(connection_settings(database_url), connect_timeout_s=10, read_timeout_s=60)
        self._clockwork.script(f"SET lock_timeout = {PATIENCE_MS}")
        self._simulator = simulator
        with self.database.transaction() as tx:
            tx.script("".join(f"DROP INDEX {row['index']};" for row in tx.rows(ONLY_FASTER)))
            older = "".join(f"UPDATE {row['table_name']} SET {row['older']};" for row in tx.rows(MOMENTS))
            tx.script(
                f"""
                CREATE OR REPLACE FUNCTION grow_older(age interval) RETURNS void LANGUAGE plpgsql
                SET session_replication_role = 'replica' AS $$ BEGIN LOCK TABLE installation; {older} END $$
                """
            )
        monkeypatch.setattr(sweeping, "A_WAIT_S", A_WAIT_OF_NOBODY_S)
        monkeypatch.setattr(sweeping, "time", SimpleNamespace(sleep=self.go_on))
        ticking = SimpleNamespace(monotonic=lambda: time.monotonic() + self.now_s, sleep=time.sleep)
        monkeypatch.setattr(deadline, "time", ticking)

    def go_on(self, seconds: float) -> None:
        """Let time pass, in steps from one thing that happens at Safaricom to the next."""
        self.go_on_until(self.now_s + seconds)

    def go_on_until(self, at_s: float) -> None:
        wakes_at_s = self.next_wake_s()
        while self.now_s < at_s:
            step_s = max(0.0, min(at_s, at_s if wakes_at_s is None else wakes_at_s) - self.now_s)
            self.now_s += step_s
            self._grow_older(self._less_what_has_passed_anyway(step_s))
            wakes_at_s = self._move_simulator(step_s)

    def next_wake_s(self) -> float | None:
        """When something happens next at Safaricom."""
        return self._move_simulator(0)

    def close(self) -> None:
        self.database.close()
        self._clockwork.close()

    def _less_what_has_passed_anyway(self, seconds: float) -> float:
        """Nothing ever grows younger: what is too much is taken off the next step."""
        read_s = self._clock()
        self._ahead_s += read_s - self._read_s
        self._read_s = read_s
        older_s = max(0.0, seconds - self._ahead_s)
        self._ahead_s -= seconds - older_s
        return older_s

    def _grow_older(self, seconds: float) -> None:
        """Once more where a statement is in the way that the shop, on a slow machine, no longer waits for."""
        if not seconds:
            return
        for last in (False, False, True):
            try:
                self._clockwork.script(f"SELECT grow_older(interval '{seconds:.6f} seconds')")
                return
            except Busy:
                if last:
                    raise

    def _move_simulator(self, seconds: float) -> float | None:
        wakes_in_s = self._simulator.advance(seconds) if self._simulator else None
        return None if wakes_in_s is None else self.now_s + wakes_in_s
