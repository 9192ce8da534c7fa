"""From evidence to settlement: a report is decided about under the payment's lock, and the decision is written whole.

Everything here may be repeated: the payment is read again each time, so the same evidence twice changes it once. That
is also how a lost answer to COMMIT is resolved: by reading.
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
)
from shared.daraja.result_codes import CALLBACK_FAILURES, QUERY_FAILURES
from shared.database.errors import Busy, CommitUnknown, ConstraintBroken, DatabaseError
from shared.deadline import retry
from shared.gateway.cases import Report
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

    After a lost race it decides again, by what the winner wrote. Raises what `shared.database` raises on the third try.
    """

    def once() -> Decision | None:
        with gateway.cases.open(transaction_id, report) as case:
            if case is None:
                return None
            decision = decide(case.payment, report.event, case.circumstances)
            case.record(decision)
        return decision

    return retry(once, (Busy, ConstraintBroken, CommitUnknown), tries=TRIES)


def remember(gateway: Gateway, entry: Entry, source_address: str | None, patience_s: float = 4.0) -> Kept:
    """Commit a callback's bytes, trying for `patience_s`: Safaricom does not send it again.

    Raises the last `DatabaseError`.
    """
    return retry(partial(gateway.inbox.remember, entry, source_address), DatabaseError, for_s=patience_s, pause_s=0.2)


def judge(gateway: Gateway, entry: Entry, actor: str, why: str | None = None) -> str:
    """What a callback on file makes of its payment; the outcome's name. May be repeated.

    An operator's `why` goes into the audit log, also where nothing changes.
    """
    message, receipts = read_message(entry.body)
    if entry.source is Source.HELD:
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


def ask(gateway: Gateway, daraja: Daraja, due: QueryDue, deadline: Deadline) -> str:
    """Ask Daraja what became of a payment. Only a known, terminal answer settles; else it is asked again later."""
    from shared.daraja.answers import NoAnswerYet, QuerySucceeded  # a cold callback does not ask

    answer = daraja.query(due.checkout_request_id, deadline)
    if isinstance(answer, NoAnswerYet):
        if answer.throttled:
            gateway.queries.throttled()
        gateway.queries.ask_again(due, answer.reason, throttled=answer.throttled)
        return "no_answer_yet"
    if isinstance(answer, QuerySucceeded):
        report = Report(QueryConfirmed(), "sweep", result_code="0", result_desc=answer.result_desc)
    else:
        known = QUERY_FAILURES[answer.code]
        declined = QueryDeclined(known.becomes, known.may_be_taken_back)
        report = Report(declined, "sweep", result_code=answer.code, result_desc=answer.description)
    decision = settle(gateway, due.payment.id, report)
    if decision is None or decision.outcome in (Outcome.REPEATED, Outcome.NOTED):
        gateway.queries.ask_again(due)
    return decision.outcome.value if decision else "unknown_transaction"


def check_age(gateway: Gateway, transaction_id: str) -> str:
    """Decide what a silent payment's age makes of it."""
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
    """Daraja's vocabulary ends here: a callback as one of our events, with what is kept of it."""
    ids = _ids(message.ids)
    if isinstance(message, CallbackSuccess):
        return Report(
            Confirmed(ids, message.amount_kes, message.receipt),
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
        event = Declined(ids, known.becomes, known.may_be_taken_back)
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
