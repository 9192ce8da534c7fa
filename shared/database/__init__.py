"""The database: short, explicit transactions over one connection that heals itself.

    with database.transaction() as tx:
        row = tx.row("SELECT status FROM transactions WHERE id = :id FOR UPDATE", id=transaction_id)

Every statement runs inside such a block, which makes a pooler in transaction mode (PgBouncer, Neon, Netlify Database)
safe to use. BEGIN says all that a statement's meaning depends on (connection.py), in the round trip of the
first statement. The timeouts are the server's, so a function that is frozen or dies in the middle holds no lock for
long, and a session that is idle for 15 s ends.

A connection that died while the function was frozen is replaced before anything of ours was sent. The driver is
imported at the first connection: importing this module costs next to nothing.
"""

from __future__ import annotations

from shared.database.errors import (
    Busy,
    CommitUnknown,
    ConstraintBroken,
    DatabaseError,
    DatabaseUnavailable,
    LoginRefused,
    NotAllowed,
    NotMigrated,
    StatementFailed,
)
from shared.database.transactions import Database, Row, Transaction, numbered
from shared.database.url import ConnectionSettings, connection_settings

__all__ = [
    "Busy",
    "CommitUnknown",
    "ConnectionSettings",
    "ConstraintBroken",
    "Database",
    "DatabaseError",
    "DatabaseUnavailable",
    "LoginRefused",
    "NotAllowed",
    "NotMigrated",
    "Row",
    "StatementFailed",
    "Transaction",
    "connection_settings",
    "numbered",
]
