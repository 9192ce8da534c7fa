"""Everything that may happen to a payment, and what follows: one file, so that no rule stands anywhere else. Pure.

A payment is a row that exists before M-Pesa is asked. Evidence arrives about it, often twice, late or in the wrong
order: the answer to our push, Safaricom's callback, answers to our own queries, rows of a statement, the passing of
time, an operator's word. `decide` takes the payment, one such event and the circumstances, and says what becomes of it.
Nothing else in the system changes a status, and `TRANSITIONS` is all that may follow what; the database refuses the
rest.

    INITIATED  committed, the push is about to leave        UNCERTAIN  the push may have arrived: wait, never repeat
    PENDING    Daraja took it, the customer is asked        REVIEW     only a person, or agreeing evidence, may go on
    PAID       the money is here, with evidence             REFUNDED   it went back, says a person or a statement
    FAILED, CANCELLED, EXPIRED   it did not happen; Safaricom has been seen to change its mind
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TypeAlias


class Status(StrEnum):
    """What is stored in transactions.status."""

    INITIATED = "INITIATED"
    PENDING = "PENDING"
    UNCERTAIN = "UNCERTAIN"
    PAID = "PAID"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"
    REVIEW = "REVIEW"
    REFUNDED = "REFUNDED"


OPEN = frozenset({Status.INITIATED, Status.PENDING, Status.UNCERTAIN})
"""Nobody knows yet."""
NOT_PAID = frozenset({Status.FAILED, Status.CANCELLED, Status.EXPIRED})
"""It did not happen, as far as we know."""
SETTLED = frozenset({Status.PAID, Status.REFUNDED})
"""The money came."""

PUBLIC: dict[Status, str] = {
    **dict.fromkeys(OPEN, "pending"),
    **dict.fromkeys(NOT_PAID, "failed"),
    Status.PAID: "paid",
    Status.REVIEW: "under_review",
    Status.REFUNDED: "refunded",
}

TRANSITIONS: frozenset[tuple[Status, Status]] = frozenset(
    [(Status.INITIATED, Status.PENDING), (Status.INITIATED, Status.UNCERTAIN), (Status.UNCERTAIN, Status.PENDING)]
    + [(was, now) for was in OPEN for now in NOT_PAID | {Status.PAID, Status.REVIEW}]
    + [(was, now) for was in NOT_PAID for now in (Status.PAID, Status.REVIEW)]
    + [(Status.REVIEW, now) for now in (Status.PAID, Status.FAILED, Status.REFUNDED)]
    + [(Status.PAID, Status.REFUNDED), (Status.REFUNDED, Status.PAID), (Status.REFUNDED, Status.REVIEW)]
)


class ReviewReason(StrEnum):
    """Why a payment waits for a person."""

    SILENCE = "silence"
    UNKNOWN_CODE = "unknown_code"
    AMOUNT_MISMATCH = "amount_mismatch"
    INCOMPLETE_SUCCESS = "incomplete_success"
    IDS_DISAGREE = "ids_disagree"
    REUSED_RECEIPT = "reused_receipt"
    DUPLICATE_PAYMENT = "duplicate_payment"
    UNCONFIRMED_LARGE = "unconfirmed_large"
    CONTRADICTION = "contradiction"


QUERY_CAN_RESOLVE = frozenset({ReviewReason.SILENCE, ReviewReason.UNKNOWN_CODE})
CALLBACK_CANNOT_RESOLVE = frozenset({ReviewReason.DUPLICATE_PAYMENT, ReviewReason.REUSED_RECEIPT})


class Alert(StrEnum):
    """What an operator is alerted of. Each at most once a payment."""

    SILENCE = "silence"
    UNKNOWN_CODE = "unknown_code"
    AMOUNT_MISMATCH = "amount_mismatch"
    INCOMPLETE_SUCCESS = "incomplete_success"
    IDS_DISAGREE = "ids_disagree"
    REUSED_RECEIPT = "reused_receipt"
    DUPLICATE_PAYMENT = "duplicate_payment"
    UNCONFIRMED_LARGE = "unconfirmed_large"
    CONTRADICTION = "contradiction"
    LATE_PAYMENT = "late_payment"
    SHOP_MISCONFIGURED = "shop_misconfigured"
    """No payment works until the shop has put it right. Once for the whole shop, then once a day."""
    ORDER_PAID_TWICE = "order_paid_twice"
    SECOND_RECEIPT = "second_receipt"


class Outcome(StrEnum):
    """The name of what an event led to; kept with the inbox entry and in the audit log."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNCLEAR = "unclear"
    NOT_SENT = "not_sent"
    PAID = "paid"
    PAID_LATE = "paid_late"
    RECEIPT_FILLED = "receipt_filled"
    DECLINED = "declined"
    TO_REVIEW = "to_review"
    WAITS_FOR_QUERY = "waits_for_query"
    WAITS_FOR_PUSH = "waits_for_push"
    REFUNDED = "refunded"
    REOPENED = "reopened"
    REPEATED = "repeated"
    NOTED = "noted"
    CONTRADICTS = "contradicts"
    STILL_WAITING = "still_waiting"


