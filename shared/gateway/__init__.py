"""All SQL about payments: one method a question, its statement beside it, each in an explicit transaction.

No transaction is ever open while Daraja or a mail server is called: write, call, write. The database's clock decides
everything that time decides, so that all instances agree.
"""

from __future__ import annotations

import hashlib
from functools import cached_property, partial
from typing import TYPE_CHECKING

from shared.gateway.trail import Anchors, Trail

if TYPE_CHECKING:
    from decimal import Decimal

    from shared.audit_chain import AuditKey
    from shared.database import Database, Transaction
    from shared.gateway.admissions import Admissions
    from shared.gateway.bookings import Bookings
    from shared.gateway.cases import Cases
    from shared.gateway.daraja import Queries, Tokens
    from shared.gateway.inbox import Inbox
    from shared.gateway.invoices import Invoices
    from shared.gateway.outbox import Outbox
    from shared.gateway.sales import Sales
    from shared.gateway.statuses import Statuses
    from shared.gateway.watch import Watch


class Gateway:
    """The door to the database, by subject. Raises what `shared.database` raises, and `WrongEnvironment`: the first
    transaction of each process checks the database's stamp, or sets it.

    Each subject is imported when it is first asked for: a cold callback needs two of them. `webhooks`: whether changes
    of payments are queued for the shop's webhook. Who does not know says True: where there is none, they are dropped.
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
        webhooks: bool = True,
    ) -> None:
        self.database = database
        self._trail = Trail(audit_key)
        database.check_once(partial(check_environment, environment=environment))
        self._audit_key = audit_key
        self._confirm_above_kes = confirm_above_kes
        self._reusable = references_are_reusable
        self._webhooks = webhooks
        self._app = app_of(consumer_key)

    @cached_property
    def admissions(self) -> Admissions:
        from shared.gateway.admissions import Admissions

        return Admissions(self.database, self._trail, references_are_reusable=self._reusable)

    @cached_property
    def anchors(self) -> Anchors:
        return Anchors(self.database)

    @cached_property
    def bookings(self) -> Bookings:
        from shared.gateway.bookings import Bookings

        return Bookings(self.database, self._trail, self.cases)

    @cached_property
    def cases(self) -> Cases:
        from shared.gateway.cases import Cases

        return Cases(
            self.database,
            self._trail,
            self._confirm_above_kes,
            references_are_reusable=self._reusable,
            webhooks=self._webhooks,
        )

    @cached_property
    def inbox(self) -> Inbox:
        from shared.gateway.inbox import Inbox

        return Inbox(self.database, self._audit_key)

    @cached_property
    def invoices(self) -> Invoices:
        from shared.gateway.invoices import Invoices

        return Invoices(self.database, self._trail)

    @cached_property
    def outbox(self) -> Outbox:
        from shared.gateway.outbox import Outbox

        return Outbox(self.database)

    @cached_property
    def queries(self) -> Queries:
        from shared.gateway.daraja import Queries

        return Queries(self.database, self._app)

    @cached_property
    def sales(self) -> Sales:
        from shared.gateway.sales import Sales

        return Sales(self.database, self._trail)

    @cached_property
    def statuses(self) -> Statuses:
        from shared.gateway.statuses import Statuses

        return Statuses(self.database, self._app)

    @cached_property
    def tokens(self) -> Tokens:
        from shared.gateway.daraja import Tokens

        return Tokens(self.database, self._app)

    @cached_property
    def watch(self) -> Watch:
        from shared.gateway.watch import Watch

        return Watch(self.database)


def app_of(consumer_key: str) -> str:
    """Under which name the database keeps what all instances share of one Daraja app."""
    return hashlib.sha256(consumer_key.encode()).hexdigest()[:16]


class WrongEnvironment(Exception):
    """MPESA_ENV and the database belong to different environments: correct MPESA_ENV or DATABASE_URL."""

    def __init__(self, stamped: str, configured: str) -> None:
        self.stamped = stamped
        super().__init__(f"the database belongs to {stamped}, MPESA_ENV says {configured}")


def check_environment(tx: Transaction, environment: str) -> None:
    """The stamp of the database is this environment; where it has none, it gets it. Raises `WrongEnvironment`."""
    stamp = tx.row("SELECT environment FROM installation")
    if stamp is None:
        tx.run(
            "INSERT INTO installation (environment) VALUES (:environment) ON CONFLICT DO NOTHING",
            environment=environment,
        )
        stamp = tx.row("SELECT environment FROM installation")
    if stamp is None or stamp["environment"] != environment:
        raise WrongEnvironment(str(stamp and stamp["environment"]), environment)
