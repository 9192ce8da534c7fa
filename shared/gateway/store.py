"""Transactions on a database that belongs to one M-Pesa environment and to no other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.database import Database, Row, Transaction


class WrongEnvironment(Exception):
    """MPESA_ENV and the database belong to different environments: correct MPESA_ENV or DATABASE_URL."""

    def __init__(self, stamped: str, configured: str) -> None:
        self.stamped = stamped
        super().__init__(f"the database belongs to {stamped}, MPESA_ENV says {configured}")


class Store:
    """The database, whose environment stamp is checked (or set) in the first transaction of each process."""

    def __init__(self, database: Database, environment: str) -> None:
        self.database = database
        self._environment = environment
        self._checked = False

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """COMMIT at the end, ROLLBACK on any exception."""
        with self.database.transaction() as tx:
            if not self._checked:
                self._check(tx)
            yield tx
        self._checked = True

    def rows(self, sql: str, /, **params: object) -> list[Row]:
        """A transaction of one statement that is harmless to repeat, in one round trip."""
        if self._checked:
            return self.database.rows(sql, **params)
        with self.transaction() as tx:
            return tx.rows(sql, **params)

    def row(self, sql: str, /, **params: object) -> Row | None:
        """The first of `rows`, or None."""
        found = self.rows(sql, **params)
        return found[0] if found else None

    def run(self, sql: str, /, **params: object) -> int:
        """A transaction of one statement, in one round trip: how many rows it changed or returned. Never repeated."""
        if self._checked:
            return self.database.run(sql, **params)
        with self.transaction() as tx:
            return tx.run(sql, **params)

    def _check(self, tx: Transaction) -> None:
        stamp = tx.row("SELECT environment FROM installation")
        if stamp is None:
            tx.run(
                "INSERT INTO installation (environment) VALUES (:environment) ON CONFLICT DO NOTHING",
                environment=self._environment,
            )
            stamp = tx.row("SELECT environment FROM installation")
        if stamp is None or stamp["environment"] != self._environment:
            raise WrongEnvironment(str(stamp and stamp["environment"]), self._environment)