# A payment, and what surrounds it -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ids:
    """Daraja's two names for a push. Opaque. The checkout id ends in the customer's number: never logged."""

    merchant_request_id: str
    checkout_request_id: str


@dataclass(frozen=True)
class Before:
    """Where a payment stood before the word that ended it: a person's, or that of a statement in a person's hands."""

    status: Status
    review_reason: ReviewReason | None = None


@dataclass(frozen=True)
class Payment:
    """One row of `transactions`, as far as deciding needs it."""

    id: str
    status: Status
    amount_kes: Decimal
    created_at: datetime
    ids: Ids | None = None
    ids_are_learnt: bool = False
    """The ids came from a callback, not from the answer to our own push."""
    review_reason: ReviewReason | None = None
    receipt: str | None = None
    """The receipt of its confirmation; None while a paid payment's receipt is missing."""
    success_held: bool = False
    """A callback said paid; a query has to agree first."""
    refunded_unpaid: bool = False
    """A person gave it back straight from REVIEW: it has no confirmation, so no receipt that could be filled in."""
    pushed: bool = True
    """A push may have left. False: it was booked by hand, or its push came to nothing."""
    before: Before | None = None
    """Where it goes when it is reopened. None: nothing that a person said ended it."""

    @property
    def can_be_queried(self) -> bool:
        return self.ids is not None and not self.ids_are_learnt


@dataclass(frozen=True)
class Circumstances:
    """What else the decision depends on, read under the same lock as the payment."""

    now: datetime
    confirm_above_kes: Decimal
    receipt_taken: bool = False
    """The event's receipt confirms another payment, or names money that went back for one."""
    ids_taken: bool = False
    """The event's ids belong to another payment."""
    duplicate_paid: bool = False
    """The same reference, phone and amount was paid within 24 h by another payment, which stands PAID."""
    order_paid: bool = False
    """Another payment of the same order, by its link or its reference, stands PAID."""
    push_in_flight: bool = False
    """INITIATED for less than 90 s: the push may still be answered, with the ids that a callback has to name."""
    callback_waits: bool = False
    """A callback overtook the push's answer, and is to be judged with it."""
    already_judged: bool = False
    """This very callback was judged before, and its outcome was more than waiting for a query."""
    query_comes_first: bool = False
    """Daraja was not asked for a long time, and is to be asked now: the sweep slept, or the budget was used up."""
    receipts_named: frozenset[str] = frozenset()
    """Receipts that callbacks about this payment named, and that were judged. Not known while it is open."""


# Events ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PushAccepted:
    """Daraja took the push. Not paid: the prompt is on its way."""

    ids: Ids


@dataclass(frozen=True)
class PushRefused:
    """Daraja said no, clearly: no prompt went out."""

    shops_fault: bool = False
    """It says that the shop is set up wrongly."""


@dataclass(frozen=True)
class PushUnanswered:
    """Bytes may have left us, no clear answer came back."""


@dataclass(frozen=True)
class PushNotSent:
    """Nothing left us."""


