"""POST /api/mpesa/callback/{transaction_id}/{token}: Safaricom reports what became of a payment.

The bytes are stored before they are judged. Then the answer is 200: Safaricom does not send a callback again, and if
judging fails, the sweep judges again. What one address can store is limited: then a copy of stored bytes gets 200, and
new bytes get 429. Nothing but the database is called before the payment is settled; after that, for 3 s at most, the
invoice, notices and alerts that it made due are sent, and Daraja is asked about a success that waits for it.
"""

from __future__ import annotations

from typing import Any

from shared.collaborators import Receiver, receiver
from shared.daraja.callback_address import check_source, genuine
from shared.database.errors import DatabaseError
from shared.deadline import Deadline
from shared.edge import Answer, Request, answer
from shared.gateway.inbox import Entry, Kept
from shared.observability.log import failed
from shared.payments import Outcome
from shared.problems import Kind, Problem
from shared.settlement import Judged, judge, remember
from shared.values import is_test_id, new_id

ACCEPTED = {"ResultCode": 0, "ResultDesc": "Accepted"}
TO_ANSWER_S = 5
STORES_FOR_S = 23
"""Less where the platform ends the request sooner: a database that sleeps, or is full for a moment, may come back."""
JUDGING_NEEDS_S = 8
"""With less of that time left the sweep judges, or `status`, so that Safaricom gets its answer."""
FOLLOWS_UP_FOR_S = 3


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    ends = Deadline.of_request(context)
    return answer(event, function="callback", methods=("POST",), story=lambda request: receive(request, ends))


def receive(request: Request, ends: Deadline) -> Answer:
    mine = receiver()
    settings, gateway = mine.settings.callback, mine.gateway
    address = genuine(settings, request.path)  # a forged address gets 404 before we read the database
    if address is None:
        raise Problem(Kind.NOT_FOUND)
    transaction_id = address.transaction_id
    is_a_test = is_test_id(transaction_id)
    source = None if is_a_test else check_source(settings.ip_mode, request.caller_address)
    entry = Entry(new_id(), transaction_id, request.body, source, address.key)
    until = ends.sooner(TO_ANSWER_S).at_most(STORES_FOR_S)
    try:
        kept = remember(gateway, entry, request.caller_address, until)  # stored before it is judged
    except DatabaseError as failure:
        raise Problem(Kind.NOT_STORED) from failure
    if kept is Kept.RETIRED:
        raise Problem(Kind.NOT_FOUND, log={"transaction_id": transaction_id, "outcome": "key_retired"})
    if kept is not Kept.STORED:
        return of_a_flood(transaction_id, kept)
    outcome = "left_to_the_sweep"
    if until.remaining_s() >= JUDGING_NEEDS_S:
        try:
            judged = judge(gateway, entry, actor="callback")  # may fail and may be repeated
            outcome = judged.outcome
            follow_up_on(mine, transaction_id, judged)
        except Exception as failure:  # the sweep judges again
            failed("judging", failure, transaction_id=transaction_id, inbox_id=entry.id)
    return Answer(200, ACCEPTED, log={"transaction_id": transaction_id, "inbox_id": entry.id, "outcome": outcome})


def follow_up_on(mine: Receiver, transaction_id: str, judged: Judged) -> None:
    """Whatever becomes of it, the payment is settled and the answer is 200."""
    try:
        waits = judged.outcome == Outcome.WAITS_FOR_QUERY
        if waits or judged.sends_now:
            from shared.delivery import follow_up  # what it needs is imported only where there is something to do

            follow_up(mine.whole, transaction_id, Deadline.after(FOLLOWS_UP_FOR_S), "callback", asks=waits)
    except Exception as failure:  # the sweep does it
        failed("following_up", failure, transaction_id=transaction_id)


def of_a_flood(transaction_id: str, kept: Kept) -> Answer:
    """The payment's inbox is full: this callback is a copy of one on file, or it is not stored."""
    if kept is Kept.AS_A_COPY:
        return Answer(200, ACCEPTED, log={"transaction_id": transaction_id, "outcome": "copy_of_one_on_file"})
    raise Problem(Kind.INBOX_FULL, log={"transaction_id": transaction_id, "outcome": "not_stored"})
