"""What a customer may know about a payment whose id they hold, and in which words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from shared.daraja.result_codes import describe
from shared.gateway.daraja import CAN_BE_ASKED, SLOT_IS_AT, WATCHED_DUE_AT
from shared.gateway.outbox import MAIL_WAITS
from shared.gateway.watch import SWEEP_IS_LATE
from shared.payments import NOT_PAID, PUBLIC, Status

if TYPE_CHECKING:
    from shared.database import Database


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
    """No sweep got through for ten minutes, and no alert said so within the last ten."""
    ask_in_s: float | None = None
    """Until Daraja may be asked about it, 0: now; None: it is not to be asked."""
    work_is_due: bool = False
    """Something is to be sent because of it, or a callback about it to be judged."""


MARK_AS_WATCHED = """
    WITH watched AS (
        UPDATE transactions SET watched_at = now()
        WHERE id = CAST(:id AS uuid)
          AND (status IN ('INITIATED', 'PENDING', 'UNCERTAIN')
               OR status IN ('FAILED', 'CANCELLED', 'EXPIRED') AND success_held_at IS NOT NULL
               OR status IN ('FAILED', 'CANCELLED', 'EXPIRED') AND customer_email IS NOT NULL
                  AND failed_at > now() - interval '1 day' AND coalesce(watched_at < failed_at, true)))
"""


class Statuses:
    """Reading, and remembering that somebody watches."""

    def __init__(self, store: Database, app: str) -> None:
        self._store = store
        self._app = app

    def watch(self, transaction_id: str) -> StatusView | None:
        """The payment, marked as watched: an open one is asked about first, a failure that was seen needs no mail.

        None: no such payment.
        """
        return self._seen(transaction_id, MARK_AS_WATCHED)

    def read(self, transaction_id: str) -> StatusView | None:
        """The payment, without a mark."""
        return self._seen(transaction_id)

    def _seen(self, transaction_id: str, before: str = "") -> StatusView | None:
        row = self._store.row(
            f"""
            {before}
            SELECT t.id, t.status, t.amount, t.account_reference, c.mpesa_receipt_number, t.result_code,
                   t.response_code, t.pushed_at IS NOT NULL AS pushed,
                   t.success_held_at IS NOT NULL AS success_held,
                   extract(epoch FROM now() - t.created_at) AS age_s, t.updated_at,
                   {SWEEP_IS_LATE}
                   AND NOT EXISTS (SELECT FROM incidents WHERE topic = 'sweep_stopped'
                                     AND seen_at > now() - interval '10 minutes') AS sweep_is_late,
                   CASE WHEN {CAN_BE_ASKED}
                        THEN extract(epoch FROM greatest({WATCHED_DUE_AT}, {SLOT_IS_AT}, now()) - now()) END
                       AS ask_in_s,
                   EXISTS (SELECT FROM outbox o WHERE o.transaction_id = t.id AND o.next_try_at <= now()
                             AND o.tries < CASE o.kind WHEN 'webhook' THEN 1 ELSE 3 END
                             AND (o.kind IN ('alert', 'webhook')
                                  OR NOT {MAIL_WAITS}))
                   OR EXISTS (SELECT FROM callback_inbox i WHERE i.transaction_id = t.id AND i.next_try_at <= now())
                       AS work_is_due
            FROM transactions t LEFT JOIN payment_confirmations c ON c.transaction_id = t.id
            WHERE t.id = CAST(:id AS uuid)
            """,
            id=transaction_id,
            app=self._app,
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
            ask_in_s=None if row["ask_in_s"] is None else float(row["ask_in_s"]),
            work_is_due=row["work_is_due"],
        )


# In which words -------------------------------------------------------------------------------------------------------

ASK_EVERY_S = ((60, 3), (300, 5), (3600, 15))
"""(until this age in seconds, ask every so many seconds): often in the first minute, then less and less."""


@dataclass(frozen=True)
class Words:
    message: str
    next_action: str | None = None


PENDING = Words(
    "Waiting for you to confirm on your phone.", "Enter your M-Pesa PIN when the prompt appears. It can take a minute."
)
UNCERTAIN = Words(
    "M-Pesa has not told us yet whether the prompt went out.",
    "If a prompt appears, enter your PIN. Please do not pay a second time: we will know soon.",
)
PAID = Words("Paid. Thank you!")
PAID_WITHOUT_RECEIPT = Words("Paid. Thank you! The M-Pesa receipt number follows.")
REVIEW = Words(
    "We are checking this payment.",
    "Please do not pay again. If money left your account, we have it on record and will write to you.",
)
HELD = Words(
    "M-Pesa now says that this payment went through after all. We are making sure.",
    "Please do not pay again. It takes a minute or two.",
)
REFUNDED = Words("This payment was refunded.", "The money goes back to the M-Pesa account that it came from.")
NEVER_ASKED = Words("M-Pesa did not take the payment; no money moved.", "Please try again in a few minutes.")
NOT_TAKEN = Words(
    "M-Pesa did not take the payment.",
    "You can try again. But if an M-Pesa SMS says that you paid, do not: please write to us.",
)
"""An operator said so, and an operator can be wrong about what the customer paid."""


def words_for(payment: StatusView) -> Words:
    """From the result code where M-Pesa gave one, else from the status."""
    match payment.status:
        case Status.PAID:
            return PAID if payment.receipt else PAID_WITHOUT_RECEIPT
        case Status.REVIEW:
            return REVIEW
        case Status.REFUNDED:
            return REFUNDED
        case Status.UNCERTAIN:
            return UNCERTAIN
        case Status.INITIATED | Status.PENDING:
            return PENDING
    if payment.success_held:
        return HELD
    known = describe(payment.result_code) if payment.result_code else None
    if known:
        return Words(known.message, known.next_action)
    return NOT_TAKEN if payment.pushed else NEVER_ASKED


def ask_again_after_s(payment: StatusView) -> int | None:
    """When a page should ask again. None: the answer will not change any more."""
    receipt_follows = payment.status is Status.PAID and payment.receipt is None
    may_turn_out_paid = payment.status in NOT_PAID and payment.success_held
    if not (PUBLIC[payment.status] in ("pending", "under_review") or receipt_follows or may_turn_out_paid):
        return None
    usual_s = next((every_s for until_s, every_s in ASK_EVERY_S if payment.age_s < until_s), 60)
    if payment.ask_in_s is None:
        return usual_s
    return min(usual_s, max(1, math.ceil(payment.ask_in_s)))  # who asks for it then is answered by Daraja
