"""Which changes of a payment its customer is notified of by e-mail, and when such a notice is not sent. Pure.

The invoice says that a payment is paid. A notice says what else happened: it failed, was paid late, is under review,
was refunded. It is written together with the change. Its words are in shared/mail/letters.py; a new kind of change
begins in shared/payments.py. Whether it is sent is decided when it is due: a customer gets no notice of what the page
has shown, of what is no longer true, or of a kind that the shop has switched off.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from shared.payments import NOT_PAID, Decision, Outcome, Status


class Notice(StrEnum):
    """The kinds of notices."""

    FAILED = "failed"
    """Not paid, and why."""
    PAID_LATE = "paid_late"
    """Paid, after the customer was notified that it failed."""
    UNDER_REVIEW = "under_review"
    """Do not pay again: a person checks."""
    REFUNDED = "refunded"
    """The money went back."""


class DropReason(StrEnum):
    """Why a notice is not sent."""

    NO_ADDRESS = "no_address"
    """No e-mail address is stored, or it was erased."""
    OVERTAKEN = "overtaken"
    """The status has changed since, or is about to: a success waits for its query."""
    OFF = "off"
    """The shop does not send this kind."""
    SEEN = "seen"
    """The page showed the failure."""
    TRIED_AGAIN = "tried_again"
    """The same phone has ordered the same reference again."""
    DAILY_LIMIT = "daily_limit"
    """This mailbox got its notices of failures for the day."""
    NEVER_TOLD = "never_told"
    """Paid late, but the customer never learned of the failure: the invoice is enough."""


FAILED_SEEN = "failed_seen"
"""A setting: failures are sent also where the page showed them."""
KINDS = (Notice.FAILED, FAILED_SEEN, Notice.PAID_LATE, Notice.UNDER_REVIEW, Notice.REFUNDED)
"""The values that NOTICES may list."""
SENT_BY_DEFAULT = frozenset(KINDS) - {FAILED_SEEN}
A_FAILURE_WAITS_S = 60.0
"""A notice of a failure is held back, so that the page can show it first."""
MOST_FAILURES_A_DAY = 3
"""Notices of failures to one mailbox: anybody can order with somebody else's address, without paying."""


@dataclass(frozen=True, kw_only=True)
class NoticeFacts:
    """What is known about a notice when it is due."""

    notice: Notice
    address_stored: bool
    overtaken: bool
    """The status has changed since."""
    success_held: bool
    """A success was reported and waits for its query."""
    failure_seen: bool
    """The status was asked for after the failure."""
    tried_again: bool
    """A later order has the same phone and reference."""
    after_review: bool
    """The change ended a review: the customer was asked to wait for it."""
    failures_today: int
    """Other notices of failures that left to this mailbox within 24 h."""
    failure_notice_left: bool
    """A notice of this payment's failure was sent or tried."""


def reason_to_drop(facts: NoticeFacts, enabled: Collection[str]) -> DropReason | None:
    """Why this notice is not sent; None: send it. `enabled` is the setting NOTICES."""
    failed = facts.notice is Notice.FAILED
    if not facts.address_stored:
        return DropReason.NO_ADDRESS
    if facts.overtaken or (failed and facts.success_held):
        return DropReason.OVERTAKEN
    if facts.notice not in enabled:
        return DropReason.OFF
    if failed and facts.failure_seen and FAILED_SEEN not in enabled:
        return DropReason.SEEN
    if failed and not facts.after_review:
        if facts.tried_again:
            return DropReason.TRIED_AGAIN
        if facts.failures_today >= MOST_FAILURES_A_DAY:
            return DropReason.DAILY_LIMIT
    if facts.notice is Notice.PAID_LATE and not (facts.failure_seen or facts.failure_notice_left):
        return DropReason.NEVER_TOLD
    return None


def notice_of(was: Status, decision: Decision) -> Notice | None:
    """The notice that a decision causes. None: nothing changed, the invoice says it, or the push's answer said it."""
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
    """How long a notice is held back before it is due."""
    return A_FAILURE_WAITS_S if notice is Notice.FAILED else 0.0