@dataclass(frozen=True)
class Confirmed:
    """A callback with result code 0. `ids`, `amount_kes` or `receipt` are None where it did not say."""

    ids: Ids | None
    amount_kes: Decimal | None
    receipt: str | None
    amount_said: Decimal | None = None
    """A number in a form that cannot be believed. It pays nothing, but it may name another amount."""

    def names_another_amount(self, amount_kes: Decimal) -> bool:
        return self.amount_kes not in (None, amount_kes) or self.amount_said not in (None, amount_kes)


@dataclass(frozen=True)
class Declined:
    """A callback with a known failing code, which `becomes` FAILED, CANCELLED or EXPIRED."""

    ids: Ids | None
    becomes: Status
    may_be_taken_back: bool = False
    """Safaricom has been seen to report a success after this code."""
    shops_fault: bool = False


@dataclass(frozen=True)
class UnknownCode:
    """A callback with a code that nobody has explained."""

    ids: Ids | None


@dataclass(frozen=True)
class QueryConfirmed:
    """An STK query for the id Daraja gave us answered success. It names no receipt."""


@dataclass(frozen=True)
class QueryDeclined:
    """An STK query answered with a code of the closed terminal list."""

    becomes: Status
    may_be_taken_back: bool = False
    shops_fault: bool = False


@dataclass(frozen=True)
class TimePassed:
    """Nothing happened; the sweep compared the payment's age with the clock."""


@dataclass(frozen=True)
class OperatorPaid:
    """A person saw the money on the statement."""

    receipt: str


@dataclass(frozen=True)
class OperatorFailed:
    """A person saw that no money came."""


@dataclass(frozen=True)
class OperatorRefunded:
    """A person gave the whole amount back, under a receipt of its own."""

    receipt: str


@dataclass(frozen=True)
class OperatorReopened:
    """A person takes back the word that ended it: what FAILED or REFUNDED by a person's word goes back to before."""


@dataclass(frozen=True)
class StatementPaid:
    """A completed row of a statement names exactly this payment."""

    receipt: str
    amount_kes: Decimal


@dataclass(frozen=True)
class StatementRefunded:
    """A completed row of a statement takes exactly this payment back. The receipt is that of what went back."""

    receipt: str
    amount_kes: Decimal


@dataclass(frozen=True)
class BookedByHand:
    """A person says that money on file, in a statement row or a callback, is of this payment."""

    receipt: str
    amount_kes: Decimal
    evidence: ConfirmedBy


FromCallback: TypeAlias = Confirmed | Declined | UnknownCode
Event: TypeAlias = (
    PushAccepted
    | PushRefused
    | PushUnanswered
    | PushNotSent
    | FromCallback
    | QueryConfirmed
    | QueryDeclined
    | TimePassed
    | OperatorPaid
    | OperatorFailed
    | OperatorRefunded
    | OperatorReopened
    | StatementPaid
    | StatementRefunded
    | BookedByHand
)

# Decisions ------------------------------------------------------------------------------------------------------------


class ConfirmedBy(StrEnum):
    """Whose evidence made a payment paid."""

    CALLBACK = "callback"
    QUERY = "query"
    OPERATOR = "operator"
    STATEMENT = "statement"


@dataclass(frozen=True)
class Paid:
    """The confirmation to write, with the status, in one transaction. Its amount is the payment's own."""

    evidence: ConfirmedBy
    receipt: str | None


@dataclass(frozen=True)
class Decision:
    """What becomes of the payment. The gateway writes it whole, or not at all."""

    status: Status
    outcome: Outcome
    review_reason: ReviewReason | None = None
    alerts: tuple[Alert, ...] = ()
    paid: Paid | None = None
    fill_receipt: str | None = None
    ids: Ids | None = None
    ids_are_learnt: bool = False
    hold_success: bool = False
    """Keep the callback's success until a query agrees, and ask at once."""
    drop_success: bool = False
    """A person decided: the held success waits for no query any more."""
    judge_waiting: bool = False
    """The push was answered: a callback that overtook the answer is judged now."""


