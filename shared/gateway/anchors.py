"""Anchors of the audit log: once a day, one digest over all heads leaves the house.

An anchor goes on from the one before it, so its cost is that of a day's rows, whatever the size of the log; a log that
never had one is worked through in steps. It covers what was written until midnight in Nairobi and is made a while
after, when no transaction from before midnight can still be open: rows have their numbers before they are committed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.audit_chain import NOTHING_YET, Anchor
from shared.gateway.trail import ROWS

if TYPE_CHECKING:
    from shared.database import Row, Transaction
    from shared.gateway.store import Store

ROWS_A_STEP = 5000
NO_ROW = -(2**63)
"""Below every number a row can have: who can write into the log is not bound to the numbers that we give."""
ONE_AT_A_TIME = (0x11BA, 4)
"""Key of the advisory lock: sweeps overlap."""
A_WHILE = "interval '15 minutes'"
"""No transaction is open for longer: the server's timeouts end it, and an operator's command sets two minutes."""
MIDNIGHT = f"date_trunc('day', (now() - {A_WHILE}) AT TIME ZONE 'Africa/Nairobi') AT TIME ZONE 'Africa/Nairobi'"
"""The last one that is a while ago."""
DUE = f"""
    NOT EXISTS (SELECT FROM audit_anchors WHERE day_is_over AND made_at - {A_WHILE} >= {MIDNIGHT})
    AND (SELECT at FROM audit_log ORDER BY id LIMIT 1) < {MIDNIGHT}
"""


class Anchors:
    """Made by whichever sweep comes first, and sent through the outbox."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def make(self) -> bool:
        """One step towards today's anchor. True: the log is longer than that, and the next step can be made at once."""
        if not self._store.rows(f"SELECT 1 AS due WHERE {DUE}"):
            return False
        with self._store.transaction() as tx:
            # nobody waits for the lock: whoever has it does the work
            (lock,) = tx.rows(
                "SELECT pg_try_advisory_xact_lock(:family, :one) AS mine", family=ONE_AT_A_TIME[0], one=ONE_AT_A_TIME[1]
            )
            return bool(lock["mine"]) and self._step(tx)

    def _step(self, tx: Transaction) -> bool:
        """Under the lock: another sweep may have been faster, so what is due is read once more."""
        (last,) = tx.rows(
            f"""
            SELECT a.last_audit_id, a.row_count, a.payment_count, a.digest, coalesce({DUE}, false) AS due,
                   (SELECT max(id) FROM audit_log WHERE id > coalesce(a.last_audit_id, 0) AND at < {MIDNIGHT}) AS until
            FROM (SELECT 1) one LEFT JOIN (SELECT * FROM audit_anchors ORDER BY id DESC LIMIT 1) a ON true
            """
        )
        if not last["due"]:
            return False
        rows = tx.rows(
            f"{ROWS} WHERE id > :after AND id <= :until ORDER BY id LIMIT :most",
            after=NO_ROW if last["last_audit_id"] is None else last["last_audit_id"],
            until=last["until"] or 0,
            most=ROWS_A_STEP,
        )
        anchor = _reached(last)
        for row in rows:
            anchor = anchor.after(row)
        more = len(rows) == ROWS_A_STEP
        tx.run(
            """
            WITH made AS (
                INSERT INTO audit_anchors (last_audit_id, row_count, payment_count, digest, day_is_over)
                VALUES (:last_audit_id, :rows, :payments, :digest, :day_is_over) RETURNING id, day_is_over)
            INSERT INTO outbox (kind, topic, anchor_id)
            SELECT 'anchor', way, id FROM made, unnest(ARRAY['log', 'mail']) way WHERE day_is_over
            """,
            last_audit_id=anchor.last_audit_id,
            rows=anchor.rows,
            payments=anchor.payments,
            digest=anchor.digest,
            day_is_over=not more,
        )
        return more


def _reached(row: Row) -> Anchor:
    return Anchor(
        row["last_audit_id"] or 0, row["row_count"] or 0, row["payment_count"] or 0, row["digest"] or NOTHING_YET
    )
