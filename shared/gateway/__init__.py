"""All SQL about payments: one method a question, its statement beside it, each in an explicit transaction.

No transaction is ever open while Daraja or a mail server is called: write, call, write. The database's clock decides
everything that time decides, so that all instances agree.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from shared.gateway.admissions import Admissions
from shared.gateway.anchors import Anchors
from shared.gateway.cases import Cases
from shared.gateway.inbox import Inbox
from shared.gateway.invoices import Invoices
from shared.gateway.outbox import Outbox
from shared.gateway.queries import Queries
from shared.gateway.statuses import Statuses
from shared.gateway.store import Store
from shared.gateway.tokens import Tokens
from shared.gateway.trail import Trail
from shared.gateway.watch import Watch

if TYPE_CHECKING:
    from decimal import Decimal

    from shared.audit_chain import AuditKey
    from shared.database import Database


class Gateway:
    """The door to the database, by subject. Raises what `shared.database` raises, and `WrongEnvironment`."""

    def __init__(
        self,
        database: Database,
        environment: str,
        confirm_above_kes: Decimal,
        *,
        audit_key: AuditKey,
        consumer_key: str = "",
    ) -> None:
        store, trail = Store(database, environment), Trail(audit_key)
        app = hashlib.sha256(consumer_key.encode()).hexdigest()[:16]
        self.database = database
        self.admissions = Admissions(store, trail)
        self.anchors = Anchors(store)
        self.cases = Cases(store, trail, confirm_above_kes)
        self.inbox = Inbox(store)
        self.invoices = Invoices(store, trail)
        self.outbox = Outbox(store)
        self.queries = Queries(store, app)
        self.statuses = Statuses(store)
        self.tokens = Tokens(store, app)
        self.watch = Watch(store)
