"""All SQL about payments: one method a question, its statement beside it, each in an explicit transaction.

No transaction is ever open while Daraja or a mail server is called: write, call, write. The database's clock decides
everything that time decides, so that all instances agree.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from shared.gateway.trail import Anchors, Trail

if TYPE_CHECKING:
    from decimal import Decimal

    from shared.audit_chain import AuditKey
    from shared.database import Database, Row, Transaction
    from shared.gateway.admissions import Admissions
    from shared.gateway.cases import Cases
    from shared.gateway.daraja import Queries, Tokens
    from shared.gateway.inbox import Inbox
    from shared.gateway.invoices import Invoices
    from shared.gateway.outbox import Outbox
    from shared.gateway.statuses import Statuses
    from shared.gateway.upkeep import Upkeep
    from shared.gateway.watch import Watch


class Gateway:
    """The door to the database, by subject. Raises what `shared.database` raises, and `WrongEnvironment`.

    Each subject is imported when it is first asked for: a cold callback needs two of them.
    """

    def __init__(
        self,
        database: Database,
        environment: str,
        confirm_above_kes: Decimal,
        *,
        audit_key: AuditKey,
        consumer_key: str = "",
        references_are_reusable: bool = False,
    ) -> None:
        self.database = database
        self._store, self._trail = Store(database, environment), Trail(audit_key)
        self._audit_key = audit_key
        self._confirm_above_kes = confirm_above_kes
        self._reusable = references_are_reusable
        self._app = hashlib.sha256(consumer_key.encode()).hexdigest()[:16]

    @cached_property
    def admissions(self) -> Admissions:
        from shared.gateway.admissions import Admissions

        return Admissions(self._store, self._trail, references_are_reusable=self._reusable)

    @cached_property
    def anchors(self) -> Anchors:
        return Anchors(self._store)

    @cached_property
    def cases(self) -> Cases:
        from shared.gateway.cases import Cases

        return Cases(self._store, self._trail, self._confirm_above_kes, references_are_reusable=self._reusable)

    @cached_property
    def inbox(self) -> Inbox:
        from shared.gateway.inbox import Inbox

        return Inbox(self._store, self._audit_key)

    @cached_property
    def invoices(self) -> Invoices:
        from shared.gateway.invoices import Invoices

        return Invoices(self._store, self._trail)

    @cached_property
    def outbox(self) -> Outbox:
        from shared.gateway.outbox import Outbox

        return Outbox(self._store)

    @cached_property
    def queries(self) -> Queries:
        from shared.gateway.daraja import Queries

        return Queries(self._store, self._app)

    @cached_property
    def statuses(self) -> Statuses:
        from shared.gateway.statuses import Statuses

        return Statuses(self._store, self._app)

    @cached_property
    def tokens(self) -> Tokens:
        from shared.gateway.daraja import Tokens

        return Tokens(self._store, self._app)

    @cached_property
    def upkeep(self) -> Upkeep:
        from shared.gateway.upkeep import Upkeep

        return Upkeep(self._store)

    @cached_property
    def watch(self) -> Watch:
        from shared.gateway.watch import Watch

        return Watch(self._store)


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

    def change(self, sql: str, /, **params: object) -> list[Row]:
        """A transaction of one statement, in one round trip: the rows it returns. Never repeated."""
        if self._checked:
            return self.database.change(sql, **params)
        with self.transaction() as tx:
            return tx.rows(sql, **params)

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
