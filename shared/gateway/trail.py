"""The audit log: each row is signed and linked to the payment's row before it; once a day a digest leaves the house.

This is the one place that writes it. Signing costs no round trip. What a link is made of is read together with the
payment (`READ`); the row is written with the change that it records.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.audit_chain import NOTHING_YET, Anchor, AuditKey, Step, signed

if TYPE_CHECKING:
    from shared.database import Database, Row, Transaction

READ = """
    now() AS audit_at, nextval('audit_log_id_seq') AS audit_id, (SELECT stamped_at FROM installation) AS audit_since
"""
"""Columns that the caller reads under the payment's lock, beside its audit_length and audit_head."""
ROWS = """
    SELECT id, transaction_id, at, actor, event, outcome, from_status, to_status, reason, inbox_id, said,
           place, link, link_key
    FROM audit_log
"""
"""Everything that was written, for whoever verifies it."""


@dataclass(frozen=True)
class Signed:
    """One row of the audit log, ready to be written, and what it makes of the payment's own columns."""

    row: dict[str, object]
    payment: dict[str, object]


class Trail:
    """Signs history with the current key."""

    def __init__(self, key: AuditKey) -> None:
        self._key = key

    def note(
        self,
        tx: Transaction,
        read: Row,
        transaction_id: str,
        *,
        actor: str,
        event: str,
        outcome: str,
        reason: str | None,
        inbox_id: str | None = None,
        said: str | None = None,
    ) -> None:
        """One row about something that changes no status. `read` has the payment's columns and `READ`."""
        signed = self.sign(
            read,
            transaction_id,
            actor=actor,
            event=event,
            outcome=outcome,
            from_status=read["status"],
            to_status=read["status"],
            reason=reason,
            inbox_id=inbox_id,
            said=said,
        )
        tx.later(
            """
            UPDATE transactions SET audit_length = :audit_length, audit_head = :audit_head WHERE id = CAST(:id AS uuid)
            """,
            id=transaction_id,
            **signed.payment,
        )
        self.write(tx, signed)

    def write(self, tx: Transaction, signed: Signed) -> None:
        """The row. The caller writes `signed.payment` into the payment's row, in the same transaction."""
        tx.later(
            """
            INSERT INTO audit_log (id, at, transaction_id, actor, event, outcome, from_status, to_status, reason,
                                   inbox_id, said, place, link, link_key) OVERRIDING SYSTEM VALUE
            VALUES (:id, :at, CAST(:transaction_id AS uuid), :actor, :event, :outcome, :from_status, :to_status,
                    :reason, CAST(:inbox_id AS uuid), :said, :place, :link, :link_key)
            """,
            **signed.row,
        )

    def sign(
        self,
        read: Row,
        transaction_id: str,
        *,
        actor: str,
        event: str,
        outcome: str,
        from_status: str | None,
        to_status: str,
        reason: str | None = None,
        inbox_id: str | None = None,
        said: str | None = None,
    ) -> Signed:
        """The payment's next row. A payment that is not in `read` yet gets its first."""
        before, length = read.get("audit_head") or NOTHING_YET, (read.get("audit_length") or 0) + 1
        said_of_it: dict[str, object] = {
            "id": read["audit_id"],
            "transaction_id": transaction_id,
            "place": length,
            "at": read["audit_at"],
            "actor": actor,
            "event": event,
            "outcome": outcome,
            "from_status": from_status,
            "to_status": to_status,
            "reason": reason,
            "inbox_id": inbox_id,
            "said": said,
        }
        signature, head = signed(self._key, before, Step(since=read["audit_since"], **said_of_it))  # type: ignore[arg-type]
        return Signed(
            {**said_of_it, "link": signature, "link_key": self._key.id},
            {"audit_length": length, "audit_head": head},
        )


# Anchors --------------------------------------------------------------------------------------------------------------

ROWS_A_STEP = 2000
NO_ROW = -(2**63)
"""Below every number a row can have: who can write into the log is not bound to the numbers that we give."""
ONE_AT_A_TIME = (0x11BA, 4)
"""Key of the advisory lock: sweeps overlap."""
A_WHILE = "interval '15 minutes'"
"""No transaction is open for longer: the server's timeouts end it, and an operator's command sets two minutes."""
MIDNIGHT = f"date_trunc('day', (now() - {A_WHILE}) AT TIME ZONE 'Africa/Nairobi') AT TIME ZONE 'Africa/Nairobi'"
"""The last one that is a while ago."""
DUE = f"""
    NOT EXISTS (SELECT FROM audit_anchors WHERE day_is_over AND made_at - {A_WHILE} >= {MIDNIGHT}
                AND made_at <= now() + interval '1 minute')
    AND (SELECT at FROM audit_log ORDER BY id LIMIT 1) < {MIDNIGHT}
"""

ANCHOR_DUE_AT = f"""
    SELECT CASE WHEN {DUE} THEN now() ELSE {MIDNIGHT} + interval '1 day' + {A_WHILE} END
    WHERE EXISTS (SELECT FROM audit_log)
"""


class Anchors:
    """Once a day, one digest over all heads. Made by whichever sweep comes first, and sent through the outbox.

    An anchor goes on from the one before it, so its cost is that of a day's rows, whatever the size of the log; a log
    that never had one is worked through in steps. It covers what was written until midnight in Nairobi and is made a
    while after, when no transaction from before midnight can still be open: rows have their numbers before they are
    committed.
    """

    def __init__(self, store: Database) -> None:
        self._store = store

    def make(self) -> bool | None:
        """One step towards today's anchor. True: the log is longer than that, and the next step can be made at once.
        None: nothing was due, or another sweep does it.
        """
        if not self._store.rows(f"SELECT 1 AS due WHERE {DUE}"):
            return None
        with self._store.transaction() as tx:
            # nobody waits for the lock: whoever has it does the work
            (lock,) = tx.rows(
                "SELECT pg_try_advisory_xact_lock(:family, :one) AS mine", family=ONE_AT_A_TIME[0], one=ONE_AT_A_TIME[1]
            )
            return self._step(tx) if lock["mine"] else None

    def _step(self, tx: Transaction) -> bool | None:
        """Under the lock: another sweep may have been faster, so what is due is read once more."""
        (last,) = tx.rows(
            f"""
            SELECT a.last_audit_id, a.row_count, a.payment_count, a.digest, coalesce({DUE}, false) AS due,
                   (SELECT max(id) FROM audit_log WHERE id > coalesce(a.last_audit_id, 0) AND at < {MIDNIGHT}) AS until
            FROM (SELECT 1) one LEFT JOIN (SELECT * FROM audit_anchors ORDER BY id DESC LIMIT 1) a ON true
            """
        )
        if not last["due"]:
            return None
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
