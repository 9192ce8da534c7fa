"""The one place that writes the audit log: each row is signed, and the payment's head goes on with it.

No round trip is spent on it. What a link is made of is read with the payment (`READ`), the row is written by the same
statement that moves the payment (`WRITE`, with the parameters of `Trail.step`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.audit_chain import NOTHING_YET, AuditKey, Step, head, link

if TYPE_CHECKING:
    from shared.database import Row, Transaction

READ = """
    now() AS audit_at, nextval('audit_log_id_seq') AS audit_id, (SELECT stamped_at FROM installation) AS audit_since
"""
"""Columns of the question that comes before, in the same transaction; beside them the payment's audit_length and
audit_head, where there is a payment yet."""
WRITE = """
    INSERT INTO audit_log (id, at, transaction_id, actor, event, outcome, from_status, to_status, reason,
                           inbox_id, said, place, link, link_key) OVERRIDING SYSTEM VALUE
    SELECT CAST(:audit_id AS bigint), now(), id, CAST(:audit_actor AS text), CAST(:audit_event AS text),
           CAST(:audit_outcome AS text), CAST(:audit_from AS text), CAST(:audit_to AS text),
           CAST(:audit_reason AS text), CAST(:audit_inbox_id AS uuid), CAST(:audit_said AS text),
           CAST(:audit_length AS integer), CAST(:audit_link AS text), CAST(:audit_key AS text)
    FROM
"""
"""To be followed by what gives the payment's id."""


ROWS = """
    SELECT id, transaction_id, at, actor, event, outcome, from_status, to_status, reason, inbox_id, said,
           place, link, link_key
    FROM audit_log
"""
"""Everything that was written, for whoever verifies it."""


class Trail:
    """Signs history with the key of today."""

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
        """One row about something that changes no status. `read` holds it and `READ`, the payment being locked."""
        step = self.step(
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
        tx.run(
            f"""
            WITH noted AS (
                UPDATE transactions SET audit_length = :audit_length, audit_head = :audit_head
                WHERE id = CAST(:id AS uuid) RETURNING id)
            {WRITE} noted
            """,
            id=transaction_id,
            **step,
        )

    def step(
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
    ) -> dict[str, object]:
        """The parameters of `WRITE`; `audit_length` and `audit_head` also belong on the payment."""
        before, length = read.get("audit_head") or NOTHING_YET, (read.get("audit_length") or 0) + 1
        step = Step(
            id=read["audit_id"],
            transaction_id=transaction_id,
            place=length,
            at=read["audit_at"],
            since=read["audit_since"],
            actor=actor,
            event=event,
            outcome=outcome,
            from_status=from_status,
            to_status=to_status,
            reason=reason,
            inbox_id=inbox_id,
            said=said,
        )
        signed = link(self._key, before, step)
        return {
            "audit_id": step.id,
            "audit_actor": actor,
            "audit_event": event,
            "audit_outcome": outcome,
            "audit_from": from_status,
            "audit_to": to_status,
            "audit_reason": reason,
            "audit_inbox_id": inbox_id,
            "audit_said": said,
            "audit_length": length,
            "audit_link": signed,
            "audit_key": self._key.id,
            "audit_head": head(self._key, transaction_id, length, signed),
        }
