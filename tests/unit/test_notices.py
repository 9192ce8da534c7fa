"""Which notice is sent, and why one is not: a table. The integration test of the same name has real rows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.notices import FAILED_SEEN, KINDS, SENT_BY_DEFAULT, DropReason, Notice, NoticeFacts, reason_to_drop

SENT = None
DUE = NoticeFacts(
    notice=Notice.FAILED,
    address_stored=True,
    overtaken=False,
    success_held=False,
    failure_seen=False,
    tried_again=False,
    after_review=False,
    failures_today=0,
    failure_notice_left=False,
)
LATE = replace(DUE, notice=Notice.PAID_LATE, failure_notice_left=True)
REVIEW = replace(DUE, notice=Notice.UNDER_REVIEW)
REFUND = replace(DUE, notice=Notice.REFUNDED)


def as_if_failed(due: NoticeFacts) -> NoticeFacts:
    """With everything that drops a notice of a failure."""
    return replace(due, success_held=True, failure_seen=True, tried_again=True, failures_today=9)


@pytest.mark.parametrize(
    ("facts", "outcome"),
    [
        (DUE, SENT),
        (LATE, SENT),
        (REVIEW, SENT),
        (REFUND, SENT),
        (replace(DUE, address_stored=False), DropReason.NO_ADDRESS),
        (replace(DUE, address_stored=False, overtaken=True), DropReason.NO_ADDRESS),
        (replace(LATE, address_stored=False), DropReason.NO_ADDRESS),
        (replace(DUE, overtaken=True), DropReason.OVERTAKEN),
        (replace(DUE, overtaken=True, failure_seen=True), DropReason.OVERTAKEN),
        (replace(REVIEW, overtaken=True), DropReason.OVERTAKEN),
        (replace(DUE, success_held=True), DropReason.OVERTAKEN),
        (replace(DUE, failure_seen=True), DropReason.SEEN),
        (replace(DUE, failure_seen=True, after_review=True), DropReason.SEEN),
        (replace(DUE, failure_seen=True, tried_again=True), DropReason.SEEN),
        (replace(DUE, tried_again=True), DropReason.TRIED_AGAIN),
        (replace(DUE, tried_again=True, failures_today=3), DropReason.TRIED_AGAIN),
        (replace(DUE, tried_again=True, after_review=True), SENT),
        (replace(DUE, failures_today=2), SENT),
        (replace(DUE, failures_today=3), DropReason.DAILY_LIMIT),
        (replace(DUE, failures_today=3, after_review=True), SENT),
        (replace(LATE, failure_notice_left=False), DropReason.NEVER_TOLD),
        (replace(LATE, failure_notice_left=False, failure_seen=True), SENT),
        (as_if_failed(LATE), SENT),
        (as_if_failed(REVIEW), SENT),
        (as_if_failed(REFUND), SENT),
    ],
)
def test_a_notice_is_sent_or_dropped_for_a_reason(facts: NoticeFacts, outcome: DropReason | None) -> None:
    assert reason_to_drop(facts, SENT_BY_DEFAULT) is outcome


@pytest.mark.parametrize("facts", [DUE, LATE, REVIEW, REFUND], ids=lambda facts: str(facts.notice))
def test_the_shop_switches_kinds_off(facts: NoticeFacts) -> None:
    assert reason_to_drop(facts, frozenset()) is DropReason.OFF
    assert reason_to_drop(facts, SENT_BY_DEFAULT - {facts.notice}) is DropReason.OFF
    assert reason_to_drop(replace(facts, overtaken=True), frozenset()) is DropReason.OVERTAKEN
    assert reason_to_drop(facts, {facts.notice}) is SENT


def test_a_shop_may_want_failures_sent_that_the_page_showed() -> None:
    seen = replace(DUE, failure_seen=True)
    assert reason_to_drop(seen, KINDS) is SENT
    assert reason_to_drop(replace(seen, tried_again=True), {Notice.FAILED, FAILED_SEEN}) is DropReason.TRIED_AGAIN
