"""What a customer may know about a payment whose id they hold."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from shared.payments import Status

if TYPE_CHECKING:
    from shared.gateway.store import Store


@dataclass(frozen=True)
class StatusView:
    """One payment, as its customer sees it."""

    transaction_id: str
    status: Status
    amount_kes: Decimal
    account_reference: str
    receipt: str | None
    result_code: str | None
    response_code: str | None
    pushed: bool
    """Safaricom may have been asked for it; False: it never was."""
    success_held: bool
    """A callback said paid, and a query has to agree first."""
    age_s: float
    updated_at: datetime
    sweep_is_late: bool
    """No sweep began for ten minutes, and no alert said so within the last ten."""


class Statuses:
    """Reading, and remembering that somebody watches."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def watch(self, transaction_id: str) -> StatusView | None:
        """The payment, marked as watched: an open one is asked about first, a failure that was seen needs no mail.

        None: no such payment.
        """
        row = self._store.row(
            """
            WITH watched AS (
                UPDATE transactions SET watched_at = now()
                WHERE id = CAST(:id AS uuid)
                  AND (status IN ('INITIATED', 'PENDING', 'UNCERTAIN')
                       OR status IN ('FAILED', 'CANCELLED', 'EXPIRED') AND customer_email IS NOT NULL
                          AND failed_at > now() - interval '1 day' AND coalesce(watched_at < failed_at, true)))
            SELECT t.id, t.status, t.amount, t.account_reference, c.mpesa_receipt_number, t.result_code,
                   t.response_code, t.pushed_at IS NOT NULL AS pushed,
                   t.success_held_at IS NOT NULL AS success_held,
                   extract(epoch FROM now() - t.created_at) AS age_s, t.updated_at,
                   coalesce((SELECT began_at FROM sweeps), (SELECT stamped_at FROM installation))
                       <= now() - interval '10 minutes'
                   AND NOT EXISTS (SELECT FROM incidents WHERE topic = 'sweep_stopped'
                                     AND seen_at > now() - interval '10 minutes') AS sweep_is_late
            FROM transactions t LEFT JOIN payment_confirmations c ON c.transaction_id = t.id
            WHERE t.id = CAST(:id AS uuid)
            """,
            id=transaction_id,
        )
        if row is None:
            return None
        return StatusView(
            transaction_id=str(row["id"]),
            status=Status(row["status"]),
            amount_kes=row["amount"],
            account_reference=row["account_reference"],
            receipt=row["mpesa_receipt_number"],
            result_code=row["result_code"],
            response_code=row["response_code"],
            pushed=row["pushed"],
            success_held=row["success_held"],
            age_s=float(row["age_s"]),
            updated_at=row["updated_at"],
            sweep_is_late=row["sweep_is_late"],
        )
