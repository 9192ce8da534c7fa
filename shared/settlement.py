"""From evidence to settlement: `settle` locks a payment, decides about a report, and writes the decision.

All of it happens in one transaction, and may be repeated: the payment is read again each time, so the same evidence
twice changes it once. If the answer to COMMIT is lost, `settle` reads the payment again and decides again.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from shared.daraja.client import Daraja
    from shared.deadline import Deadline
    from shared.gateway import Gateway
    from shared.gateway.daraja import QueryDue
    from shared.gateway.inbox import Entry, Kept

TRIES = 3


def settle(gateway: Gateway, transaction_id: str, report: Report) -> Decision | None:
    """Decide about one payment and write the decision, in one transaction. None: there is no such payment.

    Tries three times in all. Then it raises what `shared.database` raises.
    """

    def once() -> Decision | None:
        with gateway.cases.open(transaction_id, report) as case:
            if case is None:
                return None
            decision = decide(case.payment, report.event, case.circumstances)
            if not case.record(decision):
                raise Busy("Rolled back: somebody else changed the payment.")
        return decision

    return retry(once, (Busy, ConstraintBroken, CommitUnknown), tries=TRIES)


def remember(gateway: Gateway, entry: Entry, source_address: str | None, until: Deadline) -> Kept:
    """Store the bytes of a callback. Tries again until then, because Safaricom does not send it again.

    Raises the last `DatabaseError`.
    """
    store = partial(gateway.inbox.remember, entry, source_address)
    with gateway.database.patient(until):
        return retry(store, DatabaseError, for_s=until.remaining_s(), pause_s=0.2)


def judge(gateway: Gateway, entry: Entry, actor: str, why: str | None = None) -> str:
    """Apply a stored callback to its payment. Returns the outcome's name. May be repeated.

    An operator's `why` goes into the audit log, also where nothing changes.
    """
    message, receipts = read_message(entry.body)
    if entry.source is Source.HELD or not entry.sealed:
        gateway.inbox.close(entry, "held", receipts)
        return "held"
    if entry.source is Source.UNLISTED:
        gateway.inbox.alert_of_unlisted(entry)
    if isinstance(message, CallbackUnreadable):
        gateway.inbox.close(entry, "unreadable", receipts)
        return "unreadable"
    report = reported(message, actor, inbox_id=entry.id, receipts_seen=receipts, why=why)
    decision = settle(gateway, entry.transaction_id, report)
    if decision is None:
        gateway.inbox.close(entry, "unknown_transaction", receipts)
        return "unknown_transaction"
    return decision.outcome.value


def judge_what_waits(gateway: Gateway, entry: Entry, actor: str) -> str:
    """`judge` a callback that was taken from the inbox. Where it fails, the reason is kept for a person, and raised."""
    try:
        return judge(gateway, entry, actor)
    except Exception as failure:
        gateway.inbox.put_back(entry, where_it_broke(failure), receipts_seen(entry.body))
        raise


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
    decision = settle(gateway, due.payment.id, report)
    if decision is None or decision.outcome in (Outcome.REPEATED, Outcome.NOTED):
        gateway.queries.ask_again(due)
    return decision.outcome.value if decision else "unknown_transaction"


def check_age(gateway: Gateway, transaction_id: str) -> str:
    """Raise an alert, or send a payment to review, when it was silent for too long."""
    decision = settle(gateway, transaction_id, Report(TimePassed(), "sweep"))
    return decision.outcome.value if decision else "unknown_transaction"


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
