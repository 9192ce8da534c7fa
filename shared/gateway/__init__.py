"""All SQL about payments: one method a question, its statement beside it, each in an explicit transaction.

No transaction is ever open while Daraja or a mail server is called: write, call, write. The database's clock decides
everything that time decides, so that all instances agree.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import TYPE_CHECKING

from shared.gateway.store import Store
from shared.gateway.trail import Trail

if TYPE_CHECKING:
    from decimal import Decimal

    from shared.audit_chain import AuditKey
    from shared.database import Database
    from shared.gateway.admissions import Admissions
    from shared.gateway.anchors import Anchors
    from shared.gateway.cases import Cases
    from shared.gateway.inbox import Inbox
    from shared.gateway.invoices import Invoices
    from shared.gateway.outbox import Outbox
    from shared.gateway.queries import Queries
    from shared.gateway.statuses import Statuses
    from shared.gateway.tokens import Tokens
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
    ) -> None:
        self.database = database
        self._store, self._trail = Store(database, environment), Trail(audit_key)
        self._confirm_above_kes = confirm_above_kes
        self._app = hashlib.sha256(consumer_key.encode()).hexdigest()[:16]

    @cached_property
    def admissions(self) -> Admissions:
        from shared.gateway.admissions import Admissions

        return Admissions(self._store, self._trail)

    @cached_property
    def anchors(self) -> Anchors:
        from shared.gateway.anchors import Anchors

        return Anchors(self._store)

    @cached_property
    def cases(self) -> Cases:
        from shared.gateway.cases import Cases

        return Cases(self._store, self._trail, self._confirm_above_kes)

    @cached_property
    def inbox(self) -> Inbox:
        from shared.gateway.inbox import Inbox

        return Inbox(self._store)

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
        from shared.gateway.queries import Queries

        return Queries(self._store, self._app)

    @cached_property
    def statuses(self) -> Statuses:
        from shared.gateway.statuses import Statuses

        return Statuses(self._store)

    @cached_property
    def tokens(self) -> Tokens:
        from shared.gateway.tokens import Tokens

        return Tokens(self._store, self._app)

    @cached_property
    def watch(self) -> Watch:
        from shared.gateway.watch import Watch

        return Watch(self._store)
