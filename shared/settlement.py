"""From evidence to settlement: `settle` locks a payment, decides about a report, and writes the decision.

All of it happens in one transaction, and may be repeated: the payment is read again each time, so the same evidence
twice changes it once. If the answer to COMMIT is lost, `settle` reads the payment again and decides again.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from shared.daraja.callback_address import Source
from shared.daraja.callback_reader import (
    CallbackFailure,
    CallbackIds,
    CallbackSuccess,
    CallbackUnknownCode,
    CallbackUnreadable,
    read_message,
    receipts_seen,
)
from shared.daraja.result_codes import CALLBACK_FAILURES, QUERY_FAILURES
from shared.database.errors import Busy, CommitUnknown, ConstraintBroken, DatabaseError
from shared.deadline import retry
from shared.gateway.cases import Report
from shared.observability.log import where_it_broke
from shared.payments import (
    Confirmed,
    Decision,
    Declined,
    Ids,
    Outcome,
    QueryConfirmed,
    QueryDeclined,
    TimePassed,
    UnknownCode,
    decide,
)
from shared.query_schedule import BUDGETS
from shared.values import TEST, is_test_id

if TYPE_CHECKING:
    from shared.collaborators import Collaborators
    from shared.daraja.client import Daraja
    from shared.deadline import Deadline
    from shared.gateway import Gateway
    from shared.gateway.daraja import QueryDue
    from shared.gateway.inbox import Entry, Kept

TRIES = 3
A_QUERY_LASTS_S = 5.0
A_QUERY_NEEDS_S = 1.0
"""With less time than this left Daraja is not asked: its answer would be cut off."""


class Settled(NamedTuple):
    """A decision that is written."""

    decision: Decision
    sends_now: bool
    """It made an alert or an invoice due: whoever has the time sends it."""


class Judged(NamedTuple):
    """What became of a callback."""

    outcome: str
    sends_now: bool


def settle(gateway: Gateway, transaction_id: str, report: Report) -> Settled | None:
    """Decide about one payment and write the decision, in one transaction. None: there is no such payment.

    Tries three times in all. Then it raises what `shared.database` raises.
    """

    def once() -> Settled | None:
        with gateway.cases.open(transaction_id, report) as case:
            if case is None:
                return None
            decision = decide(case.payment, report.event, case.circumstances)
            if not case.record(decision):
                raise Busy("Rolled back: somebody else changed the payment.")
        return Settled(decision, case.sends_now(decision))

    return retry(once, (Busy, ConstraintBroken, CommitUnknown), tries=TRIES)


def remember(gateway: Gateway, entry: Entry, source_address: str | None, until: Deadline) -> Kept:
    """Store the bytes of a callback. Tries again until then, because Safaricom does not send it again.

    Raises the last `DatabaseError`.
    """
    store = partial(gateway.inbox.remember, entry, source_address)
    with gateway.database.patient(until):
        return retry(store, DatabaseError, for_s=until.remaining_s(), pause_s=0.2)


def judge(gateway: Gateway, entry: Entry, actor: str, why: str | None = None) -> Judged:
    """Apply a stored callback to its payment. May be repeated.

    An operator's `why` goes into the audit log, also where nothing changes.
    """
    if is_test_id(entry.transaction_id):
        gateway.inbox.close(entry, TEST, ())
        return Judged(TEST, sends_now=False)
    message, receipts = read_message(entry.body)
    if entry.source is Source.HELD or not entry.sealed:
        return _closed(gateway, entry, "held", receipts)
    if entry.source is Source.UNLISTED:
        gateway.inbox.alert_of_unlisted(entry)
    if isinstance(message, CallbackUnreadable):
        return _closed(gateway, entry, "unreadable", receipts)
    report = reported(message, actor, inbox_id=entry.id, receipts_seen=receipts, why=why)
    settled = settle(gateway, entry.transaction_id, report)
    if settled is None:
        return _closed(gateway, entry, "unknown_transaction", receipts)
    return Judged(settled.decision.outcome.value, settled.sends_now or entry.source is Source.UNLISTED)


def _closed(gateway: Gateway, entry: Entry, outcome: str, receipts: tuple[str, ...]) -> Judged:
    """It changes no payment, and an alert says so."""
    gateway.inbox.close(entry, outcome, receipts)
    return Judged(outcome, sends_now=True)


def judge_waiting(gateway: Gateway, transaction_id: str, actor: str) -> None:
    """Callbacks of this payment that waited for a query, or whose function died before it judged them."""
    for entry in gateway.inbox.take(10, of=transaction_id):
        judge_what_waits(gateway, entry, actor)


def judge_what_waits(gateway: Gateway, entry: Entry, actor: str) -> Judged:
    """`judge` a callback that was taken from the inbox. Where it fails, the reason is kept for a person, and raised."""
    try:
        return judge(gateway, entry, actor)
    except Exception as failure:
        gateway.inbox.put_back(entry, where_it_broke(failure), receipts_seen(entry.body))
        raise


def ask_at_once(
    mine: Collaborators, transaction_id: str, ends: Deadline, actor: str, *, before_its_time: bool = False
) -> bool:
    """Whether Daraja was asked. Not where it is not due, no slot is free, somebody else asks, or no time is left."""
    from shared.gateway.daraja import QueryDue  # a cold callback does not ask

    daraja = mine.daraja  # its packages are imported before the slot is taken: the slot is for the moment of asking
    if ends.remaining_s() < A_QUERY_NEEDS_S:
        return False
    budget = BUDGETS[mine.settings.database.environment]
    due = mine.gateway.queries.take(budget, only=transaction_id, at_once=before_its_time)
    if not isinstance(due, QueryDue):
        return False
    ask(mine.gateway, daraja, due, ends.at_most(A_QUERY_LASTS_S), actor)
    return True


def ask(gateway: Gateway, daraja: Daraja, due: QueryDue, deadline: Deadline, actor: str = "sweep") -> str:
    """Ask Daraja what became of a payment. Only a known, terminal answer settles; else it is asked again later."""
    from shared.daraja.answers import NoAnswerYet, QuerySucceeded  # a cold callback does not ask

    answer = daraja.query(due.checkout_request_id, deadline)
    if isinstance(answer, NoAnswerYet):
        if answer.throttled:
            gateway.queries.throttled()
        gateway.queries.ask_again(due, answer.reason, throttled=answer.throttled)
        return "no_answer_yet"
    if isinstance(answer, QuerySucceeded):
        report = Report(QueryConfirmed(), actor, result_code="0", result_desc=answer.result_desc)
    else:
        known = QUERY_FAILURES[answer.code]
        declined = QueryDeclined(known.becomes, known.may_be_taken_back, known.shops_fault)
        report = Report(declined, actor, result_code=answer.code, result_desc=answer.description)
    settled = settle(gateway, due.payment.id, report)
    if settled is None or settled.decision.outcome in (Outcome.REPEATED, Outcome.NOTED):
        gateway.queries.ask_again(due)
    return settled.decision.outcome.value if settled else "unknown_transaction"


def check_age(gateway: Gateway, transaction_id: str) -> str:
    """Raise an alert, or send a payment to review, when it was silent for too long."""
    settled = settle(gateway, transaction_id, Report(TimePassed(), "sweep"))
    return settled.decision.outcome.value if settled else "unknown_transaction"


def reported(
    message: CallbackSuccess | CallbackUnknownCode | CallbackFailure,
    actor: str,
    *,
    inbox_id: str | None = None,
    receipts_seen: tuple[str, ...] = (),
    why: str | None = None,
) -> Report:
    """Turn what a callback says into a `Report`. Daraja's own words are not used after this."""
    ids = _ids(message.ids)
    if isinstance(message, CallbackSuccess):
        return Report(
            Confirmed(ids, message.amount_kes, message.receipt, message.amount_said),
            actor,
            inbox_id=inbox_id,
            receipts_seen=receipts_seen,
            result_code="0",
            result_desc=message.description or None,
            transaction_date=message.transaction_date,
            payer=message.phone,
            balance_kes=message.balance_kes,
            why=why,
        )
    if isinstance(message, CallbackUnknownCode):
        event: UnknownCode | Declined = UnknownCode(ids)
    else:
        known = CALLBACK_FAILURES[message.code]
        event = Declined(ids, known.becomes, known.may_be_taken_back, known.shops_fault)
    return Report(
        event,
        actor,
        inbox_id=inbox_id,
        receipts_seen=receipts_seen,
        result_code=message.code,
        result_desc=message.description,
        why=why,
    )


def _ids(named: CallbackIds) -> Ids | None:
    if named.merchant_request_id is None or named.checkout_request_id is None:
        return None
    return Ids(named.merchant_request_id, named.checkout_request_id)
