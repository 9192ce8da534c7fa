"""From evidence to settlement: each kind of news becomes an event, is decided under lock, and written whole.

Everything here may be repeated: the payment is read again each time, so the same evidence twice changes it once. That
is also how a lost answer to COMMIT is resolved: by reading.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from shared.daraja.callback_reader import (
    CallbackIds,
    CallbackSuccess,
    CallbackUnknownCode,
    CallbackUnreadable,
    read_message,
    receipts_seen,
)
from shared.daraja.result_codes import CALLBACK_FAILURES, QUERY_FAILURES
from shared.daraja.source_addresses import Source
from shared.database.errors import Busy, CommitUnknown, ConstraintBroken, DatabaseError
from shared.gateway.cases import Evidence
from shared.payments import (
    Confirmed,
    Decision,
    Declined,
    Event,
    Ids,
    Outcome,
    QueryConfirmed,
    TimePassed,
    UnknownCode,
    decide,
)
from shared.payments import QueryDeclined as DeclinedByQuery

if TYPE_CHECKING:
    from shared.daraja.client import Daraja
    from shared.deadline import Deadline
    from shared.gateway import Gateway
    from shared.gateway.inbox import Entry, Kept
    from shared.gateway.queries import QueryDue

TRIES = 3


def settle(gateway: Gateway, transaction_id: str, event: Event, evidence: Evidence) -> Decision | None:
    """Decide about one payment and write the decision, in one transaction. None: there is no such payment.

    A lost race is repeated with what the winner wrote. Raises what `shared.database` raises, when the third try fails.
    """
    tries_left = TRIES
    while True:
        tries_left -= 1
        try:
            with gateway.cases.open(transaction_id, evidence) as case:
                if case is None:
                    return None
                decision = decide(case.payment, event, case.circumstances)
                case.record(decision)
            return decision
        except (Busy, ConstraintBroken, CommitUnknown):
            if not tries_left:
                raise


def remember(gateway: Gateway, entry: Entry, source_address: str | None, patience_s: float = 4.0) -> Kept:
    """Commit a callback's bytes, trying for `patience_s`: Safaricom does not send it again.

    Raises the last `DatabaseError`.
    """
    give_up_at = time.monotonic() + patience_s
    while True:
        try:
            return gateway.inbox.remember(entry, source_address)
        except DatabaseError:
            if time.monotonic() >= give_up_at:
                raise
            time.sleep(0.2)


def judge(gateway: Gateway, entry: Entry, actor: str, why: str | None = None) -> str:
    """What a callback on file makes of its payment; the outcome's name. May be repeated.

    Where a person says why, it is in the audit log, also where nothing changes.
    """
    if entry.source is Source.HELD:
        gateway.inbox.close(entry, "held", receipts_seen(entry.body))
        return "held"
    if entry.source is Source.UNLISTED:
        gateway.inbox.tell_of_unlisted(entry)
    news = from_callback(entry, actor)
    if news is None:
        gateway.inbox.close(entry, "unreadable", receipts_seen(entry.body))
        return "unreadable"
    event, evidence = news
    decision = settle(gateway, entry.transaction_id, event, replace(evidence, why=why))
    if decision is None:
        gateway.inbox.close(entry, "unknown_transaction", evidence.receipts_seen)
        return "unknown_transaction"
    return decision.outcome.value


def ask(gateway: Gateway, daraja: Daraja, due: QueryDue, deadline: Deadline) -> str:
    """Ask Daraja what became of a payment. Only a known, terminal answer settles; the rest is asked again later."""
    from shared.daraja.client import NoAnswerYet, QuerySucceeded

    answer = daraja.query(due.checkout_request_id, deadline)
    if isinstance(answer, NoAnswerYet):
        if answer.throttled:
            gateway.queries.throttled()
        gateway.queries.ask_again(due, answer.reason, throttled=answer.throttled)
        return "no_answer_yet"
    event: Event
    if isinstance(answer, QuerySucceeded):
        event = QueryConfirmed()
        evidence = Evidence("sweep", "QueryConfirmed", result_code="0", result_desc=answer.result_desc, by_query=True)
    else:
        known = QUERY_FAILURES[answer.code]
        event = DeclinedByQuery(known.becomes)
        evidence = Evidence(
            "sweep",
            "QueryDeclined",
            result_code=answer.code,
            result_desc=answer.description,
            may_be_taken_back=known.may_be_taken_back,
            by_query=True,
        )
    decision = settle(gateway, due.payment.id, event, evidence)
    if decision is None or decision.outcome in (Outcome.REPEATED, Outcome.NOTED):
        gateway.queries.ask_again(due)
    return decision.outcome.value if decision else "unknown_transaction"


def look_at_the_clock(gateway: Gateway, transaction_id: str) -> str:
    """Tell a silent payment that time has passed."""
    decision = settle(gateway, transaction_id, TimePassed(), Evidence("sweep", "TimePassed"))
    return decision.outcome.value if decision else "unknown_transaction"


def from_callback(entry: Entry, actor: str) -> tuple[Event, Evidence] | None:
    """Daraja's vocabulary ends here: a callback as one of our events, and what is kept of it. None: unreadable."""
    told, receipts = read_message(entry.body)
    if isinstance(told, CallbackUnreadable):
        return None
    ids = _ids(told.ids)
    evidence = Evidence(actor, "Confirmed", inbox_id=entry.id, receipts_seen=receipts, ids=ids)
    if isinstance(told, CallbackSuccess):
        return Confirmed(ids, told.amount_kes, told.receipt), replace(
            evidence,
            receipt=told.receipt,
            result_code="0",
            result_desc=told.description or None,
            transaction_date=told.transaction_date,
            payer=told.phone,
            balance_kes=told.balance_kes,
        )
    evidence = replace(evidence, result_code=told.code, result_desc=told.description)
    if isinstance(told, CallbackUnknownCode):
        return UnknownCode(ids), replace(evidence, event="UnknownCode")
    known = CALLBACK_FAILURES[told.code]
    return Declined(ids, known.becomes), replace(evidence, event="Declined", may_be_taken_back=known.may_be_taken_back)


def _ids(told: CallbackIds) -> Ids | None:
    if told.merchant_request_id is None or told.checkout_request_id is None:
        return None
    return Ids(told.merchant_request_id, told.checkout_request_id)
