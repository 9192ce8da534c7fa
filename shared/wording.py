"""What the status of a payment says to the customer: what happened, and what to do now. Plain English."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.daraja.result_codes import describe
from shared.payments import NOT_PAID, PUBLIC, Status

if TYPE_CHECKING:
    from shared.gateway.statuses import StatusView

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
    return next((every_s for until_s, every_s in ASK_EVERY_S if payment.age_s < until_s), 60)