def before_the_word(event: str, was: str, review_reason: str | None) -> Before | None:
    """Where a payment goes when it is reopened, by its last change on record. None: that was no person's word."""
    if event not in {kind.__name__ for kind in (OperatorFailed, OperatorRefunded, StatementRefunded)}:
        return None
    reason = ReviewReason(review_reason or ReviewReason.CONTRADICTION) if was == Status.REVIEW else None
    return Before(Status(was), reason)


AN_INITIATED_PAYMENT_DIED_AFTER = timedelta(seconds=90)
SILENCE_ALERTS_AFTER = timedelta(minutes=15)
SILENCE_IS_REVIEWED_AFTER = timedelta(minutes=60)
DUPLICATE_WITHIN = timedelta(hours=24)


def decide(payment: Payment, event: Event, around: Circumstances) -> Decision:
    """What `event` makes of `payment`. Total: every status and every event has an answer, none raises."""
    if around.already_judged:
        return _stays(payment, Outcome.REPEATED)
    decision = _decide(payment, event, around)
    if isinstance(event, PushRefused | Declined | QueryDeclined) and event.shops_fault:
        return replace(decision, alerts=(*decision.alerts, Alert.SHOP_MISCONFIGURED))
    return decision


def _decide(payment: Payment, event: Event, around: Circumstances) -> Decision:
    match event:
        case PushAccepted() | PushRefused() | PushNotSent() | PushUnanswered():
            return replace(_push_answered(payment, event, around), judge_waiting=around.callback_waits)
        case Confirmed() | Declined() | UnknownCode() if around.push_in_flight:
            return _stays(payment, Outcome.WAITS_FOR_PUSH)
        case Confirmed() | Declined() | UnknownCode() if _ids_disagree(payment, event.ids, around):
            return _not_its_evidence(payment)
        case Confirmed():
            return _learning(payment, event.ids, _confirmed(payment, event, around))
        case Declined(ids, becomes):
            return _learning(payment, ids, _declined(payment, becomes, by_query=False))
        case UnknownCode(ids):
            return _learning(payment, ids, _unknown_code(payment))
        case QueryConfirmed():
            return _query_confirmed(payment, around)
        case QueryDeclined(becomes):
            if not payment.can_be_queried:
                return _stays(payment, Outcome.NOTED)
            return _declined(payment, becomes, by_query=True)
        case TimePassed():
            return _time_passed(payment, around)
        case OperatorPaid() | OperatorFailed() | OperatorRefunded() | OperatorReopened():
            return _operator(payment, event, around)
        case StatementPaid() | StatementRefunded() | BookedByHand():
            return _on_file(payment, event, around)


# The push -------------------------------------------------------------------------------------------------------------


def _push_answered(
    payment: Payment, event: PushAccepted | PushRefused | PushNotSent | PushUnanswered, around: Circumstances
) -> Decision:
    match event:
        case PushAccepted(ids):
            return _ids_from_push(payment, ids, around)
        case PushRefused():
            return _push_came_to_nothing(payment, Outcome.REFUSED)
        case PushNotSent():
            return _push_came_to_nothing(payment, Outcome.NOT_SENT)
        case PushUnanswered() if payment.status is Status.INITIATED:
            return _push_stays_unclear(payment, around)
    return _stays(payment, Outcome.UNCLEAR)


def _ids_from_push(payment: Payment, ids: Ids, around: Circumstances) -> Decision:
    """The push's answer writes its ids whatever the status: it may come after the callback."""
    if around.ids_taken or (payment.ids is not None and payment.ids != ids):
        decision = _not_its_evidence(payment)
        return decision if around.ids_taken else replace(decision, ids=ids)
    if payment.status in (Status.INITIATED, Status.UNCERTAIN):
        return Decision(Status.PENDING, Outcome.ACCEPTED, ids=ids)
    return replace(_stays(payment, Outcome.ACCEPTED), ids=ids)


def _push_came_to_nothing(payment: Payment, outcome: Outcome) -> Decision:
    if payment.status in (Status.INITIATED, Status.UNCERTAIN):
        return (
            _to_review(payment, ReviewReason.CONTRADICTION)
            if payment.success_held
            else Decision(Status.FAILED, outcome)
        )
    if payment.status in NOT_PAID:
        return _stays(payment, outcome)
    return _stays(payment, Outcome.CONTRADICTS, Alert.CONTRADICTION)


