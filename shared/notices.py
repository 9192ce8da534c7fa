"""What else becomes of a payment that its customer should hear of, and which of it a shop tells. Pure.

That it is paid is told by the invoice. A notice is written with the change it tells of, and looked at again when it is
to leave: nobody is told what they saw on the page, what is no longer true, or what the shop wants nobody told.
"""

from __future__ import annotations

from enum import StrEnum

from shared.payments import NOT_PAID, Decision, Outcome, Status


class Notice(StrEnum):
    """What a notice tells."""

    FAILED = "failed"
    """Not paid, and why."""
    PAID_LATE = "paid_late"
    """Paid after all, by who had been told that it failed."""
    UNDER_REVIEW = "under_review"
    """Do not pay again: a person looks."""
    REFUNDED = "refunded"
    """The money went back."""


FAILED_SEEN = "failed_seen"
"""What a shop adds that wants failures told also to who saw them on the page."""
KINDS = (Notice.FAILED, FAILED_SEEN, Notice.PAID_LATE, Notice.UNDER_REVIEW, Notice.REFUNDED)
"""What a shop may name."""
TOLD_BY_DEFAULT = frozenset(KINDS) - {FAILED_SEEN}
A_FAILURE_WAITS_S = 60.0
"""So long the page of a customer who stays has to show it."""

MOST_FAILURES_A_DAY = 3
"""So many failures are told to one mailbox: anybody can type somebody else's address, and no payment is needed."""


def notice_of(was: Status, decision: Decision) -> Notice | None:
    """What a decision is told as; None: nothing changed, the invoice tells it, or the customer had it as the answer."""
    if decision.status is was:
        return None
    match decision.status:
        case Status.PAID if decision.outcome is Outcome.PAID_LATE:
            return Notice.PAID_LATE
        case Status.REVIEW:
            return Notice.UNDER_REVIEW
        case Status.REFUNDED:
            return Notice.REFUNDED
        case status if status in NOT_PAID and decision.outcome not in (Outcome.REFUSED, Outcome.NOT_SENT):
            return Notice.FAILED
    return None


def waits_s(notice: Notice | None) -> float:
    """How long it is held back."""
    return A_FAILURE_WAITS_S if notice is Notice.FAILED else 0.0
