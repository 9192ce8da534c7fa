"""The one place that writes the audit log: each row is signed and linked to the payment's row before it.

Signing costs no round trip. What a link is made of is read together with the payment (`READ`); the row is written with
the change that it records.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.audit_chain import NOTHING_YET, AuditKey, Step, head, link

if TYPE_CHECKING:
    from shared.database import Row, Transaction

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
        signature = link(self._key, before, Step(since=read["audit_since"], **said_of_it))  # type: ignore[arg-type]
        return Signed(
            {**said_of_it, "link": signature, "link_key": self._key.id},
            {"audit_length": length, "audit_head": head(self._key, transaction_id, length, signature)},
        )