def _push_stays_unclear(payment: Payment, around: Circumstances, *alerts: Alert) -> Decision:
    """No answer will bring an id of our own: a success that was held for it has nobody left to ask."""
    if not payment.success_held:
        return Decision(Status.UNCERTAIN, Outcome.UNCLEAR, alerts=alerts)
    large = payment.amount_kes > around.confirm_above_kes
    return _to_review(payment, ReviewReason.UNCONFIRMED_LARGE if large else ReviewReason.INCOMPLETE_SUCCESS)


# Evidence of success --------------------------------------------------------------------------------------------------


def _confirmed(payment: Payment, event: Confirmed, around: Circumstances) -> Decision:
    """Evidence, not proof: it pays when ids, amount and receipt all fit, and what is large waits for a query."""
    if payment.status in SETTLED:
        return _confirmed_again(payment, event, around)
    if event.names_another_amount(payment.amount_kes):
        return _to_review(payment, ReviewReason.AMOUNT_MISMATCH)
    if around.receipt_taken:
        return _to_review(payment, ReviewReason.REUSED_RECEIPT)
    if event.amount_kes is None or event.receipt is None:
        return _ask_first(payment, ReviewReason.INCOMPLETE_SUCCESS, Alert.INCOMPLETE_SUCCESS)
    if around.duplicate_paid:
        return _to_review(payment, ReviewReason.DUPLICATE_PAYMENT)
    if payment.review_reason in CALLBACK_CANNOT_RESOLVE:
        return _stays(payment, Outcome.NOTED)
    if payment.amount_kes > around.confirm_above_kes:
        return _ask_first(payment, ReviewReason.UNCONFIRMED_LARGE)
    return _paid(payment, Paid(ConfirmedBy.CALLBACK, event.receipt), around)


def _confirmed_again(payment: Payment, event: Confirmed, around: Circumstances) -> Decision:
    """Already settled: the same news again, the receipt that was missing, or money that should not be there."""
    if event.names_another_amount(payment.amount_kes):
        return _stays(payment, Outcome.CONTRADICTS, Alert.AMOUNT_MISMATCH)
    if event.receipt is None or event.receipt == payment.receipt:
        return _stays(payment, Outcome.REPEATED)
    if around.receipt_taken:
        return _stays(payment, Outcome.CONTRADICTS, Alert.REUSED_RECEIPT)
    if payment.refunded_unpaid and (not around.receipts_named or event.receipt in around.receipts_named):
        return _stays(payment, Outcome.NOTED)
    if payment.receipt is None and not payment.refunded_unpaid:
        return replace(_stays(payment, Outcome.RECEIPT_FILLED), fill_receipt=event.receipt)
    return _stays(payment, Outcome.CONTRADICTS, Alert.SECOND_RECEIPT)


def _query_confirmed(payment: Payment, around: Circumstances) -> Decision:
    """Counts only for the id Daraja itself gave us, never for one learnt from a callback."""
    if payment.status in SETTLED:
        return _stays(payment, Outcome.REPEATED)
    if not payment.can_be_queried:
        return _stays(payment, Outcome.NOTED)
    if payment.status is Status.REVIEW and payment.review_reason not in QUERY_CAN_RESOLVE:
        return _stays(payment, Outcome.NOTED)
    if around.duplicate_paid:
        return _to_review(payment, ReviewReason.DUPLICATE_PAYMENT)
    return _paid(payment, Paid(ConfirmedBy.QUERY, None), around)


def _paid(payment: Payment, paid: Paid, around: Circumstances) -> Decision:
    """The money came, so it is paid, also where somebody else had paid the order."""
    twice = (Alert.ORDER_PAID_TWICE,) if around.order_paid else ()
    if payment.status in NOT_PAID:
        return Decision(Status.PAID, Outcome.PAID_LATE, alerts=(Alert.LATE_PAYMENT, *twice), paid=paid)
    return Decision(Status.PAID, Outcome.PAID, alerts=twice, paid=paid)


def _ask_first(payment: Payment, otherwise: ReviewReason, *alerts: Alert) -> Decision:
    """Success that does not pay by itself: a query decides where we may ask, a person where we may not.

    While the push is in flight its answer may still bring the id to ask about: a callback can overtake it.
    """
    if payment.status is Status.REVIEW and payment.review_reason not in QUERY_CAN_RESOLVE:
        return _stays(payment, Outcome.NOTED, *alerts)
    if not payment.can_be_queried and payment.status is not Status.INITIATED:
        return _to_review(payment, otherwise)
    return replace(_stays(payment, Outcome.WAITS_FOR_QUERY, *alerts), hold_success=True)


# Evidence of failure --------------------------------------------------------------------------------------------------


def _declined(payment: Payment, becomes: Status, *, by_query: bool) -> Decision:
    """Beside a held success a failing callback waits too: in either order, the query decides."""
    if payment.status in SETTLED:
        return _stays(payment, Outcome.CONTRADICTS, Alert.CONTRADICTION)
    if payment.success_held and by_query:
        return _to_review(payment, ReviewReason.CONTRADICTION)
    if payment.success_held and payment.status in OPEN:
        return _stays(payment, Outcome.CONTRADICTS, Alert.CONTRADICTION)
    if payment.status in OPEN:
        return Decision(becomes, Outcome.DECLINED)
    return _stays(payment, Outcome.REPEATED if payment.status in NOT_PAID else Outcome.NOTED)


def _unknown_code(payment: Payment) -> Decision:
    if payment.status in OPEN:
        return _to_review(payment, ReviewReason.UNKNOWN_CODE)
    return _stays(payment, Outcome.NOTED, Alert.UNKNOWN_CODE)


# Time and people ------------------------------------------------------------------------------------------------------


def _time_passed(payment: Payment, around: Circumstances) -> Decision:
    """Silence is not failure: nothing fails by waiting. A held success is open too, also after a failure."""
    age = around.now - payment.created_at
    held_after_failure = payment.status in NOT_PAID and payment.success_held
    if payment.status not in OPEN and not held_after_failure:
        return _stays(payment, Outcome.STILL_WAITING)
    patience = SILENCE_IS_REVIEWED_AFTER if payment.can_be_queried else SILENCE_ALERTS_AFTER
    has_its_chance = payment.can_be_queried and around.query_comes_first
    if age >= patience and payment.status is not Status.INITIATED and not has_its_chance:
        return _to_review(payment, ReviewReason.SILENCE)
    alerts = (Alert.SILENCE,) if age >= SILENCE_ALERTS_AFTER else ()
    if payment.status is Status.INITIATED and age >= AN_INITIATED_PAYMENT_DIED_AFTER:
        return _push_stays_unclear(payment, around, *alerts)
    return _stays(payment, Outcome.STILL_WAITING, *alerts)


def _operator(
    payment: Payment, event: OperatorPaid | OperatorFailed | OperatorRefunded | OperatorReopened, around: Circumstances
) -> Decision:
    """A person decides in REVIEW, may record a refund of what was paid, and may take back what a person said."""
    match payment.status, event:
        case Status.REVIEW, OperatorPaid(receipt) if not around.receipt_taken:
            return _paid(payment, Paid(ConfirmedBy.OPERATOR, receipt), around)
        case Status.REVIEW, OperatorFailed():
            return Decision(Status.FAILED, Outcome.DECLINED, drop_success=True)
        case ((Status.REVIEW | Status.PAID), OperatorRefunded(_)) if not around.receipt_taken:
            return Decision(Status.REFUNDED, Outcome.REFUNDED)
        case ((Status.REFUNDED | Status.FAILED), OperatorReopened()) if payment.before is not None:
            return _reopened(payment.before, around)
    return _stays(payment, Outcome.NOTED)


def _reopened(before: Before, around: Circumstances) -> Decision:
    """What was confirmed still is, so it stays paid also where the order was paid again meanwhile."""
    if before.review_reason is None:
        twice = (Alert.ORDER_PAID_TWICE,) if around.order_paid else ()
        return Decision(before.status, Outcome.REOPENED, alerts=twice)
    alert = Alert(before.review_reason.value)
    return Decision(Status.REVIEW, Outcome.REOPENED, before.review_reason, alerts=(alert,))


# Statements, and what a person books from what is on file -------------------------------------------------------------


def _on_file(
    payment: Payment, event: StatementPaid | StatementRefunded | BookedByHand, around: Circumstances
) -> Decision:
    """Only the exact amount, under a receipt that is nobody else's. The rest is noted, for a person to decide."""
    if event.amount_kes != payment.amount_kes or around.receipt_taken:
        return _stays(payment, Outcome.NOTED)
    match event:
        case StatementPaid():
            return _statement_paid(payment, event, around)
        case StatementRefunded():
            return _statement_refunded(payment, event, around)
        case BookedByHand():
            return _booked(payment, event, around)


def _statement_paid(payment: Payment, event: StatementPaid, around: Circumstances) -> Decision:
    """As good as a query, and it names a receipt: the missing one of any payment, but nothing large becomes paid."""
    if payment.status in SETTLED:
        return _confirmed_again(payment, Confirmed(None, event.amount_kes, event.receipt), around)
    if around.push_in_flight or payment.amount_kes > around.confirm_above_kes:
        return _stays(payment, Outcome.NOTED)
    completes = payment.review_reason is ReviewReason.INCOMPLETE_SUCCESS and event.receipt in around.receipts_named
    if payment.status is Status.REVIEW and payment.review_reason not in QUERY_CAN_RESOLVE and not completes:
        return _stays(payment, Outcome.NOTED)
    if around.duplicate_paid:
        return _to_review(payment, ReviewReason.DUPLICATE_PAYMENT)
    return _paid(payment, Paid(ConfirmedBy.STATEMENT, event.receipt), around)


def _statement_refunded(payment: Payment, event: StatementRefunded, around: Circumstances) -> Decision:
    """What went back has a receipt of its own."""
    came_in = {payment.receipt, *around.receipts_named}
    goes_back = payment.status in (Status.PAID, Status.REVIEW) and event.receipt not in came_in
    if not goes_back or payment.amount_kes > around.confirm_above_kes:
        return _stays(payment, Outcome.NOTED)
    return Decision(Status.REFUNDED, Outcome.REFUNDED)


def _booked(payment: Payment, event: BookedByHand, around: Circumstances) -> Decision:
    """A person decides what is not exact, and what is large; not while Safaricom may still answer a push."""
    if payment.status in SETTLED:
        return _confirmed_again(payment, Confirmed(None, event.amount_kes, event.receipt), around)
    if payment.status in OPEN and payment.pushed:
        return _stays(payment, Outcome.NOTED)
    return _paid(payment, Paid(event.evidence, event.receipt), around)


# Whose evidence it is -------------------------------------------------------------------------------------------------


def _ids_disagree(payment: Payment, reported: Ids | None, around: Circumstances) -> bool:
    """With no ids stored yet the callback's address alone binds it. Otherwise both ids must equal the stored ones."""
    return around.ids_taken or (payment.ids is not None and reported != payment.ids)


def _not_its_evidence(payment: Payment) -> Decision:
    if payment.status in SETTLED or payment.status is Status.REVIEW:
        return _stays(payment, Outcome.CONTRADICTS, Alert.IDS_DISAGREE)
    return _to_review(payment, ReviewReason.IDS_DISAGREE)


def _learning(payment: Payment, reported: Ids | None, decision: Decision) -> Decision:
    """Keep ids that only a callback reported, as learnt: the push's answer confirms them or raises an alert."""
    if payment.ids is None and reported is not None:
        return replace(decision, ids=reported, ids_are_learnt=True)
    return decision


def _to_review(payment: Payment, reason: ReviewReason) -> Decision:
    if payment.status is Status.REVIEW and payment.review_reason in CALLBACK_CANNOT_RESOLVE:
        reason = payment.review_reason
    return Decision(Status.REVIEW, Outcome.TO_REVIEW, reason, alerts=(Alert(reason.value),))


def _stays(payment: Payment, outcome: Outcome, *alerts: Alert) -> Decision:
    return Decision(payment.status, outcome, payment.review_reason, alerts=alerts)
